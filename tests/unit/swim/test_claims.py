"""Every row of the claim tables, one behaviour each."""

from dataclasses import replace

import pytest

from moot.gossip.config import LAN
from moot.gossip.counters import Counters
from moot.gossip.record import Address
from moot.gossip.swim.claims import Verdict, weigh_alive, weigh_dead, weigh_suspect
from moot.gossip.swim.effects import Timer
from moot.gossip.swim.events import (
    MemberGone,
    MemberJoined,
    MemberSuspected,
    MemberUpdated,
    NameConflict,
    Refuted,
    SuspicionLifted,
)
from moot.gossip.swim.member import Member, Status
from moot.gossip.swim.messages import Alive, Dead, Suspect
from tests.support.swim import Desk, address, alive, member

A, S, D, L = Status.ALIVE, Status.SUSPECT, Status.DEAD, Status.LEFT
MOVED = address(77)


@pytest.mark.parametrize(
    ("held", "inc", "verdict"),
    [
        (None, 0, Verdict.STALE),
        (None, 1, Verdict.APPLY),
        *[(status, inc, Verdict.STALE) for status in (A, S, D, L) for inc in (4, 5)],
        *[(status, 6, Verdict.APPLY) for status in (A, S, D, L)],
    ],
)
def test_alive_wins_only_with_a_greater_incarnation(held: Status | None, inc: int, verdict: Verdict) -> None:
    known = None if held is None else member("b", 5, held)
    assert weigh_alive(known, member("b", inc), "me", False) is verdict


@pytest.mark.parametrize(
    ("held", "reclaimable", "verdict"),
    [
        (A, False, Verdict.CONFLICT),
        (S, True, Verdict.CONFLICT),
        (D, False, Verdict.CONFLICT),
        (D, True, Verdict.APPLY),
        (L, False, Verdict.APPLY),
    ],
)
@pytest.mark.parametrize("inc", [1, 9])
def test_a_new_address_is_taken_only_from_who_left_or_is_dead_for_long(
    held: Status, reclaimable: bool, verdict: Verdict, inc: int
) -> None:
    assert weigh_alive(member("b", 5, held), member("b", inc, at=MOVED), "me", reclaimable) is verdict


def test_the_same_ipv4_in_its_sixteen_byte_form_is_another_address() -> None:
    held = member("b", 5)
    mapped = held.address._replace(ip=bytes(10) + b"\xff\xff" + held.address.ip)
    assert weigh_alive(held, member("b", 6, at=mapped), "me", False) is Verdict.CONFLICT


@pytest.mark.parametrize(
    ("heard", "verdict"),
    [
        (member("me", 4, at=address(1)), Verdict.STALE),
        (member("me", 5, at=address(1)), Verdict.STALE),
        (member("me", 5, at=address(1), meta=b"other"), Verdict.REFUTE),
        (member("me", 5, at=address(1), versions=bytes(6)), Verdict.REFUTE),
        (member("me", 6, at=address(1)), Verdict.REFUTE),
        (member("me", 9, at=MOVED), Verdict.CONFLICT),
    ],
)
def test_alive_about_ourselves(heard: Member, verdict: Verdict) -> None:
    assert weigh_alive(member("me", 5, at=address(1)), heard, "me", False) is verdict


@pytest.mark.parametrize(
    ("held", "inc", "verdict"),
    [
        (None, 5, Verdict.STALE),
        *[(status, 4, Verdict.STALE) for status in (A, S, D, L)],
        *[(A, inc, Verdict.APPLY) for inc in (5, 6)],
        *[(S, inc, Verdict.CONFIRM) for inc in (5, 6)],
        *[(status, inc, Verdict.STALE) for status in (D, L) for inc in (5, 6)],
    ],
)
def test_suspect_needs_an_alive_member_and_no_older_incarnation(
    held: Status | None, inc: int, verdict: Verdict
) -> None:
    known = None if held is None else member("b", 5, held)
    assert weigh_suspect(known, Suspect(inc, "b", "x"), "me") is verdict


@pytest.mark.parametrize(
    ("held", "inc", "verdict"),
    [
        (None, 5, Verdict.STALE),
        *[(status, 4, Verdict.STALE) for status in (A, S, D, L)],
        *[(status, inc, Verdict.APPLY) for status in (A, S) for inc in (5, 6)],
        *[(status, inc, Verdict.STALE) for status in (D, L) for inc in (5, 6)],
    ],
)
def test_dead_takes_who_is_there_and_leaves_who_is_gone(held: Status | None, inc: int, verdict: Verdict) -> None:
    known = None if held is None else member("b", 5, held)
    assert weigh_dead(known, Dead(inc, "b", "x"), "me", False) is verdict


def test_dead_about_ourselves_is_refuted_unless_we_leave() -> None:
    me = member("me", 5)
    assert weigh_dead(me, Dead(4, "me", "x"), "me", False) is Verdict.STALE
    assert weigh_dead(me, Dead(5, "me", "x"), "me", False) is Verdict.REFUTE
    assert weigh_dead(me, Dead(5, "me", "me"), "me", True) is Verdict.APPLY


def test_an_accusation_is_outbid_by_one() -> None:
    desk = Desk()
    desk.hear(Suspect(5, "me", "x"))
    assert desk.swim.me.incarnation == 6
    assert desk.status("me") is A
    assert desk.out.took(Refuted) == [Refuted(6, "x")]
    assert desk.swim.health_score == 1


def test_an_old_accusation_of_ourselves_changes_nothing() -> None:
    desk = Desk()
    desk.hear(Suspect(0, "me", "x"), Dead(0, "me", "x"))
    assert desk.swim.me.incarnation == 1
    assert desk.out.took(Refuted) == []


def test_the_highest_incarnation_never_wraps() -> None:
    desk = Desk()
    desk.hear(Dead(0xFFFF_FFFF, "me", "x"))
    assert desk.swim.me.incarnation == 0xFFFF_FFFF
    assert desk.status("me") is A


def test_life_of_a_member_as_events() -> None:
    desk = Desk()
    desk.out.events.clear()
    desk.hear(alive("b", 1))
    desk.hear(alive("b", 2, meta=b"new"))
    desk.hear(Suspect(2, "b", "x"))
    desk.hear(alive("b", 3, meta=b"new"))
    desk.hear(Dead(3, "b", "x"))
    desk.hear(alive("b", 4, meta=b"new"))
    desk.hear(Dead(4, "b", "b"))
    assert [type(event) for event in desk.out.events] == [
        MemberJoined,
        MemberUpdated,
        MemberSuspected,
        SuspicionLifted,
        MemberGone,
        MemberJoined,
        MemberGone,
    ]
    assert desk.status("b") is L


def test_a_conflict_is_told_and_changes_nothing() -> None:
    desk = Desk()
    desk.hear(alive("b", 1))
    offered = alive("b", 9, at=MOVED)
    desk.hear(offered)
    (conflict,) = desk.out.took(NameConflict)
    assert conflict.offered is offered.member
    assert desk.swim.members.get("b") is conflict.held


@pytest.mark.parametrize("versions", [bytes((0, 5, 2)), bytes((1, 0, 2)), bytes((3, 2, 2, 2, 5, 5))])
def test_a_senseless_version_range_is_dropped(versions: bytes) -> None:
    desk = Desk()
    desk.hear(alive("b", 1, versions=versions))
    assert desk.status("b") is None


def test_a_short_version_vector_does_not_replace_a_whole_one() -> None:
    desk = Desk()
    desk.hear(alive("b", 1), alive("b", 2, versions=b""))
    held = desk.swim.members.get("b")
    assert held is not None
    assert (held.incarnation, len(held.versions)) == (2, 6)


def test_after_leaving_nothing_about_us_is_refuted() -> None:
    desk = Desk()
    desk.swim.leave(0.0, 5.0)
    desk.hear(alive("me", 9, at=address(1)), Suspect(9, "me", "x"), Dead(9, "me", "x"))
    assert desk.status("me") is L
    assert desk.out.took(Refuted) == []


def test_addresses_outside_the_allowed_networks_are_not_taken() -> None:
    desk = Desk(config=replace(LAN, networks_allowed=("127.0.0.0/24",)))
    desk.hear(alive("b", 1, at=address(5)), source=address(9))
    desk.hear(alive("c", 1, at=MOVED._replace(ip=bytes((127, 0, 1, 5)))), source=address(9))
    desk.hear(alive("d", 1, at=address(6)), source=MOVED._replace(ip=bytes((127, 3, 3, 3))))
    assert (desk.status("b"), desk.status("c"), desk.status("d")) == (A, None, None)


def test_an_alive_about_us_with_news_that_is_not_ours_is_outbid() -> None:
    desk = Desk()
    desk.hear(alive("me", 4, at=address(1)))
    assert desk.swim.me.incarnation == 5


def test_after_leaving_we_still_hear_of_the_others() -> None:
    desk = Desk()
    desk.swim.leave(0.0, 5.0)
    desk.hear(alive("b"), alive("me", 9, at=address(1)))
    assert desk.status("b") is A
    assert desk.swim.me.incarnation == 1


def test_a_confirmation_is_passed_on_and_a_repeated_one_is_not() -> None:
    desk = Desk(config=replace(LAN, probe_interval=1000.0))
    desk.hear(*(alive(name) for name in "bcdef"))
    desk.hear(Suspect(1, "b", "x"))
    for expected in (True, False):
        desk.run(2.0)
        desk.out.packets.clear()
        desk.hear(Suspect(1, "b", "y"))
        desk.run(0.5)
        assert any(claim.accuser == "y" for _, claim in desk.out.sent(Suspect)) is expected


@pytest.mark.parametrize("ended_by", [alive("b", 2), Dead(1, "b", "z")])
def test_no_timer_of_an_ended_suspicion_kills_later(ended_by: Alive | Dead) -> None:
    desk = Desk(config=replace(LAN, probe_interval=1000.0))
    desk.hear(*(alive(name) for name in "bcdef"))
    desk.hear(Suspect(1, "b", "x"), Suspect(1, "b", "y"))
    desk.hear(ended_by)
    desk.hear(alive("b", 3))
    while suspicions := [timer for timer in desk.out.timers if timer.kind is Timer.SUSPICION]:
        desk.out.timers.remove(suspicions[0])
        desk.swim.on_timer(suspicions[0].at, Timer.SUSPICION, suspicions[0].token)
    assert desk.status("b") is A


def test_a_second_suspicion_gets_its_whole_time_whatever_timers_the_first_left() -> None:
    desk = Desk(config=replace(LAN, probe_interval=10.0, probe_timeout=5.0))
    desk.hear(alive("b"), Suspect(1, "b", "x"))
    desk.run(39)
    desk.hear(alive("b", 2), Suspect(2, "b", "x"))
    desk.run(39)
    assert desk.status("b") is S
    desk.run(2)
    assert desk.status("b") is D


def test_a_dead_members_name_is_free_only_after_the_reclaim_time() -> None:
    desk = Desk(config=replace(LAN, dead_node_reclaim_time=10.0, gossip_to_the_dead_time=1000.0))
    desk.hear(alive("b", 5), Dead(5, "b", "x"))
    desk.run(9)
    desk.hear(alive("b", 9, at=MOVED))
    assert desk.status("b") is D
    desk.run(2)
    desk.hear(alive("b", 1, at=MOVED))
    held = desk.swim.members.get("b")
    assert held is not None
    assert held.address == MOVED


def test_the_networks_allowed_hold_for_new_members_and_new_addresses() -> None:
    desk = Desk(config=replace(LAN, networks_allowed=("127.0.0.0/24",)))
    inside, outside = address(5), Address(bytes((127, 0, 1, 5)), 7946)
    source = address(9)
    desk.hear(alive("b", 1, at=inside), Dead(1, "b", "b"), source=source)
    desk.hear(alive("b", 2, at=outside), source=source)
    assert desk.status("b") is L
    desk.hear(alive("b", 2, at=address(6)), source=source)
    assert desk.status("b") is A


def test_new_versions_of_a_member_are_taken_over() -> None:
    desk = Desk()
    newer = bytes((1, 5, 2, 2, 5, 4))
    desk.hear(alive("b", 1), alive("b", 2, versions=newer))
    held = desk.swim.members.get("b")
    assert held is not None
    assert held.versions == newer


def test_refutations_and_suspicions_are_counted() -> None:
    counters = Counters()
    desk = Desk(counters=counters)
    desk.hear(alive("b"), Suspect(1, "b", "x"), Suspect(1, "me", "x"), Dead(9, "me", "x"))
    assert (counters.suspicions, counters.refutations) == (1, 2)
