"""Delivery: the pool's events, coalesced, to event handlers and RPC streams.

One task reads the node's events, runs them through the coalescer and hands what comes out to every subscriber
whose filter it passes. A subscriber that does not keep up loses events; it never holds up the others, let
alone the node.
"""

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeAlias

import trio

from moot.agent.event_filter import EventFilter
from moot.agent.logs import Log
from moot.gossip.net.feed import EventsLost
from moot.gossip.serf.coalesce import Coalescer, MemberEvents
from moot.gossip.serf.events import QueryReceived, UserEventReceived

BUFFER = 512
"""Events that a subscriber may lag behind, as Serf has it."""
REPEAT_AFTER = 60.0
"""Seconds between two log lines about the same subscriber's losses."""

Deliverable: TypeAlias = MemberEvents | UserEventReceived | QueryReceived


def kind_and_name(event: Deliverable) -> tuple[str, str]:
    """What event filters look at: `("member-join", "")`, `("user", "deploy")`, `("query", "load")`."""
    if isinstance(event, MemberEvents):
        return event.change.value, ""
    if isinstance(event, UserEventReceived):
        return "user", event.event.name
    return "query", event.query.name


class Source(Protocol):
    """Where events come from: a Node."""

    def subscribe(self) -> contextlib.AbstractContextManager[trio.MemoryReceiveChannel[object]]: ...


class _Subscriber:
    def __init__(self, about: str, wanted: EventFilter, channel: trio.MemorySendChannel[Deliverable]) -> None:
        self.about = about
        self.wanted = wanted
        self.channel = channel
        self.lost_count = 0
        self.told_at = -REPEAT_AFTER


class Delivery:
    """Give `run` a task before the node starts, so that nothing is missed; subscribe at any time."""

    def __init__(self, source: Source, coalescer: Coalescer, log: Log) -> None:
        self._source = source
        self._coalescer = coalescer
        self._log = log
        self._subscribers: dict[int, _Subscriber] = {}
        self._keys = itertools.count()
        self._events: trio.MemoryReceiveChannel[object] | None = None
        self._ended = False
        self.dropped_count = 0
        """Deliveries that some subscriber was too slow for."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Deliver until the node stops or this is cancelled; either ends the subscribers' channels.

        What waits to be coalesced when the node stops is delivered then.
        """
        with self._source.subscribe() as self._events:
            task_status.started()
            try:
                while True:
                    self._deliver(await self._next(self._events))
            except trio.EndOfChannel:
                self._deliver(self._coalescer.close())
            finally:
                self._ended = True
                for subscriber in self._subscribers.values():
                    subscriber.channel.close()
                self._subscribers.clear()

    async def flush(self) -> None:
        """Deliver what the node has told so far without waiting for more of it. For the end of an agent."""
        events = self._events
        while events is not None and not self._ended and events.statistics().current_buffer_used:
            await trio.lowlevel.checkpoint()
        for _ in range(2):  # the last one may be on its way into the hands of `run`
            await trio.lowlevel.checkpoint()
        self._deliver(self._coalescer.close())

    @contextlib.contextmanager
    def subscribe(
        self, about: str, wanted: EventFilter, buffer: int = BUFFER
    ) -> Iterator[trio.MemoryReceiveChannel[Deliverable]]:
        """Events that pass the filter from now on, until the block ends; the channel ends with the delivery.

        `about` says in log lines who reads them.
        """
        send, receive = trio.open_memory_channel[Deliverable](buffer)
        key = next(self._keys)
        if self._ended:
            send.close()
        else:
            self._subscribers[key] = _Subscriber(about, wanted, send)
        try:
            yield receive
        finally:
            self._subscribers.pop(key, None)
            send.close()
            receive.close()

    async def _next(self, events: trio.MemoryReceiveChannel[object]) -> Iterable[object]:
        """What is to be delivered next; raises EndOfChannel when the node has stopped."""
        due = self._coalescer.due
        with trio.move_on_at(float("inf") if due is None else due):
            event = await events.receive()
            if isinstance(event, EventsLost):
                self._log.warn("too many events at once, handlers and streams miss some", count=event.count)
                return ()
            return self._coalescer.add(trio.current_time(), event)
        return self._coalescer.flush(trio.current_time())

    def _deliver(self, events: Iterable[object]) -> None:
        for event in events:
            if isinstance(event, MemberEvents | UserEventReceived | QueryReceived):
                kind, name = kind_and_name(event)
                for subscriber in self._subscribers.values():
                    if subscriber.wanted.matches(kind, name):
                        self._offer(subscriber, event)

    def _offer(self, subscriber: _Subscriber, event: Deliverable) -> None:
        try:
            subscriber.channel.send_nowait(event)
        except trio.WouldBlock:
            self.dropped_count += 1
            subscriber.lost_count += 1
            now = trio.current_time()
            if now - subscriber.told_at >= REPEAT_AFTER:
                self._log.warn("too slow, events are dropped", reader=subscriber.about, dropped=subscriber.lost_count)
                subscriber.told_at = now
        except trio.BrokenResourceError:
            return  # its reader closed the channel early; the end of its block takes it off the list
