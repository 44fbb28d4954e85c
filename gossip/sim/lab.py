"""Lab: runs a Scenario on simulated members in virtual time, writes its History, and asks its checkers.

The same seed gives the same history, byte by byte. Real processes run the same files by `agent.lab`.
"""

from dataclasses import dataclass
from hashlib import blake2b
from math import inf
from typing import Any

from moot.gossip.actions import Action, Calm
from moot.gossip.afflict import afflict
from moot.gossip.keywords import key_of
from moot.gossip.serf.core import Serf
from moot.gossip.serf.events import CommandDone, ConflictVoted, JoinDone, KeysDone, QueryAnswered, QueryDone
from moot.gossip.serf.members import MemberStatus
from moot.gossip.sim.checkers import CHECKERS
from moot.gossip.sim.cluster import SimCluster
from moot.gossip.sim.deeds import Deeds, Named
from moot.gossip.sim.goals import is_reached
from moot.gossip.sim.history import Ended, History, Sample, line_of
from moot.gossip.sim.player import GOAL_LOOK, SEEDS_MAX, Player, islands_of
from moot.gossip.sim.recorder import Recorder
from moot.gossip.sim.scenario import Expect, Goal, Scenario, Wait
from moot.gossip.sim.timeline import Timeline
from moot.gossip.sim.verdicts import Outcome, Verdict

SAMPLE_EVERY = 1.0
BOOT_SPREAD = 1.0
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
        return all(self.expected(expect) in ("", verdict.outcome.value) for expect, verdict in self.verdicts)

    def expected(self, expect: Expect) -> str:
        """The outcome that the scenario tells, empty for whatever: of a pool that is mostly real serf agents
        what it tells of serf."""
        spec = self.scenario.cluster
        mostly_serf = self.history.source == "processes" and 2 * spec.serf > spec.size
        return expect.serf if mostly_serf else expect.verdict


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
    return Result(scenario, history, judge(scenario, history), lab.digest())


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
        self._ends: dict[Named, Any] = {}
        self._answers: dict[Named, int] = {}
        self._next_sample = 0.0
        self.cluster.watchers.append(self._watch)

    def play(self) -> History:
        """Make the pool, take the steps, and tell all that happened."""
        player = Player(self.scenario, self.seed, self)
        self.boot()
        player.await_ready()
        player.play()
        return self.end()

    def end(self) -> History:
        """The run is over: all that happened."""
        self._sample()
        self.history.add(Ended(self.now))
        return self.history

    def digest(self) -> str:
        """A hash over every event of every member, over how much was sent and done, and over the history.

        The same scenario and seed give the same in every process, whether messages travel as objects or as bytes.
        """
        total = blake2b(self.cluster.digest().encode(), digest_size=16)
        for record in self.history.records:
            total.update(line_of(record).encode())
        return total.hexdigest()

    def boot(self) -> None:
        """Start all, each island for itself; for who plays no steps but acts by `do` and `pass_time`."""
        spec = self.scenario.cluster
        stagger = self.cluster.random("lab boot")
        for number, island in enumerate(islands_of(spec)):
            label = spec.labels[number] if number < len(spec.labels) else ""
            for name in island:
                self.deeds.label(name, label)
            for name in island:
                seeds = [seed for seed in island[:SEEDS_MAX] if seed != name]
                self.deeds.start_later(name, seeds, 0.0 if name == island[0] else BOOT_SPREAD * stagger.random())

    # as a stage

    @property
    def now(self) -> float:
        return self.cluster.now

    @property
    def names(self) -> list[str]:
        return self.cluster.names

    @property
    def busy(self) -> bool:
        return bool(self.deeds.pending)

    def do(self, action: Action) -> None:
        if afflict(self.cluster.conditions, action, self.deeds.agents):
            self.deeds.after_conditions(isinstance(action, Calm))
        else:
            self.deeds.do(action)

    def is_reached(self, goal: Goal) -> bool:
        """Never while members are still to start."""
        return not self.deeds.starting and is_reached(goal, _Sight(self.cluster), self.cluster.names)

    def pass_time(self, until: float) -> None:
        cluster = self.cluster
        while True:
            step = min(until, self._next_sample, cluster.now + GOAL_LOOK if self.deeds.busy else inf)
            cluster.run_for(max(0.0, step - cluster.now))
            self._settle()
            if cluster.now >= self._next_sample:
                self._sample()
                self._next_sample = cluster.now + SAMPLE_EVERY
            if cluster.now >= until:
                return

    def _settle(self) -> None:
        """Commands that are over, and what follows from them."""
        self.deeds.settle(self._ends, self._answers)
        self.deeds.flood.carry_on()

    def _watch(self, at: float, name: str, event: object) -> None:
        self.recorder.event(at, name, event)
        if isinstance(event, _ENDS):
            self._ends[name, self.cluster.boots(name), event.ticket] = event
        elif isinstance(event, QueryAnswered):
            named = (name, self.cluster.boots(name), event.ticket)
            self._answers[named] = self._answers.get(named, 0) + 1
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


class _Sight:
    """What simulated members see."""

    def __init__(self, cluster: SimCluster) -> None:
        self._cluster = cluster

    def running(self) -> dict[str, str]:
        paused = self._cluster.conditions.is_paused
        return {name: host.member for name, host in self._cluster.hosts.items() if not paused(name)}

    def alive(self, observer: str) -> set[str]:
        there = (MemberStatus.ALIVE, MemberStatus.LEAVING)
        return {member.name for member in self._cluster.serf(observer).members() if member.status in there}

    def status(self, observer: str, member: str) -> str:
        held = self._cluster.serf(observer).member(member)
        return "gone" if held is None else held.status.value
