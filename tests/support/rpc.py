"""A scripted agent behind the RPC, and one end of a session with it, without sockets."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import msgpack
import trio
import trio.testing

from moot.agent.delivery import Deliverable
from moot.agent.event_filter import EventFilter
from moot.agent.rpc import protocol
from moot.agent.rpc.contract import Limits
from moot.agent.rpc.log_ring import LogRing
from moot.agent.rpc.protocol import Body, KeyResponse
from moot.agent.rpc.session import Session
from moot.gossip.errors import CommandError
from moot.gossip.record import Address
from moot.gossip.serf.asking import Question
from moot.gossip.serf.events import QueryAcked, QueryAnswered
from moot.gossip.serf.members import MemberStatus, SerfMember
from moot.gossip.serf.messages import Coordinate, Query
from moot.gossip.serf.tags import encode_tags
from moot.gossip.swim.member import VERSIONS, Member, Status


def serf_member(
    name: str,
    ip: bytes = b"\x7f\0\0\1",
    port: int = 7946,
    tags: Mapping[str, str] | None = None,
    status: str = "alive",
    versions: bytes = VERSIONS,
) -> SerfMember:
    """A member as a node would list it."""
    meta = encode_tags(tags or {})
    return SerfMember(Member(name, Address(ip, port), 1, Status.ALIVE, meta, versions), MemberStatus(status))


NOTHING_SAID = (KeyResponse({}, None, 0, 0, 0), "")


class HeardLog:
    """A log that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def _hear(self, text: str, /, **fields: object) -> None:
        self.lines.append(" ".join([text, *(f"{key}={value}" for key, value in fields.items())]))

    trace = debug = info = warn = error = _hear


class Replies:
    """Prepared replies to a query, and then those that a channel brings."""

    def __init__(self, channel: trio.MemoryReceiveChannel[QueryAcked | QueryAnswered]) -> None:
        self._channel = channel

    def __aiter__(self) -> "Replies":
        return self

    async def __anext__(self) -> QueryAcked | QueryAnswered:
        try:
            return await self._channel.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None


class ScriptedBackend:
    """Does what the test says. `calls` lists what was asked of it; `refusals` are raised, by name of the call."""

    def __init__(self) -> None:
        self.log_ring = LogRing()
        self.calls: list[tuple[Any, ...]] = []
        self.refusals: dict[str, list[str]] = {}
        self.listing: Sequence[SerfMember] = ()
        self.joined = 1
        self.keys: list[tuple[KeyResponse, str]] = []
        self.statistics: Mapping[str, Mapping[str, str]] = {}
        self.coordinates: dict[str, Coordinate] = {}
        self.replies: Sequence[QueryAcked | QueryAnswered] = ()
        self.reply_to: list[trio.MemorySendChannel[QueryAcked | QueryAnswered]] = []
        """Of each open query: where its later replies go; closing one is the query's deadline."""
        self.hold_queries = False
        """Leave queries open after the prepared replies."""
        self.feeds: list[tuple[EventFilter, trio.MemorySendChannel[Deliverable]]] = []
        self.held = trio.Event()
        self.held.set()
        """While it is not set, a join does not end."""
        self.ended = trio.Event()

    def _note(self, name: str, *what: object) -> None:
        self.calls.append((name, *what))
        waiting = self.refusals.get(name)
        if waiting and (text := waiting.pop(0)):
            raise CommandError(text)

    def members(self) -> Sequence[SerfMember]:
        self._note("members")
        return self.listing

    async def join(self, addresses: Sequence[str], *, replay: bool) -> int:
        self._note("join", tuple(addresses), replay)
        await self.held.wait()
        return self.joined

    async def leave(self) -> None:
        self._note("leave")

    def end(self) -> None:
        self._note("end")
        self.ended.set()

    async def force_leave(self, name: str, *, prune: bool) -> None:
        self._note("force_leave", name, prune)

    def user_event(self, name: str, payload: bytes, *, coalesce: bool) -> None:
        self._note("user_event", name, payload, coalesce)

    @contextmanager
    def query(self, question: Question) -> Iterator[Replies]:
        self._note("query", question)
        send, receive = trio.open_memory_channel[QueryAcked | QueryAnswered](1000)
        for reply in self.replies:
            send.send_nowait(reply)
        if self.hold_queries:
            self.reply_to.append(send)
        else:
            send.close()
        try:
            yield Replies(receive)
        finally:
            receive.close()
            self.calls.append(("query over", question.name))

    def respond(self, query: Query, payload: bytes) -> None:
        self._note("respond", query.id, payload)

    async def change_keys(self, operation: str, key: str) -> tuple[KeyResponse, str]:
        self._note("change_keys", operation, key)
        return self.keys.pop(0) if self.keys else NOTHING_SAID

    async def list_keys(self) -> tuple[KeyResponse, str]:
        self._note("list_keys")
        return self.keys.pop(0) if self.keys else NOTHING_SAID

    async def change_tags(self, tags: Mapping[str, str], delete: Sequence[str]) -> None:
        self._note("change_tags", dict(tags), tuple(delete))

    def stats(self) -> Mapping[str, Mapping[str, str]]:
        self._note("stats")
        return self.statistics

    def coordinate(self, name: str) -> Coordinate | None:
        self._note("coordinate", name)
        return self.coordinates.get(name)

    @contextmanager
    def events(self, about: str, wanted: EventFilter) -> Iterator[trio.MemoryReceiveChannel[Deliverable]]:
        self._note("events", about)
        send, receive = trio.open_memory_channel[Deliverable](512)
        entry = (wanted, send)
        self.feeds.append(entry)
        try:
            yield receive
        finally:
            self.feeds.remove(entry)
            receive.close()


class Caller:
    """The client's end of a session."""

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self.stream = stream
        self._objects: Any = msgpack.Unpacker(raw=False, unicode_errors="surrogateescape")
        self.received = b""

    async def send(self, *requests: bytes) -> None:
        await self.stream.send_all(b"".join(requests))

    async def ask(self, command: str, seq: int, body: Body | None = None) -> object:
        """Send a request; the next object that comes."""
        await self.send(protocol.encode_request(command, seq, body))
        return await self.next()

    async def next(self) -> Any:  # noqa: ANN401 - whatever the agent sends
        """The next object, text and byte strings apart. Raises EndOfChannel at the end."""
        while True:
            for found in self._objects:
                return found
            data = await self.stream.receive_some(65536)
            if not data:
                raise trio.EndOfChannel
            self.received += data
            self._objects.feed(data)

    async def take(self, count: int) -> list[Any]:
        """The next so many objects."""
        return [await self.next() for _ in range(count)]

    async def hung_up(self) -> bool:
        """Whether the agent ends the connection without another word."""
        try:
            await self.next()
        except trio.EndOfChannel:
            return True
        return False


@asynccontextmanager
async def session(
    backend: ScriptedBackend,
    *,
    auth_key: str = "",
    limits: Limits | None = None,
    log: HeardLog | None = None,
    shaken: bool = True,
) -> AsyncIterator[Caller]:
    """A session over a stream in memory, the handshake done unless the test wants to do it."""
    ours, theirs = trio.testing.memory_stream_pair()

    async def serve() -> None:
        made = Session(
            theirs,
            backend,
            auth_key=auth_key,
            limits=limits or Limits(),
            log=log or HeardLog(),
            about="127.0.0.1:5",
        )
        await made.run()
        await theirs.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        caller = Caller(ours)
        if shaken:
            assert await caller.ask("handshake", 1, protocol.Handshake()) == {"Seq": 1, "Error": ""}
        yield caller
        await ours.aclose()


def canonical(value: object) -> bytes:
    """An object in the RPC's form, every map in the order of its keys."""
    packed: bytes = msgpack.packb(_in_order(value), use_bin_type=True, unicode_errors="surrogateescape")
    return packed


def _in_order(value: object) -> object:
    if isinstance(value, dict):
        return {key: _in_order(value[key]) for key in sorted(value)}
    return [_in_order(item) for item in value] if isinstance(value, list) else value


def unpack_all(data: bytes | Iterable[bytes]) -> list[Any]:
    """All objects in these bytes, text and byte strings apart."""
    unpacker = msgpack.Unpacker(raw=False, unicode_errors="surrogateescape")
    unpacker.feed(data if isinstance(data, bytes) else b"".join(data))
    return list(unpacker)
