"""Lab: runs a Scenario on simulated members in virtual time, writes its History, and asks its checkers.

The same seed gives the same history, byte by byte. Real processes run the same files by `agent.lab`.
"""

import heapq
from dataclasses import dataclass
from itertools import count
from math import inf
from typing import Any

from moot.gossip.actions import Action, Calm, undoing
from moot.gossip.afflict import afflict
from moot.gossip.errors import GossipError
from moot.gossip.keywords import key_of
from moot.gossip.selectors import select
from moot.gossip.serf.core import Serf
from moot.gossip.serf.events import CommandDone, ConflictVoted, JoinDone, KeysDone, QueryAnswered, QueryDone
from moot.gossip.sim.checkers import CHECKERS
from moot.gossip.sim.cluster import SimCluster
from moot.gossip.sim.deeds import Deeds
from moot.gossip.sim.goals import is_reached
from moot.gossip.sim.history import Command, Ended, History, Sample, Waited
from moot.gossip.sim.monkey import draw
from moot.gossip.sim.recorder import Recorder
from moot.gossip.sim.scenario import Chance, Expect, Goal, Scenario, Step, Wait
from moot.gossip.sim.timeline import Timeline
from moot.gossip.sim.verdicts import Outcome, Verdict

SAMPLE_EVERY = 1.0
GOAL_LOOK = 0.1
"""How often a goal is looked at, and a command is asked whether it is over."""
READY_WITHIN = 120.0
BOOT_SPREAD = 1.0
SEEDS_MAX = 3
_ENDS = (CommandDone, JoinDone, KeysDone, QueryDone)


@dataclass(frozen=True, slots=True)
class Result:
    """A run and what the checkers say about it, in the order of the scenario's expectations."""

    scenario: Scenario
    history: History
    verdicts: tuple[tuple[Expect, Verdict], ...]
    digest: str = ""

    @property
    def outcome(self) -> Outcome:
        """VIOLATED if anything is, else UNKNOWN if anything is, else HOLDS."""
        outcomes = {verdict.outcome for _, verdict in self.verdicts}
        for worst in (Outcome.VIOLATED, Outcome.UNKNOWN):
            if worst in outcomes:
                return worst
        return Outcome.HOLDS

    @property
    def as_expected(self) -> bool:
        """Whether each verdict is the one that the scenario tells."""
        return all(verdict.outcome.value == expect.verdict for expect, verdict in self.verdicts)


def judge(scenario: Scenario, history: History) -> tuple[tuple[Expect, Verdict], ...]:
    """What the checkers say of a run: those that the scenario expects of its source, and that no wait was in vain."""
    timeline = Timeline(history)
    expects = [expect for expect in scenario.expects if expect.on in ("", history.source)]
    if any(isinstance(step, Wait) for step in scenario.steps) and all(each.check != "reached" for each in expects):
        expects.append(Expect(check="reached", bounds={}))
    return tuple((expect, CHECKERS[expect.check].judge(timeline, expect.bounds)) for expect in expects)


def run(scenario: Scenario, seed: int = 0, *, wire: bool = False) -> Result:
    """Play a scenario and judge it. With `wire` messages travel as bytes; the history is the same."""
    lab = SimLab(scenario, seed, wire=wire)
    history = lab.play()
    return Result(scenario, history, judge(scenario, history), lab.cluster.digest())


class SimLab:
    """One run. `cluster` may be changed before `play`, by tests that plant a bug."""

    def __init__(self, scenario: Scenario, seed: int = 0, *, wire: bool = False) -> None:
        spec = scenario.cluster
        swim, serf = spec.configs()
        self.scenario = scenario
        self.seed = seed
        self.history = History(spec.names, scenario.name, seed, "simulator")
        self.recorder = Recorder(self.history)
        self.cluster = SimCluster(
            spec.size,
            seed=seed,
            swim=swim,
            serf=serf,
            wire=wire,
            keys=[key_of(word) for word in spec.keys],
            names=spec.names,
            snapshots=spec.snapshots,
        )
        self.deeds = Deeds(self.cluster, self.recorder, spec, seed)
        self._ends: dict[tuple[str, int], Any] = {}
        self._answers: dict[tuple[str, int], int] = {}
        self._due: list[tuple[float, int, Action]] = []
        """What is to be done by itself: when, a number that keeps the order, what."""
        self._order = count()
        self._next_sample = 0.0
        self.cluster.watchers.append(self._watch)

    def play(self) -> History:
        """Make the pool, take the steps, and tell all that happened."""
        self._boot()
        began = last = self.cluster.now
        for step in self.scenario.steps:
            start = last + step.after if step.at is None else max(last, began + step.at)
            self._advance(start)
            last = self._take(step)
        self._advance(self.cluster.now + self.scenario.settle)
        while self._due or self.deeds.pending:
            self._advance(max(self.cluster.now + GOAL_LOOK, self._due[0][0] if self._due else 0.0))
        self._sample()
        self.history.add(Ended(self.cluster.now))
        return self.history

    def _boot(self) -> None:
        """Start all, each island for itself, and wait until each agrees."""
        spec = self.scenario.cluster
        islands = [select(island, spec.names) for island in spec.islands]
        rest = [name for name in spec.names if not any(name in island for island in islands)]
        stagger = self.cluster.random("lab boot")
        for number, island in enumerate(filter(None, [*islands, rest])):
            label = spec.labels[number] if number < len(spec.labels) else ""
            for name in island:
                self.deeds.label(name, label)
            for name in island:
                seeds = [seed for seed in island[:SEEDS_MAX] if seed != name]
                self.deeds.start_later(name, seeds, 0.0 if name == island[0] else BOOT_SPREAD * stagger.random())
        goal = Goal("groups", number=max(1, len(islands) + bool(rest))) if islands else Goal("agreed")
        self._wait(goal, READY_WITHIN, "ready")

    def _take(self, step: Step | Wait | Chance) -> float:
        """Take a step; answers the time from which the next one counts."""
        if isinstance(step, Wait):
            self._wait(step.until, step.within, str(step.until))
            return self.cluster.now
        if isinstance(step, Chance):
            return self._by_chance(step)
        for action in step.do:
            self._do(action)
            if step.lasts is not None:
                self._later(self.cluster.now + step.lasts, undoing(action))
        return self.cluster.now

    def _by_chance(self, step: Chance) -> float:
        names = select(step.members, self.cluster.names)
        seed = self.seed if step.seed is None else step.seed
        began = self.cluster.now
        for offset, action in draw(seed, step.faults, names, step.lasts, step.every):
            self._advance(began + offset)
            self._do(action, strict=False)
            self._later(self.cluster.now + step.every, undoing(action))
        self._advance(began + step.lasts + step.every)
        self._do(Calm())
        return self.cluster.now

    def _later(self, when: float, action: Action | None) -> None:
        if action is not None:
            heapq.heappush(self._due, (when, next(self._order), action))

    def _wait(self, goal: Goal, within: float, words: str) -> None:
        began = self.cluster.now
        deadline = began + within
        while not is_reached(goal, self.cluster, self.deeds) and self.cluster.now < deadline:
            self._advance(min(self.cluster.now + GOAL_LOOK, deadline))
        seconds = self.cluster.now - began
        self.history.add(Waited(self.cluster.now, words, seconds, is_reached(goal, self.cluster, self.deeds)))

    def _do(self, action: Action, *, strict: bool = True) -> None:
        """Carry an action out, now. One that cannot be is recorded as a command that failed, if `strict`."""
        now = self.cluster.now
        names = self.deeds.agents
        try:
            if afflict(self.cluster.conditions, action, names):
                self.deeds.after_conditions(isinstance(action, Calm))
            else:
                self.deeds.do(action)
        except GossipError as error:
            if strict:
                self.history.add(Command(now, str(action), error=str(error)))

    def _advance(self, to: float) -> None:
        """Let time pass, and do by the way what is due."""
        cluster = self.cluster
        while cluster.now < to:
            until = min(to, self._next_sample, self._due[0][0] if self._due else inf)
            if self.deeds.busy:
                until = min(until, cluster.now + GOAL_LOOK)
            cluster.run_for(max(0.0, until - cluster.now))
            self._settle()
            while self._due and self._due[0][0] <= cluster.now:
                self._do(heapq.heappop(self._due)[2], strict=False)
            if cluster.now >= self._next_sample:
                self._sample()
                self._next_sample = cluster.now + SAMPLE_EVERY

    def _settle(self) -> None:
        """Commands that are over, and what follows from them."""
        self.deeds.settle(self._ends, self._answers)
        self.deeds.flood.carry_on()

    def _watch(self, at: float, name: str, event: object) -> None:
        self.recorder.event(at, name, event)
        if isinstance(event, _ENDS):
            self._ends[name, event.ticket] = event
        elif isinstance(event, QueryAnswered):
            self._answers[name, event.ticket] = self._answers.get((name, event.ticket), 0) + 1
        elif isinstance(event, ConflictVoted) and not event.stays:
            self.deeds.losers.append(name)

    def _sample(self) -> None:
        now = self.cluster.now
        for name, host in self.cluster.hosts.items():
            if self.cluster.conditions.is_paused(name) or not isinstance(host.core, Serf):
                continue
            sent = self.cluster.traffic.get(name)
            self.history.add(
                Sample(
                    now,
                    name,
                    bytes=sent.bytes if sent else 0,
                    messages=sent.messages if sent else 0,
                    health=host.core.swim.health_score,
                    ltime=host.core.clocks[0],
                )
            )
            if host.keyring is not None:
                self.recorder.keys(now, name, host.keyring.keys)
