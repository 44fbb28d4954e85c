"""The lab's end of the control channel: plain sockets, so that a command line starts fast."""

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from moot.agent.world import LINE_MAX, beside
from moot.gossip.errors import GossipError

PATIENCE: Final = 5.0
"""Seconds that an agent has to answer."""
READ_SIZE = 65_536


class ControlError(GossipError):
    """An agent did not answer on its control channel, or refused; the text says why."""

    @property
    def nobody_there(self) -> bool:
        """Whether there is no such channel, as before an agent has started."""
        return isinstance(self.__cause__, FileNotFoundError | ConnectionRefusedError)


def ask(path: Path, request: Mapping[str, object], patience: float = PATIENCE) -> dict[str, Any]:
    """One question, one answer. Raises ControlError."""
    with _connected(path, request, patience) as (_, lines):
        return _checked(path, next(lines, ""))


def leave_word(path: Path, request: Mapping[str, object], patience: float = PATIENCE) -> None:
    """Say something to an agent that is stopped: it will find it when it goes on. Raises ControlError."""
    with _connected(path, request, patience):
        pass


@contextmanager
def history(path: Path, patience: float = PATIENCE) -> Iterator[Iterator[str]]:
    """The records of what an agent sees and does from now on, a line each (`sim.history.record_of` reads them).

    They end when the agent does. Times are seconds on this machine's monotonic clock. Raises ControlError.
    """
    with _connected(path, {"do": "history"}, patience) as (sock, lines):
        _checked(path, next(lines, ""))
        sock.settimeout(None)
        yield lines


@contextmanager
def held(path: Path, request: Mapping[str, object], patience: float = PATIENCE) -> Iterator[socket.socket]:
    """The connection on which something was asked and answered, for as long as both ends hold it.

    Raises ControlError.
    """
    with _connected(path, request, patience) as (sock, lines):
        _checked(path, next(lines, ""))
        yield sock


@contextmanager
def _connected(
    path: Path, request: Mapping[str, object], patience: float
) -> Iterator[tuple[socket.socket, Iterator[str]]]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(patience)
        try:
            with beside(path) as reachable:
                sock.connect(reachable)
            sock.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise _unreachable(path, error) from error
        yield sock, _lines(sock, path)


def _lines(sock: socket.socket, path: Path) -> Iterator[str]:
    held = b""
    while True:
        try:
            data = sock.recv(READ_SIZE)
        except OSError as error:
            raise _unreachable(path, error) from error
        *whole, held = (held + data).split(b"\n")
        for line in whole:
            yield line.decode()
        if not data:
            return
        if len(held) > LINE_MAX:
            raise ControlError(f"{path.stem} answers without end")


def _checked(path: Path, line: str) -> dict[str, Any]:
    try:
        answer = json.loads(line)
    except ValueError:
        raise ControlError(f"{path.stem} does not answer on its control channel") from None
    if not isinstance(answer, dict) or not answer.get("ok"):
        raise ControlError(f"{path.stem} refuses: {answer.get('error') if isinstance(answer, dict) else answer}")
    return answer


def _unreachable(path: Path, error: OSError) -> ControlError:
    return ControlError(f"{path.stem} cannot be told on its control channel: {error.strerror or error}")
