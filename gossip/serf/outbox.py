"""Outbox: what Serf has to gossip, in three queues: intents, queries, user events."""

from collections.abc import Callable

from moot.gossip.serf.events import QueueDeep
from moot.gossip.serf.state import State
from moot.gossip.swim.broadcast import BroadcastQueue
from moot.gossip.swim.messages import User
from moot.gossip.swim.spread import COMPOUND_OVERHEAD


class Outbox:
    """The queues. News of members goes before questions, and those before events.

    `count` tells how many members Serf lists, which scales how often each message is sent.
    """

    __slots__ = (
        "_depth_max",
        "_depth_warning",
        "_effects",
        "_idle",
        "_in_order",
        "_names",
        "_room",
        "_size_of",
        "_wake",
        "events",
        "intents",
        "queries",
    )

    def __init__(self, state: State, count: Callable[[], int], size_of: Callable[[User], int]) -> None:
        swim_config = state.swim_config
        mult = swim_config.retransmit_mult
        self.intents: BroadcastQueue[User] = BroadcastQueue(mult, count, size_of)
        self.queries: BroadcastQueue[User] = BroadcastQueue(mult, count, size_of)
        self.events: BroadcastQueue[User] = BroadcastQueue(mult, count, size_of)
        self._in_order = (self.intents, self.queries, self.events)
        self._names = ("intent", "query", "event")
        self._idle = True
        """Whether nothing is queued: asked for every packet, and mostly so."""
        self._size_of = size_of
        self._wake = state.swim.wake_gossip
        self._effects = state.effects
        self._depth_warning = state.config.queue_depth_warning
        self._depth_max = state.config.queue_depth_max
        self._room = swim_config.packet_size_max - swim_config.packet_overhead - 2 * COMPOUND_OVERHEAD
        """The largest message in bytes that fits into an empty gossip packet."""

    def put(
        self,
        now: float,
        queue: BroadcastQueue[User],
        user: User,
        done: Callable[[float], None] | None = None,
        name: str | None = None,
    ) -> None:
        """Gossip a message by one of our queues; `done(now)` when it was sent enough, or never will be.

        Serf's messages never replace each other, but for those that we repeat under a `name`.

        Deviation: one that fits into no packet is not queued; the reference keeps it for nothing. And a queue
        never holds more than twice its limit; the reference looks every 30 s only, and a flood fills the
        memory meanwhile.
        """
        if self._size_of(user) > self._room:
            if done is not None:
                done(now)
            return
        queue.queue(now, user, name, done)
        self._idle = False
        if len(queue) >= 2 * self._depth_max:
            queue.prune(now, self._depth_max)
        self._wake(now)

    def fetch(self, now: float, overhead: int, limit: int) -> list[User]:
        """Messages for one packet: each costs `overhead` plus its size, together at most `limit` bytes."""
        taken: list[User] = []
        if self._idle:
            return taken
        for queue in self._in_order:
            taken += queue.fetch(now, overhead, limit)
            limit -= queue.fetched_bytes
        self._idle = not any(map(len, self._in_order))
        return taken

    def check(self, now: float) -> None:
        """Tell of queues that are deep, and cut each down to its limit; called now and then."""
        for name, queue in zip(self._names, self._in_order, strict=True):
            depth = len(queue)
            dropped = queue.prune(now, self._depth_max)
            if depth >= self._depth_warning:
                self._effects.notify(QueueDeep(name, depth, dropped))
