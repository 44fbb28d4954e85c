"""Network: carries packets and streams between simulated members, as objects or as real bytes."""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple, Protocol

from moot.gossip.config import WireConfig
from moot.gossip.faults import Arrival, Conditions, Transport
from moot.gossip.record import Address, Ticket
from moot.gossip.sim.calendar import Calendar
from moot.gossip.swim.messages import Message, PacketMessage, StreamMessage
from moot.gossip.wire.codec import size_of
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
    label: str
    """Of its packets and streams; those of another label are not taken."""

    def receive_packet(self, source: Address, messages: Sequence[PacketMessage]) -> None: ...

    def receive_request(self, source: Address, ticket: Ticket, message: StreamMessage) -> None: ...

    def receive_reply(self, ticket: Ticket, message: StreamMessage) -> None: ...

    def receive_failure(self, ticket: Ticket, reason: str) -> None: ...


def can_read(source: Endpoint, to: Endpoint) -> bool:
    """Whether one has the key that the other seals with, and they use the same label."""
    if source.label != to.label:
        return False
    if source.keyring is None or to.keyring is None:
        return source.keyring is to.keyring
    return source.keyring.primary in to.keyring.keys


class Tap(Protocol):
    """Who listens on the network. It must not change anything."""

    def __call__(
        self,
        source: str,
        to: str,
        transport: Transport,
        messages: Sequence[Message],
        delays: Sequence[float],
        fate: str,
        /,
    ) -> None:
        """Somebody sends now: after which `delays` a copy arrives, and what became of it when none does."""
        ...


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


class Traffic:
    """What a member sent: datagrams and streams' messages, and their bytes before IP's own."""

    __slots__ = ("bytes", "messages")

    def __init__(self) -> None:
        self.messages = 0
        self.bytes = 0


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
        self,
        calendar: Calendar,
        conditions: Conditions,
        rng: Random,
        latency: Latency,
        carrier: Carrier,
        overhead: int = 0,
    ) -> None:
        """`overhead` is what encryption adds to a packet, in bytes."""
        self.packet_count = 0
        self.traffic: dict[str, Traffic] | None = None
        """By sender, while it is measured: set a dict for that. It costs some time and changes nothing else."""
        self.tap: Tap | None = None
        self._overhead = overhead
        self._carrier = carrier
        self._calendar = calendar
        self._conditions = conditions
        self._rng = rng
        self._latency = latency
        self._endpoints: dict[Address, Endpoint] = {}
        self._dark: set[Address] = set()
        self._names: dict[Address, str] = {}
        """Who was last where."""
        self._served: dict[Ticket, _Exchange] = {}
        self._last_served = 0

    def attach(self, endpoint: Endpoint) -> None:
        """From now on what is sent to its address reaches this one."""
        self._endpoints[endpoint.address] = endpoint
        self._names[endpoint.address] = endpoint.name
        self._dark.discard(endpoint.address)

    def detach(self, endpoint: Endpoint, *, dark: bool = False) -> None:
        """Its process is gone: dials are refused. With `dark` its host is gone too: dials time out."""
        self._endpoints.pop(endpoint.address, None)
        if dark:
            self._dark.add(endpoint.address)

    def send_packet(self, source: Endpoint, to: Address, messages: Sequence[PacketMessage], crc: bool) -> None:
        """Put a datagram on its way. One that is spoiled there is junk to the receiver, hence as good as lost."""
        self.packet_count += 1
        size = 0
        if self.traffic is not None or self._conditions.needs_sizes:
            size = sum(map(size_of, messages)) + self._overhead
            if len(messages) > 1:
                size += 2 + 2 * len(messages)
            self._count(source.name, size)
        target = self._endpoints.get(to)
        if target is None:
            self._tell(source, to, "packet", messages, (), "nobody there")
            return
        low, high = self._latency
        crossing = low + (high - low) * self._rng.random()
        if not can_read(source, target):
            self._tell(source, to, "packet", messages, (), "unreadable")
            return
        messages = self._carrier.packet(source, target, messages, crc)
        arrivals = self._conditions.packet(source.name, target.name, self._rng, size=size, now=self._calendar.now)
        for delay, spoiled in arrivals:
            if not spoiled:
                self._calendar.after(crossing + delay, self._packet_arrives, source.address, to, messages)
        if self.tap is not None:
            delays = [crossing + delay for delay, spoiled in arrivals if not spoiled]
            self._tell(source, to, "packet", messages, delays, "spoiled" if arrivals else "lost")

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
            self._tell(dialler, to, "stream", (first,), (), "nobody there" if to in self._dark else "refused")
            if to not in self._dark:
                back = self._latency.low + self._latency.high
                reason = f"dial tcp {to}: connect: connection refused"
                self._calendar.after(back, dialler.receive_failure, ticket, reason)
            return
        way, return_way = (dialler.name, target.name), (target.name, dialler.name)
        size = self._stream_size(dialler.name, first)
        arrival = self._crossing((way, 0), (return_way, 0), (way, size))
        readable = can_read(dialler, target)
        self._tell_stream(dialler, to, first, arrival, readable)
        if arrival is None:
            return
        if arrival.spoiled:
            self._reset(exchange, arrival.delay)
        elif readable:
            request = self._carrier.stream(dialler, target, first, True)
            self._calendar.after(arrival.delay, self._request_arrives, exchange, request)
        else:
            self._calendar.after(arrival.delay, dialler.receive_failure, ticket, "EOF")

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
        size = 0 if reply is None else self._stream_size(server.name, reply)
        arrival = self._crossing(((server.name, exchange.dialler.name), size))
        dialler, asked = exchange.dialler, exchange.ticket
        readable = can_read(server, dialler)
        if reply is not None:
            self._tell_stream(server, dialler.address, reply, arrival, readable)
        if arrival is None:
            return
        if arrival.spoiled:
            self._reset(exchange, arrival.delay)
        elif reply is None or not readable:
            self._calendar.after(arrival.delay, dialler.receive_failure, asked, "EOF")
        else:
            reply = self._carrier.stream(server, dialler, reply, False)
            self._calendar.after(arrival.delay, dialler.receive_reply, asked, reply)

    def _reset(self, exchange: _Exchange, delay: float) -> None:
        reason = f"read tcp {exchange.to}: connection reset by peer"
        self._calendar.after(delay, exchange.dialler.receive_failure, exchange.ticket, reason)

    def _crossing(self, *ways: tuple[tuple[str, str], int]) -> Arrival | None:
        """Crossings in a row, each from whom to whom and with how many bytes; None when one never succeeds."""
        total = 0.0
        low, high = self._latency
        spoiled = False
        for (source, to), size in ways:
            arrival = self._conditions.stream(source, to, self._rng, size=size, now=self._calendar.now)
            if arrival is None:
                return None
            total += low + (high - low) * self._rng.random() + arrival.delay
            spoiled = spoiled or arrival.spoiled
        return Arrival(total, spoiled)

    def _tell_stream(
        self, source: Endpoint, to: Address, message: StreamMessage, arrival: Arrival | None, readable: bool
    ) -> None:
        if arrival is None:
            self._tell(source, to, "stream", (message,), (), "lost")
        elif arrival.spoiled or not readable:
            self._tell(source, to, "stream", (message,), (), "reset" if arrival.spoiled else "unreadable")
        else:
            self._tell(source, to, "stream", (message,), (arrival.delay,), "")

    def _tell(
        self,
        source: Endpoint,
        to: Address,
        transport: Transport,
        messages: Sequence[Message],
        delays: Sequence[float],
        fate: str,
    ) -> None:
        if self.tap is not None:
            self.tap(source.name, self._names.get(to) or str(to), transport, messages, delays, fate)

    def _stream_size(self, source: str, message: StreamMessage) -> int:
        if self.traffic is None and not self._conditions.needs_sizes:
            return 0
        size = size_of(message)
        self._count(source, size)
        return size

    def _count(self, source: str, size: int) -> None:
        if self.traffic is not None:
            sent = self.traffic.get(source)
            if sent is None:
                sent = self.traffic[source] = Traffic()
            sent.messages += 1
            sent.bytes += size
