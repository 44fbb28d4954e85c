"""SnapshotFile: the file under a snapshot, read, appended to, and replaced so that a crash leaves one that is whole.

Everything here blocks for as long as the disk takes, and raises OSError.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from moot.gossip.net.files import sync_folder
from moot.gossip.serf.snapshot import Restored, replay

READ_SIZE = 64 * 1024
READ_MAX = 64 * 1024 * 1024
"""Of a larger file only the end is read. The largest pool's has a third of it before it is compacted."""
MODE = 0o644
"""Of a new file, before the umask: it holds no secrets, and Serf's is the same."""
MODE_KEPT = 0o664
"""What a fresh file keeps of the old one's mode: not executable, as Serf makes it, nor writable by everybody."""
COMPACT_SUFFIX = ".compact"


class SnapshotFile:
    """One file; `size` is in bytes, `faults` are what was noticed at the start, for people.

    While `is_full` says so every write fails as on a full disk: a lab's fault.
    """

    def __init__(self, path: Path, is_full: Callable[[], bool] = lambda: False) -> None:
        self.path = path
        self._is_full = is_full
        self.size = 0
        self.faults: list[str] = []
        self._handle: int | None = None

    def read(self, *, rejoin_after_leave: bool) -> Restored:
        """What the file says, nothing when there is none. Raises OSError, also when it is no regular file."""
        self.path = Path(os.path.realpath(self.path))
        self._rescue()
        try:
            # without O_NONBLOCK a named pipe would wait for its writer
            handle = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except FileNotFoundError:
            return Restored()
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise OSError("not a regular file")
            if found.st_size > READ_MAX:
                os.lseek(handle, found.st_size - READ_MAX, os.SEEK_SET)
                self.faults.append(f"has {found.st_size} bytes, of which only the last {READ_MAX} were read")
            restored = replay(self._chunks(handle), rejoin_after_leave=rejoin_after_leave)
        finally:
            os.close(handle)
        self.faults += restored.complaints
        return restored

    def open(self, torn_size: int) -> None:
        """Make the file if there is none, cut off the torn end, and prepare to append."""
        self._handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE)
        self.size = os.fstat(self._handle).st_size
        if torn_size:
            self.size -= torn_size
            os.ftruncate(self._handle, self.size)

    def append(self, lines: bytes) -> None:
        """Add lines. After an error a part of them may be in the file, and nothing must be added to that."""
        if lines:
            assert self._handle is not None
            self._check_room()
            _write_all(self._handle, lines)
            self.size += len(lines)

    def sync(self) -> None:
        """Wait until all that was appended is on disk."""
        assert self._handle is not None
        os.fsync(self._handle)

    def replace(self, content: bytes) -> None:
        """Put a fresh file in place; what follows is appended to it. After an error the old one is as it was."""
        fresh = self.path.with_name(self.path.name + COMPACT_SUFFIX)
        fresh.unlink(missing_ok=True)
        self._check_room()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(fresh, flags, MODE)
        try:
            with suppress(FileNotFoundError):
                os.fchmod(handle, stat.S_IMODE(self.path.stat().st_mode) & MODE_KEPT)
            _write_all(handle, content)
            os.fsync(handle)
            os.replace(fresh, self.path)
        except OSError:
            os.close(handle)
            with suppress(OSError):
                fresh.unlink()
            raise
        self.close()
        self._handle = handle
        self.size = len(content)
        sync_folder(self.path.parent)

    def close(self) -> None:
        """Let go of the file; its content stays as it is."""
        if self._handle is not None:
            handle, self._handle = self._handle, None
            with suppress(OSError):  # of an earlier write; whoever needs to know has synced
                os.close(handle)

    def _check_room(self) -> None:
        if self._is_full():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _rescue(self) -> None:
        """Take over the fresh file of a real serf agent that crashed between removing the old one and renaming."""
        fresh = self.path.with_name(self.path.name + COMPACT_SUFFIX)
        if fresh.is_file() and not os.path.lexists(self.path):
            os.replace(fresh, self.path)
            self.faults.append(f"was missing; {fresh.name}, left by a crash, is taken for it")

    @staticmethod
    def _chunks(handle: int) -> Iterator[bytes]:
        left = READ_MAX
        while left > 0 and (chunk := os.read(handle, READ_SIZE)):
            left -= len(chunk)
            yield chunk


def _write_all(handle: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(handle, rest) :]
