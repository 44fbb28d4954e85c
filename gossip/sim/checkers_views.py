"""Checkers of views: do they agree, and do those stay gone who are gone?"""

from collections.abc import Iterator
from itertools import pairwise
from math import inf

from moot.gossip.actions import ForceLeave
from moot.gossip.sim.history import Refuted, Sample, Seen
from moot.gossip.sim.timeline import THERE, Agreement, Timeline, by_time
from moot.gossip.sim.verdicts import Evidence, Verdict, count, holds, took, unknown, violated


def convergence(run: Timeline, *, within: float = 60.0, listed: bool = False) -> Verdict:
    """So many seconds after the last trouble all views are right about who runs, and stay so until the next.

    With `listed` they must also agree about those who are gone.
    """
    late = []
    settled: list[float] = []
    short = 0
    for at, until in quiet_times(run):
        agreed_at, agreement = settling(run, at, until, listed)
        if agreed_at is not None and agreed_at - at <= within:
            settled.append(agreed_at - at)
        elif until - at >= within:
            whom = agreement.wrong or ["nobody"]
            text = (
                f"views agreed {took(agreed_at - at)} after the last trouble"
                if agreed_at is not None
                else f"no agreement; {whom[0]} is {agreement.describe(whom[0])}"
            )
            late.append(Evidence(at + within, text, tuple(agreement.wrong)))
        else:
            short += 1
    slowest = max(settled, default=0.0)
    if late:
        return violated(f"views did not agree within {took(within)}", late, slowest=slowest)
    if not settled:
        return unknown("there was no quiet time to agree in" if run.first_deed() < inf else "nothing was ever broken")
    return holds(f"views agreed within {took(slowest)} of the last trouble", slowest=slowest, times=len(settled))


def quiet_times(run: Timeline) -> Iterator[tuple[float, float]]:
    """From when to when nothing was wrong, after the pool was first disturbed, nor was anything done to it."""
    since = run.first_deed()
    marks = [at for at in run.disturbances() if at >= since]
    for at, after in pairwise([*marks, inf]):
        until = min(after, run.end)
        if until > at and not run.broken(at):
            yield at, until


def settling(run: Timeline, at: float, until: float, listed: bool) -> tuple[float | None, Agreement]:
    """When views came to agree for the rest of some time, None when they do not at its end."""
    agreement = Agreement(run, at, listed=listed)
    agreed_at = at if agreement.reached else None
    for record in by_time(run.history.records, at, until):
        if isinstance(record, Seen) and (record.at < until or until == run.end):  # what happens then is its end
            agreement.look(record)
            if not agreement.reached:
                agreed_at = None
            elif agreed_at is None:
                agreed_at = record.at
    return agreed_at, agreement


def zombie(run: Timeline, *, within: float = 60.0) -> Verdict:
    """A member that was pruned while it did not run is gone from all views so many seconds later, for good.

    It counts as back when anybody lists it again, as whatever, before it starts again.
    """
    found = []
    judged = short = 0
    for at, member in _prunes(run):
        start = run.next_start(member, at)
        if run.bears(member, at):
            continue
        until = min(start, run.end)
        for observer in run.lives:
            if not run.runs(observer, at, at):
                continue
            judged += 1
            gone = run.status(observer, member, at) == "none"
            for seen in run.seen_after(observer, member, at):
                if seen.at >= until:
                    break
                if seen.status == "none":
                    gone = True
                elif gone:
                    text = f"{observer} lists {member} again, as {seen.status}"
                    found.append(Evidence(seen.at, text, (observer, member)))
                    break
            if gone or not run.runs(observer, at, min(until, at + within)):
                continue
            if until - at >= within:
                status = run.status(observer, member, at + within)
                text = f"{observer} still lists {member}, as {status}, {took(within)} after it was pruned"
                found.append(Evidence(at + within, text, (observer, member)))
            else:
                short += 1
    if found:
        return violated(f"{count(len(found), 'view')} with a pruned member", found, zombies=len(found))
    if short or not judged:
        return unknown("the run ended before the prune was everywhere" if short else "nobody was pruned when down")
    return holds(f"who was pruned is gone from {count(judged, 'view')}", judged=judged)


def _prunes(run: Timeline) -> list[tuple[float, str]]:
    """When prunes were done, and of whom."""
    return [
        (command.at - command.seconds, action.member)
        for command, action in run.commands(ForceLeave)
        if isinstance(action, ForceLeave) and action.prune and not command.error
    ]


def resurrection(run: Timeline) -> Verdict:
    """Nobody is seen alive again who is not there: no old claim wins over the news of a failure or a leave."""
    judged = 0
    found = []
    for gone in (up for up in run.all_lives() if up.how):
        at = gone.span.ended
        back = min(run.next_start(gone.member, at), run.end)
        if run.bears(gone.member, at):
            continue  # another one bears that name
        for observer in run.lives:
            was_gone = run.status(observer, gone.member, at) in ("failed", "left")
            for seen in run.seen_after(observer, gone.member, at):
                if seen.at >= back:
                    break
                if was_gone and seen.status in THERE and run.runs(observer, at, seen.at):
                    text = (
                        f"{observer} sees {gone.member} {seen.status}, incarnation {seen.incarnation}, but it is gone"
                    )
                    found.append(Evidence(seen.at, text, (observer, gone.member)))
                    break
                was_gone = was_gone or seen.status in ("failed", "left")
            judged += was_gone
    if found:
        return violated(f"{count(len(found), 'view')} took a dead member for alive", found, views=len(found))
    if not judged:
        return unknown("nobody was seen to fail or leave")
    return holds(f"{count(judged, 'view')} kept the dead dead", views=judged)


def left_stays_left(run: Timeline, *, within: float = 30.0) -> Verdict:
    """A member that left is left, or forgotten, in every view so many seconds later, and stays so."""
    found = []
    judged = short = 0
    for gone in (up for up in run.all_lives() if up.how == "left"):
        at = gone.span.ended
        until = min(run.next_start(gone.member, at), run.end)
        for observer in run.lives:
            if observer == gone.agent or not run.runs(observer, at, at):
                continue
            judge = min(until, at + within)
            if not run.runs(observer, at, judge) or run.parted(observer, gone.agent, at - within, judge):
                continue
            status = run.status(observer, gone.member, judge)
            if status not in ("left", "none"):
                if judge < at + within:
                    short += 1
                    continue
                text = f"{observer} sees {gone.member} {status}, {took(within)} after it left"
                found.append(Evidence(judge, text, (observer, gone.member)))
                continue
            judged += 1
            for seen in run.seen_after(observer, gone.member, judge):
                if seen.at < until and seen.status not in ("left", "none") and run.runs(observer, judge, seen.at):
                    text = f"{observer} sees {gone.member} {seen.status}, but it left"
                    found.append(Evidence(seen.at, text, (observer, gone.member)))
                    break
    if found:
        return violated(f"{count(len(found), 'view')} with a member that left", found, views=len(found))
    if short or not judged:
        return unknown("the run ended before a leave was everywhere" if short else "nobody left")
    return holds(f"who left is left in {count(judged, 'view')}", judged=judged)


def _outlived(run: Timeline, news: Seen, at: float) -> bool:
    """Whether news is of an earlier life of the member: one that runs now began later, and never claimed as much."""
    if len(run.ups(news.subject)) < 2:
        return False
    now = [up for up in run.ups(news.subject) if up.span.began <= at < up.span.ended]
    claims = [
        refuted.incarnation
        for refuted in run.history.of(Refuted)
        if any(up.agent == refuted.agent and up.span.began <= refuted.at <= at for up in now)
    ]
    return bool(now) and news.incarnation > max(claims, default=1)


def never_falls(run: Timeline) -> Verdict:
    """In no view does the incarnation or the Lamport time of a member fall while it runs, nor an agent's clock."""
    found = []
    judged = 0
    for (observer, subject), views in run.views.items():
        for before, seen in pairwise(views):
            if "none" in (before.status, seen.status):
                continue
            if any(before.at <= up.span.began <= seen.at for up in run.ups(subject)):
                continue  # who starts anew begins with 1
            if len(run.ups(subject)) > 1 and before.address != seen.address:
                continue  # another one that bears the name
            judged += 1
            if seen.incarnation < before.incarnation and not _outlived(run, before, seen.at):
                text = f"{observer}: incarnation of {subject} fell from {before.incarnation} to {seen.incarnation}"
                found.append(Evidence(seen.at, text, (observer, subject)))
            if seen.ltime < before.ltime:
                text = f"{observer}: Lamport time of {subject} fell from {before.ltime} to {seen.ltime}"
                found.append(Evidence(seen.at, text, (observer, subject)))
    last: dict[str, Sample] = {}
    for sample in run.history.of(Sample):
        if sample.ltime < 0:
            continue
        held = last.get(sample.agent)
        life = run.life_at(sample.agent, sample.at)
        if held is not None and life is not None and held.at >= life.span.began:
            judged += 1
            if sample.ltime < held.ltime:
                text = f"the member clock of {sample.agent} fell from {held.ltime} to {sample.ltime}"
                found.append(Evidence(sample.at, text, (sample.agent,)))
        last[sample.agent] = sample
    if found:
        return violated(f"{count(len(found), 'step')} back", found, steps=len(found))
    if not judged:
        return unknown("nothing was seen twice")
    return holds(f"no step back in {judged}", judged=judged)
