"""Exchange: Serf's part of a push/pull, ours and the peer's."""

from collections.abc import Callable

from moot.gossip.serf.membership import Membership
from moot.gossip.serf.messages import SerfPushPull, UserEvent
from moot.gossip.serf.outbox import Outbox
from moot.gossip.serf.queries import Queries
from moot.gossip.serf.revival import Revival
from moot.gossip.serf.user_events import EVENTS_MAX, UserEvents
from moot.gossip.swim.messages import User


class Exchange:
    """What push/pulls tell and bring. `take_event` is called for every event that a peer has kept."""

    def __init__(
        self,
        membership: Membership,
        events: UserEvents,
        queries: Queries,
        revival: Revival,
        outbox: Outbox,
        take_event: Callable[[UserEvent], bool],
    ) -> None:
        self._membership = membership
        self._events = events
        self._queries = queries
        self._revival = revival
        self._outbox = outbox
        self._take_event = take_event

    def local_state(self) -> SerfPushPull:
        """What we tell."""
        return SerfPushPull(
            ltime=self._membership.clock.time,
            status_ltimes=self._membership.status_ltimes(),
            left_members=self._membership.left_members(),
            event_ltime=self._events.ring.clock.time,
            events=self._events.slots(),
            query_ltime=self._queries.ring.clock.time,
        )

    def merge(self, now: float, state: SerfPushPull, *, catch_up: bool, ignore_old: bool) -> None:
        """What the peer tells. `catch_up`: we asked to join its pool; `ignore_old`: without its past events."""
        clocks = (
            (self._membership.clock, state.ltime),
            (self._events.ring.clock, state.event_ltime),
            (self._queries.ring.clock, state.query_ltime),
        )
        if catch_up:
            for clock, ltime in clocks:
                clock.catch_up(ltime)
        for intent in self._membership.merge(now, state):
            if not self._revival.is_asking(intent.node):
                self._outbox.put(now, self._outbox.intents, User(intent), name=intent.node)
        for clock, ltime in clocks[1:]:
            if clock.believes(ltime):
                clock.witness(ltime - 1)
        if ignore_old:
            self._events.ring.ignore_before(state.event_ltime)
        left = EVENTS_MAX
        for slot in state.events:
            if slot is not None and left > 0:
                for name, payload in slot.events[:left]:
                    self._take_event(UserEvent(slot.ltime, name, payload))
                left -= len(slot.events)
