"""Gossip rounds, riding along, push/pull, join, leave and meta changes."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from moot.gossip.config import LAN
from moot.gossip.errors import CommandError, ConfigError
from moot.gossip.swim import Status, Timer
from moot.gossip.swim.events import JoinFinished, MemberUpdated, MergeRefused, SpreadFinished, SyncFailed
from moot.gossip.swim.member import Member
from moot.gossip.swim.messages import Ack, Alive, Dead, ErrorReply, Ping, PushPull, Suspect
from moot.gossip.swim.sync import versions_conflict
from moot.gossip.swim.upper import Solo
from tests.support.swim import Desk, Recorder, address, alive, member


class Guarded(Solo):
    """Refuses whoever is named bad."""

    def guard_merge(self, members: Sequence[Member], /) -> str | None:
        return next((f"member '{m.name}' is bad" for m in members if m.name == "bad"), None)

    def guard_alive(self, member: Member, /) -> str | None:
        return self.guard_merge([member])


def test_news_is_sent_as_often_as_the_limit_allows_and_then_all_is_quiet() -> None:
    desk = Desk()
    desk.hear(*(alive(name) for name in "bcde"))
    for _ in range(100):
        desk.run(0.1)
        for _, ping in desk.out.sent(Ping):
            desk.hear(Ack(ping.seq))
    about_b = [claim for _, claim in desk.out.sent(Alive) if claim.member.name == "b"]
    assert len(about_b) == 4
    assert not any(timer.kind is Timer.GOSSIP for timer in desk.out.timers)


def test_gossip_goes_to_suspects_and_for_a_while_to_the_dead_but_never_to_who_left() -> None:
    desk = Desk()
    desk.hear(alive("dead"), alive("left"), Dead(1, "dead", "x"), Dead(1, "left", "left"))
    desk.run(1.0)
    reached = {packet.to for packet in desk.out.packets}
    assert member("dead").address in reached
    assert member("left").address not in reached
    desk.run(LAN.gossip_to_the_dead_time)
    desk.out.packets.clear()
    desk.hear(Suspect(1, "me", "x"))
    desk.run(2.0)
    assert desk.out.packets == []


def test_packets_stay_within_their_budget() -> None:
    desk = Desk(config=replace(LAN, packet_size_max=400, packet_overhead=29))
    desk.hear(*(alive(f"n{number}") for number in range(50)))
    desk.run(3.0)
    room = 400 - 2 - 29
    assert max(len(packet.messages) for packet in desk.out.packets) == room // (2 + 60)


def test_a_ping_carries_news_along() -> None:
    desk = Desk(config=replace(LAN, gossip_interval=60.0))
    desk.hear(alive("b"))
    desk.run(1.1)
    packet = next(p for p in desk.out.packets if isinstance(p.messages[0], Ping))
    assert any(isinstance(message, Alive) for message in packet.messages[1:])
    assert not packet.crc


def test_a_push_pull_is_answered_with_the_table_as_it_was_and_then_merged() -> None:
    desk = Desk()
    reply = desk.request(PushPull(True, [member("b"), member("c", 3, Status.LEFT), member("d", 1, Status.DEAD)]))
    assert isinstance(reply, PushPull)
    assert reply.join
    assert [m.name for m in reply.members] == ["me"]
    assert desk.status("b") is Status.ALIVE
    assert desk.status("c") is None
    assert desk.status("d") is None


def test_a_remote_death_is_only_a_suspicion_but_a_remote_leave_counts() -> None:
    desk = Desk()
    desk.hear(alive("b"), alive("c"))
    desk.request(PushPull(False, [member("b", 1, Status.DEAD), member("c", 1, Status.LEFT)]))
    assert desk.status("b") is Status.SUSPECT
    assert desk.status("c") is Status.LEFT


def test_our_own_death_in_a_remote_table_is_refuted_so_that_a_restart_revives() -> None:
    desk = Desk()
    desk.request(PushPull(True, [member("me", 7, Status.DEAD, at=address(1))]))
    assert desk.swim.me.incarnation == 8


def test_tables_whose_versions_do_not_fit_are_not_merged() -> None:
    desk = Desk()
    desk.request(PushPull(False, [member("b", versions=bytes((3, 5, 3, 2, 5, 5)))]))
    assert desk.status("b") is None
    (refused,) = desk.out.took(MergeRefused)
    assert "protocol" in refused.reason
    assert refused.peer.port


@pytest.mark.parametrize(
    ("remote", "fits"),
    [
        ([member("b")], True),
        ([member("b", versions=bytes((1, 5, 2, 2, 5, 4)))], True),
        ([member("b", versions=bytes((1, 5, 2, 2, 4, 5)))], False),
        ([member("b", status=Status.DEAD, versions=bytes((1, 5, 0, 2, 5, 5)))], False),
        ([member("b", status=Status.LEFT, versions=bytes((1, 5, 6, 2, 5, 5)))], False),
    ],
)
def test_current_versions_must_lie_in_everybodys_range_also_those_of_the_dead(
    remote: list[Member], fits: bool
) -> None:
    assert (versions_conflict(remote, [member("me")]) is None) is fits


def test_a_guard_refuses_a_whole_join_and_lone_claims() -> None:
    out = Recorder()
    desk = Desk(upper=Guarded(out))
    desk.request(PushPull(True, [member("b"), member("bad")]))
    desk.hear(alive("bad"))
    assert desk.status("b") is None
    assert desk.status("bad") is None
    desk.request(PushPull(False, [member("b"), member("bad")]))
    assert desk.status("b") is Status.ALIVE
    assert desk.status("bad") is None


def test_a_join_tells_the_result_of_each_address_in_the_order_asked() -> None:
    desk = Desk()
    asked = [address(20), address(21), address(22), address(20)]
    ticket = desk.swim.join(0.0, asked)
    first, second, third, again = desk.out.streams
    desk.swim.on_stream_reply(0.1, third.ticket, PushPull(True, [member("c", at=address(22))]))
    desk.swim.on_stream_failed(0.2, first.ticket, "connection refused")
    desk.swim.on_stream_reply(0.3, again.ticket, ErrorReply("no"))
    assert desk.out.took(JoinFinished) == []
    desk.swim.on_stream_reply(0.4, second.ticket, Ack(1))
    (finished,) = desk.out.took(JoinFinished)
    assert finished.ticket == ticket
    assert [to for to, _ in finished.results] == asked
    errors = [error for _, error in finished.results]
    assert errors[0] == "connection refused"
    assert errors[2] is None
    assert errors[3] == "remote error: no"
    assert errors[1] is not None
    assert desk.status("c") is Status.ALIVE


def test_a_join_opens_only_so_many_streams_at_once() -> None:
    desk = Desk(config=replace(LAN, join_parallel_max=2))
    desk.swim.join(0.0, [address(number) for number in range(20, 25)])
    assert len(desk.out.streams) == 2
    for number in range(5):
        desk.swim.on_stream_failed(0.1, desk.out.streams[number].ticket, "x")
    (finished,) = desk.out.took(JoinFinished)
    assert len(finished.results) == 5


def test_a_join_without_addresses_is_refused() -> None:
    with pytest.raises(CommandError):
        Desk().swim.join(0.0, [])


def test_periodic_push_pull_asks_an_alive_member_and_tells_failures() -> None:
    desk = Desk(config=replace(LAN, probe_interval=1000.0, push_pull_interval=10.0))
    desk.hear(alive("b"), alive("gone"), Dead(1, "gone", "x"))
    desk.run(20.0)
    (stream,) = [opened for opened in desk.out.streams if isinstance(opened.first, PushPull)]
    assert isinstance(stream.first, PushPull)
    assert stream.to == member("b").address
    assert not stream.first.join
    desk.swim.on_stream_failed(desk.out.now, stream.ticket, "reset")
    (failed,) = desk.out.took(SyncFailed)
    assert failed.reason == "reset"


def test_leaving_ends_when_the_news_was_sent_often_enough() -> None:
    desk = Desk()
    desk.hear(alive("b"))
    desk.run(0.5)
    ticket = desk.swim.leave(desk.out.now, 5.0)
    assert desk.status("me") is Status.LEFT
    assert desk.out.took(SpreadFinished) == []
    desk.run(2.0)
    assert desk.out.took(SpreadFinished) == [SpreadFinished(ticket, False)]
    assert (member("b").address, Dead(1, "me", "me")) in desk.out.sent(Dead)


def test_leaving_alone_ends_at_once_but_not_before_the_command_returned() -> None:
    desk = Desk()
    ticket = desk.swim.leave(desk.out.now, 5.0)
    assert desk.out.took(SpreadFinished) == []
    desk.run(0.0)
    assert desk.out.took(SpreadFinished) == [SpreadFinished(ticket, False)]


def test_leaving_times_out_when_the_news_cannot_be_sent() -> None:
    desk = Desk(config=replace(LAN, gossip_interval=60.0, probe_interval=60.0))
    desk.hear(alive("b"))
    ticket = desk.swim.leave(desk.out.now, 0.01)
    desk.run(0.02)
    assert desk.out.took(SpreadFinished) == [SpreadFinished(ticket, True)]


def test_new_meta_goes_out_under_a_new_incarnation() -> None:
    desk = Desk()
    desk.hear(alive("b"))
    ticket = desk.swim.set_meta(desk.out.now, b"new", 5.0)
    assert (desk.swim.me.incarnation, desk.swim.me.meta) == (2, b"new")
    assert len(desk.out.took(MemberUpdated)) == 1
    desk.run(2.0)
    assert desk.out.took(SpreadFinished) == [SpreadFinished(ticket, False)]


def test_meta_beyond_512_bytes_is_refused() -> None:
    with pytest.raises(ConfigError, match="512"):
        Desk().swim.set_meta(0.0, bytes(513), 5.0)
    with pytest.raises(ConfigError, match="512"):
        Desk(meta=bytes(513))
