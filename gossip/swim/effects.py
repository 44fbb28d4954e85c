"""The boundary: what a core asks of the world, and what whoever drives it owes it.

A driver's duties, complete:

1. One call into a core at a time, to the end. Effects are carried out after it returns, in order.
2. `now` is seconds on one monotonic clock and never goes back.
3. Every timer fires once, never early; late is fine. Timers are never cancelled. The token tells the core
   whether it still cares; a stale timer is a no-op.
4. Packets may be lost, repeated, reordered. Whoever hands messages over never changes them afterwards.
5. Every ticket given to `open_stream` ends in exactly one `on_stream_reply` or one `on_stream_failed`.
6. A stream that a peer opened is handed over by `on_stream` with a ticket of the driver's. The core calls
   `reply_stream` during that call, or never: then the driver closes the stream without an answer.
"""

import enum
from collections.abc import Sequence
from typing import Protocol

from moot.gossip.record import Address, Ticket
from moot.gossip.swim.messages import PacketMessage, StreamMessage


class Timer(enum.IntEnum):
    """Every timer kind of both layers: Swim's are below 32, Serf's from 32 on."""

    PROBE = 1
    PROBE_TIMEOUT = 2
    PROBE_DEADLINE = 3
    RELAY_TIMEOUT = 4
    GOSSIP = 5
    PUSH_PULL = 6
    SUSPICION = 7
    SPREAD_TIMEOUT = 8

    REAP = 32
    RECONNECT = 33
    QUEUE_CHECK = 34
    PRUNE = 35
    LEAVE_INTENT_TIMEOUT = 36
    LEAVE_PROPAGATED = 37
    FORCE_LEAVE_TIMEOUT = 38
    REFUTE_INTENT = 39
    QUERY_DEADLINE = 40


class Effects(Protocol):
    """What a core asks of the world. Implementations queue; they never call back into the core."""

    def send_packet(self, to: Address, messages: Sequence[PacketMessage], crc: bool, /) -> None:
        """One datagram: a single message bare, several as a compound. With `crc` the peer is known to check it."""
        ...

    def open_stream(self, to: Address, first: StreamMessage, ticket: Ticket, timeout: float, /) -> None:
        """Dial, send `first`, await one reply within `timeout` seconds (dial and each step)."""
        ...

    def reply_stream(self, ticket: Ticket, message: StreamMessage, /) -> None:
        """Answer a stream that the peer opened."""
        ...

    def set_timer(self, after: float, kind: Timer, token: int, /) -> None:
        """Call `on_timer(now, kind, token)` once, in `after` seconds or later."""
        ...

    def notify(self, event: object, /) -> None:
        """Something happened that the embedding program may care about."""
        ...
