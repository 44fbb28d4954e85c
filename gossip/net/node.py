"""Node: a Serf core in the real world. It owns the sockets, the clock, the timers and one nursery.

The core decides, this carries out: no line here knows what a message means. Each call into the core runs to
its end, then the effects it asked for are carried out in order, before anything else happens.
"""

import dataclasses
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TypeAlias, TypeVar

import trio

from moot.gossip.counters import Counters
from moot.gossip.errors import CommandError, ConfigError, CryptoError, NameTaken, StreamError, WireError
from moot.gossip.net.answers import Answers, Reply
from moot.gossip.net.feed import BUFFER, EventFeed, SnapshotNote
from moot.gossip.net.interfaces import advertised
from moot.gossip.net.keyring_file import KeyringFile
from moot.gossip.net.outbox import Outbox
from moot.gossip.net.refusals import Refusals
from moot.gossip.net.settings import NodeSettings as NodeSettings
from moot.gossip.net.streams import Streams
from moot.gossip.net.tally import tally
from moot.gossip.net.targets import JoinOutcome, ResolveError, resolve_target
from moot.gossip.net.transport import CATCH_UP_MAX, CATCH_UP_TIME, ByteStream, Transport
from moot.gossip.record import Address, Ticket
from moot.gossip.serf.announcer import SerfState
from moot.gossip.serf.asking import Question
from moot.gossip.serf.core import Serf
from moot.gossip.serf.events import (
    CommandDone,
    ConflictVoted,
    JoinDone,
    KeysDone,
    OpinionsHeard,
    QueryAcked,
    QueryAnswered,
    QueryDone,
)
from moot.gossip.serf.keys import KeyReport
from moot.gossip.serf.members import SerfMember
from moot.gossip.serf.messages import Coordinate, Query
from moot.gossip.swim.contacts import Contacts
from moot.gossip.swim.effects import Timer
from moot.gossip.swim.messages import PacketMessage, StreamMessage
from moot.gossip.wire import serf_codec
from moot.gossip.wire.codec import size_of
from moot.gossip.wire.keyring import Keyring
from moot.gossip.wire.packet import PacketCodec

T = TypeVar("T")


End: TypeAlias = JoinDone | CommandDone | KeysDone | OpinionsHeard
"""What ends a command that somebody waits for."""


class _Waiter:
    """Somebody who waits for a command's end. `end` stays None when the node stops before it."""

    def __init__(self) -> None:
        self.ended = trio.Event()
        self.end: End | None = None


class Node:
    """One member of a pool. Give `run` a task; everything else works while it runs.

    Cancelling `run` stops abruptly, as a crash would look to the others: nothing more is sent. Call `leave`
    before it to part in good order. A command that is cancelled while it waits goes on by itself.
    """

    def __init__(self, settings: NodeSettings) -> None:
        self.settings = settings
        self.counters = Counters()
        self.contacts = Contacts()
        """Who answered us directly, over UDP and over TCP."""
        self._feed = EventFeed(self.counters)
        self._refusals = Refusals(self._feed.publish)
        self._keyring = settings.keyring()
        self._codec = PacketCodec(settings.wire, self._keyring)
        self._timers = settings.timers()
        self._outbox = Outbox(self)
        self._replies: dict[Ticket, StreamMessage] = {}
        self._waiters: dict[Ticket, _Waiter] = {}
        self._asking: dict[Ticket, trio.MemorySendChannel[Reply]] = {}
        self._name_taken = False
        self._snapshotter = settings.snapshotter(lambda text: self._feed.publish(SnapshotNote(text)))
        self._last_ticket = 0
        self._now = 0.0
        self._running = False
        self._transport: Transport | None = None
        self._serf: Serf | None = None

    # the world's view

    @property
    def serf(self) -> Serf:
        """The core, for reading. Raises CommandError before `run` reported that it started."""
        if self._serf is None:
            raise CommandError("the node is not running")
        return self._serf

    @property
    def bind_address(self) -> Address:
        """Where the sockets are bound, the port resolved."""
        if self._transport is None:
            raise CommandError("the node is not running")
        return self._transport.address

    @property
    def address(self) -> Address:
        """What the others are told."""
        return self.serf.swim.me.address

    @property
    def encrypted(self) -> bool:
        return self._keyring is not None

    @property
    def keys(self) -> Sequence[bytes]:
        """Those that open what comes, the one that seals first; none without encryption."""
        return self._keyring.keys if self._keyring is not None else ()

    @property
    def state(self) -> SerfState:
        return self.serf.state

    @property
    def members_version(self) -> int:
        """Grows whenever a member changes."""
        return self.serf.members_version

    def members(self) -> list[SerfMember]:
        return self.serf.members()

    def member(self, name: str) -> SerfMember | None:
        return self.serf.member(name)

    def stats(self) -> dict[str, str]:
        """Serf's statistics, every value text."""
        return self.serf.stats()

    @property
    def tags(self) -> Mapping[str, str]:
        """Our own, as announced."""
        return self.serf.tags

    def coordinate(self, name: str | None = None) -> Coordinate | None:
        """Our network coordinate, or the last that was heard from a member; None when there is none."""
        return self.serf.coordinate(name)

    def flaps(self, name: str) -> int:
        """How often that member came back soon after it had failed."""
        return self.serf.flaps(name)

    def subscribe(self, buffer: int = BUFFER) -> AbstractContextManager[trio.MemoryReceiveChannel[object]]:
        """A channel of all events from now on. A reader that lags `buffer` behind finds EventsLost in it.

        Works before `run` too, so that no event is missed. The channel ends with the node.
        """
        return self._feed.subscribe(buffer)

    def listen(self, listener: Callable[[object], None]) -> None:
        """Have every event told to `listener` at once, without a buffer: none is lost, so it must be quick."""
        self._feed.listeners.append(listener)

    # commands

    async def join(self, targets: Sequence[str], ignore_old: bool = True) -> list[JoinOutcome]:
        """Join through every address of every target `[name/]host[:port]`; an outcome for each, in order.

        With `ignore_old` the pool's past user events are not delivered here. Raises CommandError after a leave
        began, or when the node stops meanwhile.
        """
        port, within = self.bind_address.port, self.settings.swim.stream_timeout
        found: list[Sequence[Address] | ResolveError] = [() for _ in targets]

        async def resolve(index: int, target: str) -> None:
            try:
                found[index] = await resolve_target(target, port, within)
            except ResolveError as error:
                found[index] = error

        async with trio.open_nursery() as nursery:
            for index, target in enumerate(targets):
                nursery.start_soon(resolve, index, target)
        addresses = [address for entry in found if not isinstance(entry, ResolveError) for address in entry]
        done = await self._command(self.serf.join, addresses, ignore_old)
        assert isinstance(done, JoinDone)
        results = iter(done.results)
        outcomes = []
        for target, entry in zip(targets, found, strict=True):
            if isinstance(entry, ResolveError):
                outcomes.append(JoinOutcome(target, None, str(entry)))
            else:
                outcomes += [JoinOutcome(target, *next(results)) for _ in entry]
        return outcomes

    async def leave(self) -> None:
        """Leave the pool. Afterwards the node still answers until `run` is cancelled."""
        if self._snapshotter is not None and self.state is SerfState.ALIVE:
            # from here on there is no way back: the snapshot would say that we left while we did not
            with trio.CancelScope(shield=True):
                await self._snapshotter.leave()
        await self._finish(self.serf.leave)

    async def force_leave(self, name: str, *, prune: bool = False) -> None:
        """Turn a failed member into one that left; with `prune` forget it altogether.

        Returns when the pool has been told. Raises CommandError when that takes too long.
        """
        await self._finish(self.serf.force_leave, name, prune)

    async def set_tags(self, tags: Mapping[str, str]) -> None:
        """Announce other tags. Raises ConfigError when they are too large, CommandError when that takes too long."""
        await self._finish(self.serf.set_tags, tags)

    async def _finish(self, command: Callable[..., Ticket], *args: object) -> None:
        done = await self._command(command, *args)
        assert isinstance(done, CommandDone)
        if done.error is not None:
            raise CommandError(done.error)

    def user_event(self, name: str, payload: bytes = b"", *, coalesce: bool = False) -> None:
        """Tell everybody, ourselves included. Raises CommandError when it is too large."""
        self._now_do(self.serf.user_event, name, payload, coalesce)

    @contextmanager
    def query(self, question: Question) -> Iterator[Answers]:
        """Ask the pool; iterate over the replies as they come. Raises CommandError when it must not be asked."""
        send, receive = trio.open_memory_channel[Reply](math.inf)  # bounded: two per member
        ticket, query, deadline = self._now_do(self._ask, question, send)
        try:
            yield Answers(query, deadline, receive)
        finally:
            self._asking.pop(ticket, None)
            self.serf.abandon(ticket)
            send.close()
            receive.close()

    def respond(self, query: Query, payload: bytes) -> None:
        """Answer a query that was received. Raises CommandError: too late, twice, or too large."""
        self._now_do(self.serf.respond, query, payload)

    async def install_key(self, key: bytes) -> KeyReport:
        """Have every member take a key into its keyring. Raises CommandError only when it could not be asked."""
        return await self._keys("install", key)

    async def use_key(self, key: bytes) -> KeyReport:
        """Have every member seal with a key that is installed."""
        return await self._keys("use", key)

    async def remove_key(self, key: bytes) -> KeyReport:
        """Have every member forget a key."""
        return await self._keys("remove", key)

    async def list_keys(self) -> KeyReport:
        """Ask every member for its keys."""
        return await self._keys("list", b"")

    async def _keys(self, operation: str, key: bytes) -> KeyReport:
        done = await self._command(self.serf.keys, operation, key)
        assert isinstance(done, KeysDone)
        return done.report

    async def opinions(self, name: str, within: float) -> OpinionsHeard:
        """Ask everybody what they hold of a member; it takes `within` seconds at most. Raises CommandError."""
        done = await self._command(self.serf.opinions, name, within)
        assert isinstance(done, OpinionsHeard)
        return done

    def _ask(
        self, now: float, question: Question, send: trio.MemorySendChannel[Reply]
    ) -> tuple[Ticket, Query, float]:
        ticket, query, deadline = self.serf.query(now, question)
        self._asking[ticket] = send
        return ticket, query, deadline

    async def _command(self, command: Callable[..., Ticket], *args: object) -> End:
        ticket, waiter = self._begin(command, *args)
        try:
            await waiter.ended.wait()
        finally:
            del self._waiters[ticket]
        if waiter.end is None:
            raise CommandError("the node has stopped")
        return waiter.end

    def _begin(self, command: Callable[..., Ticket], *args: object) -> tuple[Ticket, _Waiter]:
        """Call a command and register who waits, before its effects can bring its end."""

        def begun(now: float) -> tuple[Ticket, _Waiter]:
            ticket = command(now, *args)
            waiter = self._waiters[ticket] = _Waiter()
            return ticket, waiter

        return self._now_do(begun)

    @trio.lowlevel.enable_ki_protection
    def _now_do(self, command: Callable[..., T], *args: object) -> T:
        """Call a command of the core and carry out its effects, whatever it answers or raises."""
        if not self._running:
            raise CommandError("the node has stopped")
        self._now = self._timers.now()
        try:
            return command(self._now, *args)
        finally:
            self._carry_out()

    # life

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Bind, start the core, report started, and drive it until cancelled. Once only.

        Raises ConfigError when the address cannot be had or a setting is impossible, and NameTaken when the pool
        decided that another member is the one of our name.
        """
        if self._transport is not None:
            raise CommandError("a node runs once")
        try:
            transport = self.settings.transport(self.counters)
        except ConfigError:
            self._feed.close()
            raise
        self._transport, snapshotter = transport, self._snapshotter
        try:
            serf = self._serf = self._make_core(transport)
            if snapshotter is not None:
                await snapshotter.open()
                snapshotter.clocks = lambda: serf.clocks
                was = snapshotter.restored
                serf.restore(was.clock, was.event_clock, was.query_clock)
            self._streams = Streams(
                transport,
                wire=self.settings.wire,
                keyring=self._keyring,
                timeout=self.settings.swim.stream_timeout,
                counters=self.counters,
                tell=self._feed.publish,
            )
            async with trio.open_nursery() as self._nursery:
                self._running = True
                try:
                    self._drive(serf.start)
                    if snapshotter is not None:
                        self._drive(serf.rejoin, snapshotter.restored.alive, snapshotter.restored.failed)
                        self._nursery.start_soon(snapshotter.run)
                    self._nursery.start_soon(transport.receive_packets, self._on_packet)
                    self._nursery.start_soon(transport.accept_streams, self._serve, self._nursery)
                    task_status.started()
                    await self._timers.run(self._on_timer, self._catch_up)
                finally:
                    # not later: a nursery that is about to close takes no streams of a command any more
                    self._running = False
        finally:
            transport.close()
            for channel in self._asking.values():
                channel.close()
            for waiter in self._waiters.values():
                waiter.ended.set()
            try:
                if snapshotter is not None:
                    await snapshotter.end()
            finally:
                self._feed.close()
        if self._name_taken:
            raise NameTaken(f"another member is the pool's {self.settings.name!r}; give this one another name")

    def _make_core(self, transport: Transport) -> Serf:
        settings = self.settings
        if not settings.name:
            raise ConfigError("the node's name must not be empty")
        return Serf(
            name=settings.name,
            address=advertised(settings.advertise, transport.address),
            tags=settings.tags,
            versions=settings.versions,
            swim_config=dataclasses.replace(settings.swim, packet_overhead=self._codec.overhead),
            config=settings.serf,
            effects=self._outbox,
            rng=random.Random(settings.seed),
            size_of=size_of,
            codec=serf_codec,
            guard=settings.guard,
            counters=self.counters,
            keyring=self._store(),
            contacts=self.contacts,
        )

    def _store(self) -> Keyring | KeyringFile | None:
        path = self.settings.keyring_file
        if self._keyring is None or path is None:
            return self._keyring
        return KeyringFile(self._keyring, path)

    # into the core

    @trio.lowlevel.enable_ki_protection
    def _drive(self, call: Callable[..., None], *args: object) -> None:
        """One call into the core, to its end, then its effects. Ctrl-C waits until both are done."""
        self._now = self._timers.now()
        call(self._now, *args)
        self._carry_out()

    def _on_packet(self, data: bytes, source: Address) -> None:
        refused = self.counters.refused
        try:
            opened = self._codec.open(data)
        except WireError as error:
            refused[error.kind] += 1
            if error.kind == "no-key":
                self._refusals.note(source)
            return
        for fault in opened.errors:
            refused[fault.kind] += 1
        if opened.messages:
            tally(self.counters.messages_in, opened.messages)
            self._drive(self.serf.on_packet, source, opened.messages)

    def _catch_up(self) -> None:
        assert self._transport is not None
        self._transport.drain(self._on_packet, CATCH_UP_MAX, CATCH_UP_TIME)

    def _on_timer(self, kind: Timer, token: int) -> None:
        self._drive(self.serf.on_timer, kind, token)

    async def _serve(self, stream: ByteStream) -> None:
        await self._streams.serve(stream, self._answer)

    def _answer(self, source: Address, message: StreamMessage) -> StreamMessage | None:
        # counts down, so that it never equals a ticket of the core's
        self._last_ticket -= 1
        ticket = Ticket(self._last_ticket)
        self._drive(self.serf.on_stream, source, ticket, message)
        return self._replies.pop(ticket, None)

    async def _exchange(self, to: Address, first: StreamMessage, ticket: Ticket, within: float) -> None:
        try:
            reply = await self._streams.request(to, first, within)
        except StreamError as error:
            self.counters.streams_failed += 1
            if isinstance(error.__cause__, CryptoError):
                self._refusals.note(to)
            self._drive(self.serf.on_stream_failed, ticket, str(error))
        else:
            self._drive(self.serf.on_stream_reply, ticket, reply)

    # out of the core

    def _carry_out(self) -> None:
        for action, args in self._outbox.take():
            action(*args)

    def _send_packet(self, to: Address, messages: Sequence[PacketMessage], crc: bool) -> None:
        assert self._transport is not None
        tally(self.counters.messages_out, messages)
        for packet in self._codec.seal_all(messages, crc):
            self._transport.send_packet(packet, to)

    def _open_stream(self, to: Address, first: StreamMessage, ticket: Ticket, timeout: float) -> None:
        self._nursery.start_soon(self._exchange, to, first, ticket, timeout)

    def _reply_stream(self, ticket: Ticket, message: StreamMessage) -> None:
        self._replies[ticket] = message

    def _set_timer(self, after: float, kind: Timer, token: int) -> None:
        self._timers.add(self._now + after, kind, token)

    def _publish(self, event: object) -> None:
        if isinstance(event, QueryAcked | QueryAnswered | QueryDone):
            self._hand_over(event)  # the business of who asked alone
            return
        if isinstance(event, End):
            waiter = self._waiters.get(event.ticket)
            if waiter is not None:
                waiter.end = event
                waiter.ended.set()
        if self._snapshotter is not None:
            self._snapshotter.record(event)
        self._feed.publish(event)
        if isinstance(event, ConflictVoted) and not event.stays:
            self._name_taken = True
            self._nursery.cancel_scope.cancel()

    def _hand_over(self, event: QueryAcked | QueryAnswered | QueryDone) -> None:
        channel = self._asking.get(event.ticket)
        if channel is None:
            return
        if isinstance(event, QueryDone):
            channel.close()
        else:
            channel.send_nowait(event)
