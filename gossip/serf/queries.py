"""Queries that reach us: seen once, passed on once, and answered if they mean us."""

from collections.abc import Callable, Sequence

from moot.gossip.errors import CommandError, WireError
from moot.gossip.expressions import REFUSED_EFFORT, ExpressionError
from moot.gossip.expressions import compile as compile_expression
from moot.gossip.serf.events import QueryReceived
from moot.gossip.serf.members import MemberStatus, SerfTable
from moot.gossip.serf.messages import (
    QUERY_ACK,
    QUERY_NO_BROADCAST,
    RESPONSE_ACK,
    NodeFilter,
    Query,
    QueryResponse,
    Relay,
    TagFilter,
)
from moot.gossip.serf.outbox import Outbox
from moot.gossip.serf.ring import Ring
from moot.gossip.serf.state import State
from moot.gossip.serf.tags import decode_tags
from moot.gossip.swim.member import Member
from moot.gossip.swim.messages import User

BUDGET_BYTES = 1024 * 1024
"""Most that the ring keeps: 16,384 queries within one window of 512 Lamport times."""
COST_BYTES = 64
"""What a remembered query takes, about."""
INTERNAL_PREFIX = "_serf_"
"""Queries with such names are between agents; the embedding program is never shown them."""
FILTERS_MAX = 64
"""Most filters of one query: more are no honest one, and each expression costs time."""
EFFORT_RATE = 40e6
"""Steps per second that expressions of queries may take in the long run: a tenth of a processor.

Deviation: the reference searches with whatever it is sent. A datagram can hold 255 queries with dozens of
expressions each, and one of those can take 20 ms: seconds in which nobody's ping is answered."""
EFFORT_BURST = 8_000_000
"""Steps that may be taken at once, 20 ms. An honest expression takes some thousands."""
ANSWERABLE_MAX = 1024
"""Most queries that wait for an answer of the program; when there are more, the oldest counts as too late."""
RELAY_PROTOCOL_MIN = 5
"""Memberlist protocol from which on a member forwards relays."""


class Allowance:
    """How much may still be done: `rate` more every second, up to `burst` (a token bucket)."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._left = float(burst)
        self._at = 0.0

    def take(self, now: float, cost: int = 1) -> bool:
        """Use so much up. False, and nothing is used up, when there is less."""
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < cost:
            return False
        self._left -= cost
        return True

    def overdraw(self, cost: int) -> None:
        """Use up what was done already, even if there is less."""
        self._left -= cost


class _Pending:
    """A query that was handed to the program and may still be answered."""

    __slots__ = ("answered", "deadline")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.answered = False


class Queries:
    """The query clock, the ring of recent queries, and our replies.

    `on_internal(now, query)` is called for queries between agents.
    """

    def __init__(
        self, state: State, outbox: Outbox, table: SerfTable, on_internal: Callable[[float, Query], None]
    ) -> None:
        # nobody is ever sent this ring, so one slot of it may take it all
        size = state.config.query_buffer
        self.ring: Ring[int] = Ring(size, BUDGET_BYTES, BUDGET_BYTES // COST_BYTES, BUDGET_BYTES)
        self._state = state
        self._outbox = outbox
        self._table = table
        self._on_internal = on_internal
        self._allowance = Allowance(state.config.reply_rate, state.config.reply_burst)
        self._effort = Allowance(EFFORT_RATE, EFFORT_BURST)
        self._pending: dict[tuple[int, int], _Pending] = {}

    def hear(self, now: float, user: User, query: Query) -> None:
        """A query arrived by gossip. It is passed on even when its filters do not mean us."""
        if self._take(query):
            if not query.flags & QUERY_NO_BROADCAST:
                self._outbox.put(now, self._outbox.queries, user)
            self._handle(now, query)

    def hear_own(self, now: float, query: Query) -> None:
        """A query of ours: the clock moves past it, and we may be among those it asks."""
        if self._take(query):
            self._handle(now, query)

    def respond(self, now: float, query: Query, payload: bytes) -> None:
        """The program's answer, one for each query.

        Raises CommandError when it comes too late or twice, or is too large.
        """
        response = QueryResponse(query.ltime, query.id, self._state.name, 0, payload)
        self._check_size(response)
        pending = self._pending.get((query.ltime, query.id))
        if pending is not None and pending.answered:
            raise CommandError("response already sent")
        if pending is None or now > pending.deadline:
            raise CommandError("response is past the deadline")
        if not self._send(now, query, response):
            raise CommandError("too many responses at once; try again in a moment")
        pending.answered = True
        if not self._relay(now, query, response):
            raise CommandError(f"relayed response exceeds limit of {self._size_max} bytes")

    def respond_internally(self, now: float, query: Query, payload: bytes) -> None:
        """An agent's own answer to a query between agents; it is left unsaid when it is too large."""
        response = QueryResponse(query.ltime, query.id, self._state.name, 0, payload)
        if self.fits(response):
            self._reply(now, query, response)

    def forward(self, now: float, relay: Relay) -> None:
        """Send on what somebody wants relayed, whatever it is."""
        if not relay.inner:
            return
        if not self._allowance.take(now):
            self._state.counters.replies_withheld += 1
            return
        try:
            # for a network that carries messages instead of bytes
            inner: object = self._state.codec.decode_serf(relay.inner)
        except WireError:
            inner = relay.inner
        self._state.swim.send_user(now, relay.destination, User(inner, relay.inner))

    def fits(self, response: QueryResponse) -> bool:
        """Whether a response is within the limit that the reference sets itself."""
        return len(self._state.codec.encode_serf(response)) <= self._size_max

    # the rest

    @property
    def _size_max(self) -> int:
        return self._state.config.query_response_size_max

    def _check_size(self, response: QueryResponse) -> None:
        if not self.fits(response):
            raise CommandError(f"response exceeds limit of {self._size_max} bytes")

    def _take(self, query: Query) -> bool:
        return self.ring.take(query.ltime, query.id, COST_BYTES)

    def _handle(self, now: float, query: Query) -> None:
        if not self._means_us(now, query.filters):
            return
        if query.flags & QUERY_ACK:
            self._reply(now, query, QueryResponse(query.ltime, query.id, self._state.name, RESPONSE_ACK))
        if query.name.startswith(INTERNAL_PREFIX):
            self._on_internal(now, query)
            return
        deadline = now + query.timeout_ns / 1e9
        self._await(now, query, deadline)
        self._state.effects.notify(QueryReceived(query, deadline))

    def _await(self, now: float, query: Query, deadline: float) -> None:
        pending = self._pending
        if len(pending) >= ANSWERABLE_MAX:
            for key in [key for key, entry in pending.items() if entry.deadline < now] or [next(iter(pending))]:
                del pending[key]
        pending[query.ltime, query.id] = _Pending(deadline)

    def _means_us(self, now: float, filters: Sequence[bytes]) -> bool:
        """Whether all filters pass. One that cannot be read passes nobody (serf.go shouldProcessQuery)."""
        if len(filters) > FILTERS_MAX:
            self._state.counters.refused["query-filter"] += 1
            return False
        tags = None
        for encoded in filters:
            try:
                wanted = self._state.codec.decode_filter(encoded)
                if isinstance(wanted, NodeFilter):
                    if self._state.name not in wanted.names:
                        return False
                    continue
                if tags is None:
                    tags = decode_tags(self._state.swim.me.meta)
                if not self._finds(now, wanted, tags.get(wanted.tag, "")):
                    return False
            except (WireError, ExpressionError):
                self._state.counters.refused["query-filter"] += 1
                return False
        return True

    def _finds(self, now: float, wanted: TagFilter, value: str) -> bool:
        """Whether the expression is found in a tag's value; not when too much was searched of late."""
        effort = self._effort
        if effort.take(now):
            try:
                expression = compile_expression(wanted.expr)
            except ExpressionError:
                effort.overdraw(REFUSED_EFFORT)
                raise
            if effort.take(now, expression.effort(value)):
                return expression.search(value)
        self._state.counters.refused["query-effort"] += 1
        return False

    def _reply(self, now: float, query: Query, response: QueryResponse) -> None:
        if self._send(now, query, response):
            self._relay(now, query, response)

    def _send(self, now: float, query: Query, response: QueryResponse) -> bool:
        if not self._allowance.take(now):
            self._state.counters.replies_withheld += 1
            return False
        self._state.swim.send_user(now, query.source, User(response))
        return True

    def _relay(self, now: float, query: Query, response: QueryResponse) -> bool:
        """Send it once more by way of others, if that was asked for. False when it is too large for that."""
        factor = query.relay_factor
        if not factor or len(self._table) < factor + 1:
            return True
        encode = self._state.codec.encode_serf
        relay = Relay(query.source, query.source_node, encode(response))
        if len(encode(relay)) > self._size_max:
            return False
        swim = self._state.swim
        for peer in swim.members.choose(self._state.rng, factor, self._may_relay):
            if not self._allowance.take(now):
                self._state.counters.replies_withheld += 1
                break
            swim.send_user(now, peer.address, User(relay))
        return True

    def _may_relay(self, peer: Member) -> bool:
        if peer.name == self._state.name or peer.protocol_max < RELAY_PROTOCOL_MIN:
            return False
        held = self._table.get(peer.name)
        return held is not None and held.status is MemberStatus.ALIVE
