"""TCP exchanges: one request, at most one reply, then closed. Every step has a deadline, every read a bound.

A peer that sends junk, stalls or vanishes costs its own connection and a count, nothing else.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import trio

from moot.gossip.config import WireConfig
from moot.gossip.counters import Counters
from moot.gossip.errors import StreamError, WireError
from moot.gossip.net.transport import Transport, peer_address
from moot.gossip.record import Address
from moot.gossip.swim.messages import ErrorReply, PushPull, StreamMessage
from moot.gossip.wire.keyring import Keyring
from moot.gossip.wire.stream import StreamReader, error_text, frame

STREAMS_MAX = 256
"""Connections served at once; one more is closed at once. A quarter of the usual 1,024 descriptors."""
PUSH_PULLS_MAX = 128
"""Push/pulls, or other requests that do not fit one read, served at once; one more is closed without a
reply. memberlist's own limit."""
HELD_BYTES_MAX = 64 * 1024 * 1024
"""Bytes of unfinished requests held at once: three of the largest, while real ones are far smaller."""
READ_SIZE = 65_536

Answer: TypeAlias = Callable[[Address, StreamMessage], StreamMessage | None]
"""Given the peer and its request, the reply, or None to close without one."""


class _Refused(Exception):
    """This connection is one too many."""


@dataclass(slots=True)
class _Load:
    """What one connection holds of the common bounds."""

    bytes: int = 0
    heavy: bool = False


class Streams:
    """Both ends of the exchanges. `timeout` is the stream timeout in seconds for each step of a served one."""

    def __init__(
        self,
        transport: Transport,
        *,
        wire: WireConfig,
        keyring: Keyring | None,
        timeout: float,
        counters: Counters,
    ) -> None:
        self._transport = transport
        self._wire = wire
        self._keyring = keyring
        self._timeout = timeout
        self._counters = counters
        self._open_count = 0
        self._heavy_count = 0
        self._held_bytes = 0

    async def request(self, to: Address, first: StreamMessage, within: float) -> StreamMessage:
        """Dial, send `first`, and wait for the one reply; `within` seconds for each of the three.

        Raises StreamError with the cause alone, such as `dial tcp 10.0.0.1:7946: i/o timeout`.
        """
        data = frame(first, self._wire, self._keyring, dialer=True)
        reader = StreamReader(self._wire, self._keyring, expect_label=False)
        self._counters.streams_out += 1
        step = "dial"
        try:
            with trio.fail_after(within):
                stream = await self._transport.dial(to)
            async with stream:
                step = "write"
                with trio.fail_after(within):
                    await stream.send_all(data)
                step = "read"
                with trio.fail_after(within):
                    return await self._read(stream, reader)
        except trio.TooSlowError as error:
            raise StreamError(f"{step} tcp {to}: i/o timeout") from error
        except (OSError, trio.BrokenResourceError) as error:
            raise StreamError(f"{step} tcp {to}: {_cause(error, step)}") from error
        except WireError as error:
            self._counters.refused[error.kind] += 1
            if error.kind == "type":
                raise StreamError(f"received invalid msgType ({reader.kind}) from={to}") from error
            raise StreamError(error_text(error)) from error

    async def _read(self, stream: trio.SocketStream, reader: StreamReader) -> StreamMessage:
        while True:
            data = await stream.receive_some(READ_SIZE)
            if not data:
                raise StreamError("EOF")
            message = reader.feed(bytes(data))
            if message is not None:
                self._note(reader)
                return message

    async def serve(self, stream: trio.SocketStream, answer: Answer) -> None:
        """Serve one connection to its end. Whatever the peer does, this returns."""
        counters = self._counters
        counters.streams_in += 1
        load = _Load()
        self._open_count += 1
        try:
            async with stream:
                if self._open_count > STREAMS_MAX:
                    raise _Refused
                await self._serve(stream, load, answer)
        except _Refused:
            counters.streams_refused += 1
        except WireError as error:
            counters.refused[error.kind] += 1
        except (OSError, trio.BrokenResourceError, trio.TooSlowError, StreamError):
            counters.streams_broken += 1
        finally:
            self._open_count -= 1
            self._heavy_count -= load.heavy
            self._held_bytes -= load.bytes

    async def _serve(self, stream: trio.SocketStream, load: _Load, answer: Answer) -> None:
        source = peer_address(stream)
        if source is None:
            raise StreamError("the peer is gone")
        reader = StreamReader(self._wire, self._keyring, expect_label=True)
        try:
            with trio.fail_after(self._timeout):
                message = await self._read_bounded(stream, reader, load)
        except WireError as error:
            # as the reference: what cannot be unwrapped is answered, what is in it and the label are not
            if not reader.unwrapped and error.kind != "label":
                await self._send(stream, ErrorReply(error_text(error)))
            raise
        if isinstance(message, PushPull):
            self._take_heavy(load)
        reply = answer(source, message)
        if reply is not None:
            await self._send(stream, reply)

    async def _read_bounded(self, stream: trio.SocketStream, reader: StreamReader, load: _Load) -> StreamMessage:
        """Like `_read`, within what all connections together may hold."""
        while True:
            data = await stream.receive_some(READ_SIZE)
            if not data:
                raise StreamError("EOF")
            load.bytes += len(data)
            self._held_bytes += len(data)
            if self._held_bytes > HELD_BYTES_MAX:
                raise _Refused
            message = reader.feed(bytes(data))
            if message is not None:
                self._note(reader)
                return message
            self._take_heavy(load)

    def _note(self, reader: StreamReader) -> None:
        """Count what was wrong with parts of a message that is otherwise taken."""
        for fault in reader.errors:
            self._counters.refused[fault.kind] += 1

    def _take_heavy(self, load: _Load) -> None:
        if not load.heavy:
            if self._heavy_count >= PUSH_PULLS_MAX:
                raise _Refused
            load.heavy = True
            self._heavy_count += 1

    async def _send(self, stream: trio.SocketStream, message: StreamMessage) -> None:
        with trio.fail_after(self._timeout):
            await stream.send_all(frame(message, self._wire, self._keyring, dialer=False))


def _cause(error: Exception, step: str) -> str:
    """The kernel's reason as Go words it: the call, then the text in small letters."""
    root = error if isinstance(error, OSError) else error.__cause__
    if not isinstance(root, OSError) or root.errno is None:
        return "connection broken"
    return f"{'connect' if step == 'dial' else step}: {os.strerror(root.errno).lower()}"
