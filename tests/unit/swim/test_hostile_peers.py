"""What one lying peer must not achieve: memory, time, or a pool that cannot sync any more."""

from dataclasses import replace

import pytest

from moot.gossip.config import LAN
from moot.gossip.errors import CommandError, ConfigError
from moot.gossip.record import Address
from moot.gossip.swim import Status, Timer
from moot.gossip.swim.events import JoinFinished
from moot.gossip.swim.messages import Alive, Dead, PushPull, Suspect
from moot.gossip.swim.table import TABLE_BYTES_MAX, MemberTable, Roster, entry_bytes
from moot.gossip.wire.codec import size_of
from tests.support.swim import Desk, Recorder, address, alive, member
from tests.unit.swim.test_spread_and_sync import Guarded

A = Status.ALIVE


def test_the_table_is_bounded_in_bytes_and_keeps_whom_it_has() -> None:
    desk = Desk()
    fat = bytes(512)
    desk.hear(alive("b"))
    count = TABLE_BYTES_MAX // entry_bytes(member("x" * 1000, meta=fat)) + 50
    names = [f"{number:01000}" for number in range(count)]
    desk.hear(*(alive(name, at=address(5), meta=fat) for name in names))
    table = desk.swim.members
    assert table.wire_bytes <= TABLE_BYTES_MAX
    assert len(table) < count
    # there is no room for one more of these, nor for a known one to become like them; small news is taken
    desk.hear(alive("late" * 250, meta=fat), alive("b", 2))
    assert desk.status("late" * 250) is None
    held = table.get("b")
    assert held is not None
    assert held.incarnation == 2
    desk.hear(*(Dead(1, name, "x") for name in names))
    desk.run(LAN.gossip_to_the_dead_time + 10)
    desk.hear(alive("late" * 250, meta=fat))
    assert desk.status("late" * 250) is A


def test_the_byte_count_never_underestimates_an_entry() -> None:
    table = MemberTable(Roster())
    for name in ("a", "ä" * 100, "\udcff" * 3, "x" * 900):
        before = table.wire_bytes
        held = member(name, 0xFFFF_FFFF, meta=bytes(512), at=Address(bytes(16), 65535))
        table.put(0.0, held)
        # an Alive has all the fields of a push/pull entry; the names of two of them differ by one byte
        assert table.wire_bytes - before >= size_of(Alive(held)) - 1


def test_a_claim_that_fits_into_no_packet_is_not_queued() -> None:
    desk = Desk(size_of=size_of)
    desk.run(1.0)
    before = desk.swim.broadcasts_queued
    desk.hear(alive("x" * 1000, meta=bytes(500)))
    desk.hear(Suspect(1, "x" * 1000, "y" * 1000))
    assert desk.status("x" * 1000) is Status.SUSPECT
    assert desk.swim.broadcasts_queued == before


def test_what_is_forgotten_is_not_gossiped_any_more() -> None:
    desk = Desk(config=replace(LAN, gossip_interval=1e6))
    desk.hear(*(alive(f"n{number}") for number in range(50)))
    desk.hear(*(Dead(1, f"n{number}", "x") for number in range(50)))
    assert desk.swim.broadcasts_queued == 51
    desk.run(LAN.gossip_to_the_dead_time + 5)
    assert desk.swim.broadcasts_queued <= 1


def test_a_flood_of_names_leaves_no_rows_behind() -> None:
    desk = Desk()
    names = [f"n{number}" for number in range(5000)]
    desk.hear(*(alive(name) for name in names), alive("b"))
    desk.hear(*(Dead(1, name, "x") for name in names))
    desk.run(LAN.gossip_to_the_dead_time + 5)
    assert desk.swim.members.row_count < 100
    held = desk.swim.members.get("b")
    assert held is not None
    assert held.name == "b"


def test_a_reply_cannot_talk_its_way_past_the_guard() -> None:
    out = Recorder()
    desk = Desk(upper=Guarded(out))
    desk.swim.join(0.0, [address(20)])
    (stream,) = desk.out.streams
    desk.swim.on_stream_reply(0.1, stream.ticket, PushPull(False, [member("bad"), member("b")]))
    (finished,) = out.took(JoinFinished)
    assert finished.results == ((address(20), "member 'bad' is bad"),)
    assert desk.status("b") is None


@pytest.mark.parametrize("versions", [b"", bytes((1, 5, 2))])
def test_a_member_without_versions_does_not_stop_push_pulls(versions: bytes) -> None:
    desk = Desk()
    desk.hear(alive("x", versions=versions))
    assert desk.status("x") is A
    reply = desk.request(PushPull(True, [member("b"), member("y", versions=versions)]))
    assert desk.status("b") is A
    assert desk.status("y") is None
    assert isinstance(reply, PushPull)
    assert [m.name for m in reply.members] == ["me"]


@pytest.mark.parametrize(
    "versions", [bytes((1, 5, 2, 2, 5, 9)), bytes((3, 5, 3, 2, 5, 5)), bytes((1, 1, 1, 2, 5, 5))]
)
def test_a_member_that_nobody_could_talk_to_is_not_taken(versions: bytes) -> None:
    desk = Desk()
    desk.hear(alive("x", versions=versions))
    assert desk.status("x") is None


def test_flapping_leaves_few_timers_behind() -> None:
    desk = Desk()
    desk.hear(*(alive(name) for name in "bcdefgh"))
    for inc in range(1, 2000):
        desk.hear(Suspect(inc, "b", "x"), Suspect(inc, "b", "y"), alive("b", inc + 1))
    assert sum(timer.kind is Timer.SUSPICION for timer in desk.out.timers) <= 4


def test_port_zero_means_our_own_port() -> None:
    desk = Desk()
    desk.hear(alive("b", at=Address(bytes((127, 0, 0, 7)), 0)))
    held = desk.swim.members.get("b")
    assert held is not None
    assert held.address == address(7, 7946)
    desk.run(0.3)
    told = [claim.member.address.port for _, claim in desk.out.sent(Alive) if claim.member.name == "b"]
    assert told
    assert set(told) == {7946}


def test_tags_cannot_be_changed_once_somebody_drove_our_incarnation_to_its_end() -> None:
    desk = Desk()
    desk.hear(Suspect(0xFFFF_FFFF, "me", "x"))
    with pytest.raises(CommandError, match="incarnation"):
        desk.swim.set_meta(0.0, b"new", 5.0)


def test_a_name_that_fits_into_no_packet_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigError, match="too long"):
        Desk(me="m" * 700, size_of=size_of)
