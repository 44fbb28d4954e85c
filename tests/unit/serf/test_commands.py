"""Join, leave, force-leave and tags, with time turned by hand (serf-protocol: sending intents)."""

from collections.abc import Callable

import pytest

from moot.gossip.config import LAN
from moot.gossip.errors import CommandError, ConfigError
from moot.gossip.record import Address, Ticket
from moot.gossip.serf import MemberStatus, SerfState
from moot.gossip.serf.asking import Question
from moot.gossip.serf.events import CommandDone, JoinDone, MemberChange
from moot.gossip.serf.lamport import LTIME_MAX
from moot.gossip.serf.messages import EventSlot, JoinIntent, LeaveIntent, SerfPushPull, UserEvent
from moot.gossip.swim.effects import Timer
from moot.gossip.swim.messages import Dead, PushPull
from moot.gossip.wire.serf_codec import encode_serf
from tests.support.serf import SerfDesk, push_pull
from tests.support.swim import address, member

ALIVE, LEAVING, LEFT, FAILED = MemberStatus.ALIVE, MemberStatus.LEAVING, MemberStatus.LEFT, MemberStatus.FAILED


def answer_join(desk: SerfDesk, state: SerfPushPull, *, index: int = 0) -> None:
    """The peer that was dialled sends its state."""
    stream = desk.out.streams[index]
    desk.serf.on_stream_reply(desk.now, stream.ticket, PushPull(True, [member("b", at=stream.to)], state))


def done(desk: SerfDesk) -> list[tuple[Ticket, str | None]]:
    return [(event.ticket, event.error) for event in desk.out.took(CommandDone)]


def test_a_join_that_succeeds_is_told_to_all() -> None:
    desk = SerfDesk()
    ticket = desk.serf.join(0.0, [address(2)])
    answer_join(desk, push_pull(ltime=20))
    assert desk.out.took(JoinDone) == [JoinDone(ticket, ((address(2), None),))]
    assert desk.gossip() == [JoinIntent(20, "me")]
    assert desk.ltime("me") == 20
    assert desk.clock() == 21


def test_a_join_is_told_once_however_many_addresses_answered() -> None:
    desk = SerfDesk()
    desk.serf.join(0.0, [address(2), address(3), address(4)])
    desk.serf.on_stream_failed(0.0, desk.out.streams[1].ticket, "refused")
    answer_join(desk, push_pull())
    assert desk.out.took(JoinDone) == []
    answer_join(desk, push_pull(), index=2)
    (over,) = desk.out.took(JoinDone)
    assert over.results == ((address(2), None), (address(3), "refused"), (address(4), None))
    assert len(desk.gossip()) == 1


def test_a_join_that_fails_is_told_to_nobody() -> None:
    desk = SerfDesk()
    ticket = desk.serf.join(0.0, [address(2)])
    desk.serf.on_stream_failed(0.0, desk.out.streams[0].ticket, "refused")
    assert desk.out.took(JoinDone) == [JoinDone(ticket, ((address(2), "refused"),))]
    assert desk.gossip() == []


def test_a_join_of_no_address_is_over_at_once() -> None:
    desk = SerfDesk()
    ticket = desk.serf.join(0.0, [])
    assert desk.out.took(JoinDone) == [JoinDone(ticket, ())]


@pytest.mark.parametrize(("ignore_old", "minimum_holds"), [(True, True), (False, False)])
def test_a_join_takes_old_events_only_when_asked(ignore_old: bool, minimum_holds: bool) -> None:
    desk = SerfDesk()
    desk.serf.join(0.0, [address(2)], ignore_old)
    answer_join(desk, push_pull(event_ltime=12, events=[EventSlot(11, (("old", b""),))]))
    heard = [event for event in desk.out.events if type(event).__name__ == "UserEventReceived"]
    assert (not heard) is minimum_holds


def test_a_member_that_joins_us_does_not_make_us_ignore_events() -> None:
    desk = SerfDesk()
    desk.sync(push_pull(event_ltime=12, events=[EventSlot(11, (("old", b""),))]), join=True)
    assert any(type(event).__name__ == "UserEventReceived" for event in desk.out.events)


def test_a_push_pull_that_is_none_of_the_joins_under_way_does_not_make_us_ignore_events() -> None:
    desk = SerfDesk()
    desk.serf.join(0.0, [address(2)])
    desk.sync(push_pull(event_ltime=12, events=[EventSlot(11, (("old", b""),))]))
    assert any(type(event).__name__ == "UserEventReceived" for event in desk.out.events)


def test_an_event_of_exactly_the_limit_is_sent() -> None:
    desk = SerfDesk()
    around = len(encode_serf(UserEvent(1, "deploy", bytes(400)))) - 400
    desk.serf.user_event(0.0, "deploy", bytes(512 - around))
    with pytest.raises(CommandError, match="encoded user event exceeds configured limit of 512 bytes after encoding"):
        desk.serf.user_event(0.0, "deploy", bytes(513 - around))
    with pytest.raises(CommandError, match="after"):
        desk.serf.user_event(0.0, "deploy", bytes(506))
    with pytest.raises(CommandError, match="user event exceeds configured limit of 512 bytes before encoding"):
        desk.serf.user_event(0.0, "deploy", bytes(507))
    assert len(desk.gossip()) == 1


def test_we_have_left_and_not_failed_even_if_no_intent_can_be_newer_than_our_last() -> None:
    desk = SerfDesk()
    desk.serf.join(0.0, [address(2)])
    answer_join(desk, push_pull(ltime=LTIME_MAX))
    assert desk.ltime("me") == LTIME_MAX
    desk.out.events.clear()
    desk.serf.leave(0.0)
    desk.run(10.0)
    assert ("member-leave", "me") in desk.changes()


def test_leaving_alone_tells_nobody_and_ends_after_the_propagate_delay() -> None:
    desk = SerfDesk()
    ticket = desk.serf.leave(0.0)
    assert desk.life() is SerfState.LEAVING
    desk.run(0.9)
    assert done(desk) == []
    desk.run(0.2)
    assert done(desk) == [(ticket, None)]
    assert desk.life() is SerfState.LEFT
    assert desk.status("me") is LEFT
    assert desk.changed(MemberChange.LEAVE, "me")


def test_leaving_says_the_intent_first_then_death_then_waits() -> None:
    desk = SerfDesk()
    desk.alive("b")
    desk.run(0.5)
    desk.out.packets.clear()
    ticket = desk.serf.leave(desk.now)
    assert desk.status("me") is LEAVING
    desk.run(6)
    said = [message for packet in desk.out.packets for message in packet.messages]
    intent = next(i for i, message in enumerate(said) if getattr(message, "body", None) == LeaveIntent(1, "me"))
    death = next(i for i, message in enumerate(said) if message == Dead(1, "me", "me"))
    assert intent < death
    assert done(desk) == [(ticket, None)]
    assert desk.clock() == 2


def test_leaving_goes_on_when_nothing_can_be_sent() -> None:
    desk = SerfDesk()
    desk.alive("b")
    ticket = desk.serf.leave(0.0)
    # no gossip round ever comes: only the leave's own timers fire
    desk.only_timers(Timer.LEAVE_INTENT_TIMEOUT, Timer.SPREAD_TIMEOUT, Timer.LEAVE_PROPAGATED)
    desk.run(4.9)
    assert desk.status("me") is LEAVING
    desk.run(0.2)
    assert desk.status("me") is LEFT
    desk.only_timers(Timer.LEAVE_INTENT_TIMEOUT, Timer.SPREAD_TIMEOUT, Timer.LEAVE_PROPAGATED)
    desk.run(6.1)
    assert done(desk) == [(ticket, None)]


def test_a_second_leave_is_refused_while_leaving_and_done_afterwards() -> None:
    desk = SerfDesk()
    desk.serf.leave(0.0)
    with pytest.raises(CommandError, match=r"^Leave already in progress$"):
        desk.serf.leave(0.0)
    desk.run(2)
    desk.out.events.clear()
    ticket = desk.serf.leave(desk.now)
    assert done(desk) == [(ticket, None)]


def test_nothing_brings_us_back_once_we_leave() -> None:
    desk = SerfDesk()
    desk.alive("b")
    desk.serf.leave(0.0)
    desk.leave_intent("me", 50)
    desk.run(10)
    assert not any(isinstance(body, JoinIntent) for body in desk.gossip())
    with pytest.raises(CommandError, match=r"^Serf can't Join after Leave or Shutdown$"):
        desk.serf.join(desk.now, [address(2)])
    with pytest.raises(CommandError, match="after Leave or Shutdown"):
        desk.serf.set_tags(desk.now, {})


def test_a_join_that_ends_while_we_leave_is_not_told() -> None:
    desk = SerfDesk()
    desk.serf.join(0.0, [address(2)])
    desk.serf.leave(0.0)
    answer_join(desk, push_pull())
    assert len(desk.out.took(JoinDone)) == 1
    assert not any(isinstance(body, JoinIntent) for body in desk.gossip())


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        (FAILED, LEFT, [("member-leave", "b")]),
        (LEFT, LEFT, []),
        (LEAVING, LEAVING, []),
        (ALIVE, LEAVING, []),
    ],
)
def test_force_leave_by_status(before: MemberStatus, after: MemberStatus, changes: list[tuple[str, str]]) -> None:
    desk = SerfDesk()
    desk.alive("witness")
    desk.in_status("b", before)
    clock = desk.clock()
    ticket = desk.serf.force_leave(desk.now, "b")
    assert desk.status("b") is after
    assert desk.changes() == changes
    assert desk.ltime("b") == clock
    assert desk.clock() == clock + 1
    desk.run(3)
    assert done(desk) == [(ticket, None)]


def test_force_leave_of_an_alive_member_is_taken_back_when_it_refutes() -> None:
    desk = SerfDesk()
    desk.alive("b", "witness")
    desk.serf.force_leave(0.0, "b")
    assert desk.status("b") is LEAVING
    desk.join_intent("b", 10)
    assert desk.status("b") is ALIVE


def test_force_leave_of_the_only_other_member_tells_nobody_and_is_over_at_once() -> None:
    desk = SerfDesk()
    desk.alive("b")
    ticket = desk.serf.force_leave(0.0, "b")
    assert done(desk) == [(ticket, None)]
    assert desk.gossip() == []
    assert desk.status("b") is LEAVING


def test_force_leave_of_ourselves_is_refuted() -> None:
    desk = SerfDesk()
    desk.alive("b")
    desk.serf.force_leave(0.0, "me", prune=True)
    assert desk.status("me") is ALIVE
    desk.gossip_all()
    desk.run(0.3)
    assert desk.serf.state is SerfState.ALIVE
    assert desk.ltime("me") == 2


def test_force_leave_of_an_unknown_name_is_passed_on_and_kept() -> None:
    desk = SerfDesk()
    desk.alive("b")
    ticket = desk.serf.force_leave(0.0, "nobody")
    assert LeaveIntent(1, "nobody") in desk.gossip()
    desk.run(3)
    assert done(desk) == [(ticket, None)]
    desk.alive("nobody")
    assert desk.status("nobody") is LEAVING


def test_force_leave_that_cannot_be_sent_says_so() -> None:
    desk = SerfDesk()
    desk.alive("b")
    ticket = desk.serf.force_leave(0.0, "nobody")
    desk.only_timers(Timer.FORCE_LEAVE_TIMEOUT)
    desk.run(4.9)
    assert done(desk) == []
    desk.run(0.2)
    assert done(desk) == [(ticket, "timed out broadcasting node removal")]


def test_new_tags_are_ours_at_once_and_announced() -> None:
    desk = SerfDesk(tags={"role": "web"})
    desk.alive("b")
    desk.out.events.clear()
    ticket = desk.serf.set_tags(0.0, {"role": "db"})
    assert desk.serf.tags == {"role": "db"}
    assert desk.held("me").tags == {"role": "db"}
    assert desk.changed(MemberChange.UPDATE, "me")
    desk.run(3)
    assert done(desk) == [(ticket, None)]


def test_new_tags_that_cannot_be_sent_say_so() -> None:
    desk = SerfDesk()
    desk.alive("b")
    ticket = desk.serf.set_tags(0.0, {"role": "db"})
    desk.only_timers(Timer.SPREAD_TIMEOUT)
    desk.run(6)
    assert done(desk) == [(ticket, "timed out broadcasting the change of tags")]


def test_tags_that_are_too_long_are_refused_and_change_nothing() -> None:
    desk = SerfDesk(tags={"role": "web"})
    with pytest.raises(ConfigError, match="Encoded length of tags exceeds limit of 512 bytes"):
        desk.serf.set_tags(0.0, {"role": "x" * 600})
    assert desk.serf.tags == {"role": "web"}


def test_statistics_name_what_serf_names() -> None:
    desk = SerfDesk()
    desk.in_status("b", FAILED)
    desk.in_status("c", LEFT)
    desk.gossip_all()
    assert desk.serf.stats() == {
        "members": "3",
        "failed": "1",
        "left": "1",
        "health_score": "0",
        "member_time": "6",
        "event_time": "1",
        "query_time": "1",
        "intent_queue": "0",
        "event_queue": "0",
        "query_queue": "0",
        "encrypted": "false",
        "coordinate_resets": "0",
    }


def test_a_join_reaches_each_address_given() -> None:
    desk = SerfDesk(swim=LAN)
    wanted: list[Address] = [address(last) for last in (2, 3)]
    desk.serf.join(0.0, wanted)
    assert [stream.to for stream in desk.out.streams] == wanted


@pytest.mark.parametrize("where", ["event", "query", "filter", "force-leave", "tag"])
def test_text_that_no_bytes_stand_for_is_refused(where: str) -> None:
    desk, lone = SerfDesk(), "a\ud800"
    desk.gossip()
    commands: dict[str, Callable[[], object]] = {
        "event": lambda: desk.serf.user_event(0.0, lone),
        "query": lambda: desk.serf.query(0.0, Question(name=lone)),
        "filter": lambda: desk.serf.query(0.0, Question(name="x", nodes=[lone])),
        "force-leave": lambda: desk.serf.force_leave(0.0, lone),
        "tag": lambda: desk.serf.set_tags(0.0, {"a": lone}),
    }
    with pytest.raises((CommandError, ConfigError), match="holds a lone surrogate"):
        commands[where]()
    assert desk.gossip() == []


def test_bytes_that_are_no_text_may_be_in_names() -> None:
    desk = SerfDesk()
    desk.serf.user_event(0.0, "a\udcff")
    assert [type(each) for each in desk.gossip()] == [UserEvent]
