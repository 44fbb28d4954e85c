"""What is written down about a running local cluster, so that other commands find it.

One private directory per cluster (mode 0700) under `$XDG_RUNTIME_DIR/moot`, or `/tmp/moot-<uid>` without it:
`state.json` as below, `agent.json` (settings that agents share, the key among them) and `<node>.log`.
"""

import json
import os
import re
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from moot.agent import text
from moot.agent.processes import Process
from moot.gossip.errors import ConfigError

_LOCK = "\0moot-cluster-addresses"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One agent of the cluster. Addresses are `ip:port`; `process` is who it was when it started."""

    name: str
    """Node name; its name in the pool has the region after it in a nomad pool."""
    member: str
    """Its name in the pool."""
    gossip: str
    http: str
    process: Process

    @property
    def url(self) -> str:
        """Base URL of its HTTP API."""
        return f"http://{self.http}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterState:
    """A cluster as its state file tells it. `supervisor` is None for a detached one."""

    name: str
    pool: str
    profile: str
    encrypted: bool
    supervisor: Process | None
    nodes: tuple[Node, ...]

    def running(self) -> list[Node]:
        """The nodes whose processes are there."""
        return [node for node in self.nodes if node.process.alive()]


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


def directory_of(name: str) -> Path:
    """The directory of a cluster, whether it exists or not. Raises ConfigError for a name that is none."""
    if not NAME.fullmatch(name):
        raise ConfigError(f"{name!r} is no cluster name; take up to 40 letters, digits, - and _")
    return runtime_dir() / name


@contextmanager
def exclusive(patience: float = 60.0) -> Iterator[None]:
    """Only one cluster at a time, of all users, picks addresses and binds them. Waits for the others.

    The lock is an abstract socket: it goes with its process, and has the scope of the loopback addresses.
    Raises ConfigError after `patience` seconds.
    """
    deadline = time.monotonic() + patience
    with socket.socket(socket.AF_UNIX) as lock:
        while True:
            try:
                lock.bind(_LOCK)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise ConfigError("another `moot cluster up` is still starting; try again later") from None
                time.sleep(0.05)
        yield


def create(name: str, shared: dict[str, object]) -> Path:
    """A fresh directory for a cluster with the settings its agents share. The caller holds `exclusive`.

    What a dead cluster of that name left is replaced. Raises ConfigError when one is running.
    """
    directory = directory_of(name)
    held = load(name)
    if held is not None and held.running():
        raise ConfigError(
            f"cluster {name} is running ({text.count(len(held.running()), 'agent')}); "
            f"`moot cluster down --name {name}` ends it, or give the new one another --name"
        )
    if directory.exists():
        shutil.rmtree(directory)
    directory.mkdir(mode=0o700)
    _write(directory / "agent.json", shared)
    return directory


def save(state: ClusterState) -> None:
    """Write the state file anew."""
    _write(directory_of(state.name) / "state.json", asdict(state))


def _write(path: Path, value: object) -> None:
    """Whole or not at all, readable for the owner only: the key is in one of these files."""
    fresh = path.with_suffix(".new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(value, file, indent=2)
    fresh.replace(path)


def load(name: str) -> ClusterState | None:
    """What is written about the cluster; None when nothing is, or when it cannot be read any more."""
    try:
        held = json.loads((directory_of(name) / "state.json").read_text())
        nodes = tuple(Node(**(node | {"process": Process(**node["process"])})) for node in held["nodes"])
        supervisor = Process(**held["supervisor"]) if held["supervisor"] else None
        return ClusterState(**(held | {"nodes": nodes, "supervisor": supervisor}))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def clusters() -> list[ClusterState]:
    """All clusters that are written down, dead ones too, by name."""
    names = sorted(path.name for path in runtime_dir().iterdir() if NAME.fullmatch(path.name))
    return [state for name in names if (state := load(name)) is not None]


def remove(name: str) -> None:
    """Forget a cluster: its state, settings and logs."""
    shutil.rmtree(directory_of(name), ignore_errors=True)
