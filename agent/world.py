"""World: what every agent of a lab is told of it, as one JSON object; and the sockets by which they are told."""

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from moot.gossip.errors import ConfigError
from moot.gossip.faults import Conditions
from moot.gossip.faults_json import as_json, from_json
from moot.gossip.record import Address

FILE: Final = "world.json"
"""Beside the control sockets: the newest world, for agents that are started later."""
LINE_MAX: Final = 8 * 1024 * 1024
"""Bytes of a line: the conditions of the largest cluster take a tenth."""
MEMBERS_MAX = 4096
PLACES_MAX = 8
"""Addresses of one member at most."""
PID_MAX = 1 << 22
"""As Linux has it."""


@dataclass(slots=True)
class World:
    """The whole state. `places` are the gossip addresses of each member, `ip:port`; `pids` the processes of those
    that apply no faults themselves, real serf agents. The higher `version` is the newer one."""

    version: int = 0
    conditions: Conditions = field(default_factory=Conditions)
    places: dict[str, list[str]] = field(default_factory=dict)
    pids: dict[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """What `json.dumps` takes."""
        conditions = as_json(self.conditions)
        return {"version": self.version, "conditions": conditions, "places": self.places, "pids": self.pids}

    @classmethod
    def read(cls, held: object) -> "World":
        """The world that `as_json` gave. Raises ConfigError, naming the key, for anything else."""
        if not isinstance(held, dict):
            raise ConfigError("the world must be an object")
        version, places, pids = held.get("version"), held.get("places", {}), held.get("pids", {})
        if version is None or not _whole(version, 0):
            raise ConfigError("version must be a whole number")
        for key, table in (("places", places), ("pids", pids)):
            if not isinstance(table, dict) or len(table) > MEMBERS_MAX:
                raise ConfigError(f"{key} must be an object of at most {MEMBERS_MAX} members")
        if not all(_whole(pid, 1) and pid <= PID_MAX for pid in pids.values()):
            raise ConfigError("pids must be process ids")
        for name, told in places.items():
            addresses(name, told)
        return cls(version, from_json(held.get("conditions", {})), places, pids)

    @property
    def addresses(self) -> dict[str, list[Address]]:
        """`places`, parsed."""
        return {name: addresses(name, told) for name, told in self.places.items()}


def _whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def addresses(name: str, told: object) -> list[Address]:
    """The addresses of a member. Raises ConfigError."""
    if not isinstance(told, list) or len(told) > PLACES_MAX or not all(isinstance(each, str) for each in told):
        raise ConfigError(f"places: {name[:80]} must have at most {PLACES_MAX} addresses")
    try:
        parts = [each.rpartition(":") for each in told]
        return [Address.parse(host.removeprefix("[").removesuffix("]"), int(port)) for host, _, port in parts]
    except ValueError as error:
        raise ConfigError(f"places: {name[:80]}: {error}") from error


def load(directory: Path) -> World:
    """The world that is kept in a directory; the untroubled one when there is none. Raises ConfigError."""
    path = directory / FILE
    try:
        return World.read(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return World()
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: {error}") from error


def check_private(directory: Path) -> None:
    """Raises ConfigError when others than we could get at what is in a directory."""
    try:
        held = directory.lstat()
    except OSError as error:
        raise ConfigError(f"{directory}: {error.strerror}") from error
    if not stat.S_ISDIR(held.st_mode) or held.st_uid != os.getuid() or held.st_mode & 0o077:
        raise ConfigError(f"{directory} must be a directory of yours with mode 0700")


@contextmanager
def beside(path: Path) -> Iterator[str]:
    """A name for the socket `path` that is short enough for the kernel, however long the path is."""
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
