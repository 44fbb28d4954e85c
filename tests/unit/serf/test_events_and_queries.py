"""Receiving user events and queries: once each, passed on as they came (serf-protocol: user events, queries)."""

import pytest

from moot.gossip.record import Address
from moot.gossip.serf.events import QueryReceived, QueueDeep, UserEventReceived
from moot.gossip.serf.lamport import LTIME_MAX
from moot.gossip.serf.messages import (
    QUERY_NO_BROADCAST,
    ConflictResponse,
    EventSlot,
    KeyRequest,
    KeyResponse,
    Query,
    QueryResponse,
    Relay,
    Unknown,
    UserEvent,
)
from moot.gossip.serf.ring import Ring
from moot.gossip.serf.user_events import BUDGET_BYTES, SLOT_BUDGET_BYTES, SLOT_EVENTS_MAX, UserEvents
from moot.gossip.swim.effects import Timer
from moot.gossip.swim.messages import User
from tests.support.serf import SerfDesk, push_pull
from tests.support.swim import PEER, Sent, address

ORIGIN = Address(bytes((127, 0, 0, 9)), 7946)


def query(ltime: int, number: int = 1, *, flags: int = 0, name: str = "uptime") -> Query:
    return Query(ltime, number, ORIGIN, "asker", (), flags, 0, 3_200_000_000, name)


def events(desk: SerfDesk) -> list[tuple[int, str, bytes]]:
    taken = desk.out.took(UserEventReceived)
    return [(heard.event.ltime, heard.event.name, heard.event.payload) for heard in taken]


def test_an_event_is_delivered_and_passed_on_as_it_came() -> None:
    desk = SerfDesk()
    user = User(UserEvent(5, "a", b"x", True), b"bytes as they came")
    desk.hear(user)
    assert desk.out.took(UserEventReceived) == [UserEventReceived(UserEvent(5, "a", b"x", True))]
    assert desk.serf.broadcasts(0.0, 2, 1400) == [user]
    assert desk.clock("event") == 6


def test_an_event_is_known_by_time_name_and_payload() -> None:
    desk = SerfDesk()
    desk.event(5, "a", b"x")
    desk.event(5, "a", b"x")
    desk.event(5, "a", b"y")
    desk.event(6, "a", b"x")
    assert events(desk) == [(5, "a", b"x"), (5, "a", b"y"), (6, "a", b"x")]
    assert len(desk.gossip()) == 3


def test_events_older_than_the_window_are_dropped() -> None:
    desk = SerfDesk()
    desk.event(1000)
    desk.event(488)
    desk.event(489)
    assert [ltime for ltime, _, _ in events(desk)] == [1000, 489]


def test_a_slot_is_taken_over_by_the_next_round_of_the_window() -> None:
    desk = SerfDesk()
    desk.event(5)
    desk.event(5 + 512)
    desk.event(5)
    assert [ltime for ltime, _, _ in events(desk)] == [5, 517]
    assert [slot.ltime for slot in desk.state().events if slot] == [517]


def test_an_incredible_event_time_is_refused() -> None:
    desk = SerfDesk()
    desk.event(LTIME_MAX)
    desk.sync(push_pull(events=[EventSlot(LTIME_MAX, (("a", b""),))]))
    assert events(desk) == []
    assert desk.gossip() == []
    assert desk.clock("event") == 1


def test_the_ring_forgets_its_oldest_slots_rather_than_grow() -> None:
    ring: Ring[int] = Ring(512, 100, 9, 100)
    assert all(ring.take(ltime, 0, 40) for ltime in (10, 11))
    assert ring.take(12, 0, 40)
    assert [slot.ltime for slot in ring.used()] == [11, 12]
    assert not ring.take(10, 0, 40)
    assert ring.minimum == 11


def test_what_is_older_than_all_in_a_full_ring_is_dropped() -> None:
    ring: Ring[int] = Ring(512, 100, 9, 100)
    assert all(ring.take(ltime, 0, 50) for ltime in (10, 11))
    assert not ring.take(9, 0, 50)
    assert [slot.ltime for slot in ring.used()] == [10, 11]


def test_what_is_larger_than_the_whole_ring_is_dropped() -> None:
    ring: Ring[int] = Ring(512, 100, 9, 100)
    assert not ring.take(10, 0, 101)
    assert list(ring.used()) == []


def test_a_full_slot_takes_no_more_keys_and_keeps_those_it_has() -> None:
    ring: Ring[int] = Ring(512, 1000, 3, 100)
    assert [ring.take(10, key, 10) for key in range(5)] == [True, True, True, False, False]
    assert ring.take(11, 3, 10)
    assert [ring.take(12, key, 40) for key in range(4)] == [True, True, False, False]
    assert ring.take(12, 4, 20)
    assert not ring.take(13, 0, 101)
    assert [(slot.ltime, list(slot.keys), slot.cost) for slot in ring.used()] == [
        (10, [0, 1, 2], 30),
        (11, [3], 10),
        (12, [0, 1, 4], 100),
    ]
    assert ring.clock.time == 14


def test_a_flood_of_events_stays_within_the_budgets() -> None:
    held = UserEvents(512)
    for number in range(3000):
        held.take(UserEvent(7 + number // 100, "flood", number.to_bytes(4, "big") * 2304))
    kept = [sum(len(payload) for _, payload in slot.events) for slot in held.slots()]
    assert sum(kept) <= BUDGET_BYTES
    assert max(kept) <= SLOT_BUDGET_BYTES


def test_an_event_that_a_push_pull_could_not_carry_is_not_passed_on_either() -> None:
    desk = SerfDesk()
    desk.event(5, payload=bytes(SLOT_BUDGET_BYTES))
    assert events(desk) == []
    assert desk.gossip() == []
    for number in range(SLOT_EVENTS_MAX + 1):
        desk.event(6, str(number))
    assert [name for _, name, _ in events(desk)] == [str(number) for number in range(SLOT_EVENTS_MAX)]


def test_a_query_is_seen_once_by_time_and_number() -> None:
    desk = SerfDesk()
    desk.told(query(3, 1), query(3, 1), query(3, 2), query(4, 1))
    assert [(heard.query.ltime, heard.query.id) for heard in desk.out.took(QueryReceived)] == [
        (3, 1),
        (3, 2),
        (4, 1),
    ]
    assert len(desk.gossip()) == 3
    assert desk.clock("query") == 5


def test_queries_older_than_the_window_are_dropped() -> None:
    desk = SerfDesk()
    desk.told(query(1000), query(488), query(489))
    assert [heard.query.ltime for heard in desk.out.took(QueryReceived)] == [1000, 489]


def test_a_query_that_must_not_be_passed_on_is_not() -> None:
    desk = SerfDesk()
    desk.told(query(3, flags=QUERY_NO_BROADCAST))
    assert len(desk.out.took(QueryReceived)) == 1
    assert desk.gossip() == []


def test_a_query_between_agents_is_passed_on_but_not_shown() -> None:
    desk = SerfDesk()
    desk.told(query(3, name="_serf_ping"))
    assert desk.out.took(QueryReceived) == []
    assert len(desk.gossip()) == 1


def test_intents_go_out_before_queries_and_those_before_events() -> None:
    desk = SerfDesk()
    desk.event(3)
    desk.told(query(3))
    desk.join_intent("b", 3)
    assert [type(body).__name__ for body in desk.gossip()] == ["JoinIntent", "Query", "UserEvent"]


def test_a_packet_takes_no_more_than_there_is_room() -> None:
    desk = SerfDesk()
    for ltime in (3, 4, 5):
        desk.event(ltime)
    desk.join_intent("b", 3)
    # each costs 60 and 2 bytes
    assert len(desk.serf.broadcasts(0.0, 2, 62 * 3 + 61)) == 3


def test_a_queue_is_cut_down_when_it_grows_beyond_twice_its_limit() -> None:
    desk = SerfDesk()
    for number in range(9000):
        desk.event(1 + number // 100, payload=number.to_bytes(4, "big"))
    assert int(desk.serf.stats()["event_queue"]) <= 2 * 4096
    desk.only_timers(Timer.QUEUE_CHECK)
    desk.run(31)
    assert int(desk.serf.stats()["event_queue"]) == 4096
    (told,) = desk.out.took(QueueDeep)
    assert (told.queue, told.depth - told.dropped) == ("event", 4096)
    assert told.dropped > 0


def test_deep_queues_are_told_whenever_they_are_looked_at() -> None:
    desk = SerfDesk()
    for number in range(127):
        desk.event(1 + number, payload=number.to_bytes(4, "big"))
    desk.only_timers(Timer.QUEUE_CHECK)
    desk.run(31)
    assert desk.out.took(QueueDeep) == []
    desk.event(200)
    desk.only_timers(Timer.QUEUE_CHECK)
    desk.run(31)
    assert desk.out.took(QueueDeep) == [QueueDeep("event", 128, 0)]


def test_a_relay_is_forwarded_unchanged_and_nowhere_else() -> None:
    desk = SerfDesk()
    desk.told(Relay(ORIGIN, "asker", b"\x05 whatever it is"))
    inner = User(b"\x05 whatever it is", b"\x05 whatever it is")
    assert desk.out.packets == [Sent(ORIGIN, (inner,), False)]
    desk.told(Relay(ORIGIN, "asker", b""))
    assert len(desk.out.packets) == 1
    assert desk.gossip() == []


def test_answers_that_nobody_asked_for_are_counted() -> None:
    desk = SerfDesk()
    desk.told(QueryResponse(3, 1, "b"))
    assert desk.serf.counters.refused["query-response"] == 1


@pytest.mark.parametrize(
    ("body", "number"),
    [
        (Unknown(77), 77),
        (push_pull(), 2),
        (ConflictResponse(None), 6),
        (KeyRequest(), 7),
        (KeyResponse(True), 8),
    ],
)
def test_messages_of_unknown_types_are_counted_and_not_passed_on(body: object, number: int) -> None:
    desk = SerfDesk()
    desk.told(body)
    assert desk.serf.counters.unknown_messages[number] == 1
    assert desk.gossip() == []


def test_a_user_message_that_is_not_serfs_is_counted() -> None:
    desk = SerfDesk()
    desk.hear(User(b"bytes"), source=PEER)
    assert desk.serf.counters.refused["user-message"] == 1


def test_a_message_that_fits_no_packet_is_taken_but_not_queued() -> None:
    desk = SerfDesk()
    sizes = {True: 1397, False: 1396}
    desk.serf._outbox._size_of = lambda message: sizes[getattr(message, "raw", b"") == b"long"]
    desk.hear(User(UserEvent(5, "long"), b"long"), User(UserEvent(6, "fits"), b"fits"))
    assert [name for _, name, _ in events(desk)] == ["long", "fits"]
    assert desk.serf.stats()["event_queue"] == "1"


def test_events_by_stream_are_taken_too() -> None:
    desk = SerfDesk()
    desk.serf.on_stream(0.0, address(9), desk.serf.swim.new_ticket(), User(UserEvent(5, "a"), b"raw"))
    assert events(desk) == [(5, "a", b"")]
