"""Delivery: events of a node, coalesced, to readers that may be slow."""

import io
from contextlib import ExitStack

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from moot.agent.delivery import BUFFER, REPEAT_AFTER, Deliverable, Delivery
from moot.agent.event_filter import parse_event_filters
from moot.agent.logs import Logs
from moot.gossip.counters import Counters
from moot.gossip.net.feed import EventFeed, EventsLost
from moot.gossip.record import Address
from moot.gossip.serf.coalesce import Coalescer, MemberEvents
from moot.gossip.serf.events import MemberChange, MemberEvent, QueryReceived, UserEventReceived
from moot.gossip.serf.members import MemberStatus, SerfMember
from moot.gossip.serf.messages import Query, UserEvent
from moot.gossip.swim.member import Member, Status

EVERYTHING = parse_event_filters("*")
HERE = Address.parse("127.0.0.1", 7946)


def joined(name: str) -> MemberEvent:
    member = SerfMember(Member(name, HERE, 1, Status.ALIVE), MemberStatus.ALIVE)
    return MemberEvent(MemberChange.JOIN, member)


def happened(name: str, *, coalesce: bool = False) -> UserEventReceived:
    return UserEventReceived(UserEvent(1, name, b"", coalesce))


def asked(name: str) -> QueryReceived:
    return QueryReceived(Query(1, 7, HERE, "a", (), 0, 0, 10**9, name), deadline=1.0)


def seen(channel: trio.MemoryReceiveChannel[Deliverable]) -> list[Deliverable]:
    """What is in the channel right now."""
    found: list[Deliverable] = []
    while True:
        try:
            found.append(channel.receive_nowait())
        except (trio.WouldBlock, trio.EndOfChannel):
            return found


class Desk:
    """A running delivery that is fed by hand."""

    def __init__(self, nursery: trio.Nursery, coalescer: Coalescer | None = None) -> None:
        self.nursery = nursery
        self.feed = EventFeed(Counters())
        self.stream = io.StringIO()
        log = Logs(level="info", as_json=False, stream=self.stream).logger("delivery")
        self.delivery = Delivery(self.feed, coalescer or Coalescer(0, 0), log)

    async def tell(self, *events: object) -> None:
        for event in events:
            self.feed.publish(event)
        await wait_all_tasks_blocked()

    def log_lines(self) -> list[str]:
        """What was logged, without time, level and module."""
        return [line.split("delivery: ", 1)[1] for line in self.stream.getvalue().splitlines()]


@pytest.fixture
async def desk(nursery: trio.Nursery) -> Desk:
    """Nothing is coalesced."""
    made = Desk(nursery)
    await nursery.start(made.delivery.run)
    return made


async def test_every_subscriber_gets_what_its_filter_lets_through(desk: Desk) -> None:
    filters = ("*", "member-join", "user", "user:deploy", "query:load", "member-failed,query")
    with ExitStack() as stack:
        channels = {
            text: stack.enter_context(desk.delivery.subscribe("test", parse_event_filters(text))) for text in filters
        }
        member, deploy, other, load = joined("a"), happened("deploy"), happened("other"), asked("load")
        await desk.tell(member, deploy, other, load)
        members = MemberEvents(MemberChange.JOIN, (member.member,))
        assert {text: seen(channel) for text, channel in channels.items()} == {
            "*": [members, deploy, other, load],
            "member-join": [members],
            "user": [deploy, other],
            "user:deploy": [deploy],
            "query:load": [load],
            "member-failed,query": [load],
        }


async def test_other_events_are_not_delivered(desk: Desk) -> None:
    with desk.delivery.subscribe("test", EVERYTHING) as channel:
        await desk.tell("something else")
        assert seen(channel) == []


async def test_members_that_join_within_a_moment_are_one_delivery(
    nursery: trio.Nursery, mock_clock: MockClock
) -> None:
    desk = Desk(nursery, Coalescer(3.0, 1.0))
    await nursery.start(desk.delivery.run)
    with desk.delivery.subscribe("test", EVERYTHING) as channel:
        for name in "abcd":  # one every 0.8 s: the period ends before a quiet second comes
            await desk.tell(joined(name))
            assert seen(channel) == []
            mock_clock.jump(0.8)
            await wait_all_tasks_blocked()
        (event,) = seen(channel)
        assert isinstance(event, MemberEvents)
        assert [member.name for member in event.members] == ["a", "b", "c", "d"]


async def test_what_is_not_coalesced_does_not_wait(nursery: trio.Nursery, mock_clock: MockClock) -> None:
    desk = Desk(nursery, Coalescer(3.0, 1.0))
    await nursery.start(desk.delivery.run)
    with desk.delivery.subscribe("test", EVERYTHING) as channel:
        held, direct, query = happened("a", coalesce=True), happened("b"), asked("c")
        await desk.tell(held, direct, query)
        assert seen(channel) == [direct, query]
        mock_clock.jump(1.0)
        await wait_all_tasks_blocked()
        assert seen(channel) == [held]


async def test_a_busy_feed_does_not_put_off_what_is_due(nursery: trio.Nursery, mock_clock: MockClock) -> None:
    desk = Desk(nursery, Coalescer(3.0, 1.0))
    await nursery.start(desk.delivery.run)
    with desk.delivery.subscribe("test", EVERYTHING) as channel:
        await desk.tell(joined("a"))
        mock_clock.jump(1.0)
        await desk.tell(happened("b"), happened("c"))
        assert [type(event) for event in seen(channel)] == [UserEventReceived, MemberEvents, UserEventReceived]


async def test_a_slow_subscriber_loses_events_and_holds_up_nobody(desk: Desk) -> None:
    with (
        desk.delivery.subscribe("the slow one", EVERYTHING) as slow,
        desk.delivery.subscribe("the quick one", EVERYTHING) as quick,
    ):
        read = 0
        for number in range(BUFFER + 10):
            await desk.tell(happened(f"{number}"))
            read += len(seen(quick))
        assert read == BUFFER + 10
        kept = seen(slow)
        assert len(kept) == BUFFER
        assert kept[0] == happened("0")
    assert desk.delivery.dropped_count == 10


async def test_losses_are_told_once_in_a_while(nursery: trio.Nursery, mock_clock: MockClock) -> None:
    desk = Desk(nursery)
    await nursery.start(desk.delivery.run)
    with desk.delivery.subscribe("the slow one", EVERYTHING, buffer=1):
        await desk.tell(*(happened(f"{number}") for number in range(5)))
        assert desk.log_lines() == ['too slow, events are dropped: reader="the slow one" dropped=1']
        mock_clock.jump(REPEAT_AFTER)
        await desk.tell(happened("late"))
        assert desk.log_lines()[1:] == ['too slow, events are dropped: reader="the slow one" dropped=5']


async def test_what_the_feed_lost_is_told(desk: Desk) -> None:
    await desk.tell(EventsLost(3))
    assert desk.log_lines() == ["too many events at once, handlers and streams miss some: count=3"]


async def test_a_reader_that_left_is_forgotten(desk: Desk) -> None:
    with desk.delivery.subscribe("gone", EVERYTHING) as channel:
        channel.close()
        await desk.tell(happened("a"))
    await desk.tell(happened("b"))
    assert desk.delivery.dropped_count == 0


async def test_the_end_of_the_node_delivers_what_waits_and_ends_the_channels(nursery: trio.Nursery) -> None:
    desk = Desk(nursery, Coalescer(3.0, 1.0))
    await nursery.start(desk.delivery.run)
    with desk.delivery.subscribe("test", EVERYTHING) as channel:
        await desk.tell(joined("a"))
        desk.feed.close()
        assert [type(event) async for event in channel] == [MemberEvents]
    with desk.delivery.subscribe("late", EVERYTHING) as late:
        assert [event async for event in late] == []


async def test_a_cancelled_delivery_ends_the_channels() -> None:
    async with trio.open_nursery() as nursery:
        desk = Desk(nursery)
        await nursery.start(desk.delivery.run)
        with desk.delivery.subscribe("test", EVERYTHING) as channel:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                assert [event async for event in channel] == []
