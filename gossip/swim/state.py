"""State: what all parts of one Swim share."""

from collections.abc import Callable
from ipaddress import IPv6Address, ip_address, ip_network
from random import Random
from typing import Protocol

from moot.gossip.config import SwimConfig
from moot.gossip.counters import Counters
from moot.gossip.record import Address, Ticket
from moot.gossip.swim.awareness import Awareness
from moot.gossip.swim.contacts import Contacts
from moot.gossip.swim.effects import Effects
from moot.gossip.swim.member import Member
from moot.gossip.swim.messages import Message, StreamMessage
from moot.gossip.swim.table import MemberTable, Roster
from moot.gossip.swim.upper import Upper

UINT32_MAX = 0xFFFF_FFFF


class StreamOwner(Protocol):
    """The part that opened a stream and hears of its end."""

    def on_stream_end(self, now: float, ticket: Ticket, reply: StreamMessage | None, reason: str, /) -> None:
        """With the peer's reply, or with None and the reason why there is none."""
        ...


class State:
    """Identity, table, counters and the way out. Parts change it; it decides nothing."""

    __slots__ = (
        "_networks",
        "_seq",
        "_streams",
        "_ticket",
        "awareness",
        "config",
        "contacts",
        "counters",
        "effects",
        "incarnation",
        "leaving",
        "members",
        "name",
        "rng",
        "size_of",
        "upper",
    )

    def __init__(
        self,
        *,
        name: str,
        config: SwimConfig,
        effects: Effects,
        upper: Upper,
        rng: Random,
        size_of: Callable[[Message], int],
        roster: Roster,
        counters: Counters,
        contacts: Contacts | None = None,
    ) -> None:
        self.name = name
        self.config = config
        self.effects = effects
        self.upper = upper
        self.rng = rng
        self.size_of = size_of
        self.counters = counters
        self.contacts = contacts
        """Where it is noted who answers; None when nobody wants to know."""
        self.members = MemberTable(roster)
        self.awareness = Awareness(config.awareness_max)
        self.leaving = False
        """Set by leave for good: we no longer refute."""
        self.incarnation = 0
        """The highest incarnation that we used for ourselves."""
        self._networks = [ip_network(text) for text in config.networks_allowed]
        self._seq = 0
        self._ticket = 0
        self._streams: dict[Ticket, StreamOwner] = {}

    @property
    def me(self) -> Member:
        """Our own row."""
        member = self.members.get(self.name)
        assert member is not None, "not started"
        return member

    def next_seq(self) -> int:
        """A sequence number for pings: uint32, never 0."""
        self._seq = self._seq % UINT32_MAX + 1
        return self._seq

    def next_ticket(self) -> Ticket:
        """A ticket that this core has not given out yet."""
        self._ticket += 1
        return Ticket(self._ticket)

    def has_live_peers(self) -> bool:
        """Whether anybody else is alive or suspect."""
        mine = self.members.get(self.name)
        others = self.members.live_count - (mine is not None and mine.status <= 1)
        return others > 0

    def admits(self, address: Address) -> bool:
        """Whether a member may have this address (memberlist CIDRsAllowed; no list admits all)."""
        if not self._networks:
            return True
        if len(address.ip) not in (4, 16):
            return False
        ip = ip_address(address.ip)
        if isinstance(ip, IPv6Address) and ip.ipv4_mapped:
            ip = ip.ipv4_mapped
        return any(ip.version == network.version and ip in network for network in self._networks)

    def open_stream(self, to: Address, first: StreamMessage, timeout: float, owner: StreamOwner) -> Ticket:
        """Open a stream whose end `owner` hears."""
        ticket = self.next_ticket()
        self._streams[ticket] = owner
        self.effects.open_stream(to, first, ticket, timeout)
        return ticket

    def end_stream(self, now: float, ticket: Ticket, reply: StreamMessage | None, reason: str) -> None:
        """The driver reports the end of a stream that we opened."""
        self._streams.pop(ticket).on_stream_end(now, ticket, reply, reason)
