"""EventFeed: slow readers lose events and are told."""

import pytest
import trio

from moot.gossip.counters import Counters
from moot.gossip.net.feed import EventFeed, EventsLost


async def test_every_subscriber_gets_every_event_in_order() -> None:
    feed = EventFeed(Counters())
    with feed.subscribe() as one, feed.subscribe() as two:
        feed.publish("a")
        feed.publish("b")
        assert [await one.receive(), await one.receive()] == ["a", "b"]
        assert [two.receive_nowait(), two.receive_nowait()] == ["a", "b"]


async def test_a_slow_reader_is_told_how_many_events_it_lost() -> None:
    counters = Counters()
    feed = EventFeed(counters)
    with feed.subscribe(2) as events:
        for number in range(5):
            feed.publish(number)
        assert [events.receive_nowait(), events.receive_nowait()] == [0, 1]
        feed.publish(5)
        assert [events.receive_nowait(), events.receive_nowait()] == [EventsLost(3), 5]
        with pytest.raises(trio.WouldBlock):
            events.receive_nowait()
    assert counters.events_lost == 3


async def test_a_reader_that_left_is_forgotten() -> None:
    feed = EventFeed(Counters())
    with feed.subscribe() as events:
        events.close()
        feed.publish("nobody reads this")
    feed.publish("nor this")


async def test_closing_the_feed_ends_the_channels_after_what_is_buffered() -> None:
    feed = EventFeed(Counters())
    with feed.subscribe() as events:
        feed.publish("last words")
        feed.close()
        assert [event async for event in events] == ["last words"]
    with feed.subscribe() as late:
        assert [event async for event in late] == []
