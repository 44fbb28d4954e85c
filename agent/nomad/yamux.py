"""Yamux: many streams over one connection, the accepting side. Pure.

Nomad's servers and clients call each other through it. Every frame has a head of 12 bytes (version, type, flags,
stream, length) and only data frames have more: `length` bytes. In the others `length` is a number: the window that
is given, the ping's value, the reason to go away. Each side may send 256 KiB per stream ahead of what it was given.

Here the peer opens all streams. What it sends is handed on piece by piece, so that a frame takes no memory before
its bytes are there.
"""

import enum
import struct
from typing import Final, TypeAlias

from moot.gossip.errors import LimitExceeded, WireError
from moot.gossip.record import message

WINDOW: Final = 256 * 1024
"""Bytes that either side may send on a new stream."""
WINDOW_MAX: Final = 2**32 - 1
PIECE: Final = 32 * 1024
"""Bytes of a data frame of ours at most, so that streams take turns."""
HELD_MAX: Final = 1024 * 1024
"""Bytes of all streams together that were received and not consumed."""

SYN: Final = 1
ACK: Final = 2
FIN: Final = 4
RST: Final = 8

_HEAD: Final = struct.Struct(">BBHII")
_PROTOCOL_ERROR: Final = 1


class Kind(enum.IntEnum):
    """Types of frames."""

    DATA = 0
    WINDOW_UPDATE = 1
    PING = 2
    GO_AWAY = 3


@message
class Opened:
    """The peer opened a stream."""

    stream: int


@message
class Received:
    """Bytes on a stream. Say when they are `consumed`."""

    stream: int
    data: bytes


@message
class Ended:
    """The peer sends nothing more on a stream; with `broken` it takes nothing more, either."""

    stream: int
    broken: bool


@message
class Widened:
    """More can be sent on a stream."""

    stream: int


Event: TypeAlias = Opened | Received | Ended | Widened


class _Stream:
    """What is known of one stream."""

    __slots__ = ("ended", "receivable", "sendable", "unread", "unreturned")

    def __init__(self) -> None:
        self.receivable = WINDOW
        self.sendable = WINDOW
        self.unread = 0
        """Bytes received and not consumed."""
        self.unreturned = 0
        """Bytes consumed, for which the peer was given no window yet."""
        self.ended = False
        """The peer sends nothing more."""


class Mux:
    """Feed it what comes, and send what `outgoing` has.

    Streams above `streams_max` are reset. After a WireError it is of no use; `outgoing` then says goodbye.
    """

    def __init__(self, streams_max: int) -> None:
        self._streams_max = streams_max
        self._streams: dict[int, _Stream] = {}
        self._bytes = bytearray()
        self._frame: tuple[int, int, int] | None = None
        """Of the data frame that is coming in: its stream, its flags, and how many of its bytes are still to come."""
        self._held = 0
        self.outgoing = bytearray()

    def feed(self, data: bytes | bytearray) -> list[Event]:
        """What the bytes amount to. Raises WireError."""
        self._bytes += data
        events: list[Event] = []
        try:
            while self._step(events):
                continue
        except WireError:
            self._put(Kind.GO_AWAY, 0, 0, _PROTOCOL_ERROR)
            raise
        return events

    def is_open(self, stream: int) -> bool:
        """Whether anything can be sent on it."""
        return stream in self._streams

    def send(self, stream: int, data: bytes | memoryview) -> int:
        """Send the beginning of `data` on an open stream, as much as its window takes; how many bytes that are."""
        held = self._streams[stream]
        count = min(len(data), held.sendable, PIECE)
        if count:
            held.sendable -= count
            self._put(Kind.DATA, 0, stream, count)
            self.outgoing += data[:count]
        return count

    def consumed(self, stream: int, count: int) -> None:
        """So many bytes that were received are done with; the peer may send as many more."""
        held = self._streams.get(stream)
        if held is None:
            return
        self._held -= count
        held.unread -= count
        held.unreturned += count
        if held.unreturned >= WINDOW // 2 and not held.ended:
            self._put(Kind.WINDOW_UPDATE, 0, stream, held.unreturned)
            held.receivable += held.unreturned
            held.unreturned = 0

    def close(self, stream: int) -> None:
        """Nothing more is sent or read; politely, if the peer has ended it before."""
        held = self._streams.get(stream)
        if held is not None:
            self._put(Kind.WINDOW_UPDATE, FIN if held.ended else RST, stream, 0)
            self._forget(stream)

    def _step(self, events: list[Event]) -> bool:
        """One head, or one piece of data; False when that is not there yet."""
        if self._frame is not None:
            return self._take_data(*self._frame, events)
        if len(self._bytes) < _HEAD.size:
            return False
        version, kind, flags, stream, length = _HEAD.unpack_from(self._bytes)
        del self._bytes[: _HEAD.size]
        if version:
            raise WireError("yamux", f"version {version}")
        match kind:
            case Kind.DATA:
                self._open(stream, flags, events)
                self._expect_data(stream, flags, length)
            case Kind.WINDOW_UPDATE:
                self._open(stream, flags, events)
                self._widen(stream, length, events)
                self._end(stream, flags, events)
            case Kind.PING:
                if flags & SYN:
                    self._put(Kind.PING, ACK, 0, length)
            case Kind.GO_AWAY:
                return True  # the peer opens no more streams; those that are there go on
            case _:
                raise WireError("yamux", f"a frame of type {kind}")
        return True

    def _open(self, stream: int, flags: int, events: list[Event]) -> None:
        if not flags & SYN:
            return
        if stream % 2 == 0 or stream in self._streams:
            raise WireError("yamux", f"stream {stream} cannot be opened")
        if len(self._streams) >= self._streams_max:
            self._put(Kind.WINDOW_UPDATE, RST, stream, 0)
            return
        self._streams[stream] = _Stream()
        self._put(Kind.WINDOW_UPDATE, ACK, stream, 0)
        events.append(Opened(stream))

    def _expect_data(self, stream: int, flags: int, length: int) -> None:
        held = self._streams.get(stream)
        if held is None:
            if length > WINDOW:
                raise WireError("yamux", f"a frame of {length} bytes")
        elif length > held.receivable or held.ended:
            raise WireError("yamux", f"{length} bytes more than stream {stream} has room for")
        else:
            held.receivable -= length
        self._frame = (stream, flags, length)

    def _take_data(self, stream: int, flags: int, left: int, events: list[Event]) -> bool:
        count = min(left, len(self._bytes))
        if left and not count:
            return False
        held = self._streams.get(stream)
        if held is not None and count:
            held.unread += count
            self._held += count
            if self._held > HELD_MAX:
                raise LimitExceeded("size", f"{self._held} bytes that wait in streams")
            events.append(Received(stream, bytes(self._bytes[:count])))
        del self._bytes[:count]
        if count < left:
            self._frame = (stream, flags, left - count)
        else:
            self._frame = None
            self._end(stream, flags, events)
        return True

    def _widen(self, stream: int, more: int, events: list[Event]) -> None:
        held = self._streams.get(stream)
        if held is None or not more:
            return
        held.sendable += more
        if held.sendable > WINDOW_MAX:
            raise WireError("yamux", f"too wide a window of stream {stream}")
        events.append(Widened(stream))

    def _end(self, stream: int, flags: int, events: list[Event]) -> None:
        held = self._streams.get(stream)
        if held is None:
            return
        if flags & RST:
            self._forget(stream)
            events.append(Ended(stream, broken=True))
        elif flags & FIN and not held.ended:
            held.ended = True
            events.append(Ended(stream, broken=False))

    def _forget(self, stream: int) -> None:
        self._held -= self._streams.pop(stream).unread

    def _put(self, kind: Kind, flags: int, stream: int, length: int) -> None:
        self.outgoing += _HEAD.pack(0, kind, flags, stream, length)
