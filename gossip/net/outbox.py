"""Outbox: the Effects of a node. It notes what the core asks for, and hands it out once the core has returned."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from moot.gossip.record import Address, Ticket
from moot.gossip.swim.effects import Timer
from moot.gossip.swim.messages import PacketMessage, StreamMessage


class Doers(Protocol):
    """Who does what a core asks for."""

    def _send_packet(self, to: Address, messages: Sequence[PacketMessage], crc: bool) -> None: ...
    def _open_stream(self, to: Address, first: StreamMessage, ticket: Ticket, timeout: float) -> None: ...
    def _reply_stream(self, ticket: Ticket, message: StreamMessage) -> None: ...
    def _set_timer(self, after: float, kind: Timer, token: int) -> None: ...
    def _publish(self, event: object) -> None: ...


class Outbox:
    """Implements `swim.effects.Effects`."""

    def __init__(self, node: Doers) -> None:
        self._node = node
        self.queued: list[tuple[Callable[..., None], tuple[Any, ...]]] = []

    def send_packet(self, to: Address, messages: Sequence[PacketMessage], crc: bool, /) -> None:
        self.queued.append((self._node._send_packet, (to, messages, crc)))

    def open_stream(self, to: Address, first: StreamMessage, ticket: Ticket, timeout: float, /) -> None:
        self.queued.append((self._node._open_stream, (to, first, ticket, timeout)))

    def reply_stream(self, ticket: Ticket, message: StreamMessage, /) -> None:
        self.queued.append((self._node._reply_stream, (ticket, message)))

    def set_timer(self, after: float, kind: Timer, token: int, /) -> None:
        self.queued.append((self._node._set_timer, (after, kind, token)))

    def notify(self, event: object, /) -> None:
        self.queued.append((self._node._publish, (event,)))

    def take(self) -> list[tuple[Callable[..., None], tuple[Any, ...]]]:
        """All that was asked for, in order; it is taken off."""
        queued, self.queued = self.queued, []
        return queued
