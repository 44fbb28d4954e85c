"""Receivers: where lines go. Each runs as a task of its own; one that is slow, gone or unknown costs lines, no time.

Nothing is sent again and nothing piles up: figures are worth little when they are late.
"""

import os
import socket
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import trio

from moot.agent.checks import split_receiver
from moot.agent.logs import Log
from moot.agent.statsd.lines import packets

BACKLOG_MAX: Final = 4
"""Batches that wait for a receiver; further ones are dropped."""
RETRY_AFTER: Final = 5.0
"""Seconds after a failure until the receiver is looked for anew."""
PATIENCE: Final = 5.0
"""Seconds that resolving, connecting, or sending a batch may take."""
TOLD_AFTER: Final = 600.0
"""Seconds between two lines of the log about one receiver that cannot be reached."""

Batch: TypeAlias = Sequence[str]


class Receiver:
    """What both have in common. `what` and `address` (`host:port`) are for the log."""

    def __init__(self, what: str, address: str, log: Log) -> None:
        self._what = what
        self._address = address
        self._log = log
        self._send, self._batches = trio.open_memory_channel[Batch](BACKLOG_MAX)
        self._told_at = -TOLD_AFTER
        self.dropped_count = 0
        """Batches that were not sent, or not whole."""

    def offer(self, batch: Batch) -> None:
        """Send this when there is time for it; dropped when too much waits already."""
        try:
            self._send.send_nowait(batch)
        except trio.WouldBlock:
            self.dropped_count += 1

    async def run(self) -> None:
        """Send what is offered, until cancelled."""
        while True:
            try:
                with trio.fail_after(PATIENCE):
                    await self._open()
                while True:
                    batch = await self._batches.receive()
                    with trio.fail_after(PATIENCE):
                        await self._deliver(batch)
            except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
                self.dropped_count += 1
                self._tell(error)
            finally:
                self._close()
            await trio.sleep(RETRY_AFTER)
            self._forget()

    async def _open(self) -> None:
        """Raises OSError, also when the name is not known."""
        raise NotImplementedError

    async def _deliver(self, batch: Batch) -> None:
        """Raises OSError, BrokenResourceError."""
        raise NotImplementedError

    def _close(self) -> None:
        raise NotImplementedError

    def _forget(self) -> None:
        """Drop what came meanwhile."""
        while True:
            try:
                self._batches.receive_nowait()
            except trio.WouldBlock:
                return
            self.dropped_count += 1

    def _tell(self, error: Exception) -> None:
        now = trio.current_time()
        if now - self._told_at < TOLD_AFTER:
            return
        self._told_at = now
        self._log.warn(
            f"{self._what} cannot be reached, figures are dropped",
            address=self._address,
            reason=_reason(error),
            hint="is it running there? telemetry in the configuration says where it is looked for",
        )

    async def _resolved(self, kind: socket.SocketKind) -> tuple[int, Any]:
        """Family and address of the first answer. Raises OSError."""
        host, port = split_receiver(self._address)
        found = await trio.socket.getaddrinfo(host, port, type=kind)
        return found[0][0], found[0][4]


class UdpReceiver(Receiver):
    """statsd or DogStatsD. That nobody listens is known only when the kernel is told so, from this machine mostly."""

    _socket: socket.socket | None = None

    async def _open(self) -> None:
        family, address = await self._resolved(socket.SOCK_DGRAM)
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.connect(address)

    async def _deliver(self, batch: Batch) -> None:
        assert self._socket is not None
        for packet in packets(batch):
            try:
                self._socket.send(packet)
            except BlockingIOError:  # the kernel has no room: the rest is dropped, the next batch is tried
                self.dropped_count += 1
                break
        await trio.lowlevel.checkpoint()

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()


class TcpReceiver(Receiver):
    """statsite."""

    _stream: trio.SocketStream | None = None

    async def _open(self) -> None:
        family, address = await self._resolved(socket.SOCK_STREAM)
        opened = trio.socket.socket(family, socket.SOCK_STREAM)
        self._stream = trio.SocketStream(opened)
        await opened.connect(address)

    async def _deliver(self, batch: Batch) -> None:
        assert self._stream is not None
        await self._stream.send_all("".join(f"{line}\n" for line in batch).encode())

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.socket.close()


def _reason(error: Exception) -> str:
    if isinstance(error, trio.TooSlowError):
        return "timeout"
    cause = error if isinstance(error, OSError) else error.__cause__
    if isinstance(cause, socket.gaierror) or not isinstance(cause, OSError) or cause.errno is None:
        return str(cause or error) or type(error).__name__
    return os.strerror(cause.errno).lower()
