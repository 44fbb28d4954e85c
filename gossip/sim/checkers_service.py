"""Checkers of what the pool does for others: events, keys, commands, and what all this costs."""

from collections import Counter
from math import inf

from moot.gossip.sim.history import (
    Command,
    EventDelivered,
    EventSent,
    KeyState,
    Sample,
    Waited,
)
from moot.gossip.sim.timeline import Timeline
from moot.gossip.sim.verdicts import Evidence, Verdict, count, holds, took, unknown, violated

UNANSWERED = -2.0


def delivery(run: Timeline, *, within: float = 30.0) -> Verdict:
    """Every user event reaches each agent that ran all the time once, so many seconds after it was sent."""
    lacking = []
    judged = short = 0
    sent = run.history.of(EventSent)
    got = run.history.of(EventDelivered)
    for event in sent:
        taken = Counter(
            each.agent
            for each in got
            if (each.name, each.payload) == (event.name, event.payload) and each.at >= event.at
        )
        # the same words sent twice are to come twice
        times = sum(
            (other.name, other.payload) == (event.name, event.payload) and other.at >= event.at for other in sent
        )
        until = event.at + within
        for agent in run.lives:
            if not run.runs(agent, event.at, min(until, run.end)):
                if taken[agent] > times and run.is_up(agent, event.at, run.end):
                    lacking.append(Evidence(event.at, f"{agent} got {event.name} {taken[agent]} times", (agent,)))
                continue
            if taken[agent] > times:
                judged += 1
                lacking.append(Evidence(event.at, f"{agent} got {event.name} {taken[agent]} times", (agent,)))
            elif taken[agent] == times:
                judged += 1
            elif until <= run.end:
                judged += 1
                text = f"{agent} did not get {event.name}, {took(within)} after it was sent"
                lacking.append(Evidence(until, text, (agent,)))
            else:
                short += 1
    if lacking:
        return violated(f"events missing or repeated {count(len(lacking), 'time')}", lacking, judged=judged)
    if short or not judged:
        return unknown("the run ended before events were everywhere" if short else "no event was sent")
    return holds(f"{judged} deliveries, each once", judged=judged)


def key_coverage(run: Timeline) -> Verdict:
    """At the end all that run have the same keys, the same one first."""
    last: dict[str, KeyState] = {state.agent: state for state in run.history.of(KeyState)}
    running = [agent for agent in run.running(run.end) if agent in last]
    if not running:
        return unknown("nobody told of keys")
    commonest, number = Counter(last[agent].keys for agent in running).most_common(1)[0]
    other = [
        Evidence(last[agent].at, f"{agent} has {_keys(last[agent].keys)}, most have {_keys(commonest)}", (agent,))
        for agent in running
        if last[agent].keys != commonest
    ]
    if other:
        return violated(f"{count(len(other), 'agent')} with other keys", other, same=number, agents=len(running))
    return holds(f"{count(number, 'agent')} with {_keys(commonest)}", same=number, agents=len(running))


def _keys(keys: tuple[str, ...]) -> str:
    return f"{', '.join(keys)}" if keys else "no key"


def cost(run: Timeline, *, sent_bytes: float = inf, sent_messages: float = inf) -> Verdict:
    """What an agent sends per second, on the average over its life: so many bytes and messages at most."""
    found = []
    worst = {"bytes": 0.0, "messages": 0.0}
    samples: dict[tuple[str, float], list[Sample]] = {}
    for sample in run.history.of(Sample):
        life = run.life_at(sample.agent, sample.at)
        if life is not None and sample.bytes >= 0 and sample.messages >= 0:
            samples.setdefault((sample.agent, life.span.began), []).append(sample)
    judged = 0
    for (agent, _), series in samples.items():
        elapsed = series[-1].at - series[0].at
        if elapsed <= 0:
            continue
        judged += 1
        sent = {
            "bytes": (series[-1].bytes - series[0].bytes) / elapsed,
            "messages": (series[-1].messages - series[0].messages) / elapsed,
        }
        for kind, most in (("bytes", sent_bytes), ("messages", sent_messages)):
            worst[kind] = max(worst[kind], sent[kind])
            if sent[kind] > most:
                text = f"{agent} sends {sent[kind]:.0f} {kind} per second, more than {most:.0f}"
                found.append(Evidence(series[-1].at, text, (agent,)))
    if found:
        return violated(f"{count(len(found), 'agent')} sent too much", found, **worst)
    if not judged:
        return unknown("what was sent was not measured")
    return holds(f"at most {worst['bytes']:.0f} bytes and {worst['messages']:.1f} messages per second", **worst)


def health(run: Timeline, *, most: float = 3.0, healthy_only: bool = False) -> Verdict:
    """No agent's health score is higher; 0 is healthy. With `healthy_only` slow ones may be as ill as they are."""
    scores = [sample for sample in run.history.of(Sample) if sample.health >= 0]
    if healthy_only:
        scores = [sample for sample in scores if not run.ailing(sample.agent, sample.at, sample.at)]
    ill = [
        Evidence(sample.at, f"health score of {sample.agent} is {sample.health}", (sample.agent,))
        for sample in scores
        if sample.health > most
    ]
    worst = max((sample.health for sample in scores), default=0)
    if ill:
        return violated(f"a health score of {worst}", ill, worst=worst)
    if not scores:
        return unknown("no health score was measured")
    return holds(f"health scores up to {worst}", worst=worst)


def answered(run: Timeline, *, within: float = 1.0) -> Verdict:
    """Every agent that is not stopped answers HTTP within so many seconds, all the time."""
    asked = [
        sample
        for sample in run.history.of(Sample)
        if sample.http != -1.0 and run.runs(sample.agent, sample.at, sample.at)
    ]
    late = [
        Evidence(sample.at, f"{sample.agent} {_answer(sample.http)}", (sample.agent,))
        for sample in asked
        if sample.http == UNANSWERED or sample.http > within
    ]
    slowest = max((sample.http for sample in asked), default=0.0)
    if late:
        return violated(f"{count(len(late), 'answer')} late or missing", late, slowest=slowest, asked=len(asked))
    if not asked:
        return unknown("nobody was asked by HTTP")
    return holds(f"{len(asked)} answers within {took(slowest)}", slowest=slowest, asked=len(asked))


def _answer(http: float) -> str:
    return "did not answer" if http == UNANSWERED else f"answered after {took(http)}"


def commands(run: Timeline, *, failed: float = 0.0, within: float = inf) -> Verdict:
    """At most so many commands fail, and each ends within so many seconds."""
    given = run.history.of(Command)
    wrong = [
        Evidence(each.at, f"{each.words}: {each.error}", (each.agent,) if each.agent else ())
        for each in given
        if each.error
    ]
    late = [
        Evidence(each.at, f"{each.words} took {took(each.seconds)}", (each.agent,) if each.agent else ())
        for each in given
        if each.seconds > within
    ]
    figures = {"failed": float(len(wrong)), "slowest": max((each.seconds for each in given), default=0.0)}
    if len(wrong) > failed or late:
        shown = [*(wrong if len(wrong) > failed else []), *late]
        return violated(f"{count(len(shown), 'command')} failed or took long", shown, **figures)
    if not given:
        return unknown("no command was given")
    return holds(f"{count(len(given), 'command')} within {took(figures['slowest'])}", **figures)


def reached(run: Timeline) -> Verdict:
    """Everything that a step waited for came about in time."""
    waits = run.history.of(Waited)
    missed = [
        Evidence(each.at, f"{each.words}: not within {took(each.seconds)}") for each in waits if not each.reached
    ]
    if missed:
        return violated(f"{count(len(missed), 'wait')} in vain", missed, waits=len(waits))
    if not waits:
        return unknown("nothing was waited for")
    longest = max(each.seconds for each in waits)
    return holds(f"{count(len(waits), 'wait')}, the longest {took(longest)}", waits=len(waits), longest=longest)
