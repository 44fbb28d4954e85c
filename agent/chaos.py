"""Chaos: breaks a running cluster on purpose, and mends it. What to do is said in words (`gossip.actions`)."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from moot.agent import cluster_start, cluster_state, cluster_world, processes
from moot.agent.cluster import SEEDS
from moot.agent.cluster_places import Kind, Place
from moot.agent.cluster_start import ClusterError
from moot.agent.cluster_state import ClusterState, Node
from moot.agent.processes import end_all
from moot.agent.rpc.client import RpcClient
from moot.agent.tenants import Tenant, house_name
from moot.gossip.actions import Action, Calm, DiskFull, Process, SetClock
from moot.gossip.afflict import afflict
from moot.gossip.errors import ConfigError, GossipError
from moot.gossip.selectors import TWIN, select
from moot.http.client import ApiClient

PATIENCE = 30.0
"""Seconds that a process may take to obey."""
PAUSE = 0.01
"""Seconds between looks at it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an action. `untold` are members that could not be told of the world as it is now."""

    words: str
    members: list[str] = field(default_factory=list)
    """Whose processes it was done to."""
    active: list[str] = field(default_factory=list)
    """All that is wrong on purpose now."""
    untold: list[str] = field(default_factory=list)


class Chaos:
    """One running cluster. Keep the object for as long as its agents' starts matter: it holds the children.

    Every method raises ConfigError for what cannot be meant, ClusterError for what could not be done.
    """

    def __init__(self, name: str, *, found_by_snapshot: bool = False) -> None:
        """With `found_by_snapshot` agents that start again are not told of others, for they have a snapshot."""
        self.name = name
        self.found_by_snapshot = found_by_snapshot
        self._children: list[subprocess.Popen[bytes]] = []

    def state(self) -> ClusterState:
        """The cluster as it is now. Raises ConfigError when it does not run."""
        found = cluster_state.load(self.name)
        if found is None or not (found.alive() or found.nodes):
            raise ConfigError(f"no cluster {self.name} is running; `moot cluster status` lists those that are")
        if not found.ready:
            raise ConfigError(f"cluster {self.name} is still starting")
        return found

    def do(self, action: Action) -> Outcome:
        """Carry out an action."""
        state = self.state()
        names = [node.name for node in state.nodes]
        if isinstance(action, Process):
            nodes = [node for node in state.nodes if node.name in select(action.members, names)]
            return self._process(action, nodes)
        self._check(action, state)
        stopped = [node for node in state.nodes if node.process.stopped()] if isinstance(action, Calm) else []
        for node in stopped:
            node.process.kill(signal.SIGCONT)
        with cluster_world.changing(self.name) as (world, untold):
            if not afflict(world.conditions, action, names):
                raise ConfigError(f"a running cluster has no use for `{action}` yet")
        return self._outcome(str(action), stopped, untold)

    def _check(self, action: Action, state: ClusterState) -> None:
        """Raises ConfigError for what real serf agents cannot be made to do."""
        if isinstance(action, SetClock | DiskFull):
            names = [node.name for node in state.nodes]
            chosen = select(action.members, names)
            foreign = [node.name for node in state.nodes if node.kind == "serf" and node.name in chosen]
            if foreign:
                what = "clock" if isinstance(action, SetClock) else "disk"
                raise ConfigError(f"{foreign[0]} is a real serf agent: its {what} is out of reach")

    def _outcome(self, words: str, nodes: Sequence[Node], untold: Sequence[str] = ()) -> Outcome:
        wrong = cluster_world.wrongs(self.state())
        return Outcome(words, [node.name for node in nodes], wrong, list(untold))

    # processes

    def _process(self, action: Process, nodes: Sequence[Node]) -> Outcome:
        match action.verb:
            case "kill":
                _signal(nodes, signal.SIGKILL, lambda node: not node.process.alive())
            case "stop":
                _signal(nodes, signal.SIGSTOP, lambda node: node.process.stopped())
            case "cont":
                _signal(nodes, signal.SIGCONT, lambda node: not node.process.stopped())
            case "leave":
                _leave(nodes)
            case "twin":
                return self._twin(action, nodes)
            case _:
                return self._start(action, nodes)
        # those that go on hear once more how things are; those that ended are nobody to be judged any more
        return self._outcome(str(action), nodes, cluster_world.tell_anew(self.name))

    def _start(self, action: Process, nodes: Sequence[Node]) -> Outcome:
        running = [node.name for node in nodes if node.process.alive()]
        if running and action.verb == "start":
            raise ConfigError(f"{', '.join(running)} is running already; restart it")
        end_all(node.process for node in nodes)
        for node in nodes:
            if action.fresh:
                directory = cluster_state.directory_of(self.name)
                cluster_start.snapshot_of(directory, node.name).unlink(missing_ok=True)
            place = node.place
            if action.verb == "move":
                new = self._next_place(node.kind)
                place = replace(new, name=place.name, member=place.member, label=place.label)
            self.launch(place, via=action.via, alone=self.found_by_snapshot and not action.fresh)
        return self._outcome(str(action), nodes, cluster_world.tell_anew(self.name))

    def _twin(self, action: Process, nodes: Sequence[Node]) -> Outcome:
        """Start another agent of each name, at an address of its own."""
        made = []
        for node in nodes:
            taken = sum(each.name.startswith(node.name + TWIN) for each in self.state().nodes)
            place = replace(self._next_place(node.kind), name=f"{node.name}{TWIN}{taken + 2}")
            made.append(self.launch(replace(place, member=node.member, label=node.label), via=action.via))
        return self._outcome(str(action), made, cluster_world.tell_anew(self.name))

    def _next_place(self, kind: Kind) -> Place:
        state = self.state()
        return state.layout.next_place(len(state.nodes) + 1, kind)

    def grow(self, count: int, kind: Kind) -> tuple[list[Node], list[str]]:
        """Start so many more agents, which join the others; they, and who could not be told of them."""
        state = self.state()
        if kind == "serf" and (state.pool != "serf" or self._shared()["moot"]["label"]):
            raise ConfigError("a real serf agent needs a pool of --pool serf, without a --label")
        made = [self.launch(self._next_place(kind)) for _ in range(count)]
        return made, cluster_world.tell_anew(self.name)

    def launch(self, place: Place, *, via: str = "", alone: bool = False) -> Node:
        """Start the agent of a place, again if it is known, and write it down.

        It joins others of its label: those of `via`, else who runs; none with `alone` and without `via`.
        """
        state = self.state()
        names = [node.name for node in state.nodes]
        others = [node for node in state.nodes if node.process.alive() and node.label == place.label and not alone]
        if via:
            chosen = select(via, names)
            others = [node for node in state.nodes if node.name in chosen]
        others = [node for node in others if node.name != place.name]
        directory = cluster_state.directory_of(self.name)
        retry_join = [other.gossip for other in others[: None if via else SEEDS]]
        if state.houses and place.kind == "moot":
            house, process = _emptiest(state)
            (node,) = cluster_start.move_in(directory, house, process, [(place, retry_join)], shared=self._shared())
        else:
            with _lifeline_of(state) as lifeline:
                child, node = cluster_start.start(
                    directory, place, shared=self._shared(), lifeline=lifeline, retry_join=retry_join
                )
            self._children.append(child)
        with cluster_state.exclusive():
            fresh = cluster_state.load(self.name)
            if fresh is not None:
                nodes = {each.name: each for each in fresh.nodes} | {node.name: node}
                cluster_state.save(replace(fresh, nodes=tuple(nodes.values())))
        if fresh is None:
            end_all([node.process])
            raise ClusterError(f"cluster {self.name} has ended meanwhile")
        return node

    def reap(self) -> None:
        """After the cluster has ended: wait for the agents that were started here, which takes no time."""
        for child in self._children:
            child.wait()
        self._children.clear()

    def _shared(self) -> Mapping[str, Any]:
        try:
            held = json.loads((cluster_state.directory_of(self.name) / cluster_start.SETTINGS).read_text())
        except (OSError, ValueError) as error:
            raise ConfigError(f"the settings of cluster {self.name} cannot be read: {error}") from error
        assert isinstance(held, dict)
        return held


def _emptiest(state: ClusterState) -> tuple[str, processes.Process]:
    """The house with the fewest agents in it. Raises ClusterError when all houses are gone."""
    houses = {house_name(number): each for number, each in enumerate(state.houses, start=1) if each.alive()}
    if not houses:
        raise ClusterError(f"the processes of cluster {state.name} have ended; `moot cluster down` forgets it")
    there = Counter(node.process.house for node in state.running() if isinstance(node.process, Tenant))
    name = min(houses, key=lambda house: there[house])
    return name, houses[name]


@contextlib.contextmanager
def _lifeline_of(state: ClusterState) -> Iterator[int | None]:
    """The pipe on which the agents of an attached cluster hang, opened anew through its supervisor; else None."""
    if state.supervisor is None or state.lifeline is None:
        yield None
        return
    try:
        pipe = os.open(f"/proc/{state.supervisor.pid}/fd/{state.lifeline}", os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise ClusterError(f"the supervisor of cluster {state.name} has ended") from error
    try:
        yield pipe
    finally:
        os.close(pipe)


def _signal(nodes: Sequence[Node], number: signal.Signals, done: Callable[[Node], bool]) -> None:
    """Send a signal to all, then wait until it has worked."""
    gone = [node.name for node in nodes if not node.process.kill(number)]
    if gone:
        raise ClusterError(f"{', '.join(gone)} is not running")
    _await(nodes, done, f"obeyed {number.name}")


def _leave(nodes: Sequence[Node]) -> None:
    for node in nodes:
        if not node.process.alive():
            raise ClusterError(f"{node.name} is not running")
        try:
            if node.kind == "serf":
                with RpcClient(node.rpc, patience=PATIENCE) as client:
                    client.leave()
            else:
                ApiClient(node.url).leave(timeout=PATIENCE)
        except (OSError, GossipError) as error:
            raise ClusterError(f"{node.name} could not leave: {error}") from error
    _await(nodes, lambda node: not node.process.alive(), "ended after leaving")


def _await(nodes: Sequence[Node], done: Callable[[Node], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while lagging := [node.name for node in nodes if not done(node)]:
        if time.monotonic() > deadline:
            raise ClusterError(f"{', '.join(lagging)} has not {what} within {PATIENCE:g} s")
        time.sleep(PAUSE)
