"""Whose a TCP connection on this machine is. Linux only: `/proc/net/tcp` has its inode, `/proc/PID/fd` its process.

Members of a cluster dial each other from one and the same loopback address, so the address does not tell.
"""

import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

from moot.gossip.record import Address

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_MAPPED = bytes(10) + b"\xff\xff"


def owner_of(source: Address, here: Address, pids: Mapping[str, int]) -> str | None:
    """Which of these processes dialled from `source` to `here`, by its name in `pids`; None when none of them."""
    inode = _inode(source, here)
    if inode is None:
        return None
    link = f"socket:[{inode}]"
    return next((name for name, pid in pids.items() if link in _files(pid)), None)


def _inode(source: Address, here: Address) -> str | None:
    for table in TABLES:
        try:
            lines = table.read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if _address(fields[1]) == source and _address(fields[2]) == here:
                return fields[9]
    return None


def _address(text: str) -> Address:
    """`0100007F:1F90`: words of four bytes as this machine has them, and the port."""
    ip, _, port = text.partition(":")
    words = (int(ip[at : at + 8], 16) for at in range(0, len(ip), 8))
    raw = b"".join(struct.pack("=I", word) for word in words)
    return Address(raw.removeprefix(_MAPPED), int(port, 16))


def _files(pid: int) -> Iterator[str]:
    """What the open files of a process are; nothing when it is gone or not ours."""
    try:
        with os.scandir(f"/proc/{pid}/fd") as entries:
            for entry in entries:
                try:
                    yield os.readlink(entry.path)
                except OSError:  # closed meanwhile
                    continue
    except OSError:
        return
