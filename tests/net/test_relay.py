"""The relay in front of an agent that knows nothing of faults; here the agent is a plain transport."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from moot.agent import relay
from moot.agent.relay import Relay
from moot.gossip.actions import parse
from moot.gossip.afflict import afflict
from moot.gossip.counters import Counters
from moot.gossip.faults import Conditions
from moot.gossip.net.faulty import FaultyTransport, Surroundings
from moot.gossip.net.transport import ByteStream, Transport
from moot.gossip.record import Address
from tests.support.pool import PATIENCE, until

HOST = "127.41.4.1"
NAMES = ["moot", "serf", "other"]


class End:
    """Keeps what it gets."""

    def __init__(self, name: str, kind: type[Transport] = Transport) -> None:
        self.name = name
        self.transport = kind.bind(HOST, 0, Counters())
        self.got: list[tuple[bytes, Address]] = []

    @property
    def address(self) -> Address:
        return self.transport.address


class Stage:
    """`moot` applies faults, `serf` behind its relay and `other` apply none."""

    def __init__(self) -> None:
        self.dialler: str | None = None
        """Whom the relay is to think a connection comes from."""
        self.front = FaultyTransport.bind(HOST, 0, Counters())
        self.front.surroundings = Surroundings("serf", relays=True, owner=lambda source, here: self.dialler, seed=1)
        self.moot, self.serf, self.other = End("moot", FaultyTransport), End("serf"), End("other")
        assert isinstance(self.moot.transport, FaultyTransport)
        self.moot.transport.surroundings = Surroundings("moot", seed=1)
        self.labs = [self.front.surroundings, self.moot.transport.surroundings]
        self.do()

    def do(self, *words: str) -> None:
        """Let the world be as after these actions."""
        conditions = Conditions()
        for each in words:
            afflict(conditions, parse(each), NAMES)
        places = {end.name: [end.address] for end in (self.moot, self.serf, self.other)}
        places["serf"].append(self.front.address)
        for lab in self.labs:
            lab.become(conditions, places, frozenset({"serf", "other"}))

    async def ask(self) -> bytes:
        """A question of `other` to the agent by TCP."""
        with trio.fail_after(PATIENCE):
            async with await self.other.transport.dial(self.front.address) as stream:
                await stream.send_all(b"who?")
                return bytes(await stream.receive_some(100))


async def answer(stream: ByteStream) -> None:
    async with stream:
        await stream.send_all(b"me, " + await stream.receive_some(100))


@asynccontextmanager
async def staged(*, gone: bool = False) -> AsyncIterator[Stage]:
    """All at work; with `gone` there is no agent where the relay looks for it."""
    found = Stage()
    ends = [found.moot, found.serf, found.other]
    async with trio.open_nursery() as nursery:
        for end in ends:
            nursery.start_soon(
                end.transport.receive_packets, lambda data, source, end=end: end.got.append((data, source))
            )
        nursery.start_soon(found.serf.transport.accept_streams, answer, nursery)
        address = Address.parse("127.41.4.2", found.serf.address.port) if gone else found.serf.address
        await nursery.start(Relay(found.front, address).run)
        yield found
        nursery.cancel_scope.cancel()
    for transport in (found.front, *(end.transport for end in ends)):
        transport.close()


async def test_packets_reach_the_agent_and_its_answers_their_askers() -> None:
    async with staged() as stage:
        for end in (stage.moot, stage.other):
            end.transport.send_packet(b"ping of " + end.name.encode(), stage.front.address)
        await until(lambda: len(stage.serf.got) == 2)
        for data, source in stage.serf.got:
            stage.serf.transport.send_packet(b"ack for " + data, source)
        await until(lambda: stage.moot.got == [(b"ack for ping of moot", stage.front.address)])
        await until(lambda: stage.other.got == [(b"ack for ping of other", stage.front.address)])


async def test_the_way_between_two_that_apply_no_faults_is_cut_by_the_relay() -> None:
    async with staged() as stage:
        stage.do("cut other>serf")
        stage.other.transport.send_packet(b"lost", stage.front.address)
        stage.moot.transport.send_packet(b"passes", stage.front.address)
        await until(lambda: [data for data, _ in stage.serf.got] == [b"passes"])
        stage.do()
        stage.other.transport.send_packet(b"route", stage.front.address)
        await until(lambda: len(stage.serf.got) == 2)
        stage.do("cut serf>other")
        back = stage.serf.got[-1][1]
        stage.serf.transport.send_packet(b"lost", back)
        await until(lambda: stage.front._counters.packets_in == 3)
        assert not stage.other.got


async def test_a_slow_agent_hears_late() -> None:
    async with staged() as stage:
        stage.do("slow serf 200ms")
        began = trio.current_time()
        stage.moot.transport.send_packet(b"ping", stage.front.address)
        await until(lambda: len(stage.serf.got) == 1)
        assert trio.current_time() - began >= 0.2


@pytest.mark.parametrize("dialler", ["other", None], ids=["passive", "active"])
async def test_streams_are_judged_when_nobody_else_does(dialler: str | None) -> None:
    async with staged() as stage:
        stage.dialler = dialler
        assert await stage.ask() == b"me, who?"
        stage.do("delay 100ms other<>serf tcp")
        began = trio.current_time()
        assert await stage.ask() == b"me, who?"
        assert (trio.current_time() - began >= 0.2) is (dialler is not None)


async def test_a_stream_to_an_agent_that_is_gone_ends_at_once() -> None:
    async with staged(gone=True) as stage:
        stage.moot.transport.send_packet(b"lost", stage.front.address)
        with trio.fail_after(PATIENCE):
            async with await stage.other.transport.dial(stage.front.address) as stream:
                with contextlib.suppress(trio.BrokenResourceError):
                    assert await stream.receive_some(10) == b""


async def test_only_so_many_peers_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "ROUTES_MAX", 1)
    async with staged() as stage:
        stage.moot.transport.send_packet(b"1", stage.front.address)
        await until(lambda: len(stage.serf.got) == 1)
        stage.other.transport.send_packet(b"2", stage.front.address)
        await until(lambda: len(stage.serf.got) == 2)
        stage.serf.transport.send_packet(b"nobody", stage.serf.got[0][1])
        stage.serf.transport.send_packet(b"other", stage.serf.got[1][1])
        await until(lambda: [data for data, _ in stage.other.got] == [b"other"])
        assert not stage.moot.got
        stage.moot.transport.send_packet(b"3", stage.front.address)
        await until(lambda: len(stage.serf.got) == 3)
