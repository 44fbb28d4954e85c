"""Streams: what one connection is sent without asking again, which is events, log lines and replies to queries."""

import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Final, TypeAlias

import trio

from moot.agent.delivery import Deliverable
from moot.agent.event_filter import EventFilter
from moot.agent.rpc import protocol
from moot.agent.rpc.connection import Connection
from moot.agent.rpc.contract import Replies, RpcBackend
from moot.agent.rpc.protocol import AnswerHeader, AnswerRecord, LogRecord, QueryRecord, UserRecord
from moot.gossip.pack import pack_typed
from moot.gossip.serf.asking import Question
from moot.gossip.serf.coalesce import MemberEvents
from moot.gossip.serf.events import QueryAnswered, QueryReceived, UserEventReceived
from moot.gossip.serf.members import SerfMember
from moot.gossip.serf.messages import Query

Task: TypeAlias = Callable[[], Awaitable[None]]

PENDING_MAX: Final = 512
"""Queries that a connection may still answer; of more the oldest are forgotten."""
SLICE: Final = 64
"""Members that are encoded at once."""


# ---- members as they are written


def as_member(member: SerfMember) -> protocol.Member:
    """A member of the pool in the RPC's form."""
    return protocol.Member(
        member.name,
        member.address.ip,
        member.address.port,
        member.tags,
        member.status.value,
        *member.versions,
    )


def encode_members(members: Sequence[SerfMember], **before: str) -> Iterator[bytes]:
    """`{"Members": […]}` in parts, because a pool may be large; fields that sort before it may be added."""
    fields = [pack_typed(key) + pack_typed(value) for key, value in before.items()]
    yield b"".join((bytes([0x81 + len(fields)]), *fields, pack_typed("Members"), _array_header(len(members))))
    for start in range(0, len(members), SLICE):
        yield b"".join(protocol.MEMBER.encode(as_member(member)) for member in members[start : start + SLICE])


def _array_header(count: int) -> bytes:
    if count < 16:
        return bytes([0x90 + count])
    return b"\xdc" + count.to_bytes(2) if count < 0x10000 else b"\xdd" + count.to_bytes(4)


# ---- what is open


class _Open:
    """A stream, a monitor or a query of the client's."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.resources = ExitStack()

    def close(self) -> None:
        """From now on nothing more is sent."""
        self.scope.cancel()
        self.resources.close()


class Streams:
    """All that is open on one connection. `about` names the client in the log.

    Each begins with `open_…`, which registers it with the agent, so that nothing is missed; what it returns is a
    task to be started when the client has got its answer.
    """

    def __init__(self, connection: Connection, backend: RpcBackend, about: str, streams_max: int) -> None:
        self._connection = connection
        self._backend = backend
        self._about = about
        self._streams_max = streams_max
        self._events: dict[int, _Open] = {}
        self._queries: dict[int, _Open] = {}
        self._monitor: tuple[int, _Open] | None = None
        self._query_keys = itertools.count()
        self._query_ids = itertools.count(1)
        self._pending: dict[int, QueryReceived] = {}

    @property
    def is_full(self) -> bool:
        return len(self._events) + len(self._queries) >= self._streams_max

    @property
    def has_monitor(self) -> bool:
        return self._monitor is not None

    def has_events(self, seq: int) -> bool:
        return seq in self._events

    def open_events(self, seq: int, wanted: EventFilter) -> Task:
        """Events that match, under a seq that no other stream has."""
        opened = self._events[seq] = _Open()
        channel = opened.resources.enter_context(self._backend.events(self._about, wanted))
        return partial(self._send_events, opened, seq, channel)

    def open_monitor(self, seq: int, level: str) -> Task:
        """The log from this level (one of log_ring.LEVELS) up; there can be one."""
        opened = _Open()
        self._monitor = (seq, opened)
        held, channel = opened.resources.enter_context(self._backend.log_ring.follow(level))
        return partial(self._send_lines, opened, seq, held, channel)

    def open_query(self, seq: int, question: Question) -> Task:
        """A query's replies. Raises CommandError when it cannot be asked."""
        opened = _Open()
        replies = opened.resources.enter_context(self._backend.query(question))
        key = next(self._query_keys)
        self._queries[key] = opened
        return partial(self._send_replies, opened, seq, key, replies)

    def stop(self, seq: int) -> None:
        """End the stream and the monitor under this seq, if there are any."""
        if self._monitor is not None and self._monitor[0] == seq:
            self._monitor[1].close()
            self._monitor = None
        if seq in self._events:
            self._events.pop(seq).close()

    def close(self) -> None:
        """End all of them."""
        monitor = [self._monitor[1]] if self._monitor else []
        for opened in (*self._events.values(), *self._queries.values(), *monitor):
            opened.close()

    def pending_query(self, query_id: int) -> Query | None:
        """The query that was streamed under this id, while it can be answered."""
        found = self._pending.get(query_id)
        return found.query if found is not None and trio.current_time() <= found.deadline else None

    # their tasks

    async def _send_events(self, opened: _Open, seq: int, events: trio.MemoryReceiveChannel[Deliverable]) -> None:
        head = _head(seq)
        with opened.scope:
            async for event in events:
                await self._connection.send(itertools.chain((head,), self._event_parts(event)))

    async def _send_lines(
        self, opened: _Open, seq: int, held: Sequence[str], lines: trio.MemoryReceiveChannel[str]
    ) -> None:
        head = _head(seq)
        with opened.scope:
            for line in held:
                await self._connection.send((head, protocol.LOG_RECORD.encode(LogRecord(line))))
            async for line in lines:
                await self._connection.send((head, protocol.LOG_RECORD.encode(LogRecord(line))))

    async def _send_replies(self, opened: _Open, seq: int, key: int, replies: Replies) -> None:
        head = _head(seq)
        with opened.scope, opened.resources:
            async for reply in replies:
                record = (
                    AnswerRecord(protocol.RESPONSE, reply.sender, reply.payload)
                    if isinstance(reply, QueryAnswered)
                    else AnswerRecord(protocol.ACK, reply.sender)
                )
                await self._connection.send((head, protocol.ANSWER_RECORD.encode(record)))
            await self._connection.send((head, protocol.ANSWER_RECORD.encode(AnswerRecord(protocol.DONE))))
            del self._queries[key]

    def _event_parts(self, event: Deliverable) -> Iterator[bytes]:
        """The record of an event. A query gets an id here, under which the client may answer it."""
        if isinstance(event, MemberEvents):
            yield from encode_members(event.members, Event=event.change.value)
        elif isinstance(event, UserEventReceived):
            it = event.event
            yield protocol.USER_RECORD.encode(UserRecord("user", it.ltime, it.name, it.payload, it.coalesce))
        else:
            query = event.query
            record = QueryRecord("query", self._keep(event), query.ltime, query.name, query.payload)
            yield protocol.QUERY_RECORD.encode(record)

    def _keep(self, received: QueryReceived) -> int:
        pending, now = self._pending, trio.current_time()
        if len(pending) >= PENDING_MAX:
            for old in [key for key, it in pending.items() if it.deadline < now] or [next(iter(pending))]:
                del pending[old]
        query_id = next(self._query_ids)
        pending[query_id] = received
        return query_id


def _head(seq: int) -> bytes:
    """What precedes every record of a stream."""
    return protocol.ANSWER_HEADER.encode(AnswerHeader(seq))
