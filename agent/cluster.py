"""A local cluster: N real agents, each a process with an address of its own on loopback.

Every agent gets an IP in 127.0.0.0/8 and the standard ports (or, with a base port, 127.0.0.1 and ports of its
own). Nobody survives by accident: agents inherit a pipe whose other end only the supervisor holds, and stop when
it closes, however the supervisor ended. A detached cluster is released from the pipe when it is ready.
"""

import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from moot.agent import cluster_state, text
from moot.agent.cluster_state import ClusterState, Node
from moot.agent.interrupts import Interrupts
from moot.agent.processes import end_all, find, identify, spawn
from moot.gossip.errors import ConfigError, GossipError
from moot.http.client import ApiClient, ApiError

AGENTS_MAX = 200
NETWORKS = [f"127.{77 + number // 250}.{number % 250}" for number in range(500)]
"""Where addresses are taken from: the first /24 of these in which all are free."""
PORTS = ((4646, 4647, 4648), (24646, 24647, 24648))
"""HTTP, RPC and gossip; the second where something listens on one of the first on all addresses."""
LOCAL_TIMING = {"retransmit_mult": 4, "push_pull_interval": "5s"}
"""memberlist's local profile tells each news to two members only, which leaves about one in five to the next
push/pull, 15 s later. On one machine more is cheap."""
_SEEDS = 3
"""How many agents the others know by address at start."""
_CLAIM = 254
"""The host number of the address that stands for its whole /24; no agent gets it."""
_LAST_WORDS = 5
"""Lines of an agent's log that an error shows."""


class ClusterError(GossipError):
    """The cluster did not come up, or has ended; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What `cluster up` was asked for. `base_port` is one that `base_port_max` allows, or 0."""

    count: int
    name: str = "moot"
    numbered: bool = False
    """When the name is taken, take `name-2` and so on; the agents are named as if it were not."""
    profile: str = "local"
    pool: str = "nomad"
    key: str = ""
    label: str = ""
    base_port: int = 0
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where one agent is to live."""

    name: str
    member: str
    host: str
    http: int
    rpc: int
    serf: int


View = dict[str, str]
"""Member name to status, as one agent answers it."""


def base_port_max(count: int) -> int:
    """The highest base port for so many agents."""
    return 65535 - 3 * count


def find_places(wish: Wish) -> tuple[list[Place], socket.socket | None]:
    """Free addresses for all agents, and a socket that keeps other clusters of this machine from taking them.

    The socket is bound to an address that stands for the network. It works for as long as anybody has it open, so
    every agent inherits it. With a base port there is none: the caller chose the ports. Raises ConfigError.
    """
    if wish.base_port:
        found = [_place(wish, number, "127.0.0.1", _ports_of(wish, number)) for number in _numbers(wish)]
        taken = [place for place in found if not _free(place)]
        if taken:
            raise ConfigError(f"ports {taken[0].http} to {taken[0].serf} are not all free; take another --base-port")
        return found, None
    for ports, network in itertools.product(PORTS, NETWORKS):
        claim = socket.socket()
        try:
            claim.bind((f"{network}.{_CLAIM}", ports[-1]))
        except OSError:
            claim.close()
            continue
        found = [_place(wish, number, f"{network}.{number}", ports) for number in _numbers(wish)]
        if all(map(_free, found)):
            return found, claim
        claim.close()
    raise ConfigError("no free addresses on 127.0.0.0/8; this system may have only 127.0.0.1: try --base-port 24000")


def _numbers(wish: Wish) -> range:
    return range(1, wish.count + 1)


def _ports_of(wish: Wish, number: int) -> tuple[int, int, int]:
    first = wish.base_port + 3 * (number - 1)
    return first, first + 1, first + 2


def _place(wish: Wish, number: int, host: str, ports: tuple[int, int, int]) -> Place:
    name = f"{wish.name}-{number}"
    return Place(name, f"{name}.global" if wish.pool == "nomad" else name, host, *ports)


def _free(place: Place) -> bool:
    """All ports of the place can be bound."""
    wanted = [
        (socket.SOCK_STREAM, place.http),
        (socket.SOCK_STREAM, place.serf),
        (socket.SOCK_DGRAM, place.serf),
    ]
    for kind, port in wanted:
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((place.host, port))
            except OSError:
                return False
    return True


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
        self._places: list[Place] = []
        self._claim: socket.socket | None = None
        self._lifeline: tuple[int, int] | None = None

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def start(self) -> None:
        """Start all agents; each knows the first few and joins them by itself.

        Raises ConfigError when it cannot be, ClusterError when an agent ends at once.
        """
        wish = self.wish
        shared: dict[str, object] = {
            "server": {"enabled": True, "retry_interval": "200ms", "encrypt": wish.key},
            "moot": {
                "pool": wish.pool,
                "profile": wish.profile,
                "label": wish.label,
                "tags": dict(wish.tags or {}),
                "timing": LOCAL_TIMING if wish.profile == "local" else {},
            },
        }
        self._lifeline = os.pipe()
        self._places, self._claim = find_places(wish)
        self.name = cluster_state.create(self._state(), shared, numbered=wish.numbered).name
        self._noted = True
        for place in self._places:
            self.add(place, [f"{seed.host}:{seed.serf}" for seed in self._places[:_SEEDS] if seed != place])

    def add(self, place: Place, retry_join: Sequence[str] = ()) -> Node:
        """Start one more agent; without addresses to join it starts alone. Raises ClusterError if it ends at once."""
        assert self._lifeline is not None
        inherited = [self._lifeline[0], *([self._claim.fileno()] if self._claim else ())]
        # -P: modules must not come from whatever directory the user is in
        command = [sys.executable, "-P", "-m", "moot", "agent", "--config", str(self.directory / "agent.json")]
        command += ["--node", place.name, "--bind", place.host, "--lifeline", str(self._lifeline[0])]
        command += ["--http-port", str(place.http), "--rpc-port", str(place.rpc), "--serf-port", str(place.serf)]
        command += [part for address in retry_join for part in ("--retry-join", address)]
        child = self._children[place.name] = spawn(command, self.log_of(place.name), inherited)
        process = find(child.pid)
        if process is None:
            child.wait()
            raise self._ended(place.name, child)
        node = Node(
            name=place.name,
            member=place.member,
            gossip=f"{place.host}:{place.serf}",
            http=f"{place.host}:{place.http}",
            process=process,
        )
        self.nodes.append(node)
        cluster_state.save(self._state())
        return node

    def next_place(self) -> Place:
        """A free place beside the others, for one more agent. Raises ConfigError."""
        wish, last = self.wish, self._places[-1]
        number = len(self._places) + 1
        if wish.base_port:
            place = _place(wish, number, last.host, _ports_of(wish, number))
        else:
            network = last.host.rpartition(".")[0]
            place = _place(wish, number, f"{network}.{number}", (last.http, last.rpc, last.serf))
        if not _free(place):
            raise ConfigError(f"the next address, {place.host}:{place.serf}, is not free")
        self._places.append(place)
        return place

    @property
    def directory(self) -> Path:
        """Where its notes and logs are."""
        return cluster_state.directory_of(self.name)

    def log_of(self, name: str) -> Path:
        """The file with an agent's output."""
        return self.directory / f"{name}.log"

    def last_words(self, name: str) -> list[str]:
        """The end of an agent's log."""
        lines = self.log_of(name).read_text(errors="replace").splitlines()
        return [text.printable(line) for line in lines[-_LAST_WORDS:]]

    def _state(self) -> ClusterState:
        wish = self.wish
        return ClusterState(
            name=self.name,
            pool=wish.pool,
            profile=wish.profile,
            encrypted=bool(wish.key),
            supervisor=None if self._released else identify(os.getpid()),
            ready=self._ready,
            nodes=tuple(self.nodes),
        )

    def check_children(self) -> None:
        """Raises ClusterError with the end of its log when an agent ended by itself."""
        for name, child in self._children.items():
            if child.poll() is not None:
                raise self._ended(name, child)

    def _ended(self, name: str, child: "subprocess.Popen[bytes]") -> ClusterError:
        return ClusterError("\n  ".join([f"agent {name} ended {_how(child)}:", *self.last_words(name)]))

    def check_running(self) -> None:
        """Raises ClusterError, which says how, when all agents have ended."""
        if all(child.poll() is not None for child in self._children.values()):
            ends = Counter(map(_how, self._children.values()))
            told = ", ".join(f"{number} {how}" for how, number in ends.items())
            raise ClusterError(f"all agents of cluster {self.name} have ended: {told}")

    def mark_ready(self) -> None:
        """Note that all agents have seen each other."""
        self._ready = True
        cluster_state.save(self._state())

    def release(self) -> None:
        """Let the agents live on without us. They are not ended any more, nor is anything forgotten."""
        assert self._lifeline is not None
        self._released = True
        cluster_state.save(self._state())
        # a byte for each of them; an agent that comes to read it only later finds it in the pipe
        os.write(self._lifeline[1], bytes(len(self._children)))
        self._children = {}
        self._noted = False
        self._close()

    def end(self) -> None:
        """End all agents by pid, and forget the cluster. Safe to call again."""
        # until they are waited for, the pids of our children are nobody else's
        end_all(process for child in self._children.values() if (process := find(child.pid)) is not None)
        for child in self._children.values():
            child.wait()
        self._children = {}
        if self._noted:
            cluster_state.remove(self.name)
        self._noted = False
        self.nodes = []
        self._close()

    def _close(self) -> None:
        if self._claim is not None:
            self._claim.close()
        for fd in self._lifeline or ():
            os.close(fd)
        self._claim = self._lifeline = None


def _how(child: "subprocess.Popen[bytes]") -> str:
    """How a child ended, as `by SIGKILL` or `with exit code 1`."""
    code = child.returncode
    return f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"


def end_cluster(state: ClusterState) -> int:
    """End a cluster from outside, its supervisor too; the number of agents that were running."""
    running = state.running()
    if state.supervisor is not None:
        end_all([state.supervisor], grace=10.0)
    end_all(node.process for node in state.nodes)
    cluster_state.remove_dead(state.name)
    return len(running)


class Observer:
    """Asks all agents of a cluster at once, over HTTP. A context, for its threads and connections."""

    def __init__(self, timeout: float = 2.0) -> None:
        self._timeout = timeout
        self._threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="observer")

    def __enter__(self) -> "Observer":
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    def views(self, nodes: Sequence[Node]) -> dict[str, View | None]:
        """By node name: what each agent sees, None from one that does not answer."""
        found = self._threads.map(self.view, nodes)
        return {node.name: view for node, view in zip(nodes, found, strict=True)}

    def view(self, node: Node) -> View | None:
        """One agent's members and their statuses; None when it does not answer."""
        try:
            members = ApiClient(node.url, timeout=self._timeout).members()["Members"]
        except ApiError:
            return None
        return {member["Name"]: member["Status"] for member in members}


def agreeing(views: Mapping[str, View | None], expected: View) -> list[str]:
    """Names of the agents that see exactly `expected` of the members it names."""
    return [
        name
        for name, view in views.items()
        if view is not None and all(view.get(member) == status for member, status in expected.items())
    ]


def alive_everywhere(views: Mapping[str, View | None], count: int) -> list[str]:
    """Names of the agents that see `count` members alive."""
    return [name for name, view in views.items() if view is not None and _alive(view) == count]


def _alive(view: View) -> int:
    return sum(status == "alive" for status in view.values())


def wait_ready(cluster: Cluster, observer: Observer, timeout: float) -> Iterator[int]:
    """Yield how many agents see all alive, until all do. Raises ClusterError after `timeout` seconds."""
    total, deadline = len(cluster.nodes), time.monotonic() + timeout
    while True:
        cluster.check_children()
        with cluster.interrupts.allowed():
            views = observer.views(cluster.nodes)
        ready = alive_everywhere(views, total)
        yield len(ready)
        if len(ready) == total:
            cluster.mark_ready()
            return
        if time.monotonic() > deadline:
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
        elif (seen := _alive(view)) != total:
            lonely.append(f"agent {name} sees {seen} of {total} alive")
    lines = silent + lonely
    return lines if len(lines) <= most else [*lines[:most], f"and {len(lines) - most} more"]
