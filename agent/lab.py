"""Lab: runs a Scenario on a cluster of real agents, and writes the History that the simulator's checkers judge.

Each run has a cluster of its own, so that several live side by side; whatever ends it, its agents end too.
"""

import base64
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from moot.agent import cluster_start, cluster_world
from moot.agent.chaos import Chaos
from moot.agent.cluster import Cluster
from moot.agent.cluster_places import AGENTS_MAX, CLAIM, Place, Wish
from moot.agent.cluster_start import ClusterError
from moot.agent.cluster_state import Node
from moot.agent.flood import Flood
from moot.agent.interrupts import Interrupts
from moot.agent.lab_deeds import carry_out
from moot.agent.lab_watch import Life, Watch
from moot.gossip import actions
from moot.gossip.actions import Action, AskQuery, Calm, ForceLeave, Heal, Join, Keys, Process, SendEvent
from moot.gossip.errors import CommandError, ConfigError
from moot.gossip.keywords import key_of
from moot.gossip.net.keyring_file import save_keys
from moot.gossip.selectors import TWIN, select
from moot.gossip.sim import history as records
from moot.gossip.sim.goals import is_reached
from moot.gossip.sim.history import Command, Ended, EventSent, History
from moot.gossip.sim.lab import Result, judge
from moot.gossip.sim.player import SEEDS_MAX, Player, doer, islands_of, target
from moot.gossip.sim.recorder import Recorder
from moot.gossip.sim.scenario import ClusterSpec, Goal, Scenario

NAME_MAX: Final = 32
LOOK: Final = 0.05
"""Seconds between looks at processes and commands."""
DRAIN: Final = 0.5
"""Seconds that what happened before the end may take to be told."""
LEAVE_PATIENCE: Final = 60.0
COMMANDS: Final = 8
THERE: Final = ("alive", "suspect", "leaving")
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ProcessRun:
    """A judged run. `began` is the time of day at its beginning, in Unix seconds; `logs` are files by agent."""

    result: Result
    began: float
    logs: Mapping[str, Path] = field(default_factory=dict)


def check(scenario: Scenario) -> None:
    """Raises ConfigError for what simulated members can do, and real agents cannot."""
    spec = scenario.cluster
    if spec.size > AGENTS_MAX:
        raise ConfigError(f"{scenario.name}: processes hold {AGENTS_MAX} agents at most; `--sim` holds more")
    if spec.serf and spec.pool != "serf":
        raise ConfigError(f'{scenario.name}: real serf agents need pool = "serf"')
    if spec.serf and spec.labels:
        raise ConfigError(f"{scenario.name}: real serf agents take no labels")


def wish_of(scenario: Scenario, *, in_process: bool = False) -> Wish:
    """The cluster that a scenario asks for; with `in_process` our agents share a process per core."""
    spec = scenario.cluster
    plain = "".join(char if char.isascii() and char.isalnum() else "-" for char in scenario.name)
    return Wish(
        count=spec.size - spec.serf,
        serf_count=spec.serf,
        name=f"lab-{plain[:NAME_MAX]}",
        numbered=True,
        profile=spec.profile,
        pool=spec.pool,
        key=base64.b64encode(key_of(spec.keys[0])).decode() if spec.keys else "",
        prefix="moot",
        alike=True,
        timing={},
        tuning=spec.settings,
        houses=min(spec.size - spec.serf, len(os.sched_getaffinity(0))) if in_process else 0,
    )


def run(
    scenario: Scenario,
    seed: int = 0,
    *,
    interrupts: Interrupts | None = None,
    tell: Tell = lambda words: None,
    in_process: bool = False,
    keep: bool = False,
    logs: Path | None = None,
    timeout: float = float("inf"),
) -> ProcessRun:
    """Play a scenario on processes, and judge it.

    `tell` hears what goes on. With `in_process` our agents share a process per core. The agents end with the run,
    unless it is to `keep` them; their logs are copied to the folder `logs`. Raises ConfigError for what cannot be,
    ClusterError for what went wrong with the cluster, or after `timeout` seconds.
    """
    check(scenario)
    kept = False
    with (
        ExitStack() as after,
        Cluster(wish_of(scenario, in_process=in_process), interrupts or Interrupts()) as cluster,
    ):
        began = time.time()
        lab = ProcessLab(scenario, seed, cluster, tell=tell, timeout=timeout)
        after.callback(lambda: None if kept else lab.reap())
        found: Mapping[str, Path] = {}
        try:
            history = lab.play()
        finally:
            lab.end()
            if logs is not None:
                found = _copied(cluster, logs)
        if keep:
            cluster.release()
            kept = True
    return ProcessRun(Result(scenario, history, judge(scenario, history)), began, found)


def _copied(cluster: Cluster, folder: Path) -> dict[str, Path]:
    """The agents' logs, in a folder that outlives them."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for node in cluster.look():
        source = cluster_start.log_of(cluster.directory, node.name)
        if source.exists():
            found[node.name] = Path(shutil.copyfile(source, folder / source.name))
    return found


class ProcessLab:
    """One run: the stage on which a Player plays. Give it a Cluster that was not started."""

    def __init__(
        self, scenario: Scenario, seed: int, cluster: Cluster, *, tell: Tell, timeout: float = float("inf")
    ) -> None:
        self.scenario = scenario
        self.seed = seed
        self.history = History(scenario.cluster.names, scenario.name, seed, "processes")
        """What the runner itself knows, until the run is over; then all."""
        self._cluster = cluster
        self._places = cluster.prepare()
        self._began = time.monotonic()
        self._deadline = self._began + timeout
        self._tell = tell
        self._watch = Watch(cluster.directory, self._began)
        self._recorder = Recorder(self.history)
        self._chaos = Chaos(cluster.name, found_by_snapshot=scenario.cluster.snapshots)
        self._pool = ThreadPoolExecutor(COMMANDS, thread_name_prefix="lab-command")
        self._under_way: list[Future[None]] = []
        self._victims: dict[str, str] = {}
        self._flood: Flood | None = None
        self._ready = False

    def play(self) -> History:
        """Make the pool, take the steps, and tell all that happened."""
        with self._watch:
            player = Player(self.scenario, self.seed, self, self._say)
            self._boot()
            if not player.await_ready():
                raise ClusterError(f"the agents of {self.scenario.name} did not find each other")
            self._ready = True
            player.play()
            self.history.add(Ended(self.now))
            end = self.now
            self.pass_time(end + DRAIN)
        found = records.in_order([self.history.records, self._watch.records])
        self.history.records = [record for record in found if 0.0 <= record.at <= end]
        return self.history

    def end(self) -> None:
        """Whatever came of it: nothing is sent and nobody is asked any more."""
        if self._flood is not None:
            self._flood.end()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def reap(self) -> None:
        """After the cluster has ended."""
        self._chaos.reap()

    def _say(self, words: str) -> None:
        self._tell(f"{self.now:6.1f}s  {words}")

    # the pool

    def _boot(self) -> None:
        """Start all, each island for itself."""
        spec = self.scenario.cluster
        places = {place.name: place for place in self._places}
        self._say(f"starting {len(places)} agents as cluster {self._cluster.name}")
        for number, island in enumerate(islands_of(spec)):
            label = spec.labels[number] if number < len(spec.labels) else ""
            seeds = island[:SEEDS_MAX]
            for name in island:
                place = replace(places[name], label=label)
                self._note_keys(place, spec)
                at = self.now
                via = [f"{places[seed].host}:{places[seed].serf}" for seed in seeds if seed != name]
                self._started(at, self._cluster.add(place, via))
        self._cluster.mark_ready()

    def _note_keys(self, place: Place, spec: ClusterSpec) -> None:
        if len(spec.keys) > 1:
            path = cluster_start.keyring_of(self._cluster.directory, place.name)
            save_keys(path, [key_of(word) for word in spec.keys])

    def _started(self, at: float, node: Node) -> None:
        member = node.name.partition(TWIN)[0]
        self._recorder.life(at, node.name, "started", member, node.gossip)
        self._watch.follow(node)

    def _life(self, name: str) -> Life:
        """The life of an agent that runs. Raises CommandError."""
        life = self._watch.lives.get(name)
        if life is None or life.over:
            raise CommandError(f"{name} does not run")
        return life

    def _ended(self, at: float, life: Life, how: str) -> None:
        life.over = True
        self._recorder.life(at, life.node.name, how, life.node.name.partition(TWIN)[0])

    # as a stage

    @property
    def now(self) -> float:
        return time.monotonic() - self._began

    @property
    def names(self) -> list[str]:
        return self.scenario.cluster.names

    @property
    def agents(self) -> list[str]:
        """All of them, those that bear another's name last."""
        return list(self._watch.lives)

    @property
    def busy(self) -> bool:
        return bool(self._under_way)

    def pass_time(self, until: float) -> None:
        """Raises ClusterError when the run takes too long, Interrupted."""
        while True:
            with self._cluster.interrupts.allowed():
                time.sleep(max(0.0, min(LOOK, until - self.now)))
            self._look()
            if self.now >= until:
                return
            if time.monotonic() > self._deadline:
                raise ClusterError(f"{self.scenario.name}: not over within the time that was given")

    def is_reached(self, goal: Goal) -> bool:
        lives = self._watch.lives.values()
        if any(not life.told and not life.over for life in lives):
            return False  # somebody is still to start
        return is_reached(goal, _Sight(self._watch), self.names)

    def do(self, action: Action) -> None:
        match action:
            case Process():
                self._process(action)
            case actions.Flood(members, on):
                self._set_flood(members, on=on)
            case Join() | ForceLeave() | SendEvent() | AskQuery() | Keys():
                for agent, single in self._singled(action):
                    self._submit(self._command, agent, single, self.now)
            case _:
                self._afflict(action)

    def _look(self) -> None:
        """Processes that ended by themselves, and commands that are over."""
        for life in self._watch.lives.values():
            if not life.over and not life.leaving and not life.node.process.alive():
                self._ended(self.now, life, "ended")
                words = cluster_start.last_words(self._cluster.directory, life.node.name)
                told = f"{life.node.name} has ended by itself: {words[-1] if words else 'without a word'}"
                if not self._ready:
                    raise ClusterError(told)
                self._say(told)
        done = [future for future in self._under_way if future.done()]
        self._under_way = [future for future in self._under_way if future not in done]
        for future in done:
            future.result()

    # conditions

    def _afflict(self, action: Action) -> None:
        before = self.now
        calm = isinstance(action, Calm)
        held = [life for life in self._watch.lives.values() if calm and life.stopped]
        if calm:
            self._victims = {}
        outcome = self._chaos.do(action)
        if outcome.untold and (still := cluster_world.tell_anew(self._cluster.name)):
            raise ClusterError(f"{', '.join(still)} cannot be told of `{action}`")
        for life in held:
            self._continued(life)
        # a fault is there once the first has heard of it, and gone once the last has
        self._tell_conditions(self.now if calm or isinstance(action, Heal) else before)

    def _tell_conditions(self, at: float) -> None:
        conditions = cluster_world.load(self._cluster.name).conditions
        self._recorder.conditions(at, conditions, [str(actions.Flood(name)) for name in self._victims])

    def _continued(self, life: Life) -> None:
        life.stopped = False
        life.changes += 1
        self._recorder.life(self.now, life.node.name, "continued")

    def _set_flood(self, members: str, *, on: bool) -> None:
        chosen = select(members, self.agents)
        others = {name: address for name, address in self._victims.items() if name not in chosen}
        wanted = {name: self._watch.lives[name].node.gossip for name in chosen} if on else {}
        self._victims = others | wanted
        if self._flood is None:
            nodes = [life.node for life in self._watch.lives.values()]
            host = f"{nodes[0].gossip.rpartition('.')[0]}.{CLAIM - 1}"
            self._flood = Flood(host, [node.member for node in nodes], self.seed, lambda: self._victims)
            self._flood.begin()
        self._tell_conditions(self.now)

    # processes

    def _process(self, action: Process) -> None:
        names = select(action.members, self.agents)
        at = self.now
        if action.verb in ("start", "twin"):
            running = [name for name in names if not self._watch.lives[name].over]
            if running and action.verb == "start":
                raise CommandError(f"{running[0]} runs already")
            self._start(action)
        elif action.verb in ("restart", "move"):
            self._kill([name for name in names if not self._watch.lives[name].over])
            self._start(replace(action, verb="start") if action.verb == "restart" else action)
        elif action.verb == "kill":
            self._kill([self._life(name).node.name for name in names])
        elif action.verb == "leave":
            for life in [self._life(name) for name in names]:
                life.leaving = True
                life.changes += 1
                self._recorder.life(at, life.node.name, "leaving")
                self._submit(self._leave, life, at)
        else:
            self._hold(action, [self._life(name) for name in names])
        self.history.add(Command(at, str(action)))

    def _kill(self, names: Sequence[str]) -> None:
        if not names:
            return
        at = self.now
        for name in names:
            self._ended(at, self._watch.lives[name], "killed")
        self._chaos.do(Process("kill", ",".join(names)))

    def _start(self, action: Process) -> None:
        """Start agents; without snapshots they know nobody, whatever was written down."""
        at = self.now
        fresh = action.fresh or not self.scenario.cluster.snapshots
        outcome = self._chaos.do(replace(action, fresh=fresh))
        nodes = {node.name: node for node in self._chaos.state().nodes}
        for name in outcome.members:
            self._started(at, nodes[name])

    def _hold(self, action: Process, lives: Sequence[Life]) -> None:
        stops = action.verb == "stop"
        chosen = [life for life in lives if life.stopped != stops]
        if not chosen:
            return
        for life in chosen if stops else ():
            life.stopped = True
            life.changes += 1
            self._recorder.life(self.now, life.node.name, "stopped")
        self._chaos.do(Process(action.verb, ",".join(life.node.name for life in chosen)))
        for life in () if stops else chosen:
            self._continued(life)

    def _leave(self, life: Life, began: float) -> None:
        name, error = life.node.name, ""
        try:
            self._chaos.do(Process("leave", name))
        except ClusterError as refused:
            error = str(refused)
        if life.node.process.alive():
            life.leaving = False
        elif not life.over:
            self._ended(self.now, life, "left")
        self.history.add(Command(self.now, f"leave {name}", name, self.now - began, error))

    # commands

    def _singled(self, action: Action) -> Iterator[tuple[str, Action]]:
        """Who is to do it, and the action with the names of single agents in it. Raises GossipError."""
        agents = self.agents
        if isinstance(action, Join):
            for name in select(action.members, agents):
                others = [other for other in select(action.targets, agents) if other != name]
                yield self._life(name).node.name, Join(name, ",".join(others))
            return
        assert isinstance(action, ForceLeave | SendEvent | AskQuery | Keys)
        lives = self._watch.lives
        agent = doer(action.by, agents, lambda name: not (lives[name].over or lives[name].stopped))
        if isinstance(action, ForceLeave):
            action = replace(action, member=target(action.member, agents))
        yield agent, replace(action, by=agent)

    def _command(self, agent: str, action: Action, began: float) -> None:
        places = {life.node.name: life.node for life in self._watch.lives.values()}
        error = result = ""
        if isinstance(action, SendEvent):
            self.history.add(EventSent(began, agent, action.name, action.payload))
        try:
            result = carry_out(places[agent], action, places)
        except CommandError as refused:
            error = str(refused)
        self.history.add(Command(self.now, str(action), agent, self.now - began, error, result))
        if error:
            self._say(f"{action}: {error}")

    def _submit(self, work: Callable[..., None], *args: object) -> None:
        self._under_way.append(self._pool.submit(work, *args))


class _Sight:
    """What the agents of a run see."""

    def __init__(self, watch: Watch) -> None:
        self._lives = {name: life for name, life in watch.lives.items() if not life.over}

    def running(self) -> dict[str, str]:
        return {name: name.partition(TWIN)[0] for name, life in self._lives.items() if not life.stopped}

    def alive(self, observer: str) -> set[str]:
        return {name for name, status in list(self._lives[observer].view.items()) if status in THERE}

    def status(self, observer: str, member: str) -> str:
        held = self._lives[observer].view.get(member, "gone")
        return "alive" if held == "suspect" else held
