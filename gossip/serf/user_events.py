"""User events as they are received: delivered once, passed on once, kept for push/pulls."""

from collections.abc import Callable, Sequence

from moot.gossip.errors import CommandError
from moot.gossip.pack import check_text, text_size
from moot.gossip.serf.messages import EventSlot, UserEvent
from moot.gossip.serf.ring import Ring

BUDGET_BYTES = 4736 * 1024
"""Most that the ring keeps: all 512 slots with an event of the largest legal size (9216) are a little less. For
the push/pull that carries the ring must stay below 20 MiB, of which Swim's members and Serf's have the others."""
SLOT_EVENTS_MAX = 1000
"""Most events with one Lamport time: a reader of push/pulls here takes no array above 1,024."""
SLOT_BUDGET_BYTES = 400 * 1024
"""Most bytes of events with one Lamport time: a reader of push/pulls here takes no slot above 512 KiB."""
COST_BYTES = 64
"""What an event takes besides its name and payload; in a push/pull it is less than half of that."""
EVENTS_MAX = BUDGET_BYTES // COST_BYTES
"""Most events that the ring can hold, hence most that are taken from one push/pull: 50 ms of work.

Deviation: the reference takes them all. Empty ones have one byte on the wire, so that a state of a megabyte could
hold up everything else for half a second."""


def check_size(event: UserEvent, limit: int, encode: Callable[[object], bytes]) -> None:
    """Raises CommandError for an event that is too large to be sent, before or after it is encoded, or no text."""
    check_text(event.name)
    if text_size(event.name) + len(event.payload) > limit:
        raise CommandError(f"user event exceeds configured limit of {limit} bytes before encoding")
    if len(encode(event)) > limit:
        raise CommandError(f"encoded user event exceeds configured limit of {limit} bytes after encoding")


class UserEvents:
    """The event clock and the ring of recent events."""

    def __init__(self, size: int) -> None:
        self.ring: Ring[tuple[str, bytes]] = Ring(size, BUDGET_BYTES, SLOT_EVENTS_MAX, SLOT_BUDGET_BYTES)

    def take(self, event: UserEvent) -> bool:
        """Witness and record an event. True when it is new: then it is delivered and passed on."""
        cost = COST_BYTES + text_size(event.name) + len(event.payload)
        return self.ring.take(event.ltime, (event.name, event.payload), cost)

    def slots(self) -> Sequence[EventSlot]:
        """The ring as a push/pull carries it, without its unused slots."""
        return [EventSlot(slot.ltime, tuple(slot.keys)) for slot in self.ring.used()]
