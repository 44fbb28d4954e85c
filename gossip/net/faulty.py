"""FaultyTransport: the real sockets, with the lab's faults between them and the member.

Who sends applies the faults on the way of what it sends; who dials applies those of a stream, both ways. A member
that applies none itself (a real serf agent, a stranger) is `passive`: what comes from it gets its faults from who
receives it. So every crossing is judged once, and all that is needed is that everybody has the same conditions.
"""

import errno
import functools
import heapq
import itertools
import socket
import struct
from collections.abc import Awaitable, Callable, Collection, Mapping
from math import inf
from random import Random
from types import TracebackType
from typing import Any, Self

import trio

from moot.gossip.counters import Counters
from moot.gossip.faults import Conditions, SkewedClock
from moot.gossip.net.transport import ByteStream, Transport, peer_address, to_address
from moot.gossip.record import Address

LATE_MAX = 64 * 1024 * 1024
"""Bytes of packets that are held back at most; what comes on top is dropped, and counted."""
READ_AHEAD = 1024 * 1024
"""Bytes that one read of a stream may take, whatever was asked for: what came together is late together."""
RETRY_FIRST, RETRY_MAX = 0.2, 1.0
"""Seconds between attempts of a stream that gets nothing across; they double. Whoever waits has a deadline."""


class Surroundings:
    """The lab as the member `me` has it: the conditions, who is where, and who is passive.

    With `relays` we are not the member itself but stand in front of it: of what it sends we judge only what goes
    to others that are passive, since everybody else judges it on receiving. `owner` names the passive member
    that a connection comes from, given its two ends; None when it comes from somebody else.
    """

    def __init__(
        self,
        me: str,
        *,
        relays: bool = False,
        owner: Callable[[Address, Address], str | None] = lambda source, to: None,
        seed: int | None = None,
    ) -> None:
        self.me = me
        self.relays = relays
        self.conditions = Conditions()
        self.rng = Random(seed)
        self.owner = owner
        self.changed: Callable[[], None] = lambda: None
        """Called after the conditions have changed, for who waits by the clock."""
        self._frozen: trio.Event | None = None
        self._clock = SkewedClock()
        self._names: dict[Address, str] = {}
        self._known: frozenset[str] = frozenset()
        self._passive: frozenset[str] = frozenset()

    def become(
        self, conditions: Conditions, places: Mapping[str, Collection[Address]], passive: frozenset[str]
    ) -> None:
        """Take over the whole state; `places` has the gossip addresses of each member."""
        self.conditions.become(conditions)
        self._names = {address: name for name, addresses in places.items() for address in addresses}
        self._known, self._passive = frozenset(places), passive
        self.changed()

    def name_of(self, address: Address) -> str:
        """Who is there; the address itself for a stranger, whom only the faults of everybody touch."""
        return self._names.get(address) or str(address)

    def is_passive(self, name: str) -> bool:
        """Whether others apply the faults on what it sends. Strangers, known by address only, are passive."""
        return name in self._passive or name not in self._known

    @property
    def has_passive(self) -> bool:
        """Whether it is worth asking whose a connection is."""
        return bool(self._passive)

    @property
    def slowness(self) -> float:
        """Seconds by which we handle each message late."""
        return self.conditions.slowness(self.me)

    @property
    def is_disk_full(self) -> bool:
        return self.conditions.is_disk_full(self.me)

    @property
    def is_frozen(self) -> bool:
        """Whether the member neither hears nor acts."""
        return self._frozen is not None

    def freeze(self) -> None:
        """Let the member neither hear nor act, as if its process were stopped; its clock goes on."""
        if self._frozen is None:
            self._frozen = trio.Event()
            self.changed()

    def thaw(self) -> None:
        """Let it go on, and do at once what it missed."""
        if self._frozen is not None:
            self._frozen.set()
            self._frozen = None
            self.changed()

    async def awake(self) -> None:
        """Wait until it is not frozen."""
        while self._frozen is not None:
            await self._frozen.wait()

    def now(self) -> float:
        """What the member's clock shows."""
        return self._clock.read(trio.current_time(), self.conditions.clock(self.me))

    def wake_at(self, due: float) -> float:
        """The instant on trio's clock at which it shows `due`, if it is let alone until then."""
        if self.is_frozen:
            return inf
        now = trio.current_time()
        return now + self._clock.until(now, self.conditions.clock(self.me), due)


class DelayLine:
    """Calls that are made later, in the order of their times, ties as added; none before `ready` returns."""

    def __init__(self, ready: Callable[[], Awaitable[None]]) -> None:
        self._ready = ready
        self._heap: list[tuple[float, int, int, Callable[..., object], tuple[Any, ...]]] = []
        self._order = itertools.count()
        self._held = 0
        self._scope: trio.CancelScope | None = None

    def add(self, after: float, size: int, call: Callable[..., object], *args: object) -> bool:
        """Make a call after so many seconds. False when there are too many bytes in the line already."""
        if self._held + size > LATE_MAX:
            return False
        due = trio.current_time() + after
        self._held += size
        heapq.heappush(self._heap, (due, next(self._order), size, call, args))
        if self._scope is not None and due < self._scope.deadline:
            self._scope.deadline = due
        return True

    async def run(self) -> None:
        """Make them, for ever."""
        heap = self._heap
        while True:
            with trio.CancelScope(deadline=heap[0][0] if heap else inf) as self._scope:
                await trio.sleep_forever()
            self._scope = None
            await self._ready()
            due = trio.current_time()
            while heap and heap[0][0] <= due:
                _, _, size, call, args = heapq.heappop(heap)
                self._held -= size
                call(*args)


class FaultyTransport(Transport):
    """A Transport in a lab. `surroundings` are to be set before it is used; without faults it is a plain one."""

    def __init__(self, udp: socket.socket, tcp: socket.socket, counters: Counters) -> None:
        super().__init__(udp, tcp, counters)
        self.surroundings = Surroundings("")
        # the surroundings may be others by then
        self._line = DelayLine(lambda: self.surroundings.awake())

    def send_packet(self, data: bytes, to: Address) -> None:
        """Send the copies of a datagram that the conditions let through, some of them later."""
        lab = self.surroundings
        if lab.is_frozen:
            self._later(0.0, data, self.send_packet, to)
            return
        target = lab.name_of(to)
        if lab.relays and not lab.is_passive(target):
            super().send_packet(data, to)
        else:
            self._cross(lab.me, target, 0.0, data, super().send_packet, to)

    async def receive_packets(self, handle: Callable[[bytes, Address], None]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._line.run)
            await super().receive_packets(handle)

    async def wait_packets(self) -> None:
        while True:
            await self.surroundings.awake()
            await super().wait_packets()
            if not self.surroundings.is_frozen:
                return

    def drain(self, handle: Callable[[bytes, Address], None], most: int, within: float) -> None:
        super().drain(functools.partial(self._take, handle), most, within)

    def _take(self, handle: Callable[[bytes, Address], None], data: bytes, source: Address) -> None:
        lab = self.surroundings
        sender, late = lab.name_of(source), lab.slowness
        if lab.is_passive(sender):
            self._cross(sender, lab.me, late, data, handle, source)
        elif late:
            self._later(late, data, handle, source)
        else:
            handle(data, source)

    def _cross(
        self, sender: str, to: str, late: float, data: bytes, handle: Callable[[bytes, Address], None], other: Address
    ) -> None:
        """Hand on the copies that get through; each `late` seconds later yet."""
        lab = self.surroundings
        now = trio.current_time()
        for arrival in lab.conditions.packet(sender, to, lab.rng, size=len(data), now=now):
            copy = _spoiled(data, lab.rng) if arrival.spoiled else data
            if arrival.delay + late > 0.0:
                self._later(arrival.delay + late, copy, handle, other)
            else:
                handle(copy, other)

    def _later(self, after: float, data: bytes, handle: Callable[[bytes, Address], None], other: Address) -> None:
        if not self._line.add(after, len(data), handle, data, other):
            self._counters.dropped_out += 1

    async def accept_streams(self, serve: Callable[[ByteStream], Awaitable[None]], nursery: trio.Nursery) -> None:
        async def serve_it(stream: ByteStream) -> None:
            await self.surroundings.awake()
            await serve(FaultyStream(stream, self.surroundings, await self._dialler(stream), dialled=False))

        await super().accept_streams(serve_it, nursery)

    async def _dialler(self, stream: ByteStream) -> str | None:
        """The passive member at the other end; None for anybody else, who applies the faults itself."""
        lab = self.surroundings
        source = peer_address(stream)
        if source is None or not lab.has_passive:
            return None
        here = to_address(*stream.socket.getsockname()[:2])
        return await trio.to_thread.run_sync(lab.owner, source, here)

    async def dial(self, to: Address) -> ByteStream:
        """Connect, if the conditions let it; waits for ever where they let nothing through. Raises OSError."""
        lab = self.surroundings
        target = lab.name_of(to)
        await lab.awake()
        await cross_stream(lab, lab.me, target, 0)
        stream = await super().dial(to)
        faulty = FaultyStream(stream, lab, target, dialled=True)
        try:
            await cross_stream(lab, target, lab.me, 0)
        except BaseException:  # cancelled, too: nothing is left open
            faulty.socket.close()
            raise
        return faulty


class FaultyStream:
    """A connection between us and `peer`, both ways with faults; with None there are none but our own slowness."""

    def __init__(self, stream: ByteStream, lab: Surroundings, peer: str | None, *, dialled: bool) -> None:
        self._stream = stream
        self._lab = lab
        self._peer = peer
        self._dialled = dialled
        self._ahead = bytearray()
        self._waiting = True
        """Whether what we read next is the first of an answer, or of a request."""

    @property
    def socket(self) -> trio.socket.SocketType:
        return self._stream.socket

    async def send_all(self, data: bytes | bytearray) -> None:
        """Send once it is across. Raises trio.BrokenResourceError, also when a fault resets the connection."""
        lab, peer = self._lab, self._peer
        await lab.awake()
        if peer is not None:
            late = 0.0 if self._dialled else lab.conditions.slowness(peer)
            await self._pass(lab.me, peer, len(data), late)
        self._waiting = True
        await self._stream.send_all(data)

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """What came, once it is across; nothing at the end."""
        if not self._ahead:
            self._ahead += await self._stream.receive_some(READ_AHEAD)
            await self._lab.awake()
            late = self._lab.slowness if self._waiting else 0.0
            self._waiting = False
            if self._peer is not None and self._ahead:
                await self._pass(self._peer, self._lab.me, len(self._ahead), late)
            elif late:
                await trio.sleep(late)
        found = bytes(self._ahead[:max_bytes])
        del self._ahead[:max_bytes]
        return found

    async def _pass(self, source: str, to: str, size: int, late: float) -> None:
        try:
            await cross_stream(self._lab, source, to, size)
        except OSError as error:
            reset(self.socket)
            raise trio.BrokenResourceError("reset by a fault") from error
        await trio.sleep(late)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


async def cross_stream(lab: Surroundings, source: str, to: str, size: int) -> None:
    """Wait until so many bytes of a stream are across; as long as nothing gets through, try again.

    Raises ConnectionResetError when a fault resets the stream.
    """
    pause = RETRY_FIRST
    while True:
        arrival = lab.conditions.stream(source, to, lab.rng, size=size, now=trio.current_time())
        if arrival is not None:
            break
        await trio.sleep(pause)
        pause = min(2 * pause, RETRY_MAX)
    if arrival.delay:
        await trio.sleep(arrival.delay)
    if arrival.spoiled:
        raise ConnectionResetError(errno.ECONNRESET, "connection reset by a fault")


def reset(sock: trio.socket.SocketType) -> None:
    """Close a connection the hard way: the other end gets a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def _spoiled(data: bytes, rng: Random) -> bytes:
    """The packet with one byte changed."""
    changed = bytearray(data)
    if changed:
        changed[int(rng.random() * len(changed))] ^= 1 + int(rng.random() * 255)
    return bytes(changed)
