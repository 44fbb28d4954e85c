"""What `/v1/agent/host` tells of the machine and of the agent's environment, secrets left out."""

import os
import platform
import re
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import trio

from moot.agent.serf.interfaces import addresses_of
from moot.http.backend import BackendError
from moot.http.schema import DiskAnswer, HostAnswer

REDACTED: Final = "<redacted>"
FILE_MAX: Final = 64 * 1024
"""Bytes of a file that are told."""
TIMEOUT: Final = 5.0
MEBIBYTE: Final = 1024 * 1024

_SECRET = re.compile("TOKEN|SECRET|PASS|KEY|AUTH|CREDENTIAL|ENCRYPT|PRIVATE|COOKIE", re.IGNORECASE)
_USERINFO = re.compile("://[^/@]+@")
_ESCAPE = re.compile(r"\\([0-7]{3})")
_KEPT_FILE_SYSTEMS = frozenset({"overlay", "zfs"})
"""Those without a device of their own that hold data all the same."""


class HostFacts:
    """Collects the facts in a thread, one at a time: a file system can take as long as it likes."""

    def __init__(self) -> None:
        self._turn = trio.CapacityLimiter(1)

    async def collect(self) -> HostAnswer:
        """Raises BackendError when it takes too long."""
        with trio.move_on_after(TIMEOUT):
            return await trio.to_thread.run_sync(collect, abandon_on_cancel=True, limiter=self._turn)
        raise BackendError(f"the facts of this machine could not be had within {TIMEOUT:g} s")


def collect() -> HostAnswer:
    """May take long."""
    return HostAnswer(
        os=" ".join(platform.uname()),
        network=list(networks()),
        resolv_conf=file_text(Path("/etc/resolv.conf")),
        hosts=file_text(Path("/etc/hosts")),
        environment=environment(os.environ),
        disk=dict(disks(file_text(Path("/proc/self/mounts")), file_text(Path("/proc/filesystems")))),
    )


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Variables by name; of those that may be secrets only the name, and no password that is part of a URL."""
    return {
        name: REDACTED if value and (_SECRET.search(name) or _USERINFO.search(value)) else value
        for name, value in variables.items()
    }


def file_text(path: Path) -> str:
    """The beginning of a file, empty when it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(FILE_MAX).decode("utf-8", "replace")
    except OSError:
        return ""


def networks() -> Iterator[dict[str, str]]:
    """The addresses of the machine with the interfaces that have them."""
    for _, name in socket.if_nameindex():
        try:
            found = addresses_of(name)
        except OSError:
            continue  # it is gone meanwhile
        for address in found:
            yield {"address": str(address), "name": name}


def disks(mounts: str, file_systems: str) -> Iterator[tuple[str, DiskAnswer]]:
    """Mount points with what is there. Both texts are those of /proc."""
    virtual = {line.split()[-1] for line in file_systems.splitlines() if line.startswith("nodev")}
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < 3 or fields[2] in virtual - _KEPT_FILE_SYSTEMS:
            continue
        place = _ESCAPE.sub(lambda found: chr(int(found[1], 8)), fields[1])
        try:
            held = os.statvfs(place)
        except OSError:
            continue  # not for us
        if held.f_blocks:
            used = (held.f_blocks - held.f_bfree) * held.f_frsize
            yield place, DiskAnswer(disk_mb=held.f_blocks * held.f_frsize // MEBIBYTE, used_mb=used // MEBIBYTE)
