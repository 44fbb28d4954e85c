"""Coalescing: what is delivered, when, and in which order."""

import json
from pathlib import Path

import pytest

from moot.gossip.serf.coalesce import PERIOD, QUIESCENCE, WAITING_MAX, Coalescer, MemberEvents
from moot.gossip.serf.events import MemberChange, MemberEvent, MemberLeaving, QueryReceived, UserEventReceived
from moot.gossip.serf.members import MemberStatus, SerfMember
from moot.gossip.serf.messages import Query, UserEvent
from tests.support.swim import PEER, member

JOIN, LEAVE, FAILED = MemberChange.JOIN, MemberChange.LEAVE, MemberChange.FAILED
UPDATE, REAP = MemberChange.UPDATE, MemberChange.REAP


def changed(change: MemberChange, name: str, meta: bytes = b"") -> MemberEvent:
    return MemberEvent(change, SerfMember(member(name, meta=meta), MemberStatus.ALIVE))


def user(name: str, ltime: int, payload: bytes = b"", coalesce: bool = True) -> UserEventReceived:
    return UserEventReceived(UserEvent(ltime, name, payload, coalesce))


def told(events: list[object]) -> list[tuple[str, list[str]]]:
    """Deliveries of member events: the kind, and the names."""
    found = []
    for event in events:
        assert isinstance(event, MemberEvents)
        found.append((event.change.value, [one.name for one in event.members]))
    return found


def test_nothing_is_due_before_something_came() -> None:
    coalescer = Coalescer()
    assert coalescer.due is None
    assert coalescer.flush(1e9) == []
    assert coalescer.close() == []


def test_events_wait_until_none_came_for_the_quiescence_time() -> None:
    coalescer = Coalescer()
    assert coalescer.add(10.0, changed(JOIN, "a")) == ()
    assert coalescer.due == 10.0 + QUIESCENCE
    coalescer.add(10.5, changed(JOIN, "b"))
    assert coalescer.due == 10.5 + QUIESCENCE
    assert coalescer.flush(11.4) == []
    assert told(coalescer.flush(11.5)) == [("member-join", ["a", "b"])]
    assert coalescer.due is None


def test_an_unbroken_stream_of_events_is_delivered_once_per_period() -> None:
    coalescer = Coalescer()
    for tenths in range(30):
        coalescer.add(10 + tenths / 10, changed(JOIN, f"m{tenths}"))
    assert coalescer.due == 10.0 + PERIOD
    assert len(told(coalescer.flush(13.0))[0][1]) == 30
    coalescer.add(13.0, changed(JOIN, "late"))
    assert coalescer.due == 13.0 + QUIESCENCE


def test_of_each_member_only_the_last_change_is_delivered() -> None:
    coalescer = Coalescer()
    for event in (changed(JOIN, "a"), changed(FAILED, "b"), changed(UPDATE, "a", b"new"), changed(JOIN, "b")):
        coalescer.add(0.0, event)
    first, second = coalescer.flush(1.0)
    assert isinstance(first, MemberEvents)
    assert first.change is UPDATE
    assert [one.record.meta for one in first.members] == [b"new"]
    assert told([second]) == [("member-join", ["b"])]


def test_each_kind_of_change_is_one_delivery_in_the_order_of_the_changes() -> None:
    coalescer = Coalescer()
    for change, name in ((FAILED, "a"), (JOIN, "b"), (FAILED, "c"), (LEAVE, "d"), (JOIN, "e")):
        coalescer.add(0.0, changed(change, name))
    assert told(coalescer.flush(1.0)) == [
        ("member-failed", ["a", "c"]),
        ("member-join", ["b", "e"]),
        ("member-leave", ["d"]),
    ]
    # who changes again stands where it changed last
    for change, name in ((JOIN, "a"), (LEAVE, "b"), (FAILED, "e"), (UPDATE, "a"), (UPDATE, "b"), (UPDATE, "a")):
        coalescer.add(2.0, changed(change, name))
    assert told(coalescer.flush(3.0)) == [("member-failed", ["e"]), ("member-update", ["b", "a"])]


def test_a_member_that_flaps_and_ends_as_it_was_is_not_mentioned() -> None:
    coalescer = Coalescer()
    coalescer.add(0.0, changed(JOIN, "a"))
    coalescer.flush(1.0)
    coalescer.add(2.0, changed(FAILED, "a"))
    coalescer.add(2.1, changed(JOIN, "a"))
    assert coalescer.flush(4.0) == []
    coalescer.add(5.0, changed(FAILED, "a"))
    assert told(coalescer.flush(6.0)) == [("member-failed", ["a"])]


def test_an_update_is_delivered_also_after_an_update_but_not_again_without_one() -> None:
    coalescer = Coalescer()
    for now in (0.0, 2.0):
        coalescer.add(now, changed(UPDATE, "a"))
        assert told(coalescer.flush(now + 1)) == [("member-update", ["a"])]
    coalescer.add(4.0, changed(JOIN, "b"))
    assert told(coalescer.flush(5.0)) == [("member-join", ["b"])]


def test_a_reaped_member_is_forgotten() -> None:
    coalescer = Coalescer()
    for change in (JOIN, REAP, JOIN):
        coalescer.add(0.0, changed(change, "a"))
        assert told(coalescer.flush(1.0)) == [(change.value, ["a"])]
    coalescer.add(2.0, changed(REAP, "a"))
    coalescer.flush(3.0)
    assert not coalescer._members._told


def test_of_user_events_with_one_name_those_with_the_highest_time_are_delivered() -> None:
    coalescer = Coalescer()
    events = [
        user("deploy", 5, b"old"),
        user("deploy", 7, b"x"),
        user("cache", 1),
        user("deploy", 6),
        user("deploy", 7, b"y"),
    ]
    for event in events:
        assert coalescer.add(0.0, event) == ()
    assert coalescer.flush(1.0) == [events[1], events[4], events[2]]
    coalescer.add(2.0, events[0])
    assert coalescer.flush(3.0) == [events[0]]


def test_what_a_real_agent_delivers_of_two_coalescing_events_is_delivered() -> None:
    vectors = Path(__file__).parents[2] / "vectors" / "serf_trace.json"
    steps = json.loads(vectors.read_text())["steps"]
    (step,) = [step for step in steps if step["step"] == "coalesced: only highest LTime"]
    ltime, name, payload = step["observed"][0]
    coalescer = Coalescer()
    coalescer.add(0.0, user(name, ltime - 1, b"1"))
    coalescer.add(0.1, user(name, ltime, payload.encode()))
    assert coalescer.flush(1.1) == [user(name, ltime, payload.encode())]


@pytest.mark.parametrize(
    "event",
    [
        user("deploy", 5, coalesce=False),
        QueryReceived(Query(1, 2, PEER, "a", (), 0, 0, 0, "load"), 3.0),
        MemberLeaving(SerfMember(member("a"), MemberStatus.LEAVING)),
    ],
    ids=lambda event: type(event).__name__,
)
def test_everything_else_passes_at_once(event: object) -> None:
    coalescer = Coalescer()
    coalescer.add(0.0, changed(JOIN, "a"))
    assert coalescer.add(0.5, event) == (event,)
    assert coalescer.due == 1.0


def test_members_and_user_events_wait_independently() -> None:
    coalescer = Coalescer()
    coalescer.add(0.0, user("deploy", 5))
    coalescer.add(0.9, changed(JOIN, "a"))
    assert coalescer.due == 1.0
    assert coalescer.flush(1.0) == [user("deploy", 5)]
    assert coalescer.due == 1.9
    coalescer.add(1.5, user("deploy", 6))
    members, event = coalescer.flush(9.0)
    assert told([members]) == [("member-join", ["a"])]
    assert event == user("deploy", 6)


def test_at_the_end_all_that_waits_is_delivered() -> None:
    coalescer = Coalescer()
    coalescer.add(0.0, user("deploy", 5))
    coalescer.add(0.0, changed(JOIN, "a"))
    assert [type(event) for event in coalescer.close()] == [MemberEvents, UserEventReceived]
    assert coalescer.due is None


@pytest.mark.parametrize(("period", "quiescence"), [(0.0, 1.0), (3.0, 0.0)])
def test_without_a_period_everything_is_delivered_at_once(period: float, quiescence: float) -> None:
    coalescer = Coalescer(period, quiescence)
    for _ in range(2):
        assert told(list(coalescer.add(0.0, changed(JOIN, "a")))) == [("member-join", ["a"])]
    assert coalescer.add(0.0, user("deploy", 5)) == (user("deploy", 5),)
    assert coalescer.due is None


def test_a_flood_does_not_wait() -> None:
    coalescer = Coalescer()
    for number in range(WAITING_MAX):
        assert coalescer.add(0.0, changed(JOIN, f"m{number}")) == ()
        assert coalescer.add(0.0, user(f"e{number // 2}", 1)) == ()
    (members,) = coalescer.add(0.0, changed(JOIN, "one more"))
    assert isinstance(members, MemberEvents)
    assert len(members.members) == WAITING_MAX + 1
    assert (coalescer.due or 0.0) == QUIESCENCE
    assert len(coalescer.add(0.0, user("one more", 1))) == WAITING_MAX + 1
    assert coalescer.due is None
    assert coalescer.add(1.0, user("and the next", 1)) == ()


def test_newer_user_events_make_room_for_themselves() -> None:
    coalescer = Coalescer()
    for ltime in range(1, 3 * WAITING_MAX):
        assert coalescer.add(0.0, user("deploy", ltime)) == ()
    assert coalescer.close() == [user("deploy", 3 * WAITING_MAX - 1)]
