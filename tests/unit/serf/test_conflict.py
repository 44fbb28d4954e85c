"""Two members with one name: the pool is asked, and whoever it does not mean ends."""

import pytest

from moot.gossip.config import SerfConfig
from moot.gossip.record import Address
from moot.gossip.serf import MemberStatus
from moot.gossip.serf.asking import OPEN_MAX, PROGRAM_MAX, Question
from moot.gossip.serf.events import ConflictVoted
from moot.gossip.serf.messages import RESPONSE_ACK, ConflictMember, ConflictResponse, Query, QueryResponse
from moot.gossip.serf.tags import encode_tags
from moot.gossip.swim.events import NameConflict
from moot.gossip.swim.messages import Alive, User
from moot.gossip.wire.serf_codec import decode_serf, encode_serf
from tests.support.serf import SerfDesk
from tests.support.swim import address, alive, member

OURS = address(1)
THEIRS = address(77)
ORIGIN = Address(bytes((127, 0, 0, 9)), 7946)


def clash(desk: SerfDesk) -> None:
    """Somebody else says to be us."""
    desk.hear(Alive(member("me", 3, at=THEIRS)))


def vote(desk: SerfDesk, sender: str, at: Address | None, *, junk: bool = False) -> None:
    ((ltime, number),) = desk.serf._asking._open
    held = ConflictMember("me", at, {}, 1, bytes(6)) if at is not None else None
    payload = b"junk" if junk else encode_serf(ConflictResponse(held))
    desk.told(QueryResponse(ltime, number, sender, 0, payload))


def result(desk: SerfDesk) -> ConflictVoted | None:
    desk.only_serf_timers()
    desk.run(10.0)
    done = desk.out.took(ConflictVoted)
    return done[0] if done else None


@pytest.mark.parametrize(
    ("votes", "stays"),
    [
        ([], False),
        ([OURS], True),
        ([THEIRS], False),
        ([OURS, THEIRS], False),
        ([OURS, OURS, THEIRS], True),
        ([OURS, None], False),
        ([Address(bytes(10) + b"\xff\xff" + OURS.ip, OURS.port)], True),
        ([Address(OURS.ip, 1)], False),
    ],
)
def test_the_majority_of_those_who_answer_decides(votes: list[Address | None], stays: bool) -> None:
    desk = SerfDesk()
    desk.alive("b", "c", "d")
    clash(desk)
    for sender, at in zip("bcd", votes, strict=False):
        vote(desk, sender, at)
    decided = result(desk)
    assert decided is not None
    assert (decided.stays, decided.responses) == (stays, len(votes))


def test_votes_that_cannot_be_read_do_not_count() -> None:
    desk = SerfDesk()
    desk.alive("b", "c")
    clash(desk)
    vote(desk, "b", OURS)
    vote(desk, "c", None, junk=True)
    assert result(desk) == ConflictVoted(True, 1, 1)


def test_one_vote_is_held_at_a_time() -> None:
    desk = SerfDesk()
    for _ in range(5):
        clash(desk)
    assert sum(isinstance(body, Query) for body in desk.gossip()) == 1
    assert len(desk.out.took(NameConflict)) == 5
    vote(desk, "b", OURS)
    assert result(desk) == ConflictVoted(True, 1, 1)
    # the next one begins from nothing
    clash(desk)
    assert result(desk) == ConflictVoted(False, 0, 0)


def test_an_ack_is_no_vote() -> None:
    desk = SerfDesk()
    clash(desk)
    ((ltime, number),) = desk.serf._asking._open
    desk.told(QueryResponse(ltime, number, "b", RESPONSE_ACK))
    assert result(desk) == ConflictVoted(False, 0, 0)


def test_the_vote_waits_while_too_many_queries_are_open() -> None:
    desk = SerfDesk()
    tickets = [desk.serf.query(0.0, Question("load"))[0] for _ in range(PROGRAM_MAX)]
    for _ in range(OPEN_MAX - PROGRAM_MAX):
        desk.serf.keys(0.0, "list")
    clash(desk)
    for ticket in tickets:
        desk.serf.abandon(ticket)
    clash(desk)
    assert result(desk) == ConflictVoted(False, 0, 0)


def test_a_conflict_of_others_is_told_and_nothing_more() -> None:
    desk = SerfDesk()
    desk.alive("b")
    desk.hear(Alive(member("b", 2, at=THEIRS)))
    assert len(desk.out.took(NameConflict)) == 1
    assert not any(isinstance(body, Query) for body in desk.gossip())


@pytest.mark.parametrize(("mode", "told"), [("off", 0), ("warn", 1)])
def test_no_vote_is_held_unless_wanted(mode: str, told: int) -> None:
    desk = SerfDesk(config=SerfConfig(conflict=mode))
    clash(desk)
    assert len(desk.out.took(NameConflict)) == told
    assert desk.gossip() == []


def test_no_vote_is_held_once_we_leave() -> None:
    desk = SerfDesk()
    desk.alive("b")
    desk.serf.leave(0.0)
    clash(desk)
    assert not any(isinstance(body, Query) for body in desk.gossip())


def opinion(desk: SerfDesk, name: bytes) -> ConflictResponse | None:
    desk.out.packets.clear()
    query = Query(desk.clock("query"), 1, ORIGIN, "asker", (), 0, 0, 10**9, "_serf_conflict", name)
    desk.told(query)
    for to, user in desk.out.sent(User):
        if to == ORIGIN:
            assert isinstance(user.body, QueryResponse)
            answer = decode_serf(user.body.payload)
            assert isinstance(answer, ConflictResponse)
            return answer
    return None


def test_we_say_what_we_know_of_the_name_but_nothing_of_our_own() -> None:
    desk = SerfDesk()
    desk.alive("b")
    known = opinion(desk, b"b")
    assert known is not None
    assert known.member is not None
    assert (known.member.name, known.member.address, known.member.status) == ("b", desk.held("b").address, 1)
    assert opinion(desk, b"unknown") == ConflictResponse(None)
    assert opinion(desk, b"me") is None
    assert opinion(desk, b"\xff\xfe") == ConflictResponse(None)
    desk.hear(alive("\udcff\udcfe", at=address(5)))
    assert opinion(desk, b"\xff\xfe") != ConflictResponse(None)


@pytest.mark.parametrize(
    ("status", "number"),
    [(MemberStatus.ALIVE, 1), (MemberStatus.LEAVING, 2), (MemberStatus.LEFT, 3), (MemberStatus.FAILED, 4)],
)
def test_the_status_has_its_number(status: MemberStatus, number: int) -> None:
    desk = SerfDesk()
    desk.in_status("b", status)
    known = opinion(desk, b"b")
    assert known is not None
    assert known.member is not None
    assert known.member.status == number


def test_what_does_not_fit_into_an_answer_is_left_unsaid() -> None:
    desk = SerfDesk()
    desk.hear(alive("n" * 500, meta=encode_tags({"k": "v" * 500})))
    assert opinion(desk, b"n" * 500) is None
