"""A local cluster: N real agents, each a process with an address of its own on loopback.

Every agent gets an IP in 127.0.0.0/8 and the standard ports (or, with a base port, 127.0.0.1 and ports of its
own). Nobody survives by accident: agents of an attached cluster inherit a pipe whose other end only the
supervisor holds, and stop when it closes, however the supervisor ended.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from moot.agent import cluster_state
from moot.agent.cluster_state import ClusterState, Node
from moot.agent.processes import end_all, identify, spawn
from moot.gossip.errors import ConfigError, GossipError
from moot.http.client import ApiClient, ApiError

AGENTS_MAX = 200
NETWORKS = [f"127.{77 + number // 250}.{number % 250}" for number in range(500)]
"""Where addresses are taken from: the first /24 of these in which all are free."""
HTTP, RPC, SERF = 4646, 4647, 4648
LOCAL_TIMING = {"retransmit_mult": 4, "push_pull_interval": "5s"}
"""memberlist's local profile tells each news to two members only, which leaves about one in five to the next
push/pull, 15 s later. On one machine more is cheap."""
_SEEDS = 3
"""How many agents the others know by address at start."""


class ClusterError(GossipError):
    """The cluster did not come up; the text says why and where to look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What `cluster up` was asked for."""

    count: int
    name: str = "moot"
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


def places(wish: Wish) -> list[Place]:
    """Free addresses for all agents. The caller holds `cluster_state.exclusive`. Raises ConfigError."""
    if not 1 <= wish.count <= AGENTS_MAX:
        raise ConfigError(f"a cluster has 1 to {AGENTS_MAX} agents, got {wish.count}")
    if wish.base_port:
        if not 1024 <= wish.base_port <= 65535 - 3 * wish.count:
            raise ConfigError(f"--base-port must be from 1024 to {65535 - 3 * wish.count} for {wish.count} agents")
        found = [_place(wish, number, "127.0.0.1", wish.base_port + 3 * (number - 1)) for number in _numbers(wish)]
        taken = [place for place in found if not _free(place)]
        if taken:
            raise ConfigError(f"ports {taken[0].http} to {taken[0].serf} are not all free; take another --base-port")
        return found
    reserved = {node.http.rpartition(":")[0] for state in cluster_state.clusters() for node in state.running()}
    for network in NETWORKS:
        found = [_place(wish, number, f"{network}.{number}", 0) for number in _numbers(wish)]
        if not any(place.host in reserved for place in found) and all(map(_free, found)):
            return found
    raise ConfigError("no free addresses on 127.0.0.0/8; this system may have only 127.0.0.1: try --base-port 24000")


def _numbers(wish: Wish) -> range:
    return range(1, wish.count + 1)


def _place(wish: Wish, number: int, host: str, base: int) -> Place:
    name = f"{wish.name}-{number}"
    ports = (base, base + 1, base + 2) if base else (HTTP, RPC, SERF)
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


def _listening(place: Place) -> bool:
    """HTTP accepts connections there. Asked by connecting: to try to bind would keep the agent from binding."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((place.host, place.http)) == 0


class Cluster:
    """The running agents of one cluster. A context: leaving it ends them, unless it was detached."""

    def __init__(self, wish: Wish, *, detached: bool = False) -> None:
        self.wish = wish
        self.detached = detached
        self.nodes: list[Node] = []
        self.directory = Path()
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._places: list[Place] = []
        self._lifeline: tuple[int, int] | None = None

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self.detached or kind is not None:
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
        with cluster_state.exclusive():
            self._places = places(wish)
            self.directory = cluster_state.create(wish.name, shared)
            if not self.detached:
                self._lifeline = os.pipe()
            for place in self._places:
                self.add(place, [f"{seed.host}:{seed.serf}" for seed in self._places[:_SEEDS] if seed != place])
            # addresses are safe from other clusters once they are bound; HTTP is the last one that an agent binds
            while not all(map(_listening, self._places)):
                self.check_children()
                time.sleep(0.05)

    def add(self, place: Place, retry_join: Sequence[str] = ()) -> Node:
        """Start one more agent. Without addresses to join it starts alone."""
        # -P: modules must not come from whatever directory the user is in
        command = [sys.executable, "-P", "-m", "moot", "agent", "--config", str(self.directory / "agent.json")]
        command += ["--node", place.name, "--bind", place.host]
        command += ["--http-port", str(place.http), "--rpc-port", str(place.rpc), "--serf-port", str(place.serf)]
        command += [part for address in retry_join for part in ("--retry-join", address)]
        lifeline = self._lifeline[0] if self._lifeline else None
        if lifeline is not None:
            command += ["--lifeline", str(lifeline)]
        child = self._children[place.name] = spawn(command, self.log_of(place.name), lifeline)
        node = Node(
            name=place.name,
            member=place.member,
            gossip=f"{place.host}:{place.serf}",
            http=f"{place.host}:{place.http}",
            process=identify(child.pid),
        )
        self.nodes.append(node)
        self._save()
        return node

    def next_place(self) -> Place:
        """A free place beside the others, for one more agent. Raises ConfigError."""
        wish, last = self.wish, self._places[-1]
        number = len(self._places) + 1
        network = last.host.rpartition(".")[0]
        host, base = ("127.0.0.1", last.serf + 1) if wish.base_port else (f"{network}.{number}", 0)
        place = _place(wish, number, host, base)
        if not _free(place):
            raise ConfigError(f"the next address, {place.host}:{place.serf}, is not free")
        self._places.append(place)
        return place

    def log_of(self, name: str) -> Path:
        """The file with an agent's output."""
        return self.directory / f"{name}.log"

    def _save(self) -> None:
        wish = self.wish
        cluster_state.save(
            ClusterState(
                name=wish.name,
                pool=wish.pool,
                profile=wish.profile,
                encrypted=bool(wish.key),
                supervisor=None if self.detached else identify(os.getpid()),
                nodes=tuple(self.nodes),
            )
        )

    def check_children(self) -> None:
        """Raises ClusterError with the end of its log when an agent ended by itself."""
        for name, child in self._children.items():
            if child.poll() is not None:
                lines = self.log_of(name).read_text(errors="replace").splitlines()[-5:]
                raise ClusterError("\n  ".join([f"agent {name} ended with exit code {child.returncode}:", *lines]))

    def end(self) -> None:
        """End all agents by pid, and forget the cluster. Safe to call again."""
        end_all(node.process for node in self.nodes)
        for child in self._children.values():
            child.wait()
        if self._lifeline is not None:
            for fd in self._lifeline:
                os.close(fd)
            self._lifeline = None
        if self.nodes:
            cluster_state.remove(self.wish.name)
        self.nodes = []


def end_cluster(state: ClusterState) -> int:
    """End a cluster from outside, its supervisor too; the number of agents that were running."""
    running = state.running()
    if state.supervisor is not None:
        end_all([state.supervisor], grace=10.0)
    end_all([node.process for node in state.nodes])
    cluster_state.remove(state.name)
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
    return [
        name
        for name, view in views.items()
        if view is not None and sum(status == "alive" for status in view.values()) == count
    ]


@contextlib.contextmanager
def stop_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as Ctrl-C does, by KeyboardInterrupt.

    Only the first one counts: another Ctrl-C must not break into the ending of the agents.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {each: signal.signal(each, interrupt) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def wait_ready(cluster: Cluster, observer: Observer, timeout: float) -> Iterator[int]:
    """Yield how many agents see all alive, until all do. Raises ClusterError after `timeout` seconds."""
    total, deadline = len(cluster.nodes), time.monotonic() + timeout
    while True:
        cluster.check_children()
        ready = alive_everywhere(observer.views(cluster.nodes), total)
        yield len(ready)
        if len(ready) == total:
            return
        if time.monotonic() > deadline:
            missing = ", ".join(node.name for node in cluster.nodes if node.name not in ready)
            raise ClusterError(
                f"after {timeout:.0f} s these do not see {total} alive: {missing}; logs are in {cluster.directory}"
            )
        time.sleep(0.1)
