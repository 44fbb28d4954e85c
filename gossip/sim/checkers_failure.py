"""Checkers of failure detection: is every crash seen, how soon, and is nobody called failed who is not?"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from moot.gossip.sim.history import Refuted, Seen
from moot.gossip.sim.timeline import BLANK, GONE, Span, Timeline, Up, quantile
from moot.gossip.sim.verdicts import Evidence, Verdict, count, holds, took, unknown, violated


@dataclass(frozen=True, slots=True)
class Noticed:
    """How long after a crash an observer that knew the member saw that it was gone; None when it did not."""

    crash: Up
    observer: str
    latency: float | None
    watched: float
    """Seconds for which the observer could have seen it."""
    enough: bool
    """Whether that was all the time that it had."""


def watchers(run: Timeline, crash: Up, window: float) -> Iterator[Noticed]:
    """Each observer that held the crashed one for there, and was up and reachable until it saw or time was over."""
    began = crash.span.ended
    back = run.next_start(crash.member, began)
    until = min(began + window, back, run.end)
    for observer in run.lives:
        if observer == crash.agent or not run.runs(observer, began, began):
            continue
        if run.status(observer, crash.member, began) in GONE:
            continue
        later = run.seen_after(observer, crash.member, began)
        seen = next((seen for seen in later if seen.status in GONE and seen.incarnation != BLANK), None)
        ends = until if seen is None or seen.at > until else seen.at
        if not run.runs(observer, began, ends) or run.lonely(observer, began, ends):
            continue
        latency = seen.at - began if seen is not None and seen.at <= until else None
        yield Noticed(crash, observer, latency, ends - began, ends >= began + window)


def completeness(run: Timeline, *, within: float = 30.0) -> Verdict:
    """Every member that crashed is failed, or gone, in every live and reachable view, so many seconds later."""
    missed = []
    judged = short = 0
    for crash in run.crashes():
        for noticed in watchers(run, crash, within):
            if noticed.latency is not None:
                judged += 1
            elif noticed.enough:
                judged += 1
                status = run.status(noticed.observer, crash.member, crash.span.ended + within)
                text = f"{noticed.observer} sees {crash.member} {status}, {took(within)} after it crashed"
                missed.append(Evidence(crash.span.ended + within, text, (noticed.observer, crash.member)))
            else:
                short += 1
    if missed:
        return violated(f"{count(len(missed), 'view')} missed a crash", missed, missed=len(missed), judged=judged)
    if short:
        return unknown(f"{count(short, 'view')} had less than {took(within)} to see a crash", judged=judged)
    if not judged:
        return unknown("nobody crashed that others watched")
    return holds(f"{count(judged, 'view')} saw the crashes within {took(within)}", judged=judged)


def detection(
    run: Timeline,
    *,
    first: float = inf,
    median: float = inf,
    p99: float = inf,
    last: float = inf,
    window: float = 120.0,
) -> Verdict:
    """How long after a crash the first observer saw it, half of them, 99 %, and the last one; of the slowest crash.

    Who has not seen it after `window` counts as never.
    """
    bounds = {"first": first, "median": median, "p99": p99, "last": last}
    figures = dict.fromkeys(bounds, 0.0)
    late = []
    short = judged = 0
    for crash in run.crashes():
        noticed = list(watchers(run, crash, window))
        if any(each.latency is None and not each.enough for each in noticed):
            short += 1
            continue
        latencies = [inf if each.latency is None else each.latency for each in noticed]
        if not latencies:
            continue
        judged += 1
        measured = {
            "first": min(latencies),
            "median": quantile(latencies, 0.5),
            "p99": quantile(latencies, 0.99),
            "last": max(latencies),
        }
        for which, value in measured.items():
            figures[which] = max(figures[which], value)
            if value > bounds[which]:
                text = f"{crash.member}: {which} took {took(value)}, more than {took(bounds[which])}"
                late.append(Evidence(crash.span.ended, text, (crash.member,)))
    if late:
        return violated("a crash was detected late", late, **figures)
    if short or not judged:
        why = "the run ended before a crash could be detected" if short else "nobody crashed that others watched"
        return unknown(why, **figures)
    return holds(f"detected after {took(figures['first'])}, by all after {took(figures['last'])}", **figures)


def dissemination(run: Timeline, *, within: float = 10.0) -> Verdict:
    """News that somebody failed or left is everywhere so many seconds after the first observer has it."""
    late = []
    judged = short = 0
    slowest = 0.0
    for gone in (up for up in run.all_lives() if up.how):
        began = min(gone.span.ended, gone.leaving_at)
        news = Up(gone.agent, gone.member, Span(gone.span.began, began), gone.how)
        watching = list(watchers(run, news, inf))
        times = {each.observer: began + each.latency for each in watching if each.latency is not None}
        if not times:
            continue
        first = min(times.values())
        for observer, at in times.items():
            judged += 1
            slowest = max(slowest, at - first)
            if at - first > within:
                text = f"{observer} heard that {gone.member} is gone {took(at - first)} after the first"
                late.append(Evidence(at, text, (observer, gone.member)))
        for noticed in (each for each in watching if each.latency is None):
            if began + noticed.watched - first > within:
                text = f"{noticed.observer} did not hear that {gone.member} is gone"
                late.append(Evidence(first + within, text, (noticed.observer, gone.member)))
            else:
                short += 1
    if late:
        return violated(f"{count(len(late), 'view')} heard late", late, slowest=slowest, judged=judged)
    if short or not judged:
        return unknown("news had no time to spread" if short else "nobody failed or left", judged=judged)
    return holds(f"news was everywhere within {took(slowest)}", slowest=slowest, judged=judged)


def accuracy(run: Timeline, *, most: float = 0.0, healthy_only: bool = False, grace: float = 30.0) -> Verdict:
    """At most so many views call a member failed that runs and can be reached.

    It is none if within `grace` seconds before the member, or anybody, was stopped, or if it was down, or left, or
    cut off from half of the pool, from the observer, or both ways from its accuser, by packets and streams. With
    `healthy_only` nor if it was slow or its clock wrong.
    """
    watched = 0
    false = []
    lasted = []
    for (observer, subject), views in run.views.items():
        watched += observer != subject
        for place, seen in enumerate(views):
            if seen.status == "failed" and _is_false(run, seen, grace, healthy_only):
                back = next((later for later in views[place + 1 :] if later.status == "alive"), None)
                until = inf if back is None else back.at - seen.at
                lasted.append(until)
                false.append(Evidence(seen.at, _accusation(run, seen, until), (observer, subject)))
    figures = {"false_failures": float(len(false)), "longest": max(lasted, default=0.0), "watched": float(watched)}
    if not watched:
        return unknown("nobody watched anybody")
    if len(false) > most:
        return violated(f"{count(len(false), 'false failure')}", false, **figures)
    return holds(f"{count(len(false), 'false failure')} in {count(watched, 'view')}", **figures)


def flaps(run: Timeline, *, most: float = 0.0, total: float = inf, grace: float = 30.0) -> Verdict:
    """No view has a member fail without cause and come back more often than `most`; in all views together, `total`.

    What is a cause is as with `accuracy`.
    """
    counts: dict[tuple[str, str], list[Seen]] = {}
    for pair, views in run.views.items():
        failed = None
        for seen in views:
            if seen.status == "failed":
                failed = seen
            elif seen.status == "alive" and failed is not None:
                if _is_false(run, failed, grace, False):
                    counts.setdefault(pair, []).append(seen)
                failed = None
            elif seen.status == "none":
                failed = None
    if not run.views:
        return unknown("nobody watched anybody")
    number = sum(map(len, counts.values()))
    worst = max(map(len, counts.values()), default=0)
    if worst > most or number > total:
        evidence = [
            Evidence(seen.at, f"{seen.observer} sees {seen.subject} back after it had failed", pair)
            for pair, backs in counts.items()
            for seen in backs
            if len(backs) > most or number > total
        ]
        return violated(f"{count(number, 'flap')}, {worst} in one view", evidence, flaps=number, worst=worst)
    return holds(f"{count(number, 'flap')}", flaps=number, worst=worst)


def _is_false(run: Timeline, seen: Seen, grace: float, healthy_only: bool) -> bool:
    subject, observer, at = seen.subject, seen.observer, seen.at
    since = max(0.0, at - grace)
    ups = [up for up in run.ups(subject) if up.span.began <= at < up.span.ended]
    if not ups or not any(run.runs(up.agent, max(since, up.span.began), at) for up in ups):
        return False
    agent = ups[-1].agent
    if any(up.span.ended <= at and up.span.ended >= since for up in run.ups(subject)) or ups[-1].leaving_at <= at:
        return False
    if not run.life_at(observer, at) or any(stop.meets(since, at) for stop in run.stops()):
        return False
    if healthy_only and run.ailing(agent, since, at):
        return False
    if run.outcast(agent, since, at) or run.parted(agent, observer, since, at):
        return False
    # a claim comes from whoever lost touch with it; one that is deaf, though others hear it, is no excuse
    accusers = [seen.accuser] if seen.accuser in run.lives else [other for other in run.lives if other != agent]
    return not any(run.parted(agent, accuser, since, at, wholly=True) for accuser in accusers)


def _accusation(run: Timeline, seen: Seen, until: float) -> str:
    by = f", accused by {seen.accuser}" if seen.accuser else ""
    confirmed = f", confirmed by {count(seen.confirmed, 'other')}" if seen.confirmed else ""
    contradicted = next(
        (
            each.at
            for each in run.history.of(Refuted)
            if each.agent == seen.subject and each.at >= seen.at and each.incarnation > seen.incarnation
        ),
        None,
    )
    refuted = f", refuted after {took(contradicted - seen.at)}" if contradicted is not None else ", never refuted"
    back = f", alive again after {took(until)}" if until < inf else ", for ever"
    return f"{seen.observer} sees {seen.subject} failed while it runs{by}{confirmed}{refuted}{back}"
