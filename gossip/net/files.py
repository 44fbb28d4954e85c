"""Files that are there whole or not at all, and that nobody waits for."""

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path


def replace_file(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Put a file with this content in place, so that a crash leaves the old one or the new one.

    A link stays, and what it leads to is replaced. Raises OSError; then nothing has changed.
    """
    path = Path(os.path.realpath(path))
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except OSError:
        with suppress(OSError):
            fresh.unlink()
        raise
    sync_folder(path.parent)


def read_regular(path: Path, most: int) -> bytes:
    """The first bytes of a file, `most` at most. Raises OSError, for a pipe or device too: it could hold us up."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "is no regular file")
        return file.read(most)


def sync_folder(folder: Path) -> None:
    """Have the folder's entries on disk too, where that can be done: we may write one that we may not read."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
