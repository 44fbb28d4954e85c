"""Session: one client's connection from its first byte to its last. Requests are served one after the other.

The order of the checks, the texts and whether the connection stays are Serf's, also where they are odd. Deviation:
when a client has to authenticate first, Serf takes the body of its request for another header and answers twice;
here the body is passed over.
"""

import hmac
import itertools
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import trio

from moot.agent.event_filter import parse_event_filters
from moot.agent.logs import Log
from moot.agent.rpc import protocol
from moot.agent.rpc.connection import Connection
from moot.agent.rpc.contract import Limits, RpcBackend
from moot.agent.rpc.log_ring import LEVELS
from moot.agent.rpc.protocol import BODIES, AnswerHeader, KeyResponse
from moot.agent.rpc.streams import Streams, Task, encode_members
from moot.gossip import expressions
from moot.gossip.errors import CommandError, ConfigError, WireError
from moot.gossip.expressions import Expression, ExpressionError
from moot.gossip.pack import pack_typed
from moot.gossip.serf.asking import Question
from moot.gossip.serf.members import SerfMember
from moot.http.counters import RpcCounters

TOO_MANY_STREAMS = "too many streams and queries are open on this connection"
TURN = 0.005
"""Seconds that filtering members may take before others have their turn."""


class Hangup(Exception):
    """The session is over; the text says why, for the log."""


class Session:
    """`about` is the client's address, for the log. Without an `auth_key` everybody may ask everything."""

    def __init__(
        self,
        stream: trio.abc.HalfCloseableStream,
        backend: RpcBackend,
        *,
        auth_key: str,
        limits: Limits,
        log: Log,
        about: str,
        counters: RpcCounters | None = None,
    ) -> None:
        self._connection = Connection(stream, limits)
        self._streams = Streams(self._connection, backend, about, limits.streams_max)
        self._backend = backend
        self._auth_key = auth_key
        self._limits = limits
        self._log = log
        self._about = about
        self._counters = counters or RpcCounters()
        self._shaken = False
        self._authenticated = False
        self._nursery: trio.Nursery
        self._commands: dict[str, Callable[[int, Any], Awaitable[None]]] = {
            "handshake": self._handshake,
            "auth": self._auth,
            "event": self._event,
            "force-leave": self._force_leave,
            "join": self._join,
            "members": self._members,
            "members-filtered": self._members_filtered,
            "stream": self._stream,
            "monitor": self._monitor,
            "stop": self._stop,
            "leave": self._leave,
            "install-key": lambda seq, body: self._change_keys(seq, "install", body),
            "use-key": lambda seq, body: self._change_keys(seq, "use", body),
            "remove-key": lambda seq, body: self._change_keys(seq, "remove", body),
            "list-keys": self._list_keys,
            "tags": self._tags,
            "query": self._query,
            "respond": self._respond,
            "stats": self._stats,
            "get-coordinate": self._get_coordinate,
        }

    async def run(self) -> None:
        """Serve until the client goes, or has to go. The caller closes the stream."""
        try:
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(self._write_out)
                await self._converse()
                await self._connection.say_goodbye()
                self._nursery.cancel_scope.cancel()
        finally:
            self._streams.close()

    async def _write_out(self) -> None:
        """The connection's writer; when it cannot write, the session is over."""
        try:
            await self._connection.write_out()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._log.debug("client is gone", client=self._about)
        except trio.TooSlowError:
            self._log.warn("client does not read, hanging up", client=self._about)
        self._nursery.cancel_scope.cancel()

    async def _converse(self) -> None:
        """Request after request, until the connection is over for some reason."""
        try:
            while True:
                await self._serve_one()
        except (trio.EndOfChannel, trio.BrokenResourceError, trio.ClosedResourceError):
            self._log.debug("client is gone", client=self._about)
            self._nursery.cancel_scope.cancel()
        except (Hangup, WireError) as reason:
            self._log.warn("hanging up on client", client=self._about, reason=reason)
        except trio.TooSlowError:
            self._log.warn("client did not finish its request, hanging up", client=self._about)

    async def _serve_one(self) -> None:
        patience = math.inf if self._shaken else self._limits.handshake_timeout
        header = protocol.REQUEST_HEADER.read(await self._connection.read(patience))
        command, seq = header.command, header.seq
        if command != "handshake" and not self._shaken:
            await self._answer(seq, protocol.HANDSHAKE_REQUIRED)
            raise Hangup(protocol.HANDSHAKE_REQUIRED)
        known = command in BODIES
        self._counters.requests[command if known else "other"] += 1
        layout = BODIES.get(command)
        if self._auth_key and not self._authenticated and command not in ("handshake", "auth"):
            self._log.warn("client sends commands before it authenticates", client=self._about)
            await self._answer(seq, protocol.AUTH_REQUIRED)
            if layout is not None:
                await self._connection.read(self._limits.request_timeout)
            return
        if not known:
            await self._answer(seq, protocol.UNSUPPORTED_COMMAND)
            raise Hangup(f"command '{command}' not recognized")
        body = layout and layout.read(await self._connection.read(self._limits.request_timeout))
        try:
            await self._commands[command](seq, body)
        except (CommandError, ConfigError) as refusal:
            self._counters.errors[command] += 1
            self._log.warn("command refused", client=self._about, command=command, reason=refusal)
            await self._answer(seq, str(refusal))

    async def _answer(self, seq: int, error: str = "", *body: bytes) -> None:
        await self._connection.send((protocol.ANSWER_HEADER.encode(AnswerHeader(seq, error)), *body))

    async def _open(self, seq: int, task: Task) -> None:
        """The answer to what opened a stream goes before its first record."""
        await self._answer(seq)
        self._nursery.start_soon(task)

    # the session itself

    async def _handshake(self, seq: int, body: protocol.Handshake) -> None:
        if body.version != protocol.VERSION:
            await self._answer(seq, protocol.UNSUPPORTED_VERSION)
        elif self._shaken:
            await self._answer(seq, protocol.HANDSHAKE_DONE)
        else:
            self._shaken = True
            await self._answer(seq)

    async def _auth(self, seq: int, body: protocol.Auth) -> None:
        given, wanted = (text.encode("utf-8", "surrogateescape") for text in (body.key, self._auth_key))
        if hmac.compare_digest(given, wanted):
            self._authenticated = True
            await self._answer(seq)
        else:
            self._log.warn("client sent a wrong authentication token", client=self._about)
            await self._answer(seq, protocol.AUTH_INVALID)

    # members

    async def _members(self, seq: int, _body: None) -> None:
        await self._answer_members(seq, self._backend.members())

    async def _members_filtered(self, seq: int, body: protocol.MembersFiltered) -> None:
        try:
            name, status = (_anchored(text) for text in (body.name, body.status))
            tags = [(tag, _anchored(text, always=True)) for tag, text in (body.tags or {}).items()]
        except ExpressionError as error:
            raise Hangup(f"Failed to compile regex: {error}") from error
        found, turn_ends = [], trio.current_time() + TURN
        for member in self._backend.members():
            if (
                all(wanted is None or wanted.search(member.tags.get(tag, "")) for tag, wanted in tags)
                and (status is None or status.search(member.status.value))
                and (name is None or name.search(member.name))
            ):
                found.append(member)
            if trio.current_time() >= turn_ends:
                await trio.lowlevel.checkpoint()
                turn_ends = trio.current_time() + TURN
        await self._answer_members(seq, found)

    async def _answer_members(self, seq: int, members: Sequence[SerfMember]) -> None:
        head = protocol.ANSWER_HEADER.encode(AnswerHeader(seq))
        await self._connection.send(itertools.chain((head,), encode_members(members)))

    async def _join(self, seq: int, body: protocol.Join) -> None:
        count, error = 0, ""
        try:
            count = await self._backend.join(body.addresses, replay=body.replay)
        except (CommandError, ConfigError) as refusal:
            self._log.warn("error joining", client=self._about, reason=refusal)
            error = str(refusal)
        await self._answer(seq, error, protocol.JOINED.encode(protocol.Joined(count)))

    async def _leave(self, seq: int, _body: None) -> None:
        """Deviation: Serf ends also when it could not leave, and so cuts short a leave that is under way."""
        self._log.info("leaving on behalf of a client", client=self._about)
        await self._backend.leave()
        try:
            await self._answer(seq)
            await self._connection.flush()
        finally:
            self._backend.end()

    async def _force_leave(self, seq: int, body: protocol.ForceLeave) -> None:
        await self._backend.force_leave(body.node, prune=body.prune)
        await self._answer(seq)

    async def _tags(self, seq: int, body: protocol.Tags) -> None:
        await self._backend.change_tags(body.tags or {}, body.delete)
        await self._answer(seq)

    # events and queries

    async def _event(self, seq: int, body: protocol.Event) -> None:
        self._backend.user_event(body.name, body.payload, coalesce=body.coalesce)
        await self._answer(seq)

    async def _query(self, seq: int, body: protocol.Query) -> None:
        if self._streams.is_full:
            raise CommandError(TOO_MANY_STREAMS)
        question = Question(
            body.name, body.payload, body.nodes, body.tags or {}, body.ack, body.relay_factor, body.timeout / 1e9
        )
        await self._open(seq, self._streams.open_query(seq, question))

    async def _respond(self, seq: int, body: protocol.Respond) -> None:
        query = self._streams.pending_query(body.id)
        if query is None:
            await self._answer(seq, protocol.NO_PENDING_QUERY)
            return
        try:
            self._backend.respond(query, body.payload)
        except CommandError as refusal:
            raise CommandError(f"failed to respond to key query: {refusal}") from refusal  # Serf says "key", too
        await self._answer(seq)

    # streams

    async def _stream(self, seq: int, body: protocol.Stream) -> None:
        try:
            wanted = parse_event_filters(body.filters)
        except ValueError:
            await self._answer(seq, protocol.INVALID_FILTER)
            return
        if self._streams.has_events(seq):
            await self._answer(seq, protocol.STREAM_EXISTS)
        elif self._streams.is_full:
            raise CommandError(TOO_MANY_STREAMS)
        else:
            await self._open(seq, self._streams.open_events(seq, wanted))

    async def _monitor(self, seq: int, body: protocol.Monitor) -> None:
        level = body.level.upper()
        if level not in LEVELS:
            await self._answer(seq, protocol.UNKNOWN_LEVEL.format(level))
        elif self._streams.has_monitor:
            await self._answer(seq, protocol.MONITOR_EXISTS)
        else:
            await self._open(seq, self._streams.open_monitor(seq, level))

    async def _stop(self, seq: int, body: protocol.Stop) -> None:
        self._streams.stop(body.stop)
        await self._answer(seq)

    # keys and facts

    async def _change_keys(self, seq: int, operation: str, body: protocol.Key) -> None:
        await self._answer_keys(seq, self._backend.change_keys(operation, body.key))

    async def _list_keys(self, seq: int, _body: None) -> None:
        await self._answer_keys(seq, self._backend.list_keys())

    async def _answer_keys(self, seq: int, operation: Awaitable[tuple[KeyResponse, str]]) -> None:
        try:
            response, error = await operation
        except CommandError as refusal:
            response, error = KeyResponse({}, None, 0, 0, 0), str(refusal)
        await self._answer(seq, error, protocol.KEY_RESPONSE.encode(response))

    async def _stats(self, seq: int, _body: None) -> None:
        sections = {title: dict(sorted(texts.items())) for title, texts in sorted(self._backend.stats().items())}
        await self._answer(seq, "", pack_typed(sections))

    async def _get_coordinate(self, seq: int, body: protocol.GetCoordinate) -> None:
        found = self._backend.coordinate(body.node)
        shown = protocol.Coordinate((), 0.0, 0.0, 0.0)
        if found is not None:
            shown = protocol.Coordinate(found.vec, found.error, found.adjustment, found.height)
        answer = protocol.CoordinateAnswer(shown, found is not None)
        await self._answer(seq, "", protocol.COORDINATE_ANSWER.encode(answer))


def _anchored(text: str, *, always: bool = False) -> Expression | None:
    """The expression as Serf anchors it, without grouping; None for an empty one, which lets all pass.

    Of a tag an empty one means the empty value, hence `always`.
    """
    return expressions.compile(f"^{text}$") if text or always else None
