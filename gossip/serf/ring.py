"""Ring: what was seen at which Lamport time, so that nothing is delivered or passed on twice.

User events and queries share it: a window of the last `size` Lamport times, one slot each. What is older
than the window is not taken, what is inside is recognised by its key.
"""

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

from moot.gossip.serf.lamport import LamportClock

K = TypeVar("K", bound=Hashable)


class Slot(Generic[K]):
    """Everything seen at one Lamport time, in order of arrival. `cost` is in bytes, about."""

    __slots__ = ("cost", "keys", "ltime")

    def __init__(self, ltime: int) -> None:
        self.ltime = ltime
        self.keys: dict[K, None] = {}
        self.cost = 0


class Ring(Generic[K]):
    """A clock and the keys seen within its window.

    Deviation: the reference bounds the number of slots but not what is in one, so that a peer which repeats
    a Lamport time can fill the memory and every push/pull. Here the whole ring has a budget in bytes.
    When it is used up the oldest slots go and the window begins above them: better to miss what is late
    than to deliver it twice. And one slot takes `slot_keys` keys and `slot_budget` bytes at most, further
    ones are dropped: a push/pull with more in one slot is refused by whoever bounds what he reads, as we do.
    """

    def __init__(self, size: int, budget: int, slot_keys: int, slot_budget: int) -> None:
        self.clock = LamportClock()
        self.minimum = 0
        """What is older than this Lamport time is not taken."""
        self._size = size
        self._budget = budget
        self._slot_keys = slot_keys
        self._slot_budget = min(slot_budget, budget)
        self._cost = 0
        self._slots: dict[int, Slot[K]] = {}
        """By Lamport time modulo size; only those in use, as most nodes never see an event."""

    def ignore_before(self, ltime: int) -> None:
        """Take nothing older than this any more: what happened before we joined."""
        if self.clock.believes(ltime):
            self.minimum = max(self.minimum, ltime)

    def take(self, ltime: int, key: K, cost: int) -> bool:
        """Witness the time and record the key. False: it is too old, known already, or cannot be kept."""
        if not self.clock.believes(ltime):
            return False
        self.clock.witness(ltime)
        if ltime < self.minimum or ltime < self.clock.time - self._size:
            return False
        index = ltime % self._size
        slot = self._slots.get(index)
        if slot is None or slot.ltime != ltime:
            if cost > self._slot_budget:
                return False
            self._drop(index)
            slot = self._slots[index] = Slot(ltime)
        elif key in slot.keys or len(slot.keys) >= self._slot_keys or slot.cost + cost > self._slot_budget:
            return False
        slot.keys[key] = None
        slot.cost += cost
        self._cost += cost
        while self._cost > self._budget:
            self._forget_oldest()
        return ltime >= self.minimum

    def used(self) -> Iterator[Slot[K]]:
        """The slots in use, each with its Lamport time."""
        return iter(self._slots.values())

    def _drop(self, index: int) -> None:
        slot = self._slots.pop(index, None)
        if slot is not None:
            self._cost -= slot.cost

    def _forget_oldest(self) -> None:
        oldest = min(slot.ltime for slot in self._slots.values())
        self._drop(oldest % self._size)
        self.minimum = max(self.minimum, oldest + 1)
