"""Connection: one client's bytes. Objects come in whole, answers and records go out one after the other."""

import contextlib
from collections.abc import Iterable

import trio

from moot.agent.rpc.contract import Limits
from moot.agent.rpc.scanner import Scanner
from moot.gossip import pack

RECEIVE_BYTES = 16 * 1024
SEND_BYTES = 16 * 1024
"""Parts are gathered up to this size, then written."""
LINGER_BYTES_MAX = 1024 * 1024


class Connection:
    """Reads for one task, writes for many. Give `write_out` a task.

    What is sent waits until the writer takes it, so a client that does not read holds up who sends to it, and
    nothing piles up. Whoever is cancelled while it waits has sent nothing.
    """

    def __init__(self, stream: trio.abc.HalfCloseableStream, limits: Limits) -> None:
        self._stream = stream
        self._limits = limits
        self._scanner = Scanner()
        self._send, self._receive = trio.open_memory_channel[Iterable[bytes] | trio.Event](0)

    async def read(self, patience: float) -> object:
        """The next object, as `gossip.pack` decodes it.

        It must begin within `patience` seconds and be whole within the request timeout from then. Raises
        WireError, TooSlowError, EndOfChannel when the client is gone, BrokenResourceError when it broke off.
        """
        begun = self._scanner.held > 0
        with trio.fail_after(self._limits.request_timeout if begun else patience) as scope:
            while (found := self._scanner.take()) is None:
                data = await self._stream.receive_some(RECEIVE_BYTES)
                if not data:
                    raise trio.EndOfChannel
                self._scanner.feed(data)
                if not begun:
                    begun = True
                    scope.deadline = trio.current_time() + self._limits.request_timeout
        return pack.unpack(found)

    async def send(self, parts: Iterable[bytes]) -> None:
        """Send all parts together; they are made when their turn comes. The writer may still be at it on return."""
        await self._send.send(parts)

    async def flush(self) -> None:
        """Wait until all that was sent before has been written."""
        written = trio.Event()
        await self._send.send(written)
        await written.wait()

    async def write_out(self) -> None:
        """Write what is sent until cancelled. Raises BrokenResourceError, and TooSlowError when nobody reads."""
        async for item in self._receive:
            if isinstance(item, trio.Event):
                item.set()
                continue
            gathered = bytearray()
            for part in item:
                gathered += part
                if len(gathered) >= SEND_BYTES:
                    await self._write(gathered)
                    gathered.clear()
            await self._write(gathered)

    async def _write(self, data: bytearray) -> None:
        with trio.fail_after(self._limits.send_timeout):
            await self._stream.send_all(data)

    async def say_goodbye(self) -> None:
        """After the last answer: wait for it to be written and for the client to go, but not for long."""
        with trio.move_on_after(self._limits.linger_timeout), contextlib.suppress(trio.BrokenResourceError):
            await self.flush()
            await self._stream.send_eof()
            dropped_count = 0
            while dropped_count < LINGER_BYTES_MAX and (data := await self._stream.receive_some(RECEIVE_BYTES)):
                dropped_count += len(data)
