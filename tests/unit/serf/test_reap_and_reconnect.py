"""What time does to those who are gone (serf-protocol: reaping and reconnecting)."""

from random import Random

import pytest

from moot.gossip.config import SerfConfig
from moot.gossip.serf import MemberStatus, membership
from moot.gossip.serf.messages import Coordinate
from moot.gossip.swim.effects import Timer
from moot.gossip.swim.messages import PushPull
from moot.gossip.wire.serf_codec import encode_coordinate, encode_serf
from tests.support.serf import SerfDesk, push_pull
from tests.support.swim import member

DAY = 24 * 3600.0


@pytest.mark.parametrize(
    ("status", "config"),
    [
        (MemberStatus.FAILED, SerfConfig(reconnect_timeout=100, reconnect_interval=1000)),
        (MemberStatus.LEFT, SerfConfig(tombstone_timeout=100)),
    ],
)
def test_who_is_gone_too_long_is_reaped(status: MemberStatus, config: SerfConfig) -> None:
    desk = SerfDesk(config=config)
    desk.in_status("b", status)
    desk.run(104.9)
    assert desk.status("b") is status
    desk.run(0.2)
    assert desk.status("b") is None
    assert desk.changes() == [("member-reap", "b")]


def test_who_is_gone_for_just_as_long_as_the_timeout_is_kept() -> None:
    desk = SerfDesk(config=SerfConfig(tombstone_timeout=30))
    desk.in_status("b", MemberStatus.LEFT)
    desk.run(30)
    assert desk.status("b") is MemberStatus.LEFT


@pytest.mark.parametrize(("after", "flaps"), [(59.9, 1), (60.0, 0)])
def test_who_is_back_soon_after_it_failed_has_flapped(after: float, flaps: int) -> None:
    desk = SerfDesk()
    desk.in_status("b", MemberStatus.FAILED)
    desk.only_timers()
    desk.run(after)
    desk.alive("b", inc=2)
    assert desk.serf.flaps("b") == flaps
    desk.dies("b")
    desk.alive("b", inc=3)
    assert desk.serf.flaps("b") == flaps + 1


def test_nothing_is_kept_of_who_was_reaped() -> None:
    desk = SerfDesk(config=SerfConfig(reconnect_timeout=1))
    desk.alive("b")
    record = desk.held("b").record
    desk.serf.on_rtt(0.0, record, 0.05, encode_coordinate(Coordinate((0.0,) * 8, 1.5, 0.0, 1e-5)))
    assert desk.serf.coordinate("b") is not None
    desk.dies("b")
    desk.alive("b", inc=2)
    desk.dies("b")
    desk.only_serf_timers()
    desk.run(16)
    assert desk.status("b") is None
    assert desk.serf.coordinate("b") is None
    assert desk.serf.flaps("b") == 0


def test_we_are_not_forgotten_for_others_after_we_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "MEMBERS_MAX", 2)
    desk = SerfDesk()
    desk.serf.leave(0.0)
    desk.run(10)
    desk.alive("b", "c", "d")
    assert desk.status("me") is MemberStatus.LEFT


def test_reaping_is_no_prune_and_is_not_remembered() -> None:
    desk = SerfDesk(config=SerfConfig(tombstone_timeout=1))
    desk.in_status("b", MemberStatus.LEFT)
    desk.run(16)
    assert desk.status("b") is None
    desk.alive("b", inc=2)
    assert desk.status("b") is MemberStatus.ALIVE


def test_the_alive_and_the_leaving_are_never_reaped() -> None:
    desk = SerfDesk(config=SerfConfig(tombstone_timeout=0, reconnect_timeout=0))
    desk.in_status("b", MemberStatus.ALIVE)
    desk.in_status("c", MemberStatus.LEAVING)
    desk.only_serf_timers()
    desk.run(60)
    assert desk.status("b") is MemberStatus.ALIVE
    assert desk.status("c") is MemberStatus.LEAVING


def test_a_full_table_forgets_the_longest_gone_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "MEMBERS_MAX", 4)
    desk = SerfDesk()
    for name, status in (("f", MemberStatus.FAILED), ("l1", MemberStatus.LEFT), ("l2", MemberStatus.LEFT)):
        desk.in_status(name, status)
    desk.alive("x")
    desk.alive("y")
    assert [member.name for member in desk.serf.members()] == ["f", "me", "x", "y"]
    desk.alive("z")
    assert desk.status("f") is None
    desk.alive("more")
    assert desk.status("more") is MemberStatus.ALIVE


def test_names_that_are_too_long_together_are_forgotten_longest_gone_first(monkeypatch: pytest.MonkeyPatch) -> None:
    # me takes 18 bytes; a name of 84 takes 100 while it is there, and 200 when it is gone
    monkeypatch.setattr(membership, "TABLE_BYTES_MAX", 18 + 500)
    desk = SerfDesk()
    a, b, c, d, *more = (letter * 84 for letter in "abcdefg")
    desk.alive(a, b, c)
    desk.dies(a)
    desk.dies(b)
    assert len(desk.serf.members()) == 4
    desk.alive(d)
    assert [member.name[0] for member in desk.serf.members()] == ["b", "c", "d", "m"]
    desk.dies(c)
    desk.leave_intent(b, 5)
    assert [member.name[0] for member in desk.serf.members()] == ["b", "c", "d", "m"]
    desk.dies(d)
    assert [member.name[0] for member in desk.serf.members()] == ["c", "d", "m"]
    desk.alive(*more)
    assert [member.name[0] for member in desk.serf.members()] == ["d", "e", "f", "g", "m"]


def test_who_is_there_is_never_forgotten_and_who_finds_no_room_is_not_taken_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(membership, "TABLE_BYTES_MAX", 18 + 500)
    desk = SerfDesk()
    names = [letter * 84 for letter in "abcdef"]
    desk.alive(*names)
    assert desk.status(names[4]) is MemberStatus.ALIVE
    assert desk.status(names[5]) is None
    assert desk.serf.swim.members.get(names[5]) is None
    desk.alive(names[0], inc=2)
    assert desk.serf.swim.members.get(names[0]) == member(names[0], 2)
    desk.leave_intent(names[1], 5)
    desk.goes(names[1])
    assert desk.changes()[-2:] == [("member-leave", names[1]), ("member-reap", names[1])]
    desk.alive(names[5])
    assert desk.status(names[5]) is MemberStatus.ALIVE
    desk.alive(names[1], inc=2)
    assert desk.status(names[1]) is None


def test_a_ghost_without_room_is_not_listed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "TABLE_BYTES_MAX", 18 + 100)
    desk = SerfDesk()
    desk.alive("b" * 84)
    desk.serf.force_leave(0.0, "b" * 84, prune=True)
    desk.only_serf_timers()
    desk.run(7.0)
    desk.alive("c" * 84)
    desk.join_intent("b" * 84, 10)
    assert [member.name[0] for member in desk.serf.members()] == ["c", "m"]


def test_a_day_of_fat_dead_names_leaves_push_pulls_that_a_peer_accepts() -> None:
    desk = SerfDesk()
    for number in range(8000):
        name = f"{number:01000}"
        desk.serf._membership.joined(0.0, member(name))
        desk.serf._membership.gone(0.0, member(name))
        if number % 2:
            desk.leave_intent(name, 1)
    state = desk.serf.local_state(False)
    assert len(encode_serf(state)) <= membership.TABLE_BYTES_MAX
    assert len(desk.serf.members()) > 1500
    assert desk.status("me") is MemberStatus.ALIVE


def test_we_are_not_reaped_after_we_left() -> None:
    desk = SerfDesk(config=SerfConfig(tombstone_timeout=0))
    desk.serf.leave(0.0)
    desk.run(60)
    assert desk.status("me") is MemberStatus.LEFT


def test_nobody_failed_nobody_is_tried() -> None:
    desk = SerfDesk()
    desk.in_status("b", MemberStatus.LEFT)
    desk.run(300)
    assert desk.out.streams == []


def tries(failed: int, alive: int, rounds: int = 400, *, left: int = 0) -> float:
    """How often, of so many rounds, one of the failed was tried."""
    desk = SerfDesk(seed=failed * 1000 + alive)
    for number in range(left):
        desk.in_status(f"l{number}", MemberStatus.LEFT)
    names = [f"f{number}" for number in range(failed)] + [f"a{number}" for number in range(alive)]
    desk.alive(*names)
    for name in names[:failed]:
        desk.dies(name)
    desk.only_timers(Timer.RECONNECT)
    desk.run(30.0 * rounds)
    addresses = {member(name).address for name in names[:failed]}
    assert {stream.to for stream in desk.out.streams} <= addresses
    return len(desk.out.streams) / rounds


def test_the_chance_to_try_grows_with_the_share_of_failed() -> None:
    assert tries(1, 9) == pytest.approx(0.1, abs=0.05)
    assert tries(5, 9) == pytest.approx(0.5, abs=0.08)


def test_when_most_failed_one_is_tried_every_time() -> None:
    assert tries(5, 4) == 1.0
    assert tries(3, 0) == 1.0
    assert tries(1, 0, left=9) == 1.0


def test_a_reconnect_is_a_join_without_an_intent_and_without_an_event() -> None:
    desk = SerfDesk()
    desk.in_status("b", MemberStatus.FAILED)
    desk.run(30.1)
    (stream,) = [stream for stream in desk.out.streams if isinstance(stream.first, PushPull)]
    assert stream.to == member("b").address
    desk.gossip_all()
    desk.serf.on_stream_reply(desk.now, stream.ticket, PushPull(True, [member("b", 2)], push_pull()))
    assert desk.status("b") is MemberStatus.ALIVE
    assert desk.changes() == [("member-join", "b")]
    assert desk.out.events == []
    assert desk.gossip() == []


def test_who_leaves_does_not_reconnect() -> None:
    desk = SerfDesk()
    desk.in_status("b", MemberStatus.FAILED)
    desk.serf.leave(0.0)
    desk.run(300)
    assert desk.out.streams == []


def test_choices_come_from_the_given_random_source() -> None:
    def streams(seed: int) -> list[object]:
        desk = SerfDesk(seed=seed)
        names = [f"f{number}" for number in range(20)]
        desk.alive(*names)
        for name in names:
            desk.dies(name)
        desk.only_timers(Timer.RECONNECT)
        desk.run(300)
        return [stream.to for stream in desk.out.streams]

    picks = [streams(Random(seed).randrange(1000)) for seed in (1, 1, 2)]
    assert picks[0] == picks[1] != picks[2]
