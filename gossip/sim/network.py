"""Network: carries packets and streams between simulated members, as objects or as real bytes."""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple, Protocol

from moot.gossip.config import WireConfig
from moot.gossip.faults import Conditions
from moot.gossip.record import Address, Ticket
from moot.gossip.sim.calendar import Calendar
from moot.gossip.swim.messages import PacketMessage, StreamMessage
from moot.gossip.wire.keyring import Keyring
from moot.gossip.wire.packet import PacketCodec
from moot.gossip.wire.stream import StreamReader, frame


class Latency(NamedTuple):
    """One crossing takes from `low` to `high` seconds, uniform."""

    low: float
    high: float


LAN_LATENCY = Latency(0.0002, 0.001)


class Endpoint(Protocol):
    """A member as the network sees it. It takes what arrives now, or when it is resumed."""

    name: str
    address: Address
    keyring: Keyring | None

    def receive_packet(self, source: Address, messages: Sequence[PacketMessage]) -> None: ...

    def receive_request(self, source: Address, ticket: Ticket, message: StreamMessage) -> None: ...

    def receive_reply(self, ticket: Ticket, message: StreamMessage) -> None: ...

    def receive_failure(self, ticket: Ticket, reason: str) -> None: ...


def can_read(source: Endpoint, to: Endpoint) -> bool:
    """Whether one has the key that the other seals with."""
    if source.keyring is None or to.keyring is None:
        return source.keyring is to.keyring
    return source.keyring.primary in to.keyring.keys


class Carrier(Protocol):
    """What becomes of a message on its way; called when it is sent, if the receiver can read it."""

    def packet(
        self, source: Endpoint, to: Endpoint, messages: Sequence[PacketMessage], crc: bool
    ) -> Sequence[PacketMessage]:
        """The messages of a datagram as the receiver gets them."""
        ...

    def stream(self, source: Endpoint, to: Endpoint, message: StreamMessage, dialer: bool) -> StreamMessage:
        """A request (`dialer`) or a reply as the other end gets it."""
        ...


class ObjectCarrier:
    """Messages travel as they are: nobody changes one, so members may share it."""

    def packet(
        self, source: Endpoint, to: Endpoint, messages: Sequence[PacketMessage], crc: bool
    ) -> Sequence[PacketMessage]:
        return messages

    def stream(self, source: Endpoint, to: Endpoint, message: StreamMessage, dialer: bool) -> StreamMessage:
        return message


class ByteCarrier:
    """Messages travel as the bytes that real members send. Junk among members of our own is a bug."""

    def __init__(self, config: WireConfig) -> None:
        self._config = config

    def packet(
        self, source: Endpoint, to: Endpoint, messages: Sequence[PacketMessage], crc: bool
    ) -> Sequence[PacketMessage]:
        sealed = PacketCodec(self._config, source.keyring).seal(messages, crc)
        opened = PacketCodec(self._config, to.keyring).open(sealed)
        assert not opened.errors, opened.errors
        return opened.messages

    def stream(self, source: Endpoint, to: Endpoint, message: StreamMessage, dialer: bool) -> StreamMessage:
        data = frame(message, self._config, source.keyring, dialer=dialer)
        got = StreamReader(self._config, to.keyring, expect_label=dialer).feed(data)
        assert got is not None, "a frame is complete"
        return got


class _Exchange(NamedTuple):
    """A stream under way: who dialled whom, and the dialler's ticket."""

    dialler: Endpoint
    to: Address
    ticket: Ticket


class Network:
    """Delivers by address. What `conditions` does not let pass is lost: a packet silently, a stream by timeout.

    Every random draw comes from one `rng`, and none depends on what a message contains: objects and bytes
    give the same history.
    """

    def __init__(
        self, calendar: Calendar, conditions: Conditions, rng: Random, latency: Latency, carrier: Carrier
    ) -> None:
        self.packet_count = 0
        self._carrier = carrier
        self._calendar = calendar
        self._conditions = conditions
        self._rng = rng
        self._latency = latency
        self._endpoints: dict[Address, Endpoint] = {}
        self._dark: set[Address] = set()
        self._served: dict[Ticket, _Exchange] = {}
        self._last_served = 0

    def attach(self, endpoint: Endpoint) -> None:
        """From now on what is sent to its address reaches this one."""
        self._endpoints[endpoint.address] = endpoint
        self._dark.discard(endpoint.address)

    def detach(self, endpoint: Endpoint, *, dark: bool = False) -> None:
        """Its process is gone: dials are refused. With `dark` its host is gone too: dials time out."""
        self._endpoints.pop(endpoint.address, None)
        if dark:
            self._dark.add(endpoint.address)

    def send_packet(self, source: Endpoint, to: Address, messages: Sequence[PacketMessage], crc: bool) -> None:
        """Put a datagram on its way."""
        self.packet_count += 1
        target = self._endpoints.get(to)
        if target is None:
            return
        low, high = self._latency
        crossing = low + (high - low) * self._rng.random()
        if not can_read(source, target):
            return
        messages = self._carrier.packet(source, target, messages, crc)
        for delay in self._conditions.packet(source.name, target.name, self._rng):
            self._calendar.after(crossing + delay, self._packet_arrives, source.address, to, messages)

    def _packet_arrives(self, source: Address, to: Address, messages: Sequence[PacketMessage]) -> None:
        target = self._endpoints.get(to)
        if target is not None:
            target.receive_packet(source, messages)

    def open_stream(
        self, dialler: Endpoint, to: Address, first: StreamMessage, ticket: Ticket, timeout: float
    ) -> None:
        """Dial, ask, bring the reply. One deadline covers all three steps."""
        exchange = _Exchange(dialler, to, ticket)
        self._calendar.after(timeout, dialler.receive_failure, ticket, f"dial tcp {to}: i/o timeout")
        target = self._endpoints.get(to)
        if target is None:
            if to not in self._dark:
                back = self._latency.low + self._latency.high
                reason = f"dial tcp {to}: connect: connection refused"
                self._calendar.after(back, dialler.receive_failure, ticket, reason)
            return
        crossing = self._crossing(dialler.name, target.name, target.name, dialler.name, dialler.name, target.name)
        if crossing is None:
            return
        if can_read(dialler, target):
            request = self._carrier.stream(dialler, target, first, True)
            self._calendar.after(crossing, self._request_arrives, exchange, request)
        else:
            self._calendar.after(crossing, dialler.receive_failure, ticket, "EOF")

    def _request_arrives(self, exchange: _Exchange, request: StreamMessage) -> None:
        target = self._endpoints.get(exchange.to)
        if target is not None:
            self._last_served -= 1
            ticket = Ticket(self._last_served)
            self._served[ticket] = exchange
            target.receive_request(exchange.dialler.address, ticket, request)

    def finish_stream(self, server: Endpoint, ticket: Ticket, reply: StreamMessage | None) -> None:
        """The server has seen the request `ticket`: its reply goes back, or the end without one."""
        exchange = self._served.pop(ticket)
        crossing = self._crossing(server.name, exchange.dialler.name)
        if crossing is None:
            return
        dialler, asked = exchange.dialler, exchange.ticket
        if reply is None or not can_read(server, dialler):
            self._calendar.after(crossing, dialler.receive_failure, asked, "EOF")
        else:
            reply = self._carrier.stream(server, dialler, reply, False)
            self._calendar.after(crossing, dialler.receive_reply, asked, reply)

    def _crossing(self, *names: str) -> float | None:
        """Seconds for crossings in a row, given as pairs of names; None when one never succeeds."""
        total = 0.0
        low, high = self._latency
        for source, to in zip(names[::2], names[1::2], strict=True):
            extra = self._conditions.stream(source, to, self._rng)
            if extra is None:
                return None
            total += low + (high - low) * self._rng.random() + extra
        return total
