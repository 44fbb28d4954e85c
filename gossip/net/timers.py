"""All timers of a node: one heap, one task."""

import heapq
import itertools
from collections.abc import Callable
from math import inf
from typing import Protocol

import trio

from moot.gossip.swim.effects import Timer

LATE = 0.05
"""Seconds of lateness from which on the process must have been held up."""


class Clock(Protocol):
    """What shows the time that timers go by."""

    def now(self) -> float: ...

    def wake_at(self, due: float, /) -> float:
        """The instant on trio's clock at which this one shows `due`."""
        ...


class TrioClock:
    """trio's own."""

    def now(self) -> float:
        return trio.current_time()

    def wake_at(self, due: float, /) -> float:
        return due


class Timers:
    """Fires each timer once, never early; ties in the order they were set. No timer is ever cancelled.

    While nothing is due the one task sleeps: an idle node wakes for its probes and for nothing else.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or TrioClock()
        self.now = self._clock.now
        """What the clock shows, in seconds."""
        self._heap: list[tuple[float, int, Timer, int]] = []
        self._order = itertools.count()
        self._sleep: trio.CancelScope | None = None

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, deadline: float, kind: Timer, token: int) -> None:
        """Fire at the instant `deadline` on the clock, or as soon after it as the task gets to run."""
        heapq.heappush(self._heap, (deadline, next(self._order), kind, token))
        if self._heap[0][0] == deadline:
            self.reckon()

    def reckon(self) -> None:
        """Find out anew how long to sleep; to be called when the clock was changed, too."""
        if self._sleep is not None:
            self._sleep.deadline = self._wake_at()

    def _wake_at(self) -> float:
        return self._clock.wake_at(self._heap[0][0]) if self._heap else inf

    async def run(self, fire: Callable[[Timer, int], None], catch_up: Callable[[], None]) -> None:
        """Fire what becomes due, for ever. `fire` may add timers; those wait for the next round.

        After a hold-up (the process was stopped, the machine was busy) `catch_up` is called first, to take in
        what waits outside. Else a deadline would pass for a peer whose answer is here and merely unread.
        """
        heap = self._heap
        while True:
            with trio.CancelScope(deadline=self._wake_at()) as self._sleep:
                await trio.sleep_forever()
            self._sleep = None
            due = []
            now = self.now()
            if heap and now - heap[0][0] > LATE:
                catch_up()
            while heap and heap[0][0] <= now:
                due.append(heapq.heappop(heap))
            for _, _, kind, token in due:
                fire(kind, token)
