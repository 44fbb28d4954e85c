"""Multiplexed: serves the streams of one connection, each in a task of its own; `yamux` decides, here are waits."""

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from moot.agent.nomad.yamux import Ended, Mux, Opened, Received, Widened
from moot.gossip.errors import WireError

RECEIVE_BYTES: Final = 16 * 1024
ENDS: Final = (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, WireError)
"""How the other side may end a connection, or a stream."""


class MuxStream(trio.abc.Stream):
    """One stream."""

    def __init__(self, owner: "Multiplexed", number: int) -> None:
        self._owner = owner
        self._number = number
        self._received = bytearray()
        self._ended = False
        self._broken = False
        self._news = trio.Event()

    def hear(self, event: Received | Ended | Widened) -> None:
        """What came for it."""
        if isinstance(event, Received):
            self._received += event.data
        elif isinstance(event, Ended):
            self._ended = True
            self._broken = event.broken
        self._news.set()
        self._news = trio.Event()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Raises BrokenResourceError when the peer reset the stream."""
        await trio.lowlevel.checkpoint()
        while not self._received:
            self._check()
            if self._ended:
                return b""
            await self._news.wait()
        data = bytes(self._received[:max_bytes])
        del self._received[: len(data)]
        self._owner.mux.consumed(self._number, len(data))
        await self._owner.flush()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Waits for the peer to give room. Raises BrokenResourceError."""
        view = memoryview(data)
        while view:
            self._check()
            sent = self._owner.mux.send(self._number, view)
            view = view[sent:]
            if sent:
                await self._owner.flush()
            else:
                await self._news.wait()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Tell the peer that it is over."""
        self._owner.mux.close(self._number)
        self._broken = True
        await self._owner.flush()

    def _check(self) -> None:
        if self._broken or not self._owner.mux.is_open(self._number):
            raise trio.BrokenResourceError("the stream is closed")


class Multiplexed:
    """Calls `serve` for each stream that the peer opens, `streams_max` at a time.

    The connection ends when the peer hangs up, sends nothing for `idle_timeout` seconds, or does not take what is
    sent within `send_timeout`.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        serve: Callable[[trio.abc.Stream], Awaitable[None]],
        *,
        streams_max: int,
        idle_timeout: float,
        send_timeout: float,
    ) -> None:
        self.mux = Mux(streams_max)
        self._stream = stream
        self._serve = serve
        self._idle_timeout = idle_timeout
        self._send_timeout = send_timeout
        self._streams: dict[int, MuxStream] = {}
        self._writing = trio.Lock()
        self._scope = trio.CancelScope()
        self._failure: Exception | None = None

    async def run(self) -> None:
        """Until the connection ends. Raises WireError, TooSlowError, BrokenResourceError."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                try:
                    await self._read(nursery)
                except ENDS as error:
                    self._fail(error)
                nursery.cancel_scope.cancel()
        if self._failure is not None:
            raise self._failure

    async def flush(self) -> None:
        """Send what is to be sent. Raises BrokenResourceError when the connection is at its end."""
        async with self._writing:
            if not self.mux.outgoing:
                return
            data = bytes(self.mux.outgoing)
            self.mux.outgoing.clear()
            whole = False
            try:
                with trio.fail_after(self._send_timeout):
                    await self._stream.send_all(data)
                whole = True
            finally:
                if not whole:  # half a frame may be on its way: nothing can follow it
                    self._fail(trio.BrokenResourceError("a frame was not sent to its end"))

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error
        self._scope.cancel()

    async def _read(self, nursery: trio.Nursery) -> None:
        while True:
            with trio.fail_after(self._idle_timeout):
                data = await self._stream.receive_some(RECEIVE_BYTES)
            if not data:
                return
            try:
                for event in self.mux.feed(data):
                    self._dispatch(event, nursery)
            finally:
                await self.flush()

    def _dispatch(self, event: Opened | Received | Ended | Widened, nursery: trio.Nursery) -> None:
        if isinstance(event, Opened):
            stream = self._streams[event.stream] = MuxStream(self, event.stream)
            nursery.start_soon(self._serve_one, event.stream, stream)
        elif event.stream in self._streams:
            self._streams[event.stream].hear(event)

    async def _serve_one(self, number: int, stream: MuxStream) -> None:
        """A stream that fails is closed, and the others go on; one that brings junk ends the connection."""
        try:
            async with stream:
                await self._serve(stream)
        except WireError as error:
            self._fail(error)
        except ENDS:
            return
        finally:
            if self._streams.get(number) is stream:  # a rude peer may have used the number again
                del self._streams[number]
