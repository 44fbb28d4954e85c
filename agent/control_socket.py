"""A Unix socket that only the user's own processes are answered on: one JSON object per line, each answered by one.

The socket lies in a private directory, has mode 0600, and the kernel says who is at the other end. An answer is
`{"ok": true, …}` or `{"error": …}`.
"""

import contextlib
import functools
import json
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import trio

from moot.agent import world
from moot.agent.world import LINE_MAX
from moot.gossip.errors import ConfigError, GossipError

PATIENCE = 60.0
"""Seconds that a line may take to arrive, and an answer to be taken."""
READ_SIZE = 65_536

Send: TypeAlias = Callable[[str], Awaitable[None]]
"""Sends one line more."""
Later: TypeAlias = Callable[[Send], Awaitable[None]]
"""What comes after an answer, up to the end of the connection."""
Answer: TypeAlias = Callable[[dict[str, Any]], Awaitable[tuple[dict[str, Any], Later | None]]]
"""Given a request, what is answered besides `ok`, and what comes after that. Raises GossipError, ValueError."""


class ControlSocket:
    """The end that answers. It is bound once it is made; give `serve` a task, and `close` it at the end.

    Raises ConfigError when the directory is not private or the socket cannot be had.
    """

    def __init__(self, path: Path, *, connections_max: int = 32) -> None:
        self._path = path
        self._connections_max = connections_max
        self._open = 0
        world.check_private(path.parent)
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            with world.beside(path) as reachable:
                path.unlink(missing_ok=True)
                # before it is bound: at no moment may others reach it
                os.fchmod(self._socket.fileno(), 0o600)
                self._socket.bind(reachable)
            self._socket.listen(connections_max)
        except OSError as error:
            self._socket.close()
            raise ConfigError(f"control socket {path}: {error.strerror}") from error

    async def serve(self, answer: Answer) -> None:
        """Answer, for ever."""
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(self._socket))
        async with trio.open_nursery() as nursery:
            while True:
                stream = await listener.accept()
                if self._open >= self._connections_max or peer_user(stream.socket) != os.getuid():
                    stream.socket.close()
                    continue
                self._open += 1
                nursery.start_soon(self._serve, stream, answer)

    async def _serve(self, stream: trio.SocketStream, answer: Answer) -> None:
        # whoever breaks off, stalls or sends no end is simply gone
        try:
            with contextlib.suppress(OSError, trio.BrokenResourceError, trio.TooSlowError):
                async with stream:
                    lines = _Lines(stream)
                    while (line := await lines.next()) is not None:
                        if await _respond(stream, line, answer):
                            break
        finally:
            self._open -= 1

    def close(self) -> None:
        """Take the socket away."""
        self._socket.close()
        self._path.unlink(missing_ok=True)


async def _respond(stream: trio.SocketStream, line: bytes, answer: Answer) -> bool:
    """Answer one line; whether it was the last."""
    try:
        asked = json.loads(line)
        found, later = await answer(asked if isinstance(asked, dict) else {})
    except (ValueError, RecursionError, GossipError) as error:
        await _tell(stream, json.dumps({"error": str(error)}))
        return False
    await _tell(stream, json.dumps({"ok": True} | found))
    if later is not None:
        await later(functools.partial(_tell, stream))
    return later is not None


def peer_user(sock: trio.socket.SocketType) -> int:
    """The user at the other end, as the kernel knows it."""
    form = "3i"
    _, uid, _ = struct.unpack(form, sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize(form)))
    return int(uid)


class _Lines:
    """The lines that arrive on a stream, bounded in length and time."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._held = bytearray()

    async def next(self) -> bytes | None:
        """The next one without its end, None after the last. Raises trio.TooSlowError, trio.BrokenResourceError."""
        with trio.fail_after(PATIENCE):
            while b"\n" not in self._held:
                if len(self._held) > LINE_MAX:
                    raise trio.BrokenResourceError("a line without end")
                data = await self._stream.receive_some(READ_SIZE)
                if not data:
                    return None
                self._held += data
        line, _, self._held = self._held.partition(b"\n")
        return bytes(line)


async def _tell(stream: trio.SocketStream, line: str) -> None:
    with trio.fail_after(PATIENCE):
        await stream.send_all(line.encode() + b"\n")
