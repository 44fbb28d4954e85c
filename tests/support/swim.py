"""A Swim on paper: effects as values to compare, and short ways to build what it hears."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

from moot.gossip.config import LAN, SwimConfig
from moot.gossip.counters import Counters
from moot.gossip.record import Address, Ticket
from moot.gossip.swim import Status, Swim, Timer
from moot.gossip.swim.contacts import Contacts
from moot.gossip.swim.member import VERSIONS, Member
from moot.gossip.swim.messages import Alive, Message, PacketMessage, StreamMessage
from moot.gossip.swim.upper import Solo, Upper

E = TypeVar("E")

PEER = Address(bytes((127, 9, 9, 9)), 7946)


def address(last: int, port: int = 7946) -> Address:
    """127.0.0.`last`."""
    return Address(bytes((127, 0, 0, last)), port)


def member(
    name: str,
    inc: int = 1,
    status: Status = Status.ALIVE,
    *,
    at: Address | None = None,
    meta: bytes = b"",
    versions: bytes = VERSIONS,
) -> Member:
    """A member whose address follows from its name, unless given."""
    return Member(name, at or address(1 + sum(name.encode()) % 250), inc, status, meta, versions)


def alive(
    name: str, inc: int = 1, *, at: Address | None = None, meta: bytes = b"", versions: bytes = VERSIONS
) -> Alive:
    """An Alive claim about such a member."""
    return Alive(member(name, inc, at=at, meta=meta, versions=versions))


@dataclass
class Sent:
    """One packet that went out."""

    to: Address
    messages: tuple[PacketMessage, ...]
    crc: bool


@dataclass
class Opened:
    """One stream that was opened."""

    to: Address
    first: StreamMessage
    ticket: Ticket
    timeout: float


@dataclass
class Armed:
    """One timer that was set."""

    at: float
    kind: Timer
    token: int


@dataclass
class Recorder:
    """Effects as lists. `now` has to be set by whoever calls the core, so that timers get an instant."""

    now: float = 0.0
    packets: list[Sent] = field(default_factory=list)
    streams: list[Opened] = field(default_factory=list)
    replies: dict[Ticket, StreamMessage] = field(default_factory=dict)
    timers: list[Armed] = field(default_factory=list)
    events: list[object] = field(default_factory=list)
    log: list[object] = field(default_factory=list)
    """Packets, streams opened and events in the order they came; whoever reads it empties it."""

    def send_packet(self, to: Address, messages: Sequence[PacketMessage], crc: bool, /) -> None:
        self.packets.append(Sent(to, tuple(messages), crc))
        self.log.append(self.packets[-1])

    def open_stream(self, to: Address, first: StreamMessage, ticket: Ticket, timeout: float, /) -> None:
        self.streams.append(Opened(to, first, ticket, timeout))
        self.log.append(self.streams[-1])

    def reply_stream(self, ticket: Ticket, message: StreamMessage, /) -> None:
        assert ticket not in self.replies, "answered twice"
        self.replies[ticket] = message

    def set_timer(self, after: float, kind: Timer, token: int, /) -> None:
        assert after >= 0
        self.timers.append(Armed(self.now + after, kind, token))

    def notify(self, event: object, /) -> None:
        self.events.append(event)
        self.log.append(event)

    def took(self, kind: type[E]) -> list[E]:
        """The events of one kind so far; they are taken off the list."""
        taken = [event for event in self.events if isinstance(event, kind)]
        self.events = [event for event in self.events if not isinstance(event, kind)]
        return taken

    def sent(self, kind: type[E]) -> list[tuple[Address, E]]:
        """The messages of one kind in all packets so far, with where they went."""
        return [(packet.to, m) for packet in self.packets for m in packet.messages if isinstance(m, kind)]


def sixty(message: Message) -> int:
    """A stand-in for the codec where sizes do not matter."""
    return 60


class Desk:
    """A started Swim named `me` at 127.0.0.1 with its Recorder, and time that the test turns."""

    def __init__(
        self,
        *,
        config: SwimConfig = LAN,
        seed: int = 1,
        me: str = "me",
        upper: Upper | None = None,
        meta: bytes = b"",
        size_of: Callable[[Message], int] = sixty,
        counters: Counters | None = None,
        contacts: Contacts | None = None,
    ) -> None:
        self.out = Recorder()
        self.swim = Swim(
            name=me,
            address=address(1),
            meta=meta,
            config=config,
            effects=self.out,
            rng=Random(seed),
            size_of=size_of,
            upper=upper or Solo(self.out),
            counters=counters,
            contacts=contacts,
        )
        self.swim.start(0.0)
        self._tickets = 1_000_000

    def hear(self, *messages: PacketMessage, source: Address = PEER) -> None:
        """A packet arrives."""
        self.swim.on_packet(self.out.now, source, messages)

    def request(self, message: StreamMessage) -> StreamMessage | None:
        """A peer opens a stream; what it is answered."""
        self._tickets += 1
        ticket = Ticket(self._tickets)
        self.swim.on_stream(self.out.now, PEER, ticket, message)
        return self.out.replies.get(ticket)

    def run(self, seconds: float) -> None:
        """Let time pass: every timer that falls due fires, in order."""
        until = self.out.now + seconds
        while True:
            due = [timer for timer in self.out.timers if timer.at <= until]
            if not due:
                break
            timer = min(due, key=lambda armed: armed.at)
            self.out.timers.remove(timer)
            self.out.now = max(self.out.now, timer.at)
            self.swim.on_timer(self.out.now, timer.kind, timer.token)
        self.out.now = until

    def status(self, name: str) -> Status | None:
        """How the member stands in our table."""
        held = self.swim.members.get(name)
        return None if held is None else held.status
