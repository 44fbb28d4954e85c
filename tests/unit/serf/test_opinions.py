"""What everybody holds of a member: asked by the question that decides name conflicts."""

import pytest

from moot.gossip.errors import CommandError
from moot.gossip.serf.asking import OPEN_MAX
from moot.gossip.serf.events import MemberChange, MemberEvent, OpinionsHeard
from moot.gossip.serf.members import MemberStatus
from moot.gossip.serf.messages import ConflictMember, ConflictResponse, Query, QueryResponse
from moot.gossip.wire.serf_codec import encode_serf
from tests.support.serf import SerfDesk
from tests.support.swim import address


def asking(desk: SerfDesk, name: str, timeout: float = 5.0) -> Query:
    """Ask, and answer the query that goes out."""
    desk.serf.opinions(desk.now, name, timeout)
    (query,) = (body for body in desk.gossip() if isinstance(body, Query))
    return query


def say(desk: SerfDesk, query: Query, sender: str, status: int | None) -> None:
    """A member says what it holds; None is nothing."""
    held = None if status is None else ConflictMember("gone", address(9), {}, status, b"")
    desk.told(QueryResponse(query.ltime, query.id, sender, 0, encode_serf(ConflictResponse(held))))


def heard(desk: SerfDesk) -> OpinionsHeard:
    (done,) = desk.out.took(OpinionsHeard)
    return done


def pool() -> SerfDesk:
    """`me`, `a` and `b` there, `gone` failed."""
    desk = SerfDesk()
    desk.alive("a", "b")
    desk.in_status("gone", MemberStatus.FAILED)
    desk.only_serf_timers()
    desk.gossip_all()
    return desk


def test_it_ends_when_everybody_has_answered() -> None:
    desk = pool()
    query = asking(desk, "gone")
    assert (query.name, query.payload, query.filters) == ("_serf_conflict", b"gone", [])
    say(desk, query, "a", 3)
    say(desk, query, "b", None)
    assert not desk.out.took(OpinionsHeard)
    say(desk, query, "me", 4)
    done = heard(desk)
    assert done.asked == ["a", "b", "me"]
    assert done.answers == {"a": MemberStatus.LEFT, "b": None, "me": MemberStatus.FAILED}
    desk.run(10.0)
    assert not desk.out.took(OpinionsHeard)


def test_whoever_is_silent_or_cannot_be_read_is_missing_when_the_time_is_up() -> None:
    desk = pool()
    query = asking(desk, "gone", 2.0)
    say(desk, query, "a", 77)
    desk.told(QueryResponse(query.ltime, query.id, "b", 0, b"\x06garbage"))
    say(desk, query, "stranger", 3)
    desk.run(2.5)
    done = heard(desk)
    assert done.answers == {"a": MemberStatus.NONE}
    assert "b" in done.asked


def test_the_member_itself_has_no_say() -> None:
    desk = pool()
    query = asking(desk, "a")
    say(desk, query, "a", 1)
    desk.run(10.0)
    done = heard(desk)
    assert done.asked == ["b", "me"]
    assert "a" not in done.answers


def test_it_is_refused_while_too_many_queries_are_open() -> None:
    desk = pool()
    for _ in range(OPEN_MAX):
        desk.serf.opinions(desk.now, "gone", 5.0)
    with pytest.raises(CommandError):
        desk.serf.opinions(desk.now, "gone", 5.0)


def test_who_declared_a_member_dead_is_told_with_its_failure() -> None:
    desk = SerfDesk()
    desk.alive("a")
    desk.dies("a")
    told = [(event.change, event.accuser) for event in desk.out.took(MemberEvent)]
    assert told[-2:] == [(MemberChange.JOIN, ""), (MemberChange.FAILED, "judge")]


def test_it_is_known_for_a_while_that_a_member_was_pruned() -> None:
    desk = pool()
    assert not desk.serf.was_pruned("gone")
    desk.leave_intent("gone", 50, prune=True)
    assert desk.serf.member("gone") is None
    assert desk.serf.was_pruned("gone")
