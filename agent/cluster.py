"""A local cluster: N real agents, each a process with an address of its own on loopback.

Every agent gets an IP in 127.0.0.0/8 and the standard ports (or, with a base port, 127.0.0.1 and ports of its
own). Nobody survives by accident: agents inherit a pipe whose other end only the supervisor holds, and stop when
it closes, however the supervisor ended. A detached cluster is released from the pipe when it is ready. What is
written down about a cluster is the truth: other commands add agents to it, and restart them.
"""

import os
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from moot.agent import cluster_start, cluster_state, cluster_world, tuning
from moot.agent.cluster_places import Layout, Place, Wish, find_places
from moot.agent.cluster_start import HOUSE_PATIENCE, ClusterError, how_ended, move_in
from moot.agent.cluster_state import ClusterState, Node
from moot.agent.cluster_views import Observer, View, alive_count, alive_everywhere
from moot.agent.control_client import ControlError
from moot.agent.interrupts import Interrupts
from moot.agent.processes import Process, end_all, find, identify, started_at
from moot.agent.tenants import Tenant, house_name

SEEDS = 3
"""How many agents the others know by address at start."""


class Cluster:
    """The running agents of one cluster. A context: leaving it ends them, unless they were released.

    Signals that `interrupts` catches cannot come between the start of an agent and the note about it, nor while
    agents are ended.
    """

    def __init__(self, wish: Wish, interrupts: Interrupts) -> None:
        self.wish = wish
        self.name = wish.name
        """Its own; with `numbered` only known once it is started."""
        self.nodes: list[Node] = []
        self.interrupts = interrupts
        self._noted = self._ready = self._released = False
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._layout = Layout(prefix=wish.name, pool=wish.pool)
        self._shared: dict[str, object] = {}
        self._houses: dict[str, Process] = {}
        self._claims: list[socket.socket] = []
        self._lifeline: tuple[int, int] | None = None

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def start(self) -> None:
        """Start all agents; each knows the first few and joins them by itself.

        Raises ConfigError when it cannot be, ClusterError when an agent ends at once.
        """
        places = self.prepare()
        seeds = places[:SEEDS]
        told = [(place, [f"{seed.host}:{seed.serf}" for seed in seeds if seed != place]) for place in places]
        if self.wish.houses:
            self._move_in([(place, join) for place, join in told if place.kind == "moot"])
            told = [(place, join) for place, join in told if place.kind == "serf"]
        for place, join in told:
            self.add(place, join)

    def prepare(self) -> list[Place]:
        """Find places for all agents, and begin the notes. Raises ConfigError when it cannot be."""
        wish = self.wish
        if wish.serf_count:
            cluster_start.serf_binary()
        self._shared = cluster_start.shared_settings(
            pool=wish.pool,
            profile=wish.profile,
            key=wish.key,
            label=wish.label,
            tags=wish.tags,
            timing=wish.timing,
        )
        self._lifeline = os.pipe()
        self._layout, places, self._claims = find_places(wish)
        self.name = cluster_state.create(self._state(), self._shared, numbered=wish.numbered).name
        self._noted = True
        if wish.tuning:
            cluster_state.write(self.directory / tuning.FILE, dict(wish.tuning))
        self._open_houses()
        return places

    def add(self, place: Place, retry_join: Sequence[str] = ()) -> Node:
        """Start one more agent; without addresses to join it starts alone. Raises ClusterError if it ends at once."""
        assert self._lifeline is not None
        if self.wish.houses and place.kind == "moot":
            (node,) = self._move_in([(place, retry_join)])
            return node
        child, node = cluster_start.start(
            self.directory,
            place,
            shared=self._shared,
            lifeline=self._lifeline[0],
            inherited=[claim.fileno() for claim in self._claims],
            retry_join=retry_join,
        )
        self._children[place.name] = child
        self.nodes.append(node)
        cluster_state.save(self._state())
        return node

    def _open_houses(self) -> None:
        """Start the processes that our agents share, if they do."""
        assert self._lifeline is not None
        claims = [claim.fileno() for claim in self._claims]
        for number in range(1, self.wish.houses + 1):
            name = house_name(number)
            child = self._children[name] = cluster_start.open_house(self.directory, name, self._lifeline[0], claims)
            self._houses[name] = Process(child.pid, started_at(child.pid) or 0)
            cluster_state.save(self._state())

    def _move_in(self, told: Sequence[tuple[Place, Sequence[str]]]) -> list[Node]:
        """Start agents in the houses, in turn. Raises ClusterError."""
        houses = list(self._houses)
        found: dict[str, Node] = {}
        for index in range(min(len(houses), len(told))):
            house = houses[(len(self.nodes) + index) % len(houses)]
            for node in self._settle(house, told[index :: len(houses)]):
                found[node.name] = node
        nodes = [found[place.name] for place, _ in told]
        self.nodes += nodes
        cluster_state.save(self._state())
        return nodes

    def _settle(self, house: str, told: Sequence[tuple[Place, Sequence[str]]]) -> list[Node]:
        """Start agents in a house, once it is open."""
        deadline = time.monotonic() + HOUSE_PATIENCE
        while True:
            try:
                return move_in(self.directory, house, self._houses[house], told, shared=self._shared)
            except ControlError as error:
                self.check_children()
                if not error.nobody_there or time.monotonic() > deadline:
                    raise
            with self.interrupts.allowed():
                time.sleep(0.02)

    def next_place(self) -> Place:
        """A free place beside the others, for one more agent. Raises ConfigError."""
        return self._layout.next_place(len(self.nodes) + 1, "moot")

    def look(self) -> list[Node]:
        """The agents as they are written down: others may have been added, or started again."""
        state = cluster_state.load(self.name) if self._noted else None
        if state is not None and state.nodes:
            self.nodes = list(state.nodes)
        return self.nodes

    @property
    def directory(self) -> Path:
        """Where its notes and logs are."""
        return cluster_state.directory_of(self.name)

    def log_of(self, name: str) -> Path:
        """The file with an agent's output."""
        return cluster_start.log_of(self.directory, name)

    def last_words(self, name: str) -> list[str]:
        """The end of an agent's log."""
        return cluster_start.last_words(self.directory, name)

    def _state(self) -> ClusterState:
        wish = self.wish
        return ClusterState(
            name=self.name,
            pool=wish.pool,
            profile=wish.profile,
            encrypted=bool(wish.key),
            supervisor=None if self._released else identify(os.getpid()),
            layout=self._layout,
            lifeline=self._lifeline[0] if self._lifeline and not self._released else None,
            ready=self._ready,
            nodes=tuple(self.nodes),
            houses=tuple(self._houses.values()),
        )

    def check_children(self) -> None:
        """Raises ClusterError with the end of its log when an agent ended by itself."""
        for name, child in self._children.items():
            if child.poll() is not None:
                raise self._ended(name, child)
        for node in self.nodes:
            if isinstance(node.process, Tenant) and not node.process.alive():
                raise ClusterError("\n  ".join([f"agent {node.name} ended:", *self.last_words(node.name)]))

    def _ended(self, name: str, child: "subprocess.Popen[bytes]") -> ClusterError:
        return ClusterError("\n  ".join([f"agent {name} ended {how_ended(child)}:", *self.last_words(name)]))

    def check_running(self) -> None:
        """Raises ClusterError, which says how, when all agents have ended."""
        codes = [child.poll() for child in self._children.values()]
        if None not in codes and not any(node.process.alive() for node in self.look()):
            ends = Counter(map(how_ended, self._children.values()))
            told = ", ".join(f"{number} {how}" for how, number in ends.items())
            raise ClusterError(f"all agents of cluster {self.name} have ended: {told}")

    def mark_ready(self) -> None:
        """Note that all agents have seen each other."""
        self._ready = True
        cluster_state.save(self._state())
        cluster_world.tell_anew(self.name)

    def release(self) -> None:
        """Let the agents live on without us. They are not ended any more, nor is anything forgotten."""
        assert self._lifeline is not None
        self._released = True
        cluster_state.save(self._state())
        # a byte for each of them; an agent that comes to read it only later finds it in the pipe
        os.write(self._lifeline[1], bytes(len(self._children)))
        self._children, self._houses = {}, {}
        self._noted = False
        self._close()

    def end(self) -> None:
        """End all agents by pid, and forget the cluster. Safe to call again."""
        # until they are waited for, the pids of our children are nobody else's
        children = [process for child in self._children.values() if (process := find(child.pid)) is not None]
        # others may have been added, or started again
        state = cluster_state.load(self.name) if self._noted else None
        end_all(dict.fromkeys([*children, *(state.processes() if state is not None else [])]))
        for child in self._children.values():
            child.wait()
        self._children = {}
        if self._noted:
            cluster_state.remove(self.name)
        self._noted = False
        self.nodes = []
        self._close()

    def _close(self) -> None:
        for claim in self._claims:
            claim.close()
        for fd in self._lifeline or ():
            os.close(fd)
        self._claims, self._lifeline = [], None


def end_cluster(state: ClusterState) -> int:
    """End a cluster from outside, its supervisor too; the number of agents that were running."""
    running = state.running()
    if state.supervisor is not None:
        end_all([state.supervisor], grace=10.0)
    # others may have been started meanwhile
    state = cluster_state.load(state.name) or state
    end_all(state.processes())
    cluster_state.remove_dead(state.name)
    return len(running)


def wait_ready(cluster: Cluster, observer: Observer, timeout: float) -> Iterator[int]:
    """Yield how many agents see all alive, until all do. Raises ClusterError after `timeout` seconds."""
    total, deadline = len(cluster.nodes), time.monotonic() + timeout
    ready: set[str] = set()
    while True:
        cluster.check_children()
        # who has seen all of them is not asked again, until all have: asking costs those who are asked
        waiting = [node for node in cluster.nodes if node.name not in ready]
        with cluster.interrupts.allowed():
            counts = observer.counts(cluster.directory, waiting)
            ready.update(name for name, count in counts.items() if count == total)
            views = observer.views(cluster.nodes) if len(ready) == total else {}
        yield len(ready)
        if views:
            ready = set(alive_everywhere(views, total))
            if len(ready) == total:
                cluster.mark_ready()
                return
        if time.monotonic() > deadline:
            with cluster.interrupts.allowed():
                views = observer.views(cluster.nodes)
            raise ClusterError("\n  ".join([f"not ready after {timeout:g} s:", *_missing(cluster, views)]))
        with cluster.interrupts.allowed():
            time.sleep(0.1)


def _missing(cluster: Cluster, views: Mapping[str, View | None]) -> list[str]:
    """A line per agent that does not see all alive: first those that do not answer, with their last words."""
    total, most = len(cluster.nodes), 5
    silent = []
    lonely = []
    for name, view in views.items():
        if view is None:
            words = cluster.last_words(name)
            silent.append(f"agent {name} does not answer; its log {f'ends: {words[-1]}' if words else 'is empty'}")
        elif (seen := alive_count(view)) != total:
            lonely.append(f"agent {name} sees {seen} of {total} alive")
    lines = silent + lonely
    return lines if len(lines) <= most else [*lines[:most], f"and {len(lines) - most} more"]
