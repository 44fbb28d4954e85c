"""User events as they are received: delivered once, passed on once, kept for push/pulls."""

from collections.abc import Sequence

from moot.gossip.serf.lamport import LamportClock
from moot.gossip.serf.messages import EventSlot, UserEvent
from moot.gossip.serf.ring import Ring

BUDGET_BYTES = 8 * 1024 * 1024
"""Most that the ring keeps: all 512 slots with an event of the largest legal size (9216) are 4.5 MiB, and
the push/pull that carries the ring must stay below 20 MiB."""
COST_BYTES = 64
"""What an event takes besides its name and payload, about."""


class UserEvents:
    """The event clock and the ring of recent events."""

    def __init__(self, size: int) -> None:
        self._ring: Ring[tuple[str, bytes]] = Ring(size, BUDGET_BYTES)

    @property
    def clock(self) -> LamportClock:
        return self._ring.clock

    def ignore_before(self, ltime: int) -> None:
        """Take no event older than this any more: what happened before we joined."""
        if self.clock.believes(ltime):
            self._ring.minimum = max(self._ring.minimum, ltime)

    def take(self, event: UserEvent) -> bool:
        """Witness and record an event. True when it is new: then it is delivered and passed on."""
        cost = COST_BYTES + len(event.name) + len(event.payload)
        return self._ring.take(event.ltime, (event.name, event.payload), cost)

    def slots(self) -> Sequence[EventSlot]:
        """The ring as a push/pull carries it, without its unused slots."""
        return [EventSlot(slot.ltime, tuple(slot.keys)) for slot in self._ring.used()]
