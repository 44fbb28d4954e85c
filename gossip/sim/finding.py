"""Finding: what went wrong in a run, in a form that can be told from other wrongs and found again."""

import traceback
from dataclasses import dataclass, replace
from typing import Final

from moot.gossip.actions import ForceLeave, Join, Process, parse
from moot.gossip.errors import ConfigError
from moot.gossip.selectors import select
from moot.gossip.sim.history import Command, FaultBegan, FaultEnded, History, Life
from moot.gossip.sim.lab import SimLab, judge
from moot.gossip.sim.scenario import Expect, Scenario, parse_goal
from moot.gossip.sim.verdicts import Evidence, Outcome, Verdict

CRASH: Final = "crash"
"""Instead of a checker's name: the engine itself raised something."""
ENGINE_FAULTS: Final = (AssertionError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a bug in the engine raises; all that it means to raise is a GossipError."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A violation that the scenario does not tell of. `troubles` are the kinds of what was wrong on purpose then.

    `cause` is what must have been done for it to be one: whoever waits for a member to be gone, and never had it
    killed, has found nothing.
    """

    check: str
    summary: str
    evidence: str
    troubles: frozenset[str]
    cause: tuple[str, ...] = ()
    expect: Expect | None = None
    """The expectation that does not hold, unless it is a crash."""

    def is_like(self, other: "Finding") -> bool:
        """Whether another run went wrong in the same way: for the same checker, and under no more troubles.

        Without the latter a pool that is never mended would pass for one that does not heal.
        """
        if self.check == CRASH:
            return other.check == CRASH and self.summary == other.summary
        same = (self.check, self.expect, self.cause) == (other.check, other.expect, other.cause)
        return same and other.troubles <= self.troubles


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a run, for who only counts: findings, properties by outcome, virtual seconds, events."""

    findings: tuple[Finding, ...]
    outcomes: dict[str, int]
    seconds: float
    event_count: int


def play(scenario: Scenario, seed: int, *, wire: bool = False) -> Played:
    """Play a scenario, and look for what should not be. Raises ConfigError."""
    lab = SimLab(scenario, seed, wire=wire)
    try:
        history = lab.play()
    except ENGINE_FAULTS as error:
        return Played((_crash(error),), {}, lab.now, lab.cluster.event_count)
    verdicts = judge(scenario, history)
    outcomes: dict[str, int] = {}
    for _, verdict in verdicts:
        outcomes[verdict.outcome.value] = outcomes.get(verdict.outcome.value, 0) + 1
    found = tuple(
        _finding(expect, verdict, history)
        for expect, verdict in verdicts
        if verdict.outcome is Outcome.VIOLATED and expect.verdict != "violated"
    )
    return Played(found, outcomes, lab.now, lab.cluster.event_count)


def about(scenario: Scenario, finding: Finding) -> Scenario:
    """The scenario with that one expectation alone."""
    return replace(scenario, expects=() if finding.expect is None else (finding.expect,))


def _crash(error: Exception) -> Finding:
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{last.filename.rpartition('/')[2]}, {last.name}"
    return Finding(CRASH, f"{type(error).__name__} in {where}", str(error), frozenset())


def _finding(expect: Expect, verdict: Verdict, history: History) -> Finding:
    first = verdict.evidence[0] if verdict.evidence else Evidence(0.0, "")
    troubles = _troubles(history, first.at)
    cause = _cause(history, first, troubles) if expect.check == "reached" else ()
    return Finding(expect.check, verdict.summary, first.text, troubles, cause, expect)


def _cause(history: History, vain: Evidence, troubles: frozenset[str]) -> tuple[str, ...]:
    """What led to the expectation of a wait: what was done to the members that it is about, or who was joined."""
    words = vain.text.partition(":")[0]
    if words == "ready":
        return ()
    goal = parse_goal(words)
    found = [goal.what, *(sorted(troubles) if goal.what == "groups" else ())]
    for command in history.of(Command):
        if command.at > vain.at:
            break
        action = parse(command.words)
        if not goal.members:
            found += ["join"] * isinstance(action, Join)
        elif isinstance(action, Process | ForceLeave):
            whom = action.members if isinstance(action, Process) else action.member
            if _meet(whom, goal.members, history.names):
                found.append(command.words.split()[0])
    return tuple(found)


def _meet(one: str, other: str, names: list[str]) -> bool:
    try:
        return bool(set(select(one, names)) & set(select(other, names)))
    except ConfigError:
        return one == other


def _troubles(history: History, at: float) -> frozenset[str]:
    """What is wrong on purpose at an instant: kinds of faults, and `down` or `stop` when anybody is that."""
    active: dict[str, None] = {}
    for record in history.records:
        if record.at > at:
            break
        match record:
            case FaultBegan(words=words):
                active[words] = None
            case FaultEnded(words=words):
                active.pop(words, None)
            case Life(agent=agent, what="stopped"):
                active[f"stop {agent}"] = None
            case Life(agent=agent, what="killed" | "ended" | "left"):
                active.pop(f"stop {agent}", None)
                active[f"down {agent}"] = None
            case Life(agent=agent):
                active.pop(f"stop {agent}", None)
                active.pop(f"down {agent}", None)
    return frozenset(words.split()[0] for words in active)
