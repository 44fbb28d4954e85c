"""How an agent of a cluster is started: the command line of ours, and of a real serf agent behind its relay."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from moot.agent import cluster_state, control_client
from moot.agent.cluster_places import Place
from moot.agent.cluster_state import Node
from moot.agent.processes import Process, find, spawn
from moot.agent.tenants import Tenant, socket_of
from moot.agent.text import printable
from moot.gossip.errors import ConfigError, GossipError
from moot.gossip.selectors import TWIN

SETTINGS = "agent.json"
LOCAL_TIMING = {"retransmit_mult": 4, "push_pull_interval": "5s"}
"""memberlist's local profile tells each news to two members only, which leaves about one in five to the next
push/pull, 15 s later. On one machine more is cheap."""
RETRY_INTERVAL = {"moot": "200ms", "serf": "1s"}
PYTHON = (sys.executable, "-P", "-m")
"""-P: modules must not come from whatever directory the user is in."""
HOUSE_PATIENCE = 30.0
"""Seconds that a house may take to answer."""
LAST_WORDS = 5
"""Lines of an agent's log that an error shows."""


class ClusterError(GossipError):
    """A cluster did not come up, or has ended, or a member of it cannot be reached; the text says why."""


def serf_binary() -> str:
    """The path of the real `serf`. Raises ConfigError without one."""
    found = shutil.which("serf")
    if found is None:
        raise ConfigError("there is no `serf` on PATH; Debian's package is serf")
    return found


def shared_settings(
    *,
    pool: str,
    profile: str,
    key: str,
    label: str,
    tags: Mapping[str, str] | None,
    timing: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """What all agents of a cluster are told, as a configuration file. `timing` None is what suits the profile."""
    if timing is None:
        timing = LOCAL_TIMING if profile == "local" else {}
    return {
        "server": {"enabled": True, "retry_interval": RETRY_INTERVAL["moot"], "encrypt": key},
        "moot": {
            "pool": pool,
            "profile": profile,
            "label": label,
            "tags": dict(tags or {}),
            "timing": dict(timing),
        },
    }


def log_of(directory: Path, name: str) -> Path:
    """The file with an agent's output."""
    return directory / f"{name}.log"


def control_of(directory: Path, name: str) -> Path:
    """The socket of an agent's control channel."""
    return directory / f"{name}.sock"


def snapshot_of(directory: Path, name: str) -> Path:
    """Where an agent notes who is in the pool."""
    return directory / f"{name}.snapshot"


def keyring_of(directory: Path, name: str) -> Path:
    """Where an agent keeps the pool's keys, so that it has the present ones when it starts again."""
    return directory / f"{name}.keyring"


def last_words(directory: Path, name: str) -> list[str]:
    """The end of an agent's log."""
    lines = log_of(directory, name).read_text(errors="replace").splitlines()
    return [printable(line) for line in lines[-LAST_WORDS:]]


def start(
    directory: Path,
    place: Place,
    *,
    shared: Mapping[str, Any],
    lifeline: int | None,
    inherited: Sequence[int] = (),
    retry_join: Sequence[str] = (),
) -> tuple["subprocess.Popen[bytes]", Node]:
    """Start the agent of a place; without addresses to join it starts alone. Raises ClusterError if it ends at once.

    It hangs on the `lifeline`, a descriptor of ours, and also inherits others.
    """
    given = () if lifeline is None else (lifeline,)
    if place.kind == "moot":
        command = [*PYTHON, "moot", "agent", "--control", str(control_of(directory, place.name))]
        command += [] if lifeline is None else ["--lifeline", str(lifeline)]
        command += _words(directory, place, shared, retry_join)
    else:
        command = _serf(directory, place, shared, lifeline)
        command += [part for address in retry_join for part in ("-retry-join", address)]
    child = spawn(command, log_of(directory, place.name), [*given, *inherited])
    process = find(child.pid)
    if process is None:
        child.wait()
        words = last_words(directory, place.name)
        raise ClusterError("\n  ".join([f"agent {place.name} ended {how_ended(child)}:", *words]))
    return child, Node.at(place, process)


def _words(directory: Path, place: Place, shared: Mapping[str, Any], retry_join: Sequence[str]) -> list[str]:
    """What an agent of ours is told, wherever it runs."""
    words = ["--config", str(directory / SETTINGS), "--node", place.name.partition(TWIN)[0], "--bind", place.host]
    words += ["--http-port", str(place.http), "--rpc-port", str(place.rpc), "--serf-port", str(place.serf)]
    words += ["--label", place.label] if place.label else []
    words += ["--keyring-file", str(keyring_of(directory, place.name))] if shared["server"]["encrypt"] else []
    words += ["--snapshot", str(snapshot_of(directory, place.name))]
    return [*words, *(word for address in retry_join for word in ("--retry-join", address))]


def open_house(directory: Path, name: str, lifeline: int, inherited: Sequence[int] = ()) -> "subprocess.Popen[bytes]":
    """Start a process in which agents can live; it hangs on the `lifeline`, and also inherits others."""
    command = [*PYTHON, "moot.agent.house", "--control", str(socket_of(directory, name)), "--lifeline", str(lifeline)]
    return spawn(command, log_of(directory, name), [lifeline, *inherited])


def move_in(
    directory: Path,
    house: str,
    process: Process,
    agents: Sequence[tuple[Place, Sequence[str]]],
    *,
    shared: Mapping[str, Any],
) -> list[Node]:
    """Start agents in a house, each with addresses to join. Raises ControlError, as while it is being opened."""
    wanted = [
        {"name": place.name, "arguments": _words(directory, place, shared, retry_join)}
        for place, retry_join in agents
    ]
    order = {"do": "start", "agents": wanted}
    lives = control_client.ask(socket_of(directory, house), order, HOUSE_PATIENCE)["lives"]
    return [
        Node.at(place, Tenant(process.pid, process.started, str(directory), house, place.name, life))
        for (place, _), life in zip(agents, lives, strict=True)
    ]


def _serf(directory: Path, place: Place, shared: Mapping[str, Any], lifeline: int | None) -> list[str]:
    settings = directory / f"{place.name}.json"
    tags = {"tags": shared["moot"]["tags"]} if shared["moot"]["tags"] else {}
    cluster_state.write(settings, tags)
    own, told = f"{place.host}:{place.http}", f"{place.host}:{place.serf}"
    command = [*PYTHON, "moot.agent.relay", "--name", place.name, "--listen", told, "--to", own]
    command += ["--control", str(control_of(directory, place.name))]
    command += [] if lifeline is None else ["--lifeline", str(lifeline)]
    node = place.name.partition(TWIN)[0]
    command += ["--", serf_binary(), "agent", f"-node={node}", f"-bind={own}", f"-advertise={told}"]
    command += [f"-rpc-addr={place.host}:{place.rpc}", f"-profile={shared['moot']['profile']}"]
    command += [f"-config-file={settings}", f"-snapshot={snapshot_of(directory, place.name)}"]
    if key := shared["server"]["encrypt"]:
        keyring = keyring_of(directory, place.name)
        if not keyring.exists():
            cluster_state.write(keyring, [key])
        command.append(f"-keyring-file={keyring}")
    return [*command, f"-retry-interval={RETRY_INTERVAL['serf']}"]


def how_ended(child: "subprocess.Popen[bytes]") -> str:
    """How a child ended, as `by SIGKILL` or `with exit code 1`."""
    code = child.returncode
    return f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
