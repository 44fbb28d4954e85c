"""The world of a running cluster: kept beside its other notes, and told to every agent when it changes.

What is written is the truth. An agent that starts reads it; one that is stopped finds what it was told meanwhile
in its socket when it goes on. Faults are nowhere but there and in the agents, so they end with the cluster.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from moot.agent import cluster_state, control_client, world
from moot.agent.cluster_start import control_of
from moot.agent.cluster_state import ClusterState, Node
from moot.agent.control_client import ControlError
from moot.agent.world import World
from moot.gossip.afflict import active
from moot.gossip.errors import ConfigError

LOCK = "world.lock"
PATIENCE = 10.0
"""Seconds that an agent which was just started may take until it can be told."""
PAUSE = 0.05
LOCK_PATIENCE = 60.0
"""Seconds to wait for another command that changes the world."""


def load(name: str) -> World:
    """The world of a cluster as it is written down; untroubled when nothing is. Raises ConfigError."""
    return world.load(cluster_state.directory_of(name))


def wrongs(state: ClusterState) -> list[str]:
    """The words of all that is wrong in a cluster on purpose, who is stopped included."""
    stopped = [f"stop {node.name}" for node in state.nodes if node.process.stopped()]
    return [*active(load(state.name).conditions), *stopped]


@contextmanager
def changing(name: str) -> Iterator[tuple[World, list[str]]]:
    """The world, to be changed in the block, and a list for the names of those who could not be told of it.

    When the block ends well it is written down and told to all. Raises ConfigError when there is no such cluster.
    """
    directory = cluster_state.directory_of(name)
    with _locked(directory):
        found, untold = world.load(directory), list[str]()
        yield found, untold
        state = cluster_state.load(name)
        if state is None:
            raise ConfigError(f"cluster {name} is gone")
        found.version += 1
        found.places = {node.name: [node.gossip, *([node.bind] if node.bind else [])] for node in state.nodes}
        found.pids = {node.name: node.process.pid for node in state.nodes if node.kind == "serf"}
        cluster_state.write(directory / world.FILE, found.as_json())
        untold += _tell(directory, found, state.running())


def tell_anew(name: str) -> list[str]:
    """Tell all who is where now; the names of those who could not be told."""
    with changing(name) as (_, untold):
        pass
    return untold


def _tell(directory: Path, fresh: World, nodes: list[Node]) -> list[str]:
    request = {"do": "world"} | fresh.as_json()

    def tell(node: Node) -> str | None:
        path, deadline = control_of(directory, node.name), time.monotonic() + PATIENCE
        while node.process.alive():
            try:
                if node.process.stopped():
                    control_client.leave_word(path, request)
                else:
                    control_client.ask(path, request)
            except ControlError as error:
                # it may be about to start
                if not error.nobody_there or time.monotonic() > deadline:
                    return node.name
                time.sleep(PAUSE)
            else:
                return None
        return None

    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="tell") as threads:
        return [name for name in threads.map(tell, nodes) if name is not None]


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """One command at a time changes the world of a cluster. Raises ConfigError when another takes too long."""
    try:
        lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"{directory / LOCK}: {error.strerror}") from error
    deadline = time.monotonic() + LOCK_PATIENCE
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ConfigError("another `moot` command is changing the faults of this cluster") from None
                time.sleep(0.01)
        yield
    finally:
        os.close(lock)
