"""What is written down about a running local cluster, so that other commands find it.

One private directory per cluster (mode 0700) under `$XDG_RUNTIME_DIR/moot`, or `/tmp/moot-<uid>` without it:
`state.json` as below, `agent.json` (settings that agents share, the key among them) and `<node>.log`.
"""

import fcntl
import itertools
import json
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from moot.agent import text
from moot.agent.cluster_places import Kind, Layout, Place
from moot.agent.processes import Process, end_all
from moot.agent.tenants import Tenant, read_process
from moot.gossip.errors import ConfigError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One agent of the cluster. Addresses are `ip:port`; `process` is who it was when it started."""

    name: str
    """Node name; its name in the pool has the region after it in a nomad pool."""
    member: str
    """Its name in the pool."""
    gossip: str
    """Where the others find it: for a serf agent its relay's address."""
    http: str
    """Empty for a serf agent."""
    process: Process
    kind: Kind = "moot"
    rpc: str = ""
    bind: str = ""
    """Where a serf agent itself is bound, behind its relay."""
    label: str = ""
    """Of its packets, if not the cluster's."""

    @classmethod
    def at(cls, place: Place, process: Process) -> "Node":
        """An agent that was started at a place."""
        serf = place.kind == "serf"
        own = f"{place.host}:{place.http}"
        return cls(
            name=place.name,
            member=place.member,
            gossip=f"{place.host}:{place.serf}",
            http="" if serf else own,
            process=process,
            kind=place.kind,
            rpc=f"{place.host}:{place.rpc}",
            bind=own if serf else "",
            label=place.label,
        )

    @property
    def place(self) -> Place:
        """Where it lives."""
        host, _, gossip = self.gossip.rpartition(":")
        http, rpc = (int(each.rpartition(":")[2]) for each in (self.http or self.bind, self.rpc))
        return Place(self.name, self.member, host, http, rpc, int(gossip), self.kind, self.label)

    @property
    def url(self) -> str:
        """Base URL of its HTTP API."""
        return f"http://{self.http}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterState:
    """A cluster as its state file tells it."""

    name: str
    pool: str
    profile: str
    encrypted: bool
    supervisor: Process | None
    """Whose end is the cluster's end. None for a detached one, as soon as it is ready."""
    layout: Layout
    lifeline: int | None = None
    """The number of the supervisor's descriptor that its agents hang on."""
    ready: bool = False
    """All agents have seen each other."""
    nodes: tuple[Node, ...] = ()
    houses: tuple[Process, ...] = ()
    """Processes that our agents share; none when each has its own."""

    def processes(self) -> list[Process]:
        """All that belong to the cluster, but its supervisor; alive or not."""
        return [*self.houses, *(node.process for node in self.nodes if not isinstance(node.process, Tenant))]

    def running(self) -> list[Node]:
        """The nodes whose processes are there."""
        return [node for node in self.nodes if node.process.alive()]

    def alive(self) -> bool:
        """Somebody is there: an agent or the supervisor."""
        return bool(self.running()) or (self.supervisor is not None and self.supervisor.alive())


def runtime_dir() -> Path:
    """The private directory of all clusters of this user, made when missing.

    Raises ConfigError when somebody else could write there.
    """
    base = os.environ.get("XDG_RUNTIME_DIR")
    path = Path(base) / "moot" if base else Path(tempfile.gettempdir()) / f"moot-{os.getuid()}"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    held = path.lstat()
    if not stat.S_ISDIR(held.st_mode) or held.st_uid != os.getuid() or held.st_mode & 0o077:
        raise ConfigError(f"{path} must be a directory of yours with mode 0700; remove it or set XDG_RUNTIME_DIR")
    return path


def check_name(name: str) -> None:
    """Raises ConfigError for what cannot be a cluster's name; it becomes a directory's."""
    if not NAME.fullmatch(name):
        raise ConfigError(f"{name!r} is no cluster name; take up to 40 letters, digits, - and _")


def directory_of(name: str) -> Path:
    """The directory of a cluster, whether it exists or not. Raises ConfigError for a name that is none."""
    check_name(name)
    return runtime_dir() / name


@contextmanager
def exclusive(patience: float = 10.0) -> Iterator[None]:
    """Only one command of this user at a time makes or removes notes; nobody holds this for long.

    The lock is on the private directory, so nobody else can take it, and it goes with its process.
    Raises ConfigError after `patience` seconds.
    """
    deadline = time.monotonic() + patience
    directory = os.open(runtime_dir(), os.O_RDONLY | os.O_DIRECTORY)
    try:
        while True:
            try:
                fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ConfigError("another `moot` command holds the notes about clusters; try again") from None
                time.sleep(0.01)
        yield
    finally:
        os.close(directory)


def create(state: ClusterState, shared: dict[str, object], *, numbered: bool = False) -> ClusterState:
    """Begin the notes of a cluster with its state and the settings that its agents share; returns the state.

    What a dead cluster of that name left is replaced. When one is there, `numbered` takes the first free one of
    `name-2`, `name-3` …, and without it ConfigError is raised.
    """
    with exclusive():
        _sweep()
        if numbered:
            state = replace(state, name=next(name for name in _numbered(state.name) if not _held(name)))
        if (held := load(state.name)) is not None and held.alive():
            agents = text.count(len(held.running()), "agent")
            raise ConfigError(
                f"cluster {state.name} is running ({agents}); `moot cluster down --name {state.name}` ends it, "
                "or give the new one another --name"
            )
        directory = directory_of(state.name)
        if directory.exists():
            shutil.rmtree(directory)
        directory.mkdir(mode=0o700)
        # the state comes first: by it the notes, and the key in them, are swept away if we are killed
        save(state)
        write(directory / "agent.json", shared)
    return state


def _numbered(name: str) -> Iterator[str]:
    return itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))


def _held(name: str) -> bool:
    held = load(name)
    return held is not None and held.alive()


def save(state: ClusterState) -> None:
    """Write the state file anew."""
    write(directory_of(state.name) / "state.json", asdict(state))


def write(path: Path, value: object) -> None:
    """Whole or not at all, readable for the owner only: the key is in one of these files."""
    fresh = path.with_suffix(".new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(value, file, indent=2)
    fresh.replace(path)


def load(name: str) -> ClusterState | None:
    """What is written about the cluster; None when nothing is, or when it cannot be read any more."""
    try:
        held = json.loads((directory_of(name) / "state.json").read_text())
        nodes = tuple(Node(**(node | {"process": read_process(node["process"])})) for node in held["nodes"])
        houses = tuple(Process(**each) for each in held.get("houses", ()))
        supervisor = Process(**held["supervisor"]) if held["supervisor"] else None
        layout = Layout(**(held["layout"] | {"ports": tuple(held["layout"]["ports"])}))
        parsed = {"nodes": nodes, "houses": houses, "supervisor": supervisor, "layout": layout}
        return ClusterState(**(held | parsed))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def clusters() -> list[ClusterState]:
    """All clusters that are written down, dead ones too, by name."""
    return [state for name in _names() if (state := load(name)) is not None]


def _names() -> list[str]:
    return sorted(path.name for path in runtime_dir().iterdir() if NAME.fullmatch(path.name))


def sweep() -> None:
    """Remove what clusters left whose supervisor was killed: nobody else would, and the key is among it.

    Agents end with their supervisor, but for those that are stopped: what is left of them is ended. A detached
    cluster whose agents have all ended stays until `down`: its logs may tell why.
    """
    with exclusive():
        _sweep()


def _sweep() -> None:
    for name in _names():
        state = load(name)
        abandoned = state is not None and state.supervisor is not None and not state.supervisor.alive()
        if abandoned and state is not None:
            end_all(state.processes())
        # a directory without a state is one whose making or removal was cut short
        if abandoned or not (directory_of(name) / "state.json").exists():
            _remove(name)


def remove(name: str) -> None:
    """Forget a cluster: its state, settings and logs. For its supervisor alone: nobody else takes the name then."""
    with exclusive():
        _remove(name)


def remove_dead(name: str) -> None:
    """Forget a cluster that has ended, unless a new one has taken its name since."""
    with exclusive():
        if not _held(name):
            _remove(name)


def _remove(name: str) -> None:
    shutil.rmtree(directory_of(name), ignore_errors=True)
