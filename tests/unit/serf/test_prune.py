"""Pruning: who is forgotten, who is not, and who comes back."""

import pytest

from moot.gossip.config import LAN, SerfConfig
from moot.gossip.record import Address
from moot.gossip.serf import MemberStatus
from moot.gossip.serf.events import CommandDone
from moot.gossip.serf.messages import JoinIntent, LeaveIntent
from moot.gossip.serf.prune import MEMORY_MAX, Pruned, PruneMemory
from moot.gossip.swim.effects import Timer
from moot.gossip.swim.member import Status
from moot.gossip.swim.messages import Ack, Ping
from tests.support.serf import SerfDesk, push_pull
from tests.support.swim import Opened, address, alive, member

ALIVE, LEAVING, LEFT, FAILED = MemberStatus.ALIVE, MemberStatus.LEAVING, MemberStatus.LEFT, MemberStatus.FAILED
PATIENCE = 6.0
"""Broadcast timeout and propagate delay together: so long may a leaving member refute."""


def questions(desk: SerfDesk) -> list[Opened]:
    """Streams that ask whether a pruned member is back."""
    return [stream for stream in desk.out.streams if stream.first == Ping(stream.ticket, "b")]


def pruned_desk(inc: int = 3, prune_memory: float = 24 * 3600.0) -> SerfDesk:
    """`b` died with that incarnation, was pruned with Lamport time 9, and Swim has forgotten it, too."""
    desk = SerfDesk(config=SerfConfig(prune_memory=prune_memory))
    desk.alive("b", inc=inc)
    desk.dies("b")
    desk.leave_intent("b", 9, prune=True)
    desk.serf.swim.members.drop("b")
    desk.gossip_all()
    desk.out.events.clear()
    assert desk.status("b") is None
    return desk


@pytest.mark.parametrize(
    ("before", "changes"),
    [(FAILED, [("member-leave", "b"), ("member-reap", "b")]), (LEFT, [("member-reap", "b")])],
)
def test_who_failed_or_left_is_forgotten_at_once(before: MemberStatus, changes: list[tuple[str, str]]) -> None:
    desk = SerfDesk()
    desk.in_status("b", before)
    desk.leave_intent("b", 9, prune=True)
    assert desk.status("b") is None
    assert desk.changes() == changes
    assert desk.serf.stats()["left"] == "0"


def test_a_leaving_member_is_forgotten_when_it_had_its_chance() -> None:
    desk = SerfDesk()
    desk.in_status("b", LEAVING)
    desk.leave_intent("b", 9, prune=True)
    desk.leave_intent("b", 10, prune=True)
    desk.only_serf_timers()
    desk.run(PATIENCE - 0.1)
    assert desk.status("b") is LEAVING
    desk.run(0.2)
    assert desk.status("b") is None
    assert desk.changes() == [("member-reap", "b")]


def test_a_member_that_goes_while_its_prune_waits_is_forgotten_then() -> None:
    desk = SerfDesk()
    desk.in_status("b", LEAVING)
    desk.leave_intent("b", 9, prune=True)
    desk.goes("b")
    assert desk.status("b") is LEFT
    desk.run(PATIENCE + 0.1)
    assert desk.status("b") is None


def test_a_member_that_refutes_is_not_forgotten() -> None:
    desk = SerfDesk()
    desk.alive("b")
    desk.leave_intent("b", 9, prune=True)
    desk.join_intent("b", 10)
    desk.only_serf_timers()
    desk.run(PATIENCE + 1)
    assert desk.status("b") is ALIVE


def test_a_member_that_restarts_while_its_prune_waits_is_not_forgotten() -> None:
    desk = SerfDesk()
    desk.alive("b")
    desk.leave_intent("b", 9, prune=True)
    desk.goes("b")
    desk.alive("b", inc=2)
    desk.only_serf_timers()
    desk.run(PATIENCE + 1)
    assert desk.status("b") is ALIVE


@pytest.mark.parametrize("back", ["refutes", "restarts"])
def test_a_prune_that_was_called_off_does_not_count_when_the_member_leaves_later(back: str) -> None:
    desk = SerfDesk()
    desk.alive("b")
    desk.leave_intent("b", 9, prune=True)
    if back == "refutes":
        desk.join_intent("b", 10)
    else:
        desk.goes("b")
        desk.alive("b", inc=2)
    desk.leave_intent("b", 11)
    desk.only_serf_timers()
    desk.run(PATIENCE + 1)
    assert desk.status("b") is LEAVING


def test_a_prune_never_makes_anybody_wait() -> None:
    desk = SerfDesk()
    desk.alive("b", "witness")
    ticket = desk.serf.force_leave(0.0, "b", prune=True)
    desk.gossip_all()
    desk.alive("c")
    desk.run(0.1)
    assert desk.status("c") is ALIVE
    assert desk.out.took(CommandDone) == [CommandDone(ticket, None)]


def test_we_never_forget_ourselves() -> None:
    desk = SerfDesk()
    desk.serf.leave(0.0)
    desk.leave_intent("me", 90, prune=True)
    desk.run(PATIENCE + 1)
    assert desk.status("me") is LEFT


def test_hearsay_does_not_bring_a_pruned_member_back() -> None:
    desk = pruned_desk()
    desk.sync(push_pull({"b": 4}), [member("b", 3)], join=True)
    desk.hear(alive("b", 2))
    desk.sync(push_pull({"b": 4}), [member("b", 3, Status.LEFT)])
    assert desk.status("b") is None
    assert desk.serf.swim.members.get("b") is None
    assert desk.serf.counters.guard_refusals == 2


def test_a_higher_incarnation_brings_it_back() -> None:
    desk = pruned_desk()
    desk.hear(alive("b", 4))
    assert desk.status("b") is ALIVE


def test_the_intent_that_pruned_it_does_not_make_it_leave_when_it_is_back() -> None:
    desk = pruned_desk()
    desk.leave_intent("b", 9, prune=True)
    desk.hear(alive("b", 4))
    desk.leave_intent("b", 9, prune=True)
    assert desk.status("b") is ALIVE
    assert desk.ltime("b") == 9
    assert desk.gossip() == []


def test_a_second_prune_of_a_pruned_name_is_passed_on_and_does_not_make_it_leave_either() -> None:
    desk = pruned_desk()
    desk.leave_intent("b", 12, prune=True)
    assert desk.gossip() == [LeaveIntent(12, "b", True)]
    # a join intent from between the two says nothing
    desk.gossip_all()
    desk.join_intent("b", 11)
    assert desk.gossip() == []
    desk.hear(alive("b", 1))
    assert desk.status("b") is None
    desk.hear(alive("b", 4))
    assert desk.status("b") is ALIVE


def test_a_restarted_member_comes_back_by_its_join_intent() -> None:
    desk = pruned_desk()
    desk.join_intent("b", 10)
    desk.hear(alive("b", 1))
    assert desk.status("b") is ALIVE
    assert desk.ltime("b") == 10


def test_a_restarted_member_comes_back_by_answering_us() -> None:
    desk = pruned_desk()
    desk.hear(alive("b", 1))
    assert desk.status("b") is None
    desk.run(1.0)
    (question,) = questions(desk)
    assert question.to == member("b").address
    desk.serf.on_stream_reply(desk.now, question.ticket, Ack(question.ticket))
    assert desk.status("b") is ALIVE
    assert desk.ltime("b") == 9


def test_a_zombie_that_does_not_answer_stays_forgotten_and_may_be_asked_for_again() -> None:
    desk = pruned_desk()
    for round_count in (1, 2):
        desk.hear(alive("b", 3), alive("b", 3))
        desk.run(1.0)
        desk.hear(alive("b", 3))
        assert len(questions(desk)) == round_count
        desk.serf.on_stream_failed(desk.now, questions(desk)[-1].ticket, "refused")
        assert desk.status("b") is None


HERE, FORGED, OTHER = address(2), address(3), address(4)


def asked(desk: SerfDesk) -> list[Address]:
    return [question.to for question in questions(desk)]


def test_a_forged_claim_does_not_keep_the_true_address_from_being_asked() -> None:
    desk = pruned_desk()
    desk.hear(alive("b", 1, at=FORGED), alive("b", 1, at=OTHER), alive("b", 1, at=HERE), alive("b", 1, at=FORGED))
    desk.run(1.0)
    assert asked(desk) == [FORGED]
    desk.hear(alive("b", 1, at=FORGED))
    desk.serf.on_stream_failed(desk.now, questions(desk)[-1].ticket, "timeout")
    desk.hear(alive("b", 1, at=FORGED))
    desk.run(1.0)
    assert asked(desk) == [FORGED, HERE]
    desk.serf.on_stream_reply(desk.now, questions(desk)[-1].ticket, Ack(questions(desk)[-1].ticket))
    assert desk.held("b").address == HERE
    desk.run(1.0)
    assert len(questions(desk)) == 2


def test_without_another_claim_only_one_more_address_is_asked() -> None:
    desk = pruned_desk()
    desk.hear(alive("b", 1, at=FORGED), alive("b", 1, at=OTHER), alive("b", 1, at=HERE))
    for _ in range(3):
        desk.run(1.0)
        desk.serf.on_stream_failed(desk.now, questions(desk)[-1].ticket, "refused")
        if len(questions(desk)) == 2:
            break
    desk.run(1.0)
    assert asked(desk) == [FORGED, HERE]
    assert desk.status("b") is None


def test_who_is_back_before_we_ask_is_not_asked_at_the_other_address_later() -> None:
    desk = pruned_desk()
    desk.hear(alive("b", 3, at=FORGED), alive("b", 3, at=HERE), alive("b", 4, at=HERE))
    desk.run(1.0)
    desk.dies("b")
    desk.leave_intent("b", 20, prune=True)
    desk.serf.swim.members.drop("b")
    desk.hear(alive("b", 4, at=OTHER))
    desk.run(1.0)
    desk.serf.on_stream_failed(desk.now, questions(desk)[-1].ticket, "refused")
    desk.run(1.0)
    assert asked(desk) == [OTHER]


def test_a_wrong_answer_brings_nobody_back() -> None:
    desk = pruned_desk()
    desk.hear(alive("b", 3))
    desk.run(1.0)
    (question,) = questions(desk)
    desk.serf.on_stream_reply(desk.now, question.ticket, Ping(1, "b"))
    assert desk.status("b") is None


def test_who_is_back_before_we_ask_is_not_asked() -> None:
    desk = pruned_desk()
    desk.hear(alive("b", 3))
    desk.hear(alive("b", 4))
    desk.run(1.0)
    assert questions(desk) == []


def test_other_streams_end_in_swim() -> None:
    desk = pruned_desk()
    desk.serf.join(desk.now, [member("c").address])
    desk.serf.on_stream_failed(desk.now, desk.out.streams[-1].ticket, "refused")
    assert desk.status("c") is None


def test_a_prune_is_remembered_for_a_while_only() -> None:
    desk = pruned_desk(prune_memory=120.0)
    desk.run(136.0)
    desk.hear(alive("b", 3))
    assert desk.status("b") is ALIVE


def test_without_memory_hearsay_counts_from_the_next_reaping_on() -> None:
    desk = pruned_desk(prune_memory=0.0)
    desk.run(15.0)
    desk.hear(alive("b", 3))
    assert desk.status("b") is ALIVE


def test_a_peer_that_missed_the_prune_is_told_again() -> None:
    desk = pruned_desk()
    for _ in range(3):
        desk.sync(push_pull({"b": 4}), [member("b", 3, Status.DEAD)])
    assert desk.gossip() == [LeaveIntent(9, "b", True)]


def test_a_peer_that_knows_of_the_prune_is_not_told_again() -> None:
    desk = pruned_desk()
    desk.sync(push_pull({"b": 9}), [member("b", 3, Status.DEAD)])
    assert desk.gossip() == []


def test_a_peer_that_says_it_is_alive_is_not_told_before_we_have_asked() -> None:
    desk = pruned_desk()
    desk.sync(push_pull({"b": 0}), [member("b", 1)])
    assert desk.gossip() == []


def ghost_desk() -> SerfDesk:
    """`b` was pruned although it is there: it never heard that it should leave."""
    desk = SerfDesk(swim=LAN)
    desk.alive("b")
    desk.serf.force_leave(0.0, "b", prune=True)
    desk.only_serf_timers()
    desk.run(PATIENCE + 0.1)
    assert desk.status("b") is None
    assert desk.serf.swim.members.get("b") is not None
    desk.out.events.clear()
    return desk


def test_a_ghost_is_listed_again_when_it_says_that_it_is_here() -> None:
    desk = ghost_desk()
    desk.join_intent("b", 10)
    assert desk.status("b") is ALIVE
    assert desk.ltime("b") == 10
    assert desk.changes() == [("member-join", "b")]
    assert JoinIntent(10, "b") in desk.gossip()


def test_a_ghost_is_told_by_the_next_push_pull_that_it_should_refute() -> None:
    desk = ghost_desk()
    desk.sync(push_pull({"b": 0, "me": 0}), [member("b")])
    assert desk.gossip() == [LeaveIntent(1, "b", True)]


def test_a_ghost_is_listed_again_at_the_latest_when_the_prune_is_forgotten() -> None:
    desk = ghost_desk()
    desk.only_timers(Timer.REAP)
    desk.run(136.0)
    assert desk.status("b") is ALIVE
    assert desk.ltime("b") == 1


def test_a_ghost_that_dies_and_restarts_is_listed_again() -> None:
    desk = ghost_desk()
    desk.dies("b")
    assert desk.changes() == []
    desk.alive("b", inc=2)
    assert desk.status("b") is ALIVE


def test_the_memory_is_bounded_and_loses_the_oldest() -> None:
    memory = PruneMemory()
    for number in range(MEMORY_MAX + 1):
        memory.remember(f"n{number}", Pruned(1, 1, 0.0, 0.0))
    assert memory.get("n0") is None
    assert memory.get("n1") is not None
    assert len(memory.expire(0.0)) == MEMORY_MAX
