"""FaultyTransport: what the conditions say is what happens to packets and streams on real sockets."""

import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from moot.gossip.counters import Counters
from moot.gossip.faults import TRUE_CLOCK, Clock, Conditions, Fault
from moot.gossip.net.faulty import FaultyStream, FaultyTransport, Surroundings
from moot.gossip.net.feed import SnapshotNote
from moot.gossip.net.node import Node
from moot.gossip.net.timers import Timers
from moot.gossip.net.transport import ByteStream, Transport
from moot.gossip.record import Address
from moot.gossip.swim.effects import Timer
from tests.support.pool import PATIENCE, open_pool, settings_of, until

HOST = "127.41.2.1"


class Member:
    """A member of the lab that keeps the packets it gets, and echoes streams."""

    def __init__(self, name: str, **options: Any) -> None:
        self.name = name
        self.counters = Counters()
        self.transport = FaultyTransport.bind(HOST, 0, self.counters)
        self.transport.surroundings = Surroundings(name, seed=1, **options)
        self.got: list[tuple[bytes, Address]] = []

    @property
    def address(self) -> Address:
        return self.transport.address

    @property
    def data(self) -> list[bytes]:
        return [data for data, _ in self.got]

    async def echo(self, stream: ByteStream) -> None:
        try:
            async with stream:
                while data := await stream.receive_some(65_536):
                    await stream.send_all(data)
        except trio.BrokenResourceError:
            self.counters.streams_broken += 1


@asynccontextmanager
async def lab(
    *members: Member, passive: frozenset[str] = frozenset(), strangers: frozenset[str] = frozenset()
) -> AsyncIterator[Callable[[Conditions], None]]:
    """The members at work; call what is yielded to tell all of them the conditions."""

    def tell(conditions: Conditions) -> None:
        places = {member.name: [member.address] for member in members if member.name not in strangers}
        for member in members:
            member.transport.surroundings.become(conditions, places, passive)

    tell(Conditions())
    async with trio.open_nursery() as nursery:
        for member in members:
            nursery.start_soon(
                member.transport.receive_packets,
                lambda data, source, member=member: member.got.append((data, source)),
            )
            nursery.start_soon(member.transport.accept_streams, member.echo, nursery)
        yield tell
        nursery.cancel_scope.cancel()
    for member in members:
        member.transport.close()


def conditions(**fault: Any) -> Conditions:
    """A single fault."""
    found = Conditions()
    found.put("it", Fault(**fault))
    return found


async def echoed(one: Member, two: Member, data: bytes = b"hello") -> float:
    """Ask over a stream of its own; the seconds it took."""
    began = trio.current_time()
    with trio.fail_after(PATIENCE):
        async with await one.transport.dial(two.address) as stream:
            await stream.send_all(data)
            found = b""
            while len(found) < len(data):
                part = await stream.receive_some(65_536)
                assert part
                found += part
            assert found == data
    return trio.current_time() - began


async def test_a_cut_stops_packets_one_way_only() -> None:
    one, two = Member("one"), Member("two")
    async with lab(one, two) as tell:
        cut = Conditions()
        cut.cut("one", "two")
        tell(cut)
        one.transport.send_packet(b"lost", two.address)
        two.transport.send_packet(b"arrives", one.address)
        await until(lambda: one.data == [b"arrives"])
        tell(Conditions())
        one.transport.send_packet(b"again", two.address)
        await until(lambda: two.data == [b"again"])


async def test_packets_are_doubled_delayed_and_spoiled() -> None:
    one, two = Member("one"), Member("two")
    async with lab(one, two) as tell:
        tell(conditions(duplicate=1.0, delay=0.05))
        began = trio.current_time()
        one.transport.send_packet(b"twice", two.address)
        await until(lambda: two.data == [b"twice"] * 2)
        assert trio.current_time() - began >= 0.05
        tell(conditions(corrupt=1.0))
        sent = bytes(100)
        one.transport.send_packet(sent, two.address)
        await until(lambda: len(two.got) == 3)
        assert sum(a != b for a, b in zip(two.data[-1], sent, strict=True)) == 1


async def test_a_packet_that_is_held_back_is_overtaken() -> None:
    one, two = Member("one"), Member("two")
    async with lab(one, two) as tell:
        tell(conditions(reorder=1.0, reorder_delay=0.1))
        one.transport.send_packet(b"first", two.address)
        tell(Conditions())
        one.transport.send_packet(b"second", two.address)
        await until(lambda: two.data == [b"second", b"first"])


async def test_a_narrow_link_takes_its_time() -> None:
    one, two = Member("one"), Member("two")
    async with lab(one, two) as tell:
        tell(conditions(bandwidth=50_000.0))
        began = trio.current_time()
        for _ in range(5):
            one.transport.send_packet(bytes(1000), two.address)
        await until(lambda: len(two.got) == 5)
        assert trio.current_time() - began >= 0.1
        assert await echoed(one, two, bytes(5000)) >= 0.2


async def test_the_receiver_judges_what_passive_members_and_strangers_send() -> None:
    one, serf, stranger = Member("one"), Member("serf"), Member("stranger")
    apart = Conditions()
    apart.partition(["one"], ["serf"])
    async with lab(one, serf, stranger, passive=frozenset({"serf"}), strangers=frozenset({"stranger"})) as tell:
        tell(apart)
        for other in (serf, stranger):
            # as real ones do: with no idea of any faults
            Transport.send_packet(other.transport, b"who cares", one.address)
        await until(lambda: one.counters.packets_in == 2)
        tell(Conditions())
        Transport.send_packet(serf.transport, b"healed", one.address)
        await until(lambda: one.data == [b"healed"])


async def test_a_packet_of_one_who_applies_faults_is_not_judged_twice() -> None:
    one, two = Member("one"), Member("two")
    async with lab(one, two) as tell:
        tell(conditions(loss=1.0))
        Transport.send_packet(one.transport, b"judged already", two.address)
        await until(lambda: two.data == [b"judged already"])


async def test_a_relay_judges_what_goes_to_passive_members_alone() -> None:
    relay, one, serf = Member("front", relays=True), Member("one"), Member("serf")
    async with lab(relay, one, serf, passive=frozenset({"front", "serf"})) as tell:
        tell(conditions(loss=1.0, to=frozenset({"one", "serf"})))
        relay.transport.send_packet(b"x", serf.address)
        relay.transport.send_packet(b"x", one.address)
        await until(lambda: one.counters.packets_in == 1)
        assert (one.got, serf.got) == ([], [])


async def test_a_slow_member_handles_packets_and_streams_late() -> None:
    one, two = Member("one"), Member("two")
    async with lab(one, two) as tell:
        slow = Conditions()
        slow.set_slow("two", 0.2)
        tell(slow)
        began = trio.current_time()
        one.transport.send_packet(b"late", two.address)
        await until(lambda: two.data == [b"late"])
        assert trio.current_time() - began >= 0.2
        assert await echoed(one, two) >= 0.2


async def test_a_cut_of_packets_leaves_streams_alone_and_the_reverse() -> None:
    one, two = Member("one"), Member("two")
    async with lab(one, two) as tell:
        tell(conditions(loss=1.0, transport="packet"))
        one.transport.send_packet(b"lost", two.address)
        await echoed(one, two)
        tell(conditions(loss=1.0, transport="stream"))
        one.transport.send_packet(b"arrives", two.address)
        await until(lambda: two.data == [b"arrives"])
        with trio.move_on_after(0.3) as patience:
            await one.transport.dial(two.address)
        assert patience.cancelled_caught


@pytest.mark.parametrize("way", [("one", "two"), ("two", "one")])
async def test_a_stream_that_gets_nothing_across_goes_on_when_the_way_is_free_again(way: tuple[str, str]) -> None:
    one, two = Member("one"), Member("two")
    async with lab(one, two) as tell:
        cut = Conditions()
        cut.cut(*way)
        tell(cut)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(echoed, one, two)
            with trio.move_on_after(0.1):
                await trio.sleep_forever()
            tell(Conditions())


async def test_a_stream_is_late_by_every_crossing() -> None:
    one, two = Member("one"), Member("two")
    async with lab(one, two) as tell:
        tell(conditions(delay=0.1))
        # there and back to connect, there and back with the data
        assert await echoed(one, two) >= 0.4


async def test_what_came_together_is_late_together(autojump_clock: trio.testing.MockClock) -> None:
    surroundings = Surroundings("one")
    surroundings.become(conditions(delay=1.0), {}, frozenset())
    near, far = trio.testing.memory_stream_pair()
    stream = FaultyStream(near, surroundings, "two", dialled=True)  # type: ignore[arg-type]  # no socket
    await far.send_all(bytes(10 * 65_536))
    began = trio.current_time()
    got = [len(await stream.receive_some(65_536)) for _ in range(10)]
    assert sum(got) == 10 * 65_536
    assert trio.current_time() - began == 1.0


async def test_a_spoiled_stream_is_reset_and_both_ends_notice() -> None:
    one, two = Member("one"), Member("two")
    async with lab(one, two) as tell:
        async with await one.transport.dial(two.address) as stream:
            await until(lambda: two.counters.streams_broken == 0)
            tell(conditions(corrupt=1.0))
            with pytest.raises(trio.BrokenResourceError) as broken:
                await stream.send_all(b"x")
            assert isinstance(broken.value.__cause__, ConnectionResetError)
        with pytest.raises(ConnectionResetError):
            await one.transport.dial(two.address)
        await until(lambda: two.counters.streams_broken >= 1)


async def test_a_stream_that_a_passive_member_dialled_is_judged_by_who_accepts_it() -> None:
    one = Member("one", owner=lambda source, here: "serf")
    serf = Member("serf")
    async with lab(one, serf, passive=frozenset({"serf"})) as tell:
        tell(conditions(delay=0.1))
        with trio.fail_after(PATIENCE):
            began = trio.current_time()
            async with await Transport.dial(serf.transport, one.address) as stream:
                await stream.send_all(b"x")
                assert await stream.receive_some(1) == b"x"
            assert trio.current_time() - began >= 0.2


async def test_no_more_packets_are_held_back_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moot.gossip.net.faulty.LATE_MAX", 250)
    one, two = Member("one"), Member("two")
    async with lab(one, two) as tell:
        tell(conditions(delay=0.05))
        for _ in range(3):
            one.transport.send_packet(bytes(100), two.address)
        await until(lambda: len(two.got) == 2)
        assert one.counters.dropped_out == 1


# the clock


async def test_timers_go_by_a_clock_that_is_put_wrong(autojump_clock: trio.testing.MockClock) -> None:
    lab = Surroundings("me")
    timers = Timers(lab)
    lab.changed = timers.reckon
    fired: list[tuple[float, int]] = []
    start = trio.current_time()
    for token in (1, 2, 3, 4):
        timers.add(lab.now() + 10 * token, Timer.PROBE, token)

    def put(clock: Clock) -> None:
        found = Conditions()
        found.set_clock("me", clock)
        lab.become(found, {}, frozenset())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            timers.run, lambda kind, token: fired.append((round(trio.current_time() - start, 6), token)), lambda: None
        )
        await trio.sleep(1)
        put(Clock(offset=10.0))
        await trio.sleep(1)
        assert fired == [(1, 1)]
        put(Clock(offset=10.0, drift=1.0))  # shows 12 now, and 20 in four seconds
        await trio.sleep(5)
        assert fired[1:] == [(6, 2)]
        put(TRUE_CLOCK)  # shows 22, from now on as it should
        await trio.sleep(20)
        nursery.cancel_scope.cancel()
    assert fired[2:] == [(15, 3), (25, 4)]


# whole nodes


async def test_a_pool_is_parted_and_healed() -> None:
    labs = [Surroundings(f"n{number}", seed=number) for number in range(2)]
    async with open_pool(*(settings_of(lab.me, surroundings=lab) for lab in labs)) as pool:
        places = {name: [node.address] for name, node in pool.nodes.items()}
        await pool.join_all()
        await until(pool.converged)
        apart = Conditions()
        apart.partition(["n0"], ["n1"])
        for lab in labs:
            lab.become(apart, places, frozenset())
        await until(lambda: pool.view("n0") == {"n0": "alive", "n1": "failed"})
        await until(lambda: pool.view("n1") == {"n0": "failed", "n1": "alive"})
        for lab in labs:
            lab.become(Conditions(), places, frozenset())
        await until(pool.converged)


async def test_a_full_disk_is_told_and_when_there_is_room_again_the_snapshot_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moot.gossip.net.snapshotter.COMPACT_INTERVAL", 0.1)
    lab = Surroundings("n0")
    full = Conditions()
    full.set_disk_full("n0")
    lab.become(full, {}, frozenset())
    path = tmp_path / "snapshot"
    settings = dataclasses.replace(settings_of("n0", surroundings=lab), snapshot=path)
    async with open_pool(settings, settings_of("n1")) as pool:
        with pool["n0"].subscribe() as events:
            await pool.join_all()
            with trio.fail_after(PATIENCE):
                async for event in events:
                    if isinstance(event, SnapshotNote):
                        break
        assert isinstance(event, SnapshotNote)
        assert "No space left on device" in event.text
        assert b"n1" not in path.read_bytes()
        lab.become(Conditions(), {}, frozenset())
        await until(lambda: b"n1" in path.read_bytes())


async def test_a_frozen_member_neither_hears_nor_acts_and_then_does_at_once_what_it_missed() -> None:
    held = Surroundings("a")
    async with open_pool(settings_of("a", surroundings=held), settings_of("b")) as pool:
        await pool.join_all()
        a, b = pool["a"], pool["b"]
        await until(lambda: a.counters.probes > 1)
        held.freeze()
        held.freeze()
        before = (a.counters.packets_in, a.counters.packets_out, a.counters.probes, a.counters.streams_out)
        await until(lambda: status_of(b, "a") == "failed")
        assert (a.counters.packets_in, a.counters.packets_out, a.counters.probes, a.counters.streams_out) == before
        held.thaw()
        await until(pool.converged)
        assert a.serf.swim.me.incarnation > 1


def status_of(node: Node, name: str) -> str:
    found = node.member(name)
    return found.status.value if found is not None else ""
