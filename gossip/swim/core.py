"""Swim: memberlist's protocol as a pure state machine. It wires the parts together and routes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from moot.gossip.config import META_MAX, SwimConfig
from moot.gossip.counters import Counters
from moot.gossip.errors import CommandError, ConfigError
from moot.gossip.record import Address, Ticket
from moot.gossip.swim.claims import Claims
from moot.gossip.swim.contacts import Contacts
from moot.gossip.swim.effects import Effects, Timer
from moot.gossip.swim.events import MemberJoined, MemberUpdated, SpreadFinished
from moot.gossip.swim.member import VERSIONS, Member, Status
from moot.gossip.swim.messages import (
    Ack,
    Alive,
    Dead,
    IndirectPing,
    Message,
    Nack,
    PacketMessage,
    Ping,
    PushPull,
    StreamMessage,
    Suspect,
    User,
)
from moot.gossip.swim.probe import Prober
from moot.gossip.swim.spread import Spread
from moot.gossip.swim.state import UINT32_MAX, State
from moot.gossip.swim.suspicion import Suspicion
from moot.gossip.swim.sync import Sync
from moot.gossip.swim.table import MemberTable, Roster
from moot.gossip.swim.upper import Solo, Upper


class Swim:
    """One member of a pool.

    Inputs are plain calls with `now` (seconds, monotonic) first; outputs are calls on `effects`, whose
    module tells the driver's duties. Commands answer at once with a ticket; their end is an event that
    carries it. `size_of` gives the exact encoded size of a message in bytes.
    """

    __slots__ = ("_claims", "_me", "_prober", "_spread", "_spreading", "_state", "_sync")

    def __init__(
        self,
        *,
        name: str,
        address: Address,
        meta: bytes = b"",
        versions: bytes = VERSIONS,
        config: SwimConfig,
        effects: Effects,
        rng: Random,
        size_of: Callable[[Message], int],
        upper: Upper | None = None,
        roster: Roster | None = None,
        counters: Counters | None = None,
        contacts: Contacts | None = None,
    ) -> None:
        self._me = Member(name, address, 1, Status.ALIVE, meta, versions)
        self._state = state = State(
            name=name,
            config=config,
            effects=effects,
            upper=upper or Solo(effects),
            rng=rng,
            size_of=size_of,
            roster=roster or Roster(),
            counters=counters or Counters(),
            contacts=contacts,
        )
        self._spread = Spread(state)
        self._check_room(self._me)
        self._claims = Claims(state, self._spread)
        self._prober = Prober(state, self._spread, self._claims)
        self._sync = Sync(state, self._claims)
        self._spreading: dict[Ticket, bool] = {}
        """Leave and meta changes under way, and whether the timer's end of them is a failure."""

    # inputs

    def start(self, now: float) -> None:
        """Become a member of a pool of one and start the timers. Called once, first."""
        state = self._state
        me = self._me
        state.incarnation = me.incarnation
        state.members.put(now, me)
        self._spread.announce(now, Alive(me), me.name)
        state.upper.on_event(now, MemberJoined(me))
        self._prober.start(now)
        self._sync.start(now)

    def on_packet(self, now: float, source: Address, messages: Sequence[PacketMessage]) -> None:
        """The messages of one datagram, in order."""
        for message in messages:
            _ON_PACKET[type(message)](self, now, source, message)

    def on_timer(self, now: float, kind: Timer, token: int) -> None:
        """A timer that was set is due."""
        _ON_TIMER[kind](self, now, token)

    def on_stream(self, now: float, source: Address, ticket: Ticket, message: StreamMessage) -> None:
        """The first message of a stream that a peer opened. Without a reply the driver closes it."""
        if isinstance(message, PushPull):
            self._sync.on_request(now, source, ticket, message)
        elif isinstance(message, Ping):
            if not message.node or message.node == self._state.name:
                self._state.effects.reply_stream(ticket, Ack(message.seq))
        elif isinstance(message, User):
            self._state.upper.on_user(now, None, message)

    def on_stream_reply(self, now: float, ticket: Ticket, message: StreamMessage) -> None:
        """The reply on a stream that we opened."""
        self._state.end_stream(now, ticket, message, "")

    def on_stream_failed(self, now: float, ticket: Ticket, reason: str) -> None:
        """A stream that we opened came to nothing."""
        self._state.end_stream(now, ticket, None, reason)

    # commands

    def new_ticket(self) -> Ticket:
        """A ticket for the layer above, from the same sequence as Swim's own."""
        return self._state.next_ticket()

    def join(self, now: float, addresses: Sequence[Address]) -> Ticket:
        """Exchange tables with each address; ends in JoinFinished. Raises CommandError without addresses."""
        return self._sync.join(now, addresses)

    def leave(self, now: float, timeout: float) -> Ticket:
        """Declare ourselves gone; ends in SpreadFinished once the news was sent enough, or after `timeout`.

        From here on nothing about us is refuted. The core goes on answering until its driver stops.
        """
        state = self._state
        state.leaving = True
        me = state.me
        ticket = self._begin_spread(timeout, wait=me.status is not Status.LEFT)
        self._claims.dead(
            now, Dead(me.incarnation, me.name, me.name), lambda at: self._spread_done(at, ticket, False)
        )
        return ticket

    def set_meta(self, now: float, meta: bytes, timeout: float) -> Ticket:
        """Announce new meta under a new incarnation; ends as `leave` does.

        Raises ConfigError when it is too long, CommandError when there is no higher incarnation left.
        """
        state = self._state
        before = state.me
        self._check_room(replace(before, meta=meta))
        if state.incarnation >= UINT32_MAX:
            raise CommandError(
                "somebody drove our incarnation to its end; only a restart brings new tags to the pool"
            )
        ticket = self._begin_spread(timeout)
        self._claims.announce_self(now, meta=meta, done=lambda at: self._spread_done(at, ticket, False))
        if before.meta != meta:
            state.upper.on_event(now, MemberUpdated(state.me, before))
        return ticket

    def send_user(self, now: float, to: Address, user: User) -> None:
        """A message of the layer above to one peer, by one packet, with nothing beside it."""
        self._state.effects.send_packet(to, (user,), False)

    def announce_anew(self, now: float) -> None:
        """Tell everybody about us under a new incarnation, though nobody said anything else."""
        self._claims.announce_self(now)

    def syncing_with(self, ticket: Ticket) -> Member | None:
        """The member with whom we exchange tables on that stream; None when it is none, or one of a join."""
        return self._sync.peer_of(ticket)

    def wake_gossip(self, now: float) -> None:
        """The layer above has something to gossip."""
        self._spread.wake(now)

    # views

    @property
    def me(self) -> Member:
        """Our own row."""
        return self._state.me

    @property
    def members(self) -> MemberTable:
        """Everybody we know, ourselves included."""
        return self._state.members

    def suspicion(self, name: str) -> Suspicion | None:
        """The running suspicion of a member, for reading; None when it is not suspected."""
        return self._claims.suspicion(name)

    @property
    def health_score(self) -> int:
        """Lifeguard's awareness: 0 is healthy."""
        return self._state.awareness.score

    @property
    def broadcasts_queued(self) -> int:
        """Claims waiting to be gossiped."""
        return len(self._spread.queue)

    def has_live_peers(self) -> bool:
        """Whether any other member is alive or suspect."""
        return self._state.has_live_peers()

    # the rest

    def _on_alive(self, now: float, source: Address, claim: Alive) -> None:
        if self._state.admits(source):
            self._claims.alive(now, claim)

    def _begin_spread(self, timeout: float, wait: bool = True) -> Ticket:
        """A ticket that ends when its broadcast does or after `timeout`; at once if there is nobody to tell.

        Even then the end comes by a timer, never before the command has returned.
        """
        wait = wait and self._state.has_live_peers()
        ticket = self._state.next_ticket()
        self._spreading[ticket] = wait
        self._state.effects.set_timer(timeout if wait else 0.0, Timer.SPREAD_TIMEOUT, ticket)
        return ticket

    def _on_spread_timeout(self, now: float, token: int) -> None:
        ticket = Ticket(token)
        self._spread_done(now, ticket, self._spreading.get(ticket, False))

    def _spread_done(self, now: float, ticket: Ticket, timed_out: bool) -> None:
        if self._spreading.pop(ticket, None) is not None:
            self._state.upper.on_event(now, SpreadFinished(ticket, timed_out))

    def _check_room(self, me: Member) -> None:
        """Raises ConfigError when what we say about ourselves would fit into no packet."""
        if len(me.meta) > META_MAX:
            raise ConfigError(f"meta of {len(me.meta)} bytes exceeds the limit of {META_MAX} bytes")
        if not (self._spread.fits(Alive(me)) and self._spread.fits(Dead(UINT32_MAX, me.name, me.name))):
            raise ConfigError("the member's name is too long to fit into a packet")


# one table for all: in a simulation, where thousands take turns, tables of their own methods are never in the cache
_ON_PACKET: dict[type[Any], Callable[[Swim, float, Address, Any], None]] = {
    Ping: lambda swim, now, source, ping: swim._prober.on_ping(now, source, ping),
    IndirectPing: lambda swim, now, source, request: swim._prober.on_indirect_ping(now, source, request),
    Ack: lambda swim, now, source, ack: swim._prober.on_ack(now, source, ack),
    Nack: lambda swim, now, source, nack: swim._prober.on_nack(now, source, nack),
    Alive: Swim._on_alive,
    Suspect: lambda swim, now, _, claim: swim._claims.suspect(now, claim),
    Dead: lambda swim, now, _, claim: swim._claims.dead(now, claim),
    User: lambda swim, now, source, user: swim._state.upper.on_user(now, source, user),
}
_ON_TIMER: dict[Timer, Callable[[Swim, float, int], None]] = {
    Timer.PROBE: lambda swim, now, _: swim._prober.on_tick(now),
    Timer.PROBE_TIMEOUT: lambda swim, now, token: swim._prober.on_timeout(now, token),
    Timer.PROBE_DEADLINE: lambda swim, now, token: swim._prober.on_deadline(now, token),
    Timer.RELAY_TIMEOUT: lambda swim, now, token: swim._prober.on_relay_timeout(now, token),
    Timer.GOSSIP: lambda swim, now, _: swim._spread.on_tick(now),
    Timer.PUSH_PULL: lambda swim, now, _: swim._sync.on_tick(now),
    Timer.SUSPICION: lambda swim, now, token: swim._claims.on_suspicion_timer(now, token),
    Timer.SPREAD_TIMEOUT: Swim._on_spread_timeout,
}
