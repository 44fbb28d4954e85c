"""Player: takes the steps of a scenario, one after the other, on a stage of simulated members or of processes."""

import heapq
from collections.abc import Callable, Sequence
from itertools import count
from math import inf
from typing import Protocol

from moot.gossip.actions import Action, Calm, undoing
from moot.gossip.amounts import seconds_text
from moot.gossip.errors import CommandError, ConfigError, GossipError
from moot.gossip.selectors import select
from moot.gossip.sim.history import Command, History, Waited
from moot.gossip.sim.monkey import draw
from moot.gossip.sim.scenario import Chance, ClusterSpec, Goal, Scenario, Step, Wait

GOAL_LOOK = 0.1
"""How often a goal is looked at, in seconds."""
READY_WITHIN = 120.0
TIME_DIGITS = 6
"""Times are rounded to so many, so that sums of the same pauses are the same instant whatever their order."""
SEEDS_MAX = 3
"""Who starts is told of so many members at most, unless it is said whom it is to join."""


class Stage(Protocol):
    """Where a scenario is played. Times are seconds since the run began."""

    history: History

    @property
    def now(self) -> float: ...

    @property
    def names(self) -> Sequence[str]:
        """Whom the words of a scenario mean, in order."""
        ...

    @property
    def busy(self) -> bool:
        """Whether commands are under way."""
        ...

    def pass_time(self, until: float) -> None:
        """Let time pass until then, and no longer."""
        ...

    def do(self, action: Action) -> None:
        """Carry out an action, or begin to. Raises GossipError when it cannot be."""
        ...

    def is_reached(self, goal: Goal) -> bool:
        """Whether all agents that run and are not stopped see it so, now."""
        ...


class Player:
    """One run. `tell` hears in words what goes on, for people who watch."""

    def __init__(
        self, scenario: Scenario, seed: int, stage: Stage, tell: Callable[[str], None] = lambda words: None
    ) -> None:
        self._scenario = scenario
        self._seed = seed
        self._stage = stage
        self._tell = tell
        self._due: list[tuple[float, int, Action]] = []
        """What is to be done by itself: when, a number that keeps the order, what."""
        self._order = count()

    def await_ready(self) -> bool:
        """Wait until the pool, or each island of it, agrees; whether it came to that."""
        number = len(islands_of(self._scenario.cluster))
        goal = Goal("groups", number=number) if number > 1 else Goal("agreed")
        return self._wait(goal, READY_WITHIN, "ready")

    def play(self) -> None:
        """Take all steps, and wait for what they began."""
        stage = self._stage
        began = last = stage.now
        for step in self._scenario.steps:
            self._advance(last + step.after if step.at is None else max(last, began + step.at))
            last = self._take(step)
        if self._scenario.settle:
            self._tell(f"looking on for {seconds_text(self._scenario.settle)}")
        self._advance(stage.now + self._scenario.settle)
        while self._due or stage.busy:
            self._advance(max(stage.now + GOAL_LOOK, self._due[0][0] if self._due else 0.0))

    def _take(self, step: Step | Wait | Chance) -> float:
        """Take a step; answers the time from which the next one counts."""
        if isinstance(step, Wait):
            self._wait(step.until, step.within, str(step.until))
        elif isinstance(step, Chance):
            self._by_chance(step)
        else:
            for action in step.do:
                self._do(action)
                if step.lasts is not None:
                    self._later(self._stage.now + step.lasts, undoing(action))
        return self._stage.now

    def _by_chance(self, step: Chance) -> None:
        names = select(step.members, self._stage.names)
        seed = self._seed if step.seed is None else step.seed
        began = self._stage.now
        for offset, action in draw(seed, step.faults, names, step.lasts, step.every):
            self._advance(began + offset)
            self._do(action, strict=False)
            self._later(self._stage.now + step.every, undoing(action))
        self._advance(began + step.lasts + step.every)
        self._do(Calm())

    def _later(self, when: float, action: Action | None) -> None:
        if action is not None:
            heapq.heappush(self._due, (round(when, TIME_DIGITS), next(self._order), action))

    def _wait(self, goal: Goal, within: float, words: str) -> bool:
        stage = self._stage
        began = stage.now
        deadline = began + within
        self._tell(f"waiting until {words}, {seconds_text(within)} at most")
        while not (reached := stage.is_reached(goal)) and stage.now < deadline:
            self._advance(min(stage.now + GOAL_LOOK, deadline))
        stage.history.add(Waited(stage.now, words, stage.now - began, reached))
        self._tell(f"{'' if reached else 'not '}{words} after {seconds_text(round(stage.now - began, 1))}")
        return reached

    def _do(self, action: Action, *, strict: bool = True) -> None:
        """Carry an action out, now. One that cannot be is recorded as a command that failed, if `strict`."""
        self._tell(str(action))
        try:
            self._stage.do(action)
        except GossipError as error:
            self._tell(f"{action}: {error}")
            if strict:
                self._stage.history.add(Command(self._stage.now, str(action), error=str(error)))

    def _advance(self, to: float) -> None:
        """Let time pass, and do by the way what is due."""
        stage = self._stage
        to = round(to, TIME_DIGITS)
        while stage.now < to:
            stage.pass_time(min(to, self._due[0][0] if self._due else inf))
            while self._due and self._due[0][0] <= stage.now:
                self._do(heapq.heappop(self._due)[2], strict=False)


def islands_of(spec: ClusterSpec) -> list[list[str]]:
    """The members that make a pool of their own at first: each island, then all that are in none."""
    islands = [select(island, spec.names) for island in spec.islands]
    rest = [name for name in spec.names if not any(name in island for island in islands)]
    return [*islands, *([rest] if rest else [])]


def doer(by: str, agents: Sequence[str], able: Callable[[str], bool]) -> str:
    """Who carries out a command: the first that is meant and able to, or the first that is. Raises GossipError."""
    for name in select(by, agents) if by else agents:
        if able(name):
            return name
    raise CommandError("nobody is there to do it")


def target(member: str, agents: Sequence[str]) -> str:
    """A selector of one member, or a name that nobody bears. Raises ConfigError."""
    try:
        found = select(member, agents)
    except ConfigError:
        return member
    if len(found) != 1:
        raise ConfigError(f"{member} must mean one member")
    return found[0]
