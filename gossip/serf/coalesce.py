"""Coalescer: many events within a moment become few, for whoever runs a script per event.

When a rack loses power a hundred members fail within a second, and when it comes back some flap before they
stay. Events are held until none came for the *quiescence* time, or the *period* since the first of them is
over; then one delivery per kind names all its members. Only what is delivered to the embedding program changes;
gossip, clocks and snapshots see every event at once.

Members and user events wait apart from each other, as in Serf (coalesce.go), so that neither holds up the other.
"""

from collections.abc import Sequence

from moot.gossip.record import message
from moot.gossip.serf.events import MemberChange, MemberEvent, UserEventReceived
from moot.gossip.serf.members import SerfMember

PERIOD = 3.0
QUIESCENCE = 1.0
WAITING_MAX = 4096
"""Members, and user events, that wait at most. With more they are delivered at once.

Deviation: the reference holds any number, so that a flood fills its memory for a whole period."""


@message
class MemberEvents:
    """Several members changed in the same way, each as it stood after its last change."""

    change: MemberChange
    members: tuple[SerfMember, ...]


class _Window:
    """When what waits is due, on the driver's clock; None while nothing waits."""

    def __init__(self, period: float, quiescence: float) -> None:
        self._period = period
        self._quiescence = quiescence
        self._closes: float | None = None
        self.due: float | None = None

    def touch(self, now: float) -> None:
        """An event came."""
        if self._closes is None:
            self._closes = now + self._period
        self.due = min(self._closes, now + self._quiescence)

    def close(self) -> None:
        self._closes = self.due = None


class _Members:
    """Of each member the last change, unless that is what was delivered last."""

    def __init__(self) -> None:
        self._waiting: dict[str, MemberEvent] = {}
        self._told: dict[str, MemberChange] = {}
        """What was delivered last of each member, until it is reaped."""

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, event: MemberEvent) -> None:
        self._waiting.pop(event.member.name, None)
        self._waiting[event.member.name] = event

    def take(self) -> list[object]:
        """One delivery per kind of change, in the order of the changes."""
        by_change: dict[MemberChange, list[SerfMember]] = {}
        for name, event in self._waiting.items():
            change = event.change
            if change is self._told.get(name) and change is not MemberChange.UPDATE:
                continue
            if change is MemberChange.REAP:
                self._told.pop(name, None)
            else:
                self._told[name] = change
            by_change.setdefault(change, []).append(event.member)
        self._waiting.clear()
        return [MemberEvents(change, tuple(members)) for change, members in by_change.items()]


class _UserEvents:
    """Of each name the events with the highest Lamport time."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[UserEventReceived]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, received: UserEventReceived) -> None:
        event = received.event
        held = self._waiting.get(event.name)
        if held is None or held[0].event.ltime < event.ltime:
            self._count += 1 - len(held or ())
            self._waiting[event.name] = [received]
        elif held[0].event.ltime == event.ltime:
            self._count += 1
            held.append(received)

    def take(self) -> list[object]:
        """All that wait, by name in the order in which the names came first."""
        found: list[object] = [event for events in self._waiting.values() for event in events]
        self._waiting.clear()
        self._count = 0
        return found


class Coalescer:
    """Collects events and says when to deliver which. Member events are always delivered as MemberEvents.

    A `period` or `quiescence` of 0 disables it: everything is delivered at once.
    """

    def __init__(self, period: float = PERIOD, quiescence: float = QUIESCENCE) -> None:
        self._disabled = period <= 0 or quiescence <= 0
        self._members, self._members_window = _Members(), _Window(period, quiescence)
        self._events, self._events_window = _UserEvents(), _Window(period, quiescence)

    @property
    def due(self) -> float | None:
        """When to call `flush`, None while nothing waits. Every `add` and `flush` may change it."""
        instants = [at for at in (self._members_window.due, self._events_window.due) if at is not None]
        return min(instants, default=None)

    def add(self, now: float, event: object) -> Sequence[object]:
        """Take in an event; answers what is to be delivered at once, in order."""
        if isinstance(event, MemberEvent):
            if self._disabled:
                return (MemberEvents(event.change, (event.member,)),)
            self._members.add(event)
            self._members_window.touch(now)
            return self._take_members() if len(self._members) > WAITING_MAX else ()
        if isinstance(event, UserEventReceived) and event.event.coalesce and not self._disabled:
            self._events.add(event)
            self._events_window.touch(now)
            return self._take_events() if len(self._events) > WAITING_MAX else ()
        return (event,)

    def flush(self, now: float) -> list[object]:
        """What is due by now, member events first."""
        found: list[object] = []
        if self._members_window.due is not None and self._members_window.due <= now:
            found += self._take_members()
        if self._events_window.due is not None and self._events_window.due <= now:
            found += self._take_events()
        return found

    def close(self) -> list[object]:
        """All that waits, due or not: the end has come."""
        return [*self._take_members(), *self._take_events()]

    def _take_members(self) -> list[object]:
        self._members_window.close()
        return self._members.take()

    def _take_events(self) -> list[object]:
        self._events_window.close()
        return self._events.take()
