"""One probe round in all its endings, and the relaying of others' probes."""

from dataclasses import replace

import pytest

from moot.gossip.config import LAN
from moot.gossip.counters import Counters
from moot.gossip.record import Address
from moot.gossip.swim import Status
from moot.gossip.swim.events import MemberForgotten, ProbeFailed, StreamPingOnly
from moot.gossip.swim.messages import Ack, Alive, Dead, IndirectPing, Nack, Ping, Suspect
from moot.gossip.swim.upper import Solo
from tests.support.swim import PEER, Desk, Recorder, address, alive, member


def probing(desk: Desk, *names: str) -> Ping:
    """Members join; time passes until the first probe goes out."""
    desk.hear(*(alive(name) for name in names))
    while not desk.out.sent(Ping):
        desk.run(0.05)
    ((_, ping),) = desk.out.sent(Ping)
    return ping


def test_an_answered_probe_improves_health_and_tells_the_round_trip() -> None:
    heard: list[tuple[float, bytes]] = []

    class Timing(Solo):
        def on_rtt(self, now: float, member: object, rtt: float, payload: bytes, /) -> None:
            heard.append((rtt, payload))

    desk = Desk(upper=Timing(Recorder()))
    desk.hear(Suspect(1, "me", "x"))
    ping = probing(desk, "b")
    at = desk.out.now
    desk.run(0.1)
    desk.hear(Ack(ping.seq, b"where"))
    assert desk.swim.health_score == 0
    ((rtt, payload),) = heard
    assert rtt == pytest.approx(0.1, abs=0.06)
    assert rtt <= desk.out.now - at + 0.051
    assert payload == b"where"
    desk.run(1.5)
    assert desk.out.sent(IndirectPing) == []


def test_without_an_answer_others_are_asked_and_tcp_is_tried_at_the_probe_timeout() -> None:
    desk = Desk()
    ping = probing(desk, "b", "c", "d", "e", "f")
    target = ping.node
    desk.run(LAN.probe_timeout)
    asked = desk.out.sent(IndirectPing)
    assert len(asked) == 3
    assert all(request.seq == ping.seq and request.node == target and request.nack for _, request in asked)
    held = desk.swim.members.get(target)
    assert held is not None
    assert held.address not in [to for to, _ in asked]
    (stream,) = desk.out.streams
    assert stream.to == held.address
    assert isinstance(stream.first, Ping)


def test_silence_until_the_deadline_makes_a_suspect_and_costs_missing_nacks() -> None:
    desk = Desk()
    ping = probing(desk, "b", "c", "d")
    desk.run(0.6)
    desk.hear(Nack(ping.seq))
    desk.run(0.6)
    assert desk.status(ping.node) is Status.SUSPECT
    (failed,) = desk.out.took(ProbeFailed)
    assert (failed.nacks_expected, failed.nacks_heard) == (2, 1)
    assert desk.swim.health_score == 1


def test_a_failed_probe_without_relays_costs_one_point() -> None:
    desk = Desk()
    probing(desk, "b")
    desk.run(1.1)
    assert desk.status("b") is Status.SUSPECT
    assert desk.swim.health_score == 1


def test_poor_health_stretches_the_next_probe() -> None:
    desk = Desk()
    desk.hear(Suspect(1, "me", "x"), Suspect(2, "me", "x"))
    assert desk.swim.health_score == 2
    probing(desk, "b")
    desk.run(2.8)
    assert desk.status("b") is Status.ALIVE
    desk.run(0.4)
    assert desk.status("b") is Status.SUSPECT


def test_an_ack_by_a_relay_saves_the_target_without_a_round_trip_time() -> None:
    heard: list[float] = []

    class Timing(Solo):
        def on_rtt(self, now: float, member: object, rtt: float, payload: bytes, /) -> None:
            heard.append(rtt)

    out = Recorder()
    desk = Desk(upper=Timing(out))
    ping = probing(desk, "b", "c")
    desk.run(0.7)
    desk.hear(Ack(ping.seq))
    desk.run(0.5)
    assert desk.status(ping.node) is Status.ALIVE
    assert out.took(ProbeFailed) == []
    assert heard == []


def test_a_member_that_only_tcp_reaches_stays_alive_and_is_told() -> None:
    desk = Desk()
    ping = probing(desk, "b")
    desk.run(0.6)
    (stream,) = desk.out.streams
    desk.swim.on_stream_reply(desk.out.now, stream.ticket, Ack(ping.seq))
    desk.run(0.6)
    assert desk.status("b") is Status.ALIVE
    assert len(desk.out.took(StreamPingOnly)) == 1


def test_a_tcp_ack_with_another_number_does_not_count() -> None:
    desk = Desk()
    ping = probing(desk, "b")
    desk.run(0.6)
    (stream,) = desk.out.streams
    desk.swim.on_stream_reply(desk.out.now, stream.ticket, Ack(ping.seq + 1))
    desk.run(0.6)
    assert desk.status("b") is Status.SUSPECT


def test_stream_pings_can_be_switched_off() -> None:
    desk = Desk(config=replace(LAN, stream_pings=False))
    probing(desk, "b")
    desk.run(1.1)
    assert desk.out.streams == []


def test_the_suspect_hears_of_it_first_in_one_packet_with_the_ping() -> None:
    desk = Desk()
    desk.hear(alive("b"), Suspect(1, "b", "x"))
    desk.out.packets.clear()
    desk.run(1.1)
    packet = next(p for p in desk.out.packets if isinstance(p.messages[0], Ping))
    ping, accusation = packet.messages
    assert isinstance(ping, Ping)
    assert accusation == Suspect(1, "b", "me")
    assert packet.crc


def test_a_suspicion_that_nobody_lifts_ends_in_death_by_our_own_word() -> None:
    desk = Desk()
    desk.hear(alive("b"), Suspect(1, "b", "x"))
    desk.run(4.1)
    assert desk.status("b") is Status.DEAD
    assert any(claim == Dead(1, "b", "me") for _, claim in desk.out.sent(Dead))


def test_confirmations_bring_the_end_forward() -> None:
    desk = Desk()
    desk.hear(*(alive(name) for name in "bcdefgh"))
    desk.hear(Suspect(1, "b", "x"))
    desk.run(4.5)
    assert desk.status("b") is Status.SUSPECT
    desk.hear(Suspect(1, "b", "y"), Suspect(1, "b", "y"), Suspect(1, "b", "z"))
    desk.run(0.0)
    assert desk.status("b") is Status.DEAD


def test_a_refuted_suspicion_leaves_a_stale_timer_without_effect() -> None:
    desk = Desk()
    desk.hear(alive("b"), Suspect(1, "b", "x"), alive("b", 2))
    prober = [timer for timer in desk.out.timers if timer.kind.name == "SUSPICION"]
    for timer in prober:
        desk.swim.on_timer(timer.at, timer.kind, timer.token)
    assert desk.status("b") is Status.ALIVE


def test_a_ping_is_answered_to_its_source_field_or_else_where_it_came_from() -> None:
    desk = Desk()
    desk.hear(Ping(7, "me", address(50), "b"))
    desk.hear(Ping(8, "", None))
    assert [(to, ack.seq) for to, ack in desk.out.sent(Ack)] == [(address(50), 7), (PEER, 8)]


def test_a_ping_for_another_name_is_ignored() -> None:
    desk = Desk()
    desk.hear(Ping(7, "somebody", None))
    assert desk.out.sent(Ack) == []
    assert desk.request(Ping(7, "somebody")) is None
    assert desk.request(Ping(7, "me")) == Ack(7)


def test_a_relay_pings_under_its_own_name_and_passes_the_ack_on() -> None:
    desk = Desk()
    desk.hear(IndirectPing(40, address(60), "far", True, address(50), "asker"))
    ((to, ping),) = desk.out.sent(Ping)
    assert to == address(60)
    assert (ping.node, ping.source, ping.source_node) == ("far", address(1), "me")
    desk.hear(Ack(ping.seq, b"payload"))
    assert desk.out.sent(Ack) == [(address(50), Ack(40))]
    desk.run(1.0)
    assert desk.out.sent(Nack) == []


@pytest.mark.parametrize("wanted", [True, False])
def test_a_relay_that_hears_nothing_sends_a_nack_if_asked(wanted: bool) -> None:
    desk = Desk()
    desk.hear(IndirectPing(40, address(60), "far", wanted, address(50), "asker"))
    desk.run(LAN.probe_timeout)
    assert desk.out.sent(Nack) == ([(address(50), Nack(40))] if wanted else [])


def test_a_relay_request_without_a_port_means_our_own_port() -> None:
    desk = Desk()
    desk.hear(IndirectPing(40, Address(bytes((127, 0, 0, 60)), 0), "far", False))
    ((to, _),) = desk.out.sent(Ping)
    assert to == address(60, 7946)


def test_only_a_bounded_number_of_probes_is_relayed_at_a_time() -> None:
    desk = Desk()
    desk.hear(*(IndirectPing(number, address(60), "far", True) for number in range(5000)))
    assert len(desk.out.sent(Ping)) == 4096


def test_unknown_acks_and_nacks_are_nothing() -> None:
    desk = Desk()
    desk.hear(Ack(99), Nack(99))
    assert desk.swim.health_score == 0


def test_the_dead_are_forgotten_after_a_while_and_not_probed() -> None:
    desk = Desk()
    desk.hear(alive("b"), Dead(1, "b", "x"))
    desk.run(LAN.gossip_to_the_dead_time + 5)
    assert desk.status("b") is None
    assert len(desk.out.took(MemberForgotten)) == 1
    assert desk.out.sent(Ping) == []


def test_every_member_is_probed_once_per_pass() -> None:
    desk = Desk()
    names = [f"n{number}" for number in range(20)]
    desk.hear(*(Alive(member(name, at=address(10 + at))) for at, name in enumerate(names)))
    probed: list[str] = []
    for _ in range(2000):
        desk.run(0.01)
        for _, ping in desk.out.sent(Ping):
            probed.append(ping.node)
            desk.hear(Ack(ping.seq))
        desk.out.packets.clear()
    assert sorted(probed[:20]) == sorted(names)


@pytest.mark.parametrize(("protocol_max", "wants"), [(3, False), (4, True), (5, True)])
def test_nacks_are_asked_only_of_who_knows_them(protocol_max: int, wants: bool) -> None:
    desk = Desk()
    versions = bytes((1, protocol_max, 2, 2, 5, 5))
    desk.hear(alive("b", versions=versions), alive("c", versions=versions))
    desk.run(1.6)
    assert {request.nack for _, request in desk.out.sent(IndirectPing)} == {wants}


@pytest.mark.parametrize(("protocol_max", "dials"), [(2, 0), (3, 1)])
def test_tcp_pings_go_only_to_who_knows_them(protocol_max: int, dials: int) -> None:
    desk = Desk()
    desk.hear(alive("b", versions=bytes((1, protocol_max, 2, 2, 5, 5))))
    while not desk.out.sent(Ping):
        desk.run(0.1)
    desk.run(0.6)
    assert len(desk.out.streams) == dials


def test_probes_are_counted() -> None:
    counters = Counters()
    desk = Desk(counters=counters)
    probing(desk, "b")
    assert (counters.probes, counters.probes_failed) == (1, 0)
    desk.run(0.95)
    assert counters.probes == 1
    desk.run(0.1)
    assert counters.probes_failed == 1
