"""Serf: the member layer, user events and queries over a Swim that it owns. It wires the parts and routes."""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from moot.gossip.config import SerfConfig, SwimConfig
from moot.gossip.counters import Counters
from moot.gossip.errors import CommandError
from moot.gossip.record import Address, Ticket
from moot.gossip.serf.alarms import Alarms
from moot.gossip.serf.announcer import Announcer, SerfState
from moot.gossip.serf.asking import Asking, Question
from moot.gossip.serf.codec import Codec
from moot.gossip.serf.conflict import ConflictVote
from moot.gossip.serf.events import CommandDone, JoinDone, UserEventReceived
from moot.gossip.serf.exchange import Exchange
from moot.gossip.serf.ghost import Ghost
from moot.gossip.serf.guard import MergeGuard
from moot.gossip.serf.internal import Internal
from moot.gossip.serf.keys import KeyStore
from moot.gossip.serf.members import SerfMember
from moot.gossip.serf.membership import Membership
from moot.gossip.serf.messages import (
    ConflictResponse,
    Coordinate,
    JoinIntent,
    KeyRequest,
    KeyResponse,
    LeaveIntent,
    Query,
    QueryResponse,
    Relay,
    SerfPushPull,
    Unknown,
    UserEvent,
)
from moot.gossip.serf.outbox import Outbox
from moot.gossip.serf.position import Position
from moot.gossip.serf.queries import Queries
from moot.gossip.serf.rejoin import Rejoin
from moot.gossip.serf.revival import Revival
from moot.gossip.serf.state import State
from moot.gossip.serf.statistics import statistics
from moot.gossip.serf.tags import decode_tags, encode_tags
from moot.gossip.serf.user_events import UserEvents, check_size
from moot.gossip.swim.contacts import Contacts
from moot.gossip.swim.core import Swim
from moot.gossip.swim.effects import Effects, Timer
from moot.gossip.swim.events import (
    JoinFinished,
    MemberForgotten,
    MemberGone,
    MemberJoined,
    MemberUpdated,
    NameConflict,
    SpreadFinished,
    SwimEvent,
)
from moot.gossip.swim.member import VERSIONS, Member
from moot.gossip.swim.messages import Message, PacketMessage, StreamMessage, User
from moot.gossip.swim.table import Roster

MISPLACED = {SerfPushPull: 2, ConflictResponse: 6, KeyRequest: 7, KeyResponse: 8}
"""Serf messages that exist only inside others, with their type numbers."""


class Serf:
    """One member of a Serf pool: inputs and commands as Swim's, whose `Upper` it is.

    `size_of` gives the exact encoded size in bytes of any message of both layers, `codec` the bytes of Serf's
    own. `guard` says who may be in the pool. `keyring` is what other agents' key queries act on, None without
    encryption. Commands answer at once with a ticket; JoinDone, CommandDone, QueryDone or KeysDone carry it
    when they are over.
    """

    _in_reply = False
    """Whether what Swim is working on is a reply on a stream that we opened."""

    def __init__(
        self,
        *,
        name: str,
        address: Address,
        tags: Mapping[str, str],
        versions: bytes = VERSIONS,
        swim_config: SwimConfig,
        config: SerfConfig,
        effects: Effects,
        rng: Random,
        size_of: Callable[[Message], int],
        codec: Codec,
        guard: MergeGuard | None = None,
        roster: Roster | None = None,
        counters: Counters | None = None,
        keyring: KeyStore | None = None,
        contacts: Contacts | None = None,
        listed: Roster | None = None,
    ) -> None:
        """`listed` is for `table` what `roster` is for Swim's. Raises ConfigError when the tags are too long."""
        self.name = name
        self.counters = counters or Counters()
        self._config = config
        self._effects = effects
        self._guard, self._codec = guard, codec
        self._encrypted, self._contacts = keyring is not None, contacts or Contacts()
        self.swim = swim = Swim(
            name=name,
            address=address,
            meta=encode_tags(tags),
            versions=versions,
            config=swim_config,
            effects=effects,
            rng=rng,
            size_of=size_of,
            upper=self,
            roster=roster,
            counters=self.counters,
            contacts=contacts,
        )
        self._alarms = Alarms(effects)
        state = State(
            name=name,
            config=config,
            swim_config=swim_config,
            swim=swim,
            effects=effects,
            alarms=self._alarms,
            codec=codec,
            rng=rng,
            counters=self.counters,
            listed=listed,
        )
        self._make_parts(state, size_of, keyring)
        self._joins: dict[Ticket, bool] = {}
        """Joins under way, and whether they ignore old events."""
        self._tag_tickets: set[Ticket] = set()
        self._on_body = self._body_handlers()
        self._on_swim = self._swim_handlers()

    def _make_parts(self, state: State, size_of: Callable[[Message], int], keyring: KeyStore | None) -> None:
        self._position = Position(state.config.coordinates, state.rng, state.codec, self.counters)
        self._membership = Membership(state, lambda now: self._announcer.refute(now), self._forget)
        self._revival = Revival(state, self._membership.pruned)
        self._outbox = Outbox(state, self._membership.table.__len__, size_of)
        self._announcer = Announcer(state, self._membership, self._outbox)
        self._ghost = Ghost(state, self._membership, self._announcer)
        self._events = UserEvents(state.config.event_buffer)
        self.table = table = self._membership.table
        self._queries = Queries(state, self._outbox, table, lambda now, query: self._internal.answer(now, query))
        self._asking = Asking(state, self._queries, self._outbox)
        self._internal = Internal(state, table, keyring, self._queries, self._asking)
        self._conflict = ConflictVote(state, self._asking)
        self._rejoin = Rejoin(state, table)
        self._exchange = Exchange(
            self._membership, self._events, self._queries, self._revival, self._outbox, self._take_event
        )
        config = state.config
        self._periodic: dict[Timer, tuple[float, Callable[[float], None]]] = {
            Timer.REAP: (config.reap_interval, self._membership.reap),
            Timer.RECONNECT: (config.reconnect_interval, self._reconnect),
            Timer.QUEUE_CHECK: (config.queue_check_interval, self._outbox.check),
        }

    def _body_handlers(self) -> dict[type[Any], Callable[[float, User, Any], None]]:
        return {
            LeaveIntent: self._on_leave_intent,
            JoinIntent: self._on_join_intent,
            UserEvent: self._on_user_event,
            Query: lambda now, user, heard: self._queries.hear(now, user, heard),
            QueryResponse: lambda now, user, heard: self._asking.hear(now, heard),
            Relay: lambda now, user, heard: self._queries.forward(now, heard),
            **dict.fromkeys((Unknown, *MISPLACED), self._on_unknown),
        }

    def _swim_handlers(self) -> dict[type[Any], Callable[[float, Any], None]]:
        return {
            MemberJoined: lambda now, event: self._membership.joined(now, event.member),
            MemberUpdated: lambda now, event: self._membership.updated(now, event.member),
            MemberGone: lambda now, event: self._membership.gone(now, event.member, event.accuser),
            MemberForgotten: lambda now, event: self._on_forgotten(event.member.name),
            JoinFinished: self._on_join_finished,
            SpreadFinished: self._on_spread_finished,
            NameConflict: self._on_name_conflict,
        }

    # inputs

    def start(self, now: float) -> None:
        """Become a member of a pool of one and start the timers. Called once, first."""
        self.swim.start(now)
        for kind, (interval, _) in self._periodic.items():
            self._effects.set_timer(interval, kind, 0)

    def on_packet(self, now: float, source: Address, messages: Sequence[PacketMessage]) -> None:
        """The messages of one datagram, in order."""
        self.swim.on_packet(now, source, messages)

    def on_timer(self, now: float, kind: Timer, token: int) -> None:
        """A timer that was set is due."""
        if kind < Timer.REAP:
            self.swim.on_timer(now, kind, token)
        elif kind in self._periodic:
            interval, action = self._periodic[kind]
            action(now)
            self._effects.set_timer(interval, kind, 0)
        else:
            self._alarms.fire(now, token)

    def on_stream(self, now: float, source: Address, ticket: Ticket, message: StreamMessage) -> None:
        """The first message of a stream that a peer opened. Without a reply the driver closes it."""
        self.swim.on_stream(now, source, ticket, message)

    def on_stream_reply(self, now: float, ticket: Ticket, message: StreamMessage) -> None:
        """The reply on a stream that we opened."""
        if self._revival.owns(ticket):
            self._revival.on_stream_end(now, ticket, message)
            return
        peer = self.swim.syncing_with(ticket)
        self._in_reply = True
        self.swim.on_stream_reply(now, ticket, message)
        self._in_reply = False
        self._ghost.look(now, peer, message)

    def on_stream_failed(self, now: float, ticket: Ticket, reason: str) -> None:
        """A stream that we opened came to nothing."""
        if self._revival.owns(ticket):
            self._revival.on_stream_end(now, ticket, None)
        else:
            self.swim.on_stream_failed(now, ticket, reason)

    # commands

    def join(self, now: float, addresses: Sequence[Address], ignore_old: bool = True) -> Ticket:
        """Join through these addresses; ends in JoinDone. With `ignore_old`, earlier user events are not taken.

        Raises CommandError once we leave.
        """
        if self.state is not SerfState.ALIVE:
            raise CommandError("Serf can't Join after Leave or Shutdown")
        if not addresses:
            ticket = self.swim.new_ticket()
            self._effects.notify(JoinDone(ticket, ()))
            return ticket
        ticket = self.swim.join(now, addresses)
        self._joins[ticket] = ignore_old
        return ticket

    def leave(self, now: float) -> Ticket:
        """Leave for good: tell all, then tell Swim, then let the news travel; ends in CommandDone.

        What cannot be told in time is left unsaid: a leave always succeeds, as in the newer reference.
        Raises CommandError while a leave is under way; once we left, it is done at once.
        """
        return self._announcer.leave(now)

    def force_leave(self, now: float, name: str, prune: bool = False) -> Ticket:
        """Declare that a member left, with `prune` that it be forgotten; ends in CommandDone.

        One that is alive refutes; a name that nobody knows is passed on all the same.
        """
        return self._announcer.force_leave(now, name, prune)

    def set_tags(self, now: float, tags: Mapping[str, str]) -> Ticket:
        """Replace our tags; ends in CommandDone. Raises ConfigError when they are too long.

        Raises CommandError once we leave.
        """
        if self.state is not SerfState.ALIVE:
            raise CommandError("Serf can't change tags after Leave or Shutdown")
        ticket = self.swim.set_meta(now, encode_tags(tags), self._config.broadcast_timeout)
        self._tag_tickets.add(ticket)
        return ticket

    def user_event(self, now: float, name: str, payload: bytes = b"", coalesce: bool = False) -> None:
        """Tell everybody, ourselves included. Raises CommandError when it is too large."""
        event = UserEvent(self._events.ring.clock.time, name, payload, coalesce)
        check_size(event, self._config.user_event_size_max, self._codec.encode_serf)
        self._take_event(event)
        self._outbox.put(now, self._outbox.events, User(event))

    def query(self, now: float, question: Question) -> tuple[Ticket, Query, float]:
        """Ask the pool: QueryAcked and QueryAnswered as they come, QueryDone at the deadline.

        Answers the ticket, the query and its deadline. Raises CommandError when it must not be asked.
        """
        return self._asking.ask_for_program(now, question)

    def abandon(self, ticket: Ticket) -> None:
        """Nobody waits any more for the answers to a query of ours: it is closed, and nothing more is told of it."""
        self._asking.abandon(ticket)

    def respond(self, now: float, query: Query, payload: bytes) -> None:
        """Answer a query that was received. Raises CommandError: too late, twice, or too large."""
        self._queries.respond(now, query, payload)

    def keys(self, now: float, operation: str, key: bytes = b"") -> Ticket:
        """Have all members "install", "use", "remove" or "list" keys; ends in KeysDone."""
        return self._internal.ask_keys(now, operation, key)

    def opinions(self, now: float, name: str, timeout: float) -> Ticket:
        """Ask everybody what they hold of a member; ends in OpinionsHeard after `timeout` seconds or before."""
        return self._internal.ask_opinions(now, name, timeout)

    def restore(self, clock: int, event_clock: int, query_clock: int) -> None:
        """Go on where a snapshot ends: nothing from before is delivered again. Called before `start`."""
        self._membership.clock.witness(clock)
        for ring, ltime in ((self._events.ring, event_clock), (self._queries.ring, query_clock)):
            ring.clock.witness(ltime)
            ring.ignore_before(ltime + 1)

    def rejoin(self, now: float, alive: Mapping[str, Address], failed: Mapping[str, Address]) -> None:
        """Find back to those we knew before a restart; it goes on by itself until they show up."""
        self._rejoin.begin(now, alive, failed)

    # views

    @property
    def clocks(self) -> tuple[int, int, int]:
        """The Lamport clocks of members, events and queries."""
        return self._membership.clock.time, self._events.ring.clock.time, self._queries.ring.clock.time

    def coordinate(self, name: str | None = None) -> Coordinate | None:
        """Our network coordinate, or the last that we heard from a member; None when there is none."""
        return self._position.own() if name is None or name == self.name else self._position.of(name)

    def flaps(self, name: str) -> int:
        """How often that member came back soon after it had failed."""
        return self._membership.flaps[name]

    def was_pruned(self, name: str) -> bool:
        """Whether that one is not listed because an operator had it forgotten, not long ago."""
        return self._membership.pruned.get(name) is not None

    @property
    def state(self) -> SerfState:
        """Where we are in our life as a member."""
        return self._announcer.state

    @property
    def tags(self) -> Mapping[str, str]:
        """Our own, as announced."""
        return decode_tags(self.swim.me.meta)

    @property
    def members_version(self) -> int:
        """Grows with every change of any member."""
        return self._membership.table.version

    def member(self, name: str) -> SerfMember | None:
        """The member of that name, None when Serf lists none."""
        return self._membership.table.get(name)

    def members(self) -> list[SerfMember]:
        """Everybody listed, whatever their status, by name."""
        return sorted(self._membership.table, key=lambda member: member.name)

    def stats(self) -> dict[str, str]:
        """Serf's statistics map: counts, clocks, queue lengths, as text."""
        return statistics(
            self._membership.table,
            self.clocks,
            self._outbox,
            health_score=self.swim.health_score,
            encrypted=self._encrypted,
            resets=self._position.resets,
        )

    # Upper: what Swim asks of us

    def on_event(self, now: float, event: SwimEvent, /) -> None:
        """What concerns members is weighed here, the rest goes up as it is."""
        handler = self._on_swim.get(type(event))
        if handler is None:
            self._effects.notify(event)
        else:
            handler(now, event)

    def on_user(self, now: float, source: Address | None, user: User, /) -> None:
        """A Serf message arrived."""
        handler = self._on_body.get(type(user.body))
        if handler is None:
            self.counters.refused["user-message"] += 1
        else:
            handler(now, user, user.body)

    def broadcasts(self, now: float, overhead: int, limit: int, /) -> list[User]:
        """Intents first, then queries, then events, as far as the room goes."""
        return self._outbox.fetch(now, overhead, limit)

    def local_state(self, join: bool, /) -> object | None:
        """Our part of a push/pull."""
        return self._exchange.local_state()

    def merge_state(self, now: float, state: object, join: bool, /) -> None:
        """The peer's part. What is no Serf state is ignored, as the reference does."""
        if isinstance(state, SerfPushPull):
            # to be joined is one thing; a mere reconnect may be answered by whoever made up a failed member
            asked = join and self._in_reply and bool(self._joins)
            ignore_old = join and any(self._joins.values())
            self._exchange.merge(now, state, catch_up=asked, ignore_old=ignore_old)

    def guard_merge(self, members: Sequence[Member], /) -> str | None:
        """Whether these may join us, or we them."""
        return self._guard(members) if self._guard is not None else None

    def guard_alive(self, member: Member, /) -> str | None:
        """Whether this one may be a member, can be listed, and does not merely linger after it was pruned."""
        if member.name == self.name:
            return None
        if self._guard is not None:
            if len(member.versions) < 6:
                return f"member '{member.name}' announces no versions"
            reason = self._guard((member,))
            if reason is not None:
                return reason
        if self._membership.pruned.refuses(member):
            self._revival.consider(member)
            return f"member '{member.name}' was pruned"
        if not self._membership.has_room(member.name):
            return f"no room to list member '{member.name}'"
        return None

    def ack_payload(self) -> bytes:
        """Our coordinate, nothing when we keep none."""
        return self._position.payload()

    def on_rtt(self, now: float, member: Member, rtt: float, payload: bytes, /) -> None:
        """A step towards where we really are, as seen from that member."""
        self._position.observe(member.name, rtt, payload)

    # messages

    def _on_leave_intent(self, now: float, user: User, heard: LeaveIntent) -> None:
        if self._membership.on_leave_intent(now, heard):
            self._outbox.put(now, self._outbox.intents, user)

    def _on_join_intent(self, now: float, user: User, heard: JoinIntent) -> None:
        if self._membership.on_join_intent(now, heard):
            self._outbox.put(now, self._outbox.intents, user)

    def _on_user_event(self, now: float, user: User, heard: UserEvent) -> None:
        if self._take_event(heard):
            self._outbox.put(now, self._outbox.events, user)

    def _take_event(self, heard: UserEvent) -> bool:
        new = self._events.take(heard)
        if new:
            self._effects.notify(UserEventReceived(heard))
        return new

    def _on_unknown(self, now: float, user: User, heard: object) -> None:
        kind = heard.kind if isinstance(heard, Unknown) else MISPLACED[type(heard)]
        self.counters.unknown_messages[kind] += 1

    # the ends of what we asked Swim for

    def _on_join_finished(self, now: float, event: JoinFinished) -> None:
        """Tell everybody that we are here, if anybody let us in. Our own reconnects end silently."""
        joined = any(error is None for _, error in event.results)
        ours = self._joins.pop(event.ticket, None) is not None
        enough = joined or self.state is not SerfState.ALIVE
        rejoined = self._rejoin.on_join_finished(now, event.ticket, enough=enough)
        if joined and (ours or rejoined):
            # Deviation: the reference says nothing after a rejoin, and may then be seen as leaving for good,
            # because of an intent from before it restarted
            self._announcer.say_here(now)
        if ours:
            self._effects.notify(JoinDone(event.ticket, event.results))

    def _on_spread_finished(self, now: float, event: SpreadFinished) -> None:
        if not self._announcer.on_spread_finished(event.ticket) and event.ticket in self._tag_tickets:
            self._tag_tickets.remove(event.ticket)
            error = "timed out broadcasting the change of tags" if event.timed_out else None
            self._effects.notify(CommandDone(event.ticket, error))

    def _on_forgotten(self, name: str) -> None:
        """Swim dropped a row; Serf mostly goes on listing the member."""
        if self._membership.table.get(name) is None:
            self._forget(name)

    def _forget(self, name: str) -> None:
        self._position.forget(name)
        self._contacts.forget(name)

    def _on_name_conflict(self, now: float, event: NameConflict) -> None:
        if (mode := self._config.conflict) == "off":
            return
        self._effects.notify(event)
        if mode == "vote" and event.held.name == self.name and self.state is SerfState.ALIVE:
            self._conflict.begin(now)

    # what time does

    def _reconnect(self, now: float) -> None:
        if self.state is SerfState.ALIVE:
            member = self._membership.lost_one()
            if member is not None:
                self.swim.join(now, (member.address,))
            self._rejoin.look(now, alone=not self._membership.others_alive())
