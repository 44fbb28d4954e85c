"""What Swim's events make of the members (serf-protocol: events from memberlist)."""

from collections.abc import Callable

from moot.gossip.serf import MemberStatus
from moot.gossip.serf.events import MemberChange
from moot.gossip.serf.tags import encode_tags
from tests.support.serf import SerfDesk
from tests.support.swim import alive


def test_we_are_a_member_ourselves() -> None:
    desk = SerfDesk(tags={"role": "web"})
    me = desk.held("me")
    assert me.status is MemberStatus.ALIVE
    assert me.tags == {"role": "web"}


def test_an_unknown_member_is_created_with_lamport_time_zero() -> None:
    desk = SerfDesk()
    desk.alive("b")
    assert desk.status("b") is MemberStatus.ALIVE
    assert desk.ltime("b") == 0
    assert desk.changed(MemberChange.JOIN, "b")


def test_an_unknown_member_takes_the_time_of_a_join_intent_that_came_before_it() -> None:
    desk = SerfDesk()
    desk.join_intent("b", 7)
    desk.alive("b")
    assert desk.status("b") is MemberStatus.ALIVE
    assert desk.ltime("b") == 7


def test_an_unknown_member_is_leaving_when_a_leave_intent_came_before_it() -> None:
    desk = SerfDesk()
    desk.leave_intent("b", 7)
    desk.alive("b")
    assert desk.status("b") is MemberStatus.LEAVING
    assert desk.ltime("b") == 7
    assert desk.changed(MemberChange.JOIN, "b")


def test_a_kept_intent_is_applied_once_only() -> None:
    desk = SerfDesk()
    desk.leave_intent("b", 7)
    desk.alive("b")
    desk.goes("b")
    desk.alive("b", inc=2)
    assert desk.status("b") is MemberStatus.ALIVE


def test_a_failed_member_that_is_back_is_alive_and_keeps_its_lamport_time() -> None:
    desk = SerfDesk()
    desk.alive("b")
    desk.join_intent("b", 4)
    desk.dies("b")
    desk.out.events.clear()
    desk.alive("b", inc=2)
    assert desk.status("b") is MemberStatus.ALIVE
    assert desk.ltime("b") == 4
    assert desk.held("b").gone_at == 0.0
    assert desk.serf.stats()["failed"] == "0"
    assert desk.changed(MemberChange.JOIN, "b")


def test_a_member_that_left_and_is_back_is_alive() -> None:
    desk = SerfDesk()
    desk.in_status("b", MemberStatus.LEFT)
    desk.alive("b", inc=2)
    assert desk.status("b") is MemberStatus.ALIVE
    assert desk.serf.stats()["left"] == "0"


def test_a_leaving_member_that_goes_has_left() -> None:
    desk = SerfDesk()
    desk.in_status("b", MemberStatus.LEAVING)
    desk.run(1)
    desk.goes("b")
    assert desk.status("b") is MemberStatus.LEFT
    assert desk.held("b").gone_at == 1
    assert desk.serf.stats()["left"] == "1"
    assert desk.changed(MemberChange.LEAVE, "b")


def test_a_leaving_member_that_is_declared_dead_has_left_too() -> None:
    desk = SerfDesk()
    desk.in_status("b", MemberStatus.LEAVING)
    desk.dies("b")
    assert desk.status("b") is MemberStatus.LEFT


def test_an_alive_member_that_is_declared_dead_has_failed() -> None:
    desk = SerfDesk()
    desk.alive("b")
    desk.out.events.clear()
    desk.dies("b")
    assert desk.status("b") is MemberStatus.FAILED
    assert desk.serf.stats()["failed"] == "1"
    assert desk.changed(MemberChange.FAILED, "b")


def test_an_alive_member_that_goes_without_an_intent_has_failed() -> None:
    desk = SerfDesk()
    desk.alive("b")
    desk.goes("b")
    assert desk.status("b") is MemberStatus.FAILED


def test_new_tags_are_an_update() -> None:
    desk = SerfDesk()
    desk.alive("b")
    desk.join_intent("b", 3)
    desk.out.events.clear()
    desk.hear(alive("b", 2, meta=encode_tags({"role": "db"})))
    assert desk.held("b").tags == {"role": "db"}
    assert desk.ltime("b") == 3
    assert desk.changed(MemberChange.UPDATE, "b")


def test_a_suspect_member_is_still_alive_here() -> None:
    desk = SerfDesk()
    desk.alive("b", "c")
    desk.run(2.0)
    assert desk.status("b") is MemberStatus.ALIVE


def test_every_change_raises_the_version() -> None:
    desk = SerfDesk()
    seen = [desk.serf.members_version]
    steps: list[Callable[[], None]] = [
        lambda: desk.alive("b"),
        lambda: desk.join_intent("b", 3),
        lambda: desk.leave_intent("b", 4),
        lambda: desk.goes("b"),
        lambda: desk.leave_intent("b", 5, prune=True),
    ]
    for step in steps:
        step()
        seen.append(desk.serf.members_version)
    assert seen == sorted(set(seen))


def test_members_are_listed_by_name() -> None:
    desk = SerfDesk()
    desk.alive("z", "a")
    assert [member.name for member in desk.serf.members()] == ["a", "me", "z"]
