"""TCP exchanges: one request, at most one reply, then closed. Every step has a deadline, every read a bound.

A peer that sends junk, stalls or vanishes costs its own connection and a count, nothing else.
"""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import trio

from moot.gossip.config import WireConfig
from moot.gossip.counters import Counters
from moot.gossip.errors import CryptoError, StreamError, WireError
from moot.gossip.net.tally import tally
from moot.gossip.net.transport import ByteStream, Transport, peer_address
from moot.gossip.record import Address, message
from moot.gossip.swim.messages import Ack, ErrorReply, Ping, PushPull, StreamMessage
from moot.gossip.wire.keyring import Keyring
from moot.gossip.wire.stream import StreamReader, content, error_text, wrapped

STREAMS_MAX = 256
"""Connections served at once. A quarter of the usual 1,024 descriptors."""
PUSH_PULLS_MAX = 128
"""Push/pulls, or other requests that do not fit one read, served at once: memberlist's own limit."""
HELD_BYTES_MAX = 128 * 1024 * 1024
"""Memory of unfinished requests and unread replies, all connections together, and of one reply to ourselves. A
pool of a hundred thousand members takes three quarters of it; real ones are far smaller."""
READ_SIZE = 65_536
TOLD_AFTER = 60.0
"""Seconds for which the same fault of the same address is not told again."""
TOLD_MAX = 16
"""Refused streams that are told in that time, of all addresses together; so many peers are enough to see."""

_REPLIES: dict[type, tuple[tuple[type, ...], str]] = {
    PushPull: ((PushPull, ErrorReply), "pushPullMsg (6)"),
    Ping: ((Ack, ErrorReply), "ackRespMsg (2)"),
}
"""What may answer a request, and its name and number in memberlist's errors."""

Answer: TypeAlias = Callable[[Address, StreamMessage], StreamMessage | None]
"""Given the peer and its request, the reply, or None to close without one."""


@message
class StreamRefused:
    """A peer's stream was refused, for its label or its encryption is not ours. Told at once, but not often."""

    peer: Address
    reason: str


@dataclass(slots=True, eq=False)
class _Load:
    """What one connection holds of the common bounds. Cancelling its scope ends it."""

    source: bytes
    bytes: int = 0
    heavy: bool = False
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


class Streams:
    """Both ends of the exchanges. `timeout` is the stream timeout in seconds for each step of a served one.

    Where a common bound is reached, the address that holds most gives way, so that nobody can keep the others
    out by holding connections: its greatest connection is closed, of equal ones the oldest. The newest is not
    the one to go, for most of the time it is a peer in a hurry, and the oldest is one that stalls.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        wire: WireConfig,
        keyring: Keyring | None,
        timeout: float,
        counters: Counters,
        tell: Callable[[StreamRefused], None],
    ) -> None:
        self._transport = transport
        self._wire = wire
        self._keyring = keyring
        self._timeout = timeout
        self._counters = counters
        self._tell = tell
        self._told: dict[tuple[bytes, str], float] = {}
        """Address and fault of the refused streams told of late, and when, oldest first."""
        self._loads: list[_Load] = []
        """Connections being served, oldest first."""
        self._turn = trio.Lock()
        """Whoever parses a slice holds it, so that many parsers together delay the rest by one slice."""
        self._last_push_pull: StreamMessage | None = None
        self._last_content = b""

    async def request(self, to: Address, first: StreamMessage, within: float) -> StreamMessage:
        """Dial, send `first`, and wait for the one reply; `within` seconds for each of the three.

        Raises StreamError with the cause alone, such as `dial tcp 10.0.0.1:7946: i/o timeout`.
        """
        data = self._frame(first, dialer=True)
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
                    reply = await self._read(stream, reader, _check_held)
        except trio.TooSlowError as error:
            raise StreamError(f"{step} tcp {to}: i/o timeout") from error
        except (OSError, trio.BrokenResourceError) as error:
            raise StreamError(f"{step} tcp {to}: {_cause(error, step)}") from error
        except WireError as error:
            self._counters.refused[error.kind] += 1
            if error.kind == "type":
                raise StreamError(_unexpected(first, reader.kind, to)) from error
            raise StreamError(error_text(error)) from error
        if not isinstance(reply, _REPLIES[type(first)][0]):
            raise StreamError(_unexpected(first, reader.kind, to))
        return reply

    async def _read(self, stream: ByteStream, reader: StreamReader, hold: Callable[[int], None]) -> StreamMessage:
        """The one message. `hold` is told the memory that it takes so far, as often as that changes."""
        while True:
            data = await stream.receive_some(READ_SIZE)
            if not data:
                raise StreamError("EOF")
            reader.give(bytes(data))
            while True:
                async with self._turn:
                    message = reader.step()
                if message is not None:
                    for fault in reader.errors:
                        self._counters.refused[fault.kind] += 1
                    tally(self._counters.messages_in, (message,))
                    return message
                hold(reader.held)
                if reader.hungry:
                    break

    async def serve(self, stream: ByteStream, answer: Answer) -> None:
        """Serve one connection to its end. Whatever the peer does, this returns."""
        counters = self._counters
        counters.streams_in += 1
        source = peer_address(stream)
        if source is None:
            counters.streams_broken += 1
            stream.socket.close()
            return
        load = _Load(source.ip)
        self._loads.append(load)
        if len(self._loads) > STREAMS_MAX:
            self._make_room(lambda load: 1)
        try:
            async with stream:
                with load.scope:
                    await self._serve(stream, source, load, answer)
        except WireError as error:
            counters.refused[error.kind] += 1
            if error.kind == "label" or isinstance(error, CryptoError):
                self._tell_refused(source, error)
        except (OSError, trio.BrokenResourceError, trio.TooSlowError, StreamError):
            counters.streams_broken += 1
        finally:
            if load in self._loads:
                self._loads.remove(load)

    def _tell_refused(self, source: Address, error: WireError) -> None:
        now, told, what = trio.current_time(), self._told, (source.ip, error.kind)
        while told and now - told[oldest := next(iter(told))] >= TOLD_AFTER:
            del told[oldest]
        if what not in told and len(told) < TOLD_MAX:
            told[what] = now
            self._tell(StreamRefused(source, error.detail))

    def _make_room(self, weight: Callable[[_Load], int]) -> None:
        """End the greatest connection, by `weight`, of the address that has most. It counts no more from now on."""
        totals: Counter[bytes] = Counter()
        for load in self._loads:
            totals[load.source] += weight(load)
        greatest = max(self._loads, key=lambda load: (totals[load.source], weight(load)))
        self._loads.remove(greatest)
        greatest.scope.cancel()
        self._counters.streams_refused += 1

    async def _serve(self, stream: ByteStream, source: Address, load: _Load, answer: Answer) -> None:
        def hold(size: int) -> None:
            self._hold(load, size)
            self._take_heavy(load)

        reader = StreamReader(self._wire, self._keyring, expect_label=True)
        try:
            with trio.fail_after(self._timeout):
                message = await self._read(stream, reader, hold)
        except WireError as error:
            # as the reference: what cannot be unwrapped is answered, what is in it and the label are not
            if not reader.unwrapped and error.kind != "label":
                await self._send(stream, load, ErrorReply(error_text(error)))
            raise
        if isinstance(message, PushPull):
            self._take_heavy(load)
        reply = answer(source, message)
        if reply is not None:
            await self._send(stream, load, reply)

    def _hold(self, load: _Load, size: int) -> None:
        load.bytes = size
        while sum(load.bytes for load in self._loads) > HELD_BYTES_MAX:
            self._make_room(lambda load: load.bytes)

    def _take_heavy(self, load: _Load) -> None:
        if not load.heavy:
            load.heavy = True
            if sum(load.heavy for load in self._loads) > PUSH_PULLS_MAX:
                self._make_room(lambda load: load.heavy)

    async def _send(self, stream: ByteStream, load: _Load, message: StreamMessage) -> None:
        data = self._frame(message, dialer=False)
        self._hold(load, len(data))
        with trio.fail_after(self._timeout):
            await stream.send_all(data)

    def _frame(self, message: StreamMessage, *, dialer: bool) -> bytes:
        """All bytes to send. A push/pull equal to the last is not encoded again: our table rarely changes between
        two, and encoding a great one takes a hundred times as long as comparing."""
        tally(self._counters.messages_out, (message,))
        if not isinstance(message, PushPull):
            plain = content(message, self._wire)
        else:
            if message != self._last_push_pull:
                self._last_push_pull, self._last_content = message, content(message, self._wire)
            plain = self._last_content
        return wrapped(plain, self._wire, self._keyring, dialer=dialer)


def _check_held(size: int) -> None:
    """Raises StreamError when a reply takes more memory than all requests may."""
    if size > HELD_BYTES_MAX:
        raise StreamError("the reply is too large")


def _unexpected(request: StreamMessage, kind: int, peer: Address) -> str:
    """The error of memberlist for a reply of the wrong type."""
    return f"received invalid msgType ({kind}), expected {_REPLIES[type(request)][1]} from={peer}"


def _cause(error: Exception, step: str) -> str:
    """The kernel's reason as Go words it: the call, then the text in small letters."""
    root = error if isinstance(error, OSError) else error.__cause__
    if not isinstance(root, OSError) or root.errno is None:
        return "connection broken"
    return f"{'connect' if step == 'dial' else step}: {os.strerror(root.errno).lower()}"
