"""What join and leave intents do (serf-protocol: leave intent, join intent)."""

import pytest

from moot.gossip.serf import MemberStatus
from moot.gossip.serf.events import MemberChange, MemberLeaving
from moot.gossip.serf.intents import NAME_MAX, RECENT_MAX, RecentIntents, Verdict, weigh_join, weigh_leave
from moot.gossip.serf.lamport import LTIME_MAX
from moot.gossip.serf.members import SerfMember
from moot.gossip.serf.messages import JoinIntent, LeaveIntent
from moot.gossip.swim.effects import Timer
from moot.gossip.swim.messages import User
from tests.support.serf import SerfDesk
from tests.support.swim import member

ALIVE, LEAVING, LEFT, FAILED = MemberStatus.ALIVE, MemberStatus.LEAVING, MemberStatus.LEFT, MemberStatus.FAILED


def held(status: MemberStatus) -> SerfMember:
    return SerfMember(member("b"), status, 5)


@pytest.mark.parametrize("status", [ALIVE, LEAVING, LEFT, FAILED])
@pytest.mark.parametrize("ltime", [0, 4, 5])
def test_an_intent_that_is_no_newer_is_stale(status: MemberStatus, ltime: int) -> None:
    assert weigh_leave(held(status), LeaveIntent(ltime, "b"), False) is Verdict.STALE
    assert weigh_leave(held(status), LeaveIntent(ltime, "b"), True) is Verdict.STALE
    assert weigh_join(held(status), JoinIntent(ltime, "b")) is Verdict.STALE


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(ALIVE, Verdict.LEAVING), (FAILED, Verdict.FORCED), (LEAVING, Verdict.NOTE), (LEFT, Verdict.NOTE)],
)
def test_a_newer_leave_intent_is_weighed_by_status(status: MemberStatus, verdict: Verdict) -> None:
    assert weigh_leave(held(status), LeaveIntent(6, "b"), False) is verdict


@pytest.mark.parametrize("status", [ALIVE, LEAVING, LEFT, FAILED])
def test_a_newer_leave_intent_about_us_is_refuted_while_we_stay(status: MemberStatus) -> None:
    assert weigh_leave(held(status), LeaveIntent(6, "b"), True) is Verdict.REFUTE


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(ALIVE, Verdict.NOTE), (FAILED, Verdict.NOTE), (LEAVING, Verdict.BACK), (LEFT, Verdict.NOTE)],
)
def test_a_newer_join_intent_is_weighed_by_status(status: MemberStatus, verdict: Verdict) -> None:
    assert weigh_join(held(status), JoinIntent(6, "b")) is verdict


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        (ALIVE, LEAVING, []),
        (LEAVING, LEAVING, []),
        (LEFT, LEFT, []),
        (FAILED, LEFT, [("member-leave", "b")]),
    ],
)
def test_a_newer_leave_intent_is_applied_and_passed_on(
    before: MemberStatus, after: MemberStatus, changes: list[tuple[str, str]]
) -> None:
    desk = SerfDesk()
    desk.in_status("b", before)
    desk.gossip_all()
    desk.leave_intent("b", 9)
    assert desk.status("b") is after
    assert desk.ltime("b") == 9
    assert desk.clock() == 10
    assert desk.changes() == changes
    assert desk.gossip() == [LeaveIntent(9, "b")]


@pytest.mark.parametrize(("before", "after"), [(ALIVE, ALIVE), (LEAVING, ALIVE), (LEFT, LEFT), (FAILED, FAILED)])
def test_a_newer_join_intent_is_applied_and_passed_on(before: MemberStatus, after: MemberStatus) -> None:
    desk = SerfDesk()
    desk.in_status("b", before)
    desk.gossip_all()
    desk.join_intent("b", 9)
    assert desk.status("b") is after
    assert desk.ltime("b") == 9
    assert desk.clock() == 10
    assert desk.changes() == []
    assert desk.gossip() == [JoinIntent(9, "b")]


def test_a_stale_intent_moves_nothing_but_the_clock_and_is_not_passed_on() -> None:
    desk = SerfDesk()
    desk.in_status("b", LEAVING)
    desk.gossip_all()
    version = desk.serf.members_version
    desk.join_intent("b", 5)
    desk.leave_intent("b", 4)
    assert desk.serf.members_version == version
    assert desk.gossip() == []


def test_intents_are_passed_on_as_the_bytes_received() -> None:
    desk = SerfDesk()
    desk.alive("b")
    user = User(LeaveIntent(3, "b"), b"\x00 as it came")
    desk.hear(user)
    assert desk.serf.broadcasts(0.0, 2, 1400)[0] is user


def test_a_member_that_starts_and_stops_leaving_is_told_about() -> None:
    desk = SerfDesk()
    desk.alive("b")
    desk.leave_intent("b", 3)
    desk.join_intent("b", 4)
    assert [event.member.status for event in desk.out.took(MemberLeaving)] == [LEAVING, ALIVE]


def test_a_forced_leave_keeps_the_instant_of_the_failure() -> None:
    desk = SerfDesk()
    desk.alive("b")
    desk.run(3)
    desk.dies("b")
    desk.run(1)
    desk.leave_intent("b", 3)
    assert desk.held("b").gone_at == 3
    assert desk.serf.stats()["failed"] == "0"
    assert desk.serf.stats()["left"] == "1"


def test_an_intent_about_an_unknown_name_is_kept_and_passed_on_once() -> None:
    desk = SerfDesk()
    desk.leave_intent("b", 3)
    assert desk.gossip() == [LeaveIntent(3, "b")]
    desk.gossip_all()
    desk.leave_intent("b", 3)
    desk.join_intent("b", 2)
    assert desk.gossip() == []
    desk.join_intent("b", 4)
    assert desk.gossip() == [JoinIntent(4, "b")]


def test_the_newest_kept_intent_counts() -> None:
    desk = SerfDesk()
    desk.join_intent("b", 30)
    desk.leave_intent("b", 29)
    desk.alive("b")
    assert desk.status("b") is ALIVE
    assert desk.ltime("b") == 30


def test_kept_intents_are_forgotten_after_five_minutes() -> None:
    desk = SerfDesk()
    desk.leave_intent("b", 3)
    desk.run(316)
    desk.alive("b")
    assert desk.status("b") is ALIVE


def test_a_full_buffer_takes_no_new_name_but_newer_intents_of_those_it_has() -> None:
    recent = RecentIntents()
    for number in range(RECENT_MAX):
        assert recent.keep(0.0, f"n{number}", True, 1)
    assert not recent.keep(0.0, "one more", True, 1)
    assert recent.keep(0.0, "n0", False, 2)
    assert len(recent) == RECENT_MAX


def test_an_intent_about_an_absurdly_long_name_is_not_kept() -> None:
    assert not RecentIntents().keep(0.0, "x" * (NAME_MAX + 1), True, 1)


def test_a_leave_intent_about_us_is_answered_with_a_newer_join_intent() -> None:
    desk = SerfDesk()
    desk.leave_intent("me", 100)
    assert desk.status("me") is ALIVE
    desk.run(0.3)
    assert desk.gossip() == [JoinIntent(101, "me")]
    assert desk.ltime("me") == 101
    assert desk.clock() == 102


def test_many_leave_intents_about_us_are_answered_once_per_gossip_round() -> None:
    desk = SerfDesk()
    for ltime in range(10, 20):
        desk.leave_intent("me", ltime)
    desk.run(0.3)
    assert desk.gossip() == [JoinIntent(20, "me")]


def test_an_incredible_lamport_time_is_refused_with_its_message() -> None:
    desk = SerfDesk()
    desk.alive("b")
    desk.leave_intent("b", LTIME_MAX)
    desk.join_intent("b", LTIME_MAX - 1)
    assert desk.status("b") is ALIVE
    assert desk.clock() == 1
    assert desk.gossip() == []
    assert desk.serf.counters.refused["lamport-time"] == 2


def test_a_force_left_member_that_restarts_is_alive_again() -> None:
    desk = SerfDesk()
    desk.in_status("b", FAILED)
    desk.leave_intent("b", 9)
    desk.out.events.clear()
    desk.alive("b", inc=2)
    assert desk.status("b") is ALIVE
    assert desk.changed(MemberChange.JOIN, "b")


def test_one_that_is_thought_to_be_leaving_but_does_not_is_reminded() -> None:
    """Its own join intent had the Lamport time of the leave intent that was heard before it, and came too late."""
    desk = SerfDesk()
    desk.alive("b")
    desk.leave_intent("b", 3)
    desk.join_intent("b", 3)
    assert desk.held("b").status is MemberStatus.LEAVING
    desk.only_timers(Timer.REAP)
    desk.out.packets.clear()
    desk.run(16.0)
    reminders = [(to, user.body) for to, user in desk.out.sent(User)]
    assert reminders == [(desk.held("b").address, LeaveIntent(4, "b"))]


def test_one_that_left_or_failed_is_not_reminded() -> None:
    desk = SerfDesk()
    desk.in_status("b", MemberStatus.LEFT)
    desk.in_status("c", MemberStatus.FAILED)
    desk.only_timers(Timer.REAP)
    desk.out.packets.clear()
    desk.run(16.0)
    assert desk.out.sent(User) == []


def test_a_member_that_stays_contradicts_a_reminder() -> None:
    desk = SerfDesk()
    desk.join_intent("me", 3)
    desk.leave_intent("me", 4)
    desk.only_serf_timers()
    desk.run(1.0)
    assert JoinIntent(5, "me") in desk.gossip()
