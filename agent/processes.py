"""Processes by pid, safely: a pid is only believed together with the time its process started.

Linux only, as `/proc` and pidfds are.
"""

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

OURS = "MOOT_"
"""How the variables begin that are settings of an agent (see `config_env`)."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process for good: `started` (clock ticks since boot) tells a reused pid from it."""

    pid: int
    started: int

    def alive(self) -> bool:
        """It runs. A zombie does not."""
        return started_at(self.pid) == self.started

    def stopped(self) -> bool:
        """It was stopped by a signal, and waits to be continued."""
        return self.alive() and _state(self.pid) == b"T"

    def kill(self, number: signal.Signals) -> bool:
        """Send a signal to this very process. False when it is gone."""
        with _pidfd(self) as fd:
            if fd is None:
                return False
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(fd, number)
            return True

    def handle(self) -> AbstractContextManager[int | None]:
        """A descriptor that can be read from once it has ended; None when it is gone."""
        return _pidfd(self)


def started_at(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None when none runs under that pid."""
    state, *fields = _stat(pid) or [b"X"]
    return None if state in (b"Z", b"X") else int(fields[18])


def _state(pid: int) -> bytes:
    """One letter, as `ps` shows it; empty when there is no such process."""
    return (_stat(pid) or [b""])[0]


def _stat(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat from the third on: state, parent and so on; none when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return []


def find(pid: int) -> Process | None:
    """The process that runs under `pid` now, if one does."""
    started = started_at(pid)
    return None if started is None else Process(pid, started)


def identify(pid: int) -> Process:
    """The process that runs under `pid` now. Raises ProcessLookupError when none does."""
    found = find(pid)
    if found is None:
        raise ProcessLookupError(pid)
    return found


@contextlib.contextmanager
def _pidfd(process: Process) -> Iterator[int | None]:
    """A handle that stays with the process, or None when the pid is no longer its own."""
    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield fd if process.alive() else None
    finally:
        os.close(fd)


def spawn(command: Sequence[str], log: Path, inherited: Sequence[int] = ()) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own (so that Ctrl-C does not reach it), its output going to `log`.

    Of our open files it gets only those in `inherited`, under the same numbers, and of our environment all but what
    would be settings: a local cluster has its own.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
            pass_fds=inherited,
        )


def end_all(processes: Iterable[Process], grace: float = 3.0) -> None:
    """End them by SIGTERM, and by SIGKILL what is still there after `grace` seconds. Returns when all are gone."""
    with contextlib.ExitStack() as stack:
        handles = ((stack.enter_context(process.handle()), process) for process in processes)
        waiting = {fd: process for fd, process in handles if fd is not None}
        for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, grace)):
            for process in waiting.values():
                # a stopped process would sleep through SIGTERM
                for each in (number, signal.SIGCONT):
                    process.kill(each)
            _await_ends(waiting, patience)
            if not waiting:
                return


def _await_ends(waiting: dict[int, Process], patience: float) -> None:
    """Drop those that end within `patience` seconds from `waiting`."""
    poll = select.poll()
    for fd in waiting:
        poll.register(fd, select.POLLIN)
    deadline = time.monotonic() + patience
    while waiting and (left := deadline - time.monotonic()) > 0:
        for fd, _ in poll.poll(left * 1000):
            poll.unregister(fd)
            del waiting[fd]
