"""The transmit-limited broadcast queue (memberlist queue.go).

Every broadcast is sent to a bounded number of peers, the least sent ones first, so that news overtakes
what is old. Within one count the longest goes first (it is the hardest to fit), then the newest.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable
from typing import Generic, TypeVar

from moot.gossip.swim.scaling import retransmit_limit

M = TypeVar("M")


class Broadcast(Generic[M]):
    """One queued message and how often it was sent."""

    __slots__ = ("done", "message", "name", "order", "sent", "size")

    def __init__(
        self, message: M, size: int, order: int, name: str | None, done: Callable[[float], None] | None
    ) -> None:
        self.message = message
        self.size = size
        self.order = order
        """Grows with each broadcast queued."""
        self.name = name
        self.done = done
        self.sent = 0


class Tier(Generic[M]):
    """Broadcasts that were sent equally often: by size, and of one size the newest last.

    A whole table queued at once costs one append each, however long the queue is.
    """

    __slots__ = ("_by_size", "_sizes")

    def __init__(self) -> None:
        self._sizes: list[int] = []
        self._by_size: dict[int, list[tuple[int, Broadcast[M]]]] = {}

    def add(self, entry: Broadcast[M]) -> None:
        """Add one at its place."""
        same = self._by_size.get(entry.size)
        if same is None:
            same = self._by_size[entry.size] = []
            insort(self._sizes, entry.size)
        # orders are unique, so that entries are never compared
        insort(same, (entry.order, entry))

    def remove(self, entry: Broadcast[M]) -> None:
        """Remove one that is here."""
        same = self._by_size[entry.size]
        del same[bisect_left(same, (entry.order,))]
        self._close_gap(entry.size)

    def take_longest(self, most: int) -> Broadcast[M] | None:
        """Remove the longest of at most `most` bytes, among equals the newest; None when none fits."""
        at = bisect_right(self._sizes, most)
        return self._pop(self._sizes[at - 1], -1) if at else None

    def take_last(self) -> Broadcast[M] | None:
        """Remove the shortest, among equals the oldest; None when all are gone."""
        return self._pop(self._sizes[0], 0) if self._sizes else None

    def _pop(self, size: int, at: int) -> Broadcast[M]:
        entry = self._by_size[size].pop(at)[1]
        self._close_gap(size)
        return entry

    def _close_gap(self, size: int) -> None:
        if not self._by_size[size]:
            del self._by_size[size]
            del self._sizes[bisect_left(self._sizes, size)]


class BroadcastQueue(Generic[M]):
    """Messages waiting to be gossiped.

    `count` tells the number of members that the retransmit limit is scaled with, `size_of` a message's
    encoded size in bytes.
    """

    __slots__ = ("_count", "_length", "_mult", "_named", "_order", "_size_of", "_tiers", "fetched_bytes")

    def __init__(self, retransmit_mult: int, count: Callable[[], int], size_of: Callable[[M], int]) -> None:
        self._mult = retransmit_mult
        self._count = count
        self._size_of = size_of
        self._order = 0
        self._named: dict[str, Broadcast[M]] = {}
        self._tiers: list[Tier[M]] = []
        """By times sent."""
        self._length = 0
        self.fetched_bytes = 0
        """What the messages of the last fetch cost, its overhead included."""

    def __len__(self) -> int:
        return self._length

    def queue(
        self, now: float, message: M, name: str | None = None, done: Callable[[float], None] | None = None
    ) -> None:
        """Queue a message; one with a name replaces the one queued under that name.

        `done(now)` is called once: when the message was sent often enough, was replaced or pruned.
        """
        self._order += 1
        entry = Broadcast(message, self._size_of(message), self._order, name, done)
        replaced = None
        if name is not None:
            replaced = self._named.get(name)
            if replaced is not None:
                self._remove(replaced)
            self._named[name] = entry
        self._insert(entry)
        if replaced is not None:
            self._finish(now, replaced)

    def fetch(self, now: float, overhead: int, limit: int) -> list[M]:
        """Messages for one packet: each costs `overhead` plus its size, together at most `limit` bytes.

        A message is taken at most once per call; taking counts as sending it.
        """
        self.fetched_bytes = 0
        if not self._length:
            return []
        most = retransmit_limit(self._mult, self._count())
        taken: list[Broadcast[M]] = []
        room = limit - overhead
        tier = 0
        while tier < len(self._tiers) and room > 0:
            entry = self._tiers[tier].take_longest(room)
            if entry is None:
                tier += 1
                continue
            room -= overhead + entry.size
            taken.append(entry)
        self.fetched_bytes = limit - overhead - room
        for entry in taken:
            self._length -= 1
            entry.sent += 1
            if entry.sent < most:
                self._insert(entry)
        for entry in taken:
            if entry.sent >= most:
                self._finish(now, entry)
        return [entry.message for entry in taken]

    def drop(self, now: float, name: str) -> None:
        """Take the message of that name out, if there is one."""
        entry = self._named.get(name)
        if entry is not None:
            self._remove(entry)
            self._finish(now, entry)

    def prune(self, now: float, keep: int) -> int:
        """Drop the most sent ones until at most `keep` remain; answers how many were dropped."""
        dropped = []
        for tier in reversed(self._tiers):
            while self._length > keep and (entry := tier.take_last()) is not None:
                dropped.append(entry)
                self._length -= 1
        for entry in dropped:
            self._finish(now, entry)
        return len(dropped)

    def _insert(self, entry: Broadcast[M]) -> None:
        while len(self._tiers) <= entry.sent:
            self._tiers.append(Tier())
        self._tiers[entry.sent].add(entry)
        self._length += 1

    def _remove(self, entry: Broadcast[M]) -> None:
        self._tiers[entry.sent].remove(entry)
        self._length -= 1

    def _finish(self, now: float, entry: Broadcast[M]) -> None:
        if entry.name is not None and self._named.get(entry.name) is entry:
            del self._named[entry.name]
        if entry.done is not None:
            entry.done(now)
