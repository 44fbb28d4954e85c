"""Serf's part of a push/pull, both ways (serf-protocol: push/pull merge)."""

from moot.gossip.serf import MemberStatus
from moot.gossip.serf.events import MemberChange, UserEventReceived
from moot.gossip.serf.lamport import LTIME_MAX
from moot.gossip.serf.messages import EventSlot, JoinIntent
from moot.gossip.serf.user_events import EVENTS_MAX
from moot.gossip.swim.messages import Ping, PushPull
from tests.support.serf import SerfDesk, push_pull
from tests.support.swim import PEER, address, member


def test_clocks_move_to_the_peers_clocks_not_beyond() -> None:
    desk = SerfDesk()
    desk.sync(push_pull(ltime=60, event_ltime=70, query_ltime=80))
    assert (desk.clock(), desk.clock("event"), desk.clock("query")) == (60, 70, 80)


def test_a_clock_of_zero_says_nothing() -> None:
    desk = SerfDesk()
    desk.sync(push_pull(ltime=0, event_ltime=0, query_ltime=0))
    assert (desk.clock(), desk.clock("event"), desk.clock("query")) == (1, 1, 1)


def test_incredible_clocks_are_passed_over_one_by_one() -> None:
    desk = SerfDesk()
    desk.sync(push_pull({"b": LTIME_MAX}, ltime=LTIME_MAX, event_ltime=LTIME_MAX, query_ltime=9))
    assert (desk.clock(), desk.clock("event"), desk.clock("query")) == (1, 1, 9)


DRIVEN = 2**63 + 2**25


def test_who_joins_takes_over_the_clocks_of_the_pool_however_far_they_were_driven() -> None:
    desk = SerfDesk()
    desk.serf.join(0.0, [PEER])
    (stream,) = desk.out.streams
    told = push_pull({"b": DRIVEN - 1}, ltime=DRIVEN, event_ltime=DRIVEN + 1, query_ltime=DRIVEN + 2)
    desk.serf.on_stream_reply(0.0, stream.ticket, PushPull(True, [member("b")], told))
    # the own join intent, which says that we are here, was one step
    assert (desk.clock(), desk.clock("event"), desk.clock("query")) == (DRIVEN + 1, DRIVEN + 1, DRIVEN + 2)
    assert desk.ltime("b") == DRIVEN - 1
    assert JoinIntent(DRIVEN, "me") in desk.gossip()
    desk.leave_intent("b", DRIVEN + 5)
    desk.goes("b")
    assert desk.status("b") is MemberStatus.LEFT


def test_nobody_else_may_drive_our_clocks_that_far() -> None:
    desk = SerfDesk()
    told = push_pull(ltime=DRIVEN, event_ltime=DRIVEN, query_ltime=DRIVEN)
    desk.in_status("b", MemberStatus.FAILED)
    desk.run(30.1)
    (reconnect,) = [stream for stream in desk.out.streams if isinstance(stream.first, PushPull)]
    desk.serf.on_stream_reply(desk.now, reconnect.ticket, PushPull(True, [], told))
    desk.serf.join(desk.now, [PEER])
    desk.sync(told)
    desk.sync(told, join=True)
    assert (desk.clock(), desk.clock("event"), desk.clock("query")) == (1, 1, 1)


def test_a_failed_member_that_the_peer_lists_as_left_has_left() -> None:
    desk = SerfDesk()
    desk.in_status("b", MemberStatus.FAILED)
    desk.sync(push_pull({"b": 50}, left=["b"], ltime=60))
    assert desk.status("b") is MemberStatus.LEFT
    assert desk.ltime("b") == 51
    assert desk.clock() == 60
    assert desk.changed(MemberChange.LEAVE, "b")


def test_a_left_member_without_a_time_counts_as_one() -> None:
    desk = SerfDesk()
    desk.in_status("b", MemberStatus.FAILED)
    desk.sync(push_pull(left=["b"]))
    assert desk.ltime("b") == 1


def test_a_member_that_left_on_both_sides_keeps_its_time_however_often_we_sync() -> None:
    desk = SerfDesk()
    desk.in_status("b", MemberStatus.LEFT)
    for _ in range(3):
        desk.sync(push_pull({"b": 50}, left=["b"], ltime=60))
    assert desk.ltime("b") == 5


def test_all_others_count_as_join_intents() -> None:
    desk = SerfDesk()
    desk.in_status("b", MemberStatus.LEAVING)
    desk.sync(push_pull({"b": 8, "stranger": 9}))
    assert desk.status("b") is MemberStatus.ALIVE
    assert desk.ltime("b") == 8
    desk.alive("stranger")
    assert desk.ltime("stranger") == 9


def test_nothing_of_a_push_pull_is_gossiped() -> None:
    desk = SerfDesk()
    desk.in_status("b", MemberStatus.LEAVING)
    desk.gossip_all()
    desk.sync(push_pull({"b": 8, "stranger": 9}, left=["c"], events=[EventSlot(4, (("deploy", b""),))]))
    assert desk.gossip() == []


def test_when_the_peer_lists_us_as_left_we_say_that_we_are_here() -> None:
    desk = SerfDesk()
    desk.sync(push_pull({"me": 30}, left=["me"], ltime=40))
    assert desk.status("me") is MemberStatus.ALIVE
    desk.run(0.3)
    assert desk.gossip() == [JoinIntent(40, "me")]


def test_members_are_merged_before_what_serf_says_of_them() -> None:
    desk = SerfDesk()
    desk.sync(push_pull({"b": 8}), [member("b")])
    assert desk.ltime("b") == 8


def test_events_of_the_ring_are_taken_each_once() -> None:
    desk = SerfDesk()
    ring = [None, EventSlot(10, (("deploy", b"1"), ("deploy", b"2"))), None, EventSlot(11, (("deploy", b"1"),))]
    desk.sync(push_pull(events=ring, event_ltime=12))
    desk.sync(push_pull(events=ring, event_ltime=12))
    taken = [(e.event.ltime, e.event.payload, e.event.coalesce) for e in desk.out.took(UserEventReceived)]
    assert taken == [(10, b"1", False), (10, b"2", False), (11, b"1", False)]


def test_no_more_events_of_a_push_pull_are_taken_than_the_ring_can_hold() -> None:
    desk = SerfDesk()
    full = [EventSlot(ltime, [("", b"%d" % number) for number in range(900)]) for ltime in range(1, 101)]
    desk.sync(push_pull(events=full, event_ltime=101))
    assert len(desk.out.took(UserEventReceived)) <= EVENTS_MAX
    # one that comes in time is heard all the same
    desk.event(101)
    assert len(desk.out.took(UserEventReceived)) == 1


def test_what_we_tell_holds_everybody_and_the_left_apart() -> None:
    desk = SerfDesk()
    for name, status in (("b", MemberStatus.FAILED), ("c", MemberStatus.LEFT), ("d", MemberStatus.LEAVING)):
        desk.in_status(name, status)
    desk.event(3)
    told = desk.state()
    assert told.status_ltimes == {"me": 0, "b": 0, "c": 5, "d": 5}
    assert told.left_members == ["c"]
    assert told.ltime == 6
    assert told.event_ltime == 4
    assert told.events == [EventSlot(3, (("deploy", b""),))]
    assert told.query_ltime == 1


def test_what_we_tell_follows_changes() -> None:
    desk = SerfDesk()
    desk.alive("b")
    before = desk.state().status_ltimes
    desk.join_intent("b", 7)
    assert before == {"me": 0, "b": 0}
    assert desk.state().status_ltimes == {"me": 0, "b": 7}


def test_a_state_that_is_not_serfs_is_ignored() -> None:
    desk = SerfDesk()
    desk.serf.merge_state(0.0, b"\x05junk", False)
    assert desk.clock() == 1


def test_a_peer_without_a_state_is_merged_all_the_same() -> None:
    desk = SerfDesk()
    desk.serf.on_stream(0.0, address(9), desk.serf.swim.new_ticket(), PushPull(False, [member("b")]))
    assert desk.status("b") is MemberStatus.ALIVE


def test_a_ping_by_stream_reaches_swim() -> None:
    desk = SerfDesk()
    ticket = desk.serf.swim.new_ticket()
    desk.serf.on_stream(0.0, address(9), ticket, Ping(4, "me"))
    assert ticket in desk.out.replies
