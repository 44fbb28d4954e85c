"""EventFeed: events to any number of readers, none of which can hold up the engine."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from moot.gossip.counters import Counters
from moot.gossip.record import message

BUFFER = 1024
"""Events that a reader may lag behind; the join of a whole large pool fits."""


@message
class EventsLost:
    """The reader was too slow: `count` events are missing here."""

    count: int


@message
class SnapshotNote:
    """Something about the node's snapshot that its owner should know."""

    text: str


class _Subscriber:
    def __init__(self, channel: trio.MemorySendChannel[object]) -> None:
        self.channel = channel
        self.lost_count = 0

    def offer(self, event: object) -> bool:
        """False when the event is lost. The gap is reported as soon as there is room again."""
        try:
            if self.lost_count:
                self.channel.send_nowait(EventsLost(self.lost_count))
                self.lost_count = 0
            self.channel.send_nowait(event)
        except trio.WouldBlock:
            self.lost_count += 1
            return False
        return True


class EventFeed:
    """Publishing never waits: a reader whose buffer is full loses events and reads EventsLost in their place."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._subscribers: list[_Subscriber] = []
        self._closed = False
        self.listeners: list[Callable[[object], None]] = []
        """Called with every event, within the engine's step; they must be quick and never raise."""

    @contextmanager
    def subscribe(self, buffer: int = BUFFER) -> Iterator[trio.MemoryReceiveChannel[object]]:
        """All events from now on, until the block ends; the channel ends when the feed is closed."""
        send, receive = trio.open_memory_channel[object](buffer)
        subscriber = _Subscriber(send)
        if self._closed:
            send.close()
        else:
            self._subscribers.append(subscriber)
        try:
            yield receive
        finally:
            send.close()
            receive.close()
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)

    def publish(self, event: object) -> None:
        for listener in self.listeners:
            listener(event)
        for subscriber in self._subscribers:
            try:
                taken = subscriber.offer(event)
            except trio.BrokenResourceError:
                continue  # its reader closed the channel early; the end of its block takes it off the list
            if not taken:
                self._counters.events_lost += 1

    def close(self) -> None:
        """End every reader's channel once it has read what is buffered."""
        self._closed = True
        for subscriber in self._subscribers:
            subscriber.channel.close()
        self._subscribers.clear()
