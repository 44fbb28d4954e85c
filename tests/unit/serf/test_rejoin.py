"""After a restart: back to those we knew, without being told."""

import dataclasses

from moot.gossip.config import LAN
from moot.gossip.record import Address
from moot.gossip.serf.events import GivenUp
from moot.gossip.serf.lamport import LTIME_MAX
from moot.gossip.serf.messages import JoinIntent, Query, UserEvent
from moot.gossip.swim.effects import Timer
from moot.gossip.swim.messages import PushPull
from tests.support.serf import SerfDesk, push_pull
from tests.support.swim import PEER, Opened, address, member


def dialled(desk: SerfDesk) -> list[Opened]:
    taken, desk.out.streams = desk.out.streams, []
    return taken


def refuse(desk: SerfDesk, streams: list[Opened]) -> None:
    for stream in streams:
        desk.serf.on_stream_failed(desk.now, stream.ticket, "refused")


def reconnects(desk: SerfDesk, seconds: float) -> None:
    desk.only_timers(Timer.RECONNECT)
    desk.run(seconds)


def known(*names: str) -> dict[str, Address]:
    return {name: member(name).address for name in names}


def test_some_at_a_time_are_tried_until_one_answers() -> None:
    desk = SerfDesk()
    alive = {f"m{number}": address(10 + number) for number in range(20)}
    desk.serf.rejoin(0.0, alive, {})
    first = dialled(desk)
    assert len(first) == LAN.join_parallel_max
    refuse(desk, first)
    second = dialled(desk)
    assert len(second) == LAN.join_parallel_max
    assert not {stream.to for stream in first} & {stream.to for stream in second}
    refuse(desk, second[1:])
    desk.serf.on_stream_reply(0.0, second[0].ticket, PushPull(True, (), push_pull()))
    assert dialled(desk) == []
    # and we say that we are here, so that nobody goes on seeing us leave
    assert any(isinstance(body, JoinIntent) and body.node == "me" for body in desk.gossip())
    # one who does not show up is looked for, but the others are not all tried again
    reconnects(desk, 30.0)
    refuse(desk, again := dialled(desk))
    assert len(again) == LAN.join_parallel_max
    assert dialled(desk) == []


def test_everybody_is_tried_once_where_it_was_last_in_an_order_by_chance() -> None:
    desk = SerfDesk(swim=dataclasses.replace(LAN, join_parallel_max=50))
    alive = {f"m{number:02}": address(10 + number) for number in range(20)}
    failed = dict.fromkeys(alive, address(99))
    desk.serf.rejoin(0.0, {**alive, "me": address(98)}, failed)
    tried = [stream.to for stream in dialled(desk)]
    assert sorted(tried) == sorted(alive.values())
    assert tried != sorted(tried)
    # while that is under way nobody else is
    reconnects(desk, 100.0)
    assert dialled(desk) == []


def test_those_who_had_failed_are_tried_last() -> None:
    desk = SerfDesk()
    desk.serf.rejoin(0.0, known("b", "c"), known("d"))
    refuse(desk, streams := dialled(desk))
    assert {stream.to for stream in streams[:2]} == set(known("b", "c").values())
    assert [stream.to for stream in streams[2:]] == list(known("d").values())


def test_we_do_not_dial_ourselves() -> None:
    desk = SerfDesk()
    desk.serf.rejoin(0.0, {"me": address(1)}, {"me": address(1)})
    reconnects(desk, 100.0)
    assert dialled(desk) == []


def test_who_was_here_under_another_name_is_not_dialled_either() -> None:
    desk = SerfDesk()
    desk.serf.rejoin(0.0, {"old me": address(1)}, {"older me": address(1)})
    reconnects(desk, 100.0)
    assert dialled(desk) == []
    assert desk.clock() == 1
    reconnects(desk, 25 * 3600.0)
    assert {event.name for event in desk.out.took(GivenUp)} == {"old me", "older me"}


def test_once_we_leave_nobody_is_tried_any_more() -> None:
    desk = SerfDesk()
    desk.serf.rejoin(0.0, {f"m{number}": address(10 + number) for number in range(20)}, {})
    first = dialled(desk)
    desk.serf.leave(0.0)
    refuse(desk, first)
    assert dialled(desk) == []


def test_who_had_failed_is_looked_for_until_it_shows_up() -> None:
    desk = SerfDesk()
    desk.serf.rejoin(0.0, {}, known("b"))
    refuse(desk, dialled(desk))
    for _ in range(3):
        reconnects(desk, 30.0)
        streams = dialled(desk)
        assert [stream.to for stream in streams] == list(known("b").values())
        refuse(desk, streams)
    desk.alive("b")
    reconnects(desk, 60.0)
    assert dialled(desk) == []


def test_nobody_is_looked_for_for_ever() -> None:
    desk = SerfDesk()
    desk.serf.rejoin(0.0, {}, known("b"))
    refuse(desk, dialled(desk))
    desk.only_timers()
    desk.run(25 * 3600.0)
    desk.serf.on_timer(desk.now, Timer.RECONNECT, 0)
    assert dialled(desk) == []


def test_when_we_are_alone_several_are_tried_at_once() -> None:
    desk = SerfDesk()
    failed = {f"m{number}": address(10 + number) for number in range(20)}
    desk.serf.rejoin(0.0, {}, failed)
    for _ in range(3):
        refuse(desk, dialled(desk))
    assert dialled(desk) == []
    reconnects(desk, 30.0)
    assert len(dialled(desk)) == LAN.join_parallel_max


def test_the_clocks_go_on_where_they_were_and_the_past_is_not_told_again() -> None:
    desk = SerfDesk()
    desk.serf.restore(40, 50, 60)
    assert desk.serf.clocks == (41, 51, 61)
    desk.told(UserEvent(50, "old"), UserEvent(51, "new"))
    assert [body.name for body in desk.gossip() if isinstance(body, UserEvent)] == ["new"]


def test_clocks_that_nobody_can_have_seen_are_not_gone_on_from() -> None:
    desk = SerfDesk()
    desk.serf.restore(LTIME_MAX, LTIME_MAX, LTIME_MAX)
    assert desk.serf.clocks == (1, 1, 1)
    desk.told(UserEvent(1, "new"), Query(1, 1, PEER, "b", (), 0, 0, 0, "load"))
    assert len(desk.gossip()) == 2
