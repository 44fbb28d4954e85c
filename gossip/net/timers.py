"""All timers of a node: one heap, one task."""

import heapq
import itertools
from collections.abc import Callable
from math import inf

import trio

from moot.gossip.swim.effects import Timer

LATE = 0.05
"""Seconds of lateness from which on the process must have been held up."""


class Timers:
    """Fires each timer once, never early; ties in the order they were set. No timer is ever cancelled.

    While nothing is due the one task sleeps: an idle node wakes for its probes and for nothing else.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer, int]] = []
        self._order = itertools.count()
        self._sleep: trio.CancelScope | None = None

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, deadline: float, kind: Timer, token: int) -> None:
        """Fire at the instant `deadline` on trio's clock, or as soon after it as the task gets to run."""
        heapq.heappush(self._heap, (deadline, next(self._order), kind, token))
        if self._sleep is not None and deadline < self._sleep.deadline:
            self._sleep.deadline = deadline

    async def run(self, fire: Callable[[Timer, int], None], catch_up: Callable[[], None]) -> None:
        """Fire what becomes due, for ever. `fire` may add timers; those wait for the next round.

        After a hold-up (the process was stopped, the machine was busy) `catch_up` is called first, to take in
        what waits outside. Else a deadline would pass for a peer whose answer is here and merely unread.
        """
        heap = self._heap
        while True:
            with trio.CancelScope(deadline=heap[0][0] if heap else inf) as self._sleep:
                await trio.sleep_forever()
            self._sleep = None
            due = []
            now = trio.current_time()
            if heap and now - heap[0][0] > LATE:
                catch_up()
            while heap and heap[0][0] <= now:
                due.append(heapq.heappop(heap))
            for _, _, kind, token in due:
                fire(kind, token)
