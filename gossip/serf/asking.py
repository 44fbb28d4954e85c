"""Asking: the queries that we ask, and who has answered."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field

from moot.gossip.errors import CommandError
from moot.gossip.pack import check_text
from moot.gossip.record import Ticket, message
from moot.gossip.serf.events import QueryAcked, QueryAnswered, QueryDone
from moot.gossip.serf.messages import (
    QUERY_ACK,
    RESPONSE_ACK,
    Filter,
    NodeFilter,
    Query,
    QueryResponse,
    TagFilter,
)
from moot.gossip.serf.outbox import Outbox
from moot.gossip.serf.queries import INTERNAL_PREFIX, Queries
from moot.gossip.serf.state import State
from moot.gossip.swim.effects import Timer
from moot.gossip.swim.messages import User

PING = "_serf_ping"
"""The one query between agents that a program may ask: its acks tell who can be reached."""
OPEN_MAX = 1024
"""Most queries of ours that are open at once."""
PROGRAM_MAX = 960
"""Most of them that the embedding program asked: it cannot keep the agent from its own, such as those for keys."""
STRANGERS_MAX = 64
"""Most answers to one query from names that we do not know: of members that just joined, or made up."""
TIMEOUT_MAX = 24 * 3600.0
TOO_MANY = "{} queries are open already; wait until some of them are over"

OnAnswer = Callable[[float, str, bytes | None], None]
"""`(now, sender, payload)`; None for an ack."""


@message
class Question:
    """What to ask whom. `tags` maps a tag to an RE2 expression to be found in its value.

    `timeout` is in seconds, 0 for the default, which grows with the pool. With `relay_factor` every reply also
    travels by way of that many other members.
    """

    name: str
    payload: bytes = b""
    nodes: Sequence[str] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    ack: bool = False
    relay_factor: int = 0
    timeout: float = 0.0


class _Open:
    """A query of ours that is not over."""

    __slots__ = ("acked", "alarm", "answered", "on_answer", "strangers")

    def __init__(self, on_answer: OnAnswer, alarm: int) -> None:
        self.on_answer = on_answer
        self.alarm = alarm
        self.acked: set[str] = set()
        self.answered: set[str] = set()
        self.strangers = 0


class Asking:
    """Our queries until their deadlines."""

    def __init__(self, state: State, queries: Queries, outbox: Outbox) -> None:
        self._state = state
        self._queries = queries
        self._outbox = outbox
        self._open: dict[tuple[int, int], _Open] = {}
        self._programs: dict[Ticket, tuple[int, int]] = {}
        """Of what is open, the queries of the program."""

    def default_timeout(self) -> float:
        """Seconds that a query gets: a multiple of what gossip takes to reach everybody."""
        n = self._state.swim.members.live_count
        mult = self._state.config.query_timeout_mult
        return self._state.swim_config.gossip_interval * mult * math.ceil(math.log10(n + 1))

    def ask_for_program(self, now: float, question: Question) -> tuple[Ticket, Query, float]:
        """Ask for the embedding program, which is told QueryAcked and QueryAnswered, at the deadline QueryDone.

        Answers the ticket in these, the query and its deadline. Raises CommandError as `ask` does, and when a
        program must not ask this.
        """
        if question.name.startswith(INTERNAL_PREFIX) and (question.name != PING or question.payload):
            raise CommandError(f"Queries cannot contain the '{INTERNAL_PREFIX}' prefix")
        if len(self._programs) >= PROGRAM_MAX:
            raise CommandError(TOO_MANY.format(PROGRAM_MAX))
        ticket = self._state.swim.new_ticket()
        notify = self._state.effects.notify

        def on_answer(at: float, sender: str, payload: bytes | None) -> None:
            notify(QueryAcked(ticket, sender) if payload is None else QueryAnswered(ticket, sender, payload))

        def on_done(at: float) -> None:
            del self._programs[ticket]
            notify(QueryDone(ticket))

        query, deadline = self.ask(now, question, on_answer, on_done)
        self._programs[ticket] = (query.ltime, query.id)
        return ticket, query, deadline

    def abandon(self, ticket: Ticket) -> None:
        """The program does not care any more; nothing follows. Unknown tickets are those of queries that are over."""
        key = self._programs.pop(ticket, None)
        if key is not None:
            self._state.alarms.cancel(self._open.pop(key).alarm)

    def ask(
        self, now: float, question: Question, on_answer: OnAnswer, on_done: Callable[[float], None]
    ) -> tuple[Query, float]:
        """Ask the pool, ourselves included; `on_answer` at most once per sender for its ack and once for its answer.

        Answers the query and its deadline. Raises CommandError when it is too large, or cannot be asked now, or so.
        """
        check_text(question.name, *question.nodes, *question.tags, *question.tags.values())
        if len(self._open) >= OPEN_MAX:
            raise CommandError(TOO_MANY.format(OPEN_MAX))
        if not 0 <= question.relay_factor <= 255:
            raise CommandError("relay factor must be from 0 to 255")
        if not 0 <= question.timeout <= TIMEOUT_MAX:
            raise CommandError("query timeout must be from 0 to 24 hours")
        timeout = question.timeout or self.default_timeout()
        query = Query(
            ltime=self._queries.ring.clock.time,
            id=self._state.rng.getrandbits(31),
            source=self._state.swim.me.address,
            source_node=self._state.name,
            filters=[self._state.codec.encode_filter(wanted) for wanted in _filters(question)],
            flags=QUERY_ACK if question.ack else 0,
            relay_factor=question.relay_factor,
            timeout_ns=int(timeout * 1e9),
            name=question.name,
            payload=question.payload,
        )
        user = User(query)
        limit = self._state.config.query_size_max
        if len(self._state.codec.encode_serf(query)) > limit:
            raise CommandError(f"query exceeds limit of {limit} bytes")
        key = (query.ltime, query.id)

        def over(at: float) -> None:
            del self._open[key]
            on_done(at)

        alarm = self._state.alarms.set(timeout, Timer.QUERY_DEADLINE, over)
        self._open[key] = _Open(on_answer, alarm)
        self._queries.hear_own(now, query)
        self._outbox.put(now, self._outbox.queries, user)
        return query, now + timeout

    def hear(self, now: float, response: QueryResponse) -> None:
        """A response arrived, for one of our queries or for nobody."""
        entry = self._open.get((response.ltime, response.id))
        if entry is None:
            # late, or not meant for us
            self._state.counters.refused["query-response"] += 1
            return
        is_ack = bool(response.flags & RESPONSE_ACK)
        senders = entry.acked if is_ack else entry.answered
        if response.sender in senders:
            # relayed copies, mostly
            return
        if response.sender not in self._state.swim.members:
            if entry.strangers >= STRANGERS_MAX:
                self._state.counters.refused["query-response"] += 1
                return
            entry.strangers += 1
        senders.add(response.sender)
        entry.on_answer(now, response.sender, None if is_ack else response.payload)


def _filters(question: Question) -> list[Filter]:
    wanted: list[Filter] = [NodeFilter(tuple(question.nodes))] if question.nodes else []
    return wanted + [TagFilter(tag, expr) for tag, expr in question.tags.items()]
