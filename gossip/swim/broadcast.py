"""The transmit-limited broadcast queue (memberlist queue.go).

Every broadcast is sent to a bounded number of peers, the least sent ones first, so that news overtakes
what is old. Within one count the longest goes first (it is the hardest to fit), then the newest.
"""

from bisect import bisect_left, insort
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

    @property
    def key(self) -> tuple[int, int]:
        """Sorts the longest, then the newest, first."""
        return (-self.size, -self.order)


class BroadcastQueue(Generic[M]):
    """Messages waiting to be gossiped.

    `count` tells the number of members that the retransmit limit is scaled with, `size_of` a message's
    encoded size in bytes.
    """

    def __init__(self, retransmit_mult: int, count: Callable[[], int], size_of: Callable[[M], int]) -> None:
        self._mult = retransmit_mult
        self._count = count
        self._size_of = size_of
        self._order = 0
        self._named: dict[str, Broadcast[M]] = {}
        self._tiers: list[list[tuple[tuple[int, int], Broadcast[M]]]] = []
        """By times sent; each tier sorted by key. Keys are unique, so entries are never compared."""
        self._length = 0

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
        if not self._length:
            return []
        most = retransmit_limit(self._mult, self._count())
        taken: list[Broadcast[M]] = []
        room = limit - overhead
        tier = 0
        while tier < len(self._tiers) and room > 0:
            entries = self._tiers[tier]
            at = bisect_left(entries, ((-room, -self._order),))
            if at == len(entries):
                tier += 1
                continue
            entry = entries.pop(at)[1]
            room -= overhead + entry.size
            taken.append(entry)
        for entry in taken:
            self._length -= 1
            entry.sent += 1
            if entry.sent < most:
                self._insert(entry)
        for entry in taken:
            if entry.sent >= most:
                self._finish(now, entry)
        return [entry.message for entry in taken]

    def prune(self, now: float, keep: int) -> int:
        """Drop the most sent ones until at most `keep` remain; answers how many were dropped."""
        dropped = []
        for entries in reversed(self._tiers):
            while entries and self._length > keep:
                dropped.append(entries.pop()[1])
                self._length -= 1
        for entry in dropped:
            self._finish(now, entry)
        return len(dropped)

    def _insert(self, entry: Broadcast[M]) -> None:
        while len(self._tiers) <= entry.sent:
            self._tiers.append([])
        insort(self._tiers[entry.sent], (entry.key, entry))
        self._length += 1

    def _remove(self, entry: Broadcast[M]) -> None:
        entries = self._tiers[entry.sent]
        del entries[bisect_left(entries, (entry.key,))]
        self._length -= 1

    def _finish(self, now: float, entry: Broadcast[M]) -> None:
        if entry.name is not None and self._named.get(entry.name) is entry:
            del self._named[entry.name]
        if entry.done is not None:
            entry.done(now)
