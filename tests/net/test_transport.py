"""Conformance of Transport: what a node expects of its sockets."""

import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from moot.gossip.counters import Counters
from moot.gossip.errors import ConfigError
from moot.gossip.net.faulty import FaultyTransport
from moot.gossip.net.transport import PACKET_MAX, ByteStream, Transport, peer_address, to_address
from moot.gossip.record import Address
from tests.support.pool import PATIENCE

HOSTS = ["127.41.1.1", "::1"]


@pytest.fixture(autouse=True, params=[Transport, FaultyTransport], ids=["plain", "faulty"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is said here holds for both, the one for the lab as long as there are no faults."""
    monkeypatch.setattr(sys.modules[__name__], "Transport", request.param)


class End:
    """A transport that keeps what it receives."""

    def __init__(self, host: str) -> None:
        self.counters = Counters()
        self.transport = Transport.bind(host, 0, self.counters)
        self.send, self.packets = trio.open_memory_channel[tuple[bytes, Address]](10_000)

    async def receive(self) -> tuple[bytes, Address]:
        with trio.fail_after(PATIENCE):
            return await self.packets.receive()


@asynccontextmanager
async def ends(*hosts: str) -> AsyncIterator[list[End]]:
    """Transports that receive packets until the block ends."""
    opened = [End(host) for host in hosts]
    async with trio.open_nursery() as nursery:
        for end in opened:
            nursery.start_soon(
                end.transport.receive_packets, lambda data, source, end=end: end.send.send_nowait((data, source))
            )
        yield opened
        nursery.cancel_scope.cancel()
    for end in opened:
        end.transport.close()


@pytest.mark.parametrize("host", HOSTS)
async def test_packets_arrive_in_order_from_the_bound_address(host: str) -> None:
    async with ends(host, host) as (one, two):
        for number in range(100):
            one.transport.send_packet(b"%d" % number, two.transport.address)
        assert [await two.receive() for _ in range(100)] == [
            (b"%d" % number, one.transport.address) for number in range(100)
        ]
        assert one.counters.packets_out == two.counters.packets_in == 100
        assert one.counters.bytes_out == two.counters.bytes_in == 190


@pytest.mark.parametrize("host", HOSTS)
async def test_an_answer_to_the_source_of_a_packet_reaches_its_sender(host: str) -> None:
    async with ends(host, host) as (one, two):
        one.transport.send_packet(b"there", two.transport.address)
        _, source = await two.receive()
        two.transport.send_packet(b"and back", source)
        assert await one.receive() == (b"and back", two.transport.address)


async def test_empty_datagrams_are_dropped() -> None:
    async with ends(HOSTS[0], HOSTS[0]) as (one, two):
        one.transport.send_packet(b"", two.transport.address)
        one.transport.send_packet(b"full", two.transport.address)
        assert (await two.receive())[0] == b"full"


async def test_the_longest_datagram_passes_and_a_longer_one_is_counted() -> None:
    async with ends(HOSTS[0], HOSTS[0]) as (one, two):
        longest = bytes(65_507)
        one.transport.send_packet(longest + b"x", two.transport.address)
        one.transport.send_packet(longest, two.transport.address)
        assert (await two.receive())[0] == longest
        assert one.counters.unsent == {"EMSGSIZE": 1}
        assert len(longest) < PACKET_MAX


async def test_what_leads_nowhere_is_counted_and_nothing_else() -> None:
    async with ends(HOSTS[0], HOSTS[0]) as (one, two):
        one.transport.send_packet(b"x", Address.parse("::1", 7946))
        one.transport.send_packet(b"x", Address(b"odd", 7946))
        assert one.counters.unsent == {"EAFNOSUPPORT": 2}
        one.transport.send_packet(b"x", two.transport.address)
        assert (await two.receive())[0] == b"x"


async def test_a_mapped_address_reaches_its_ipv4_host() -> None:
    async with ends(HOSTS[0], HOSTS[0]) as (one, two):
        ip, port = two.transport.address
        one.transport.send_packet(b"mapped", Address(bytes(10) + b"\xff\xff" + ip, port))
        assert (await two.receive())[0] == b"mapped"


async def test_the_ipv6_wildcard_hears_and_reaches_both_families() -> None:
    async with ends("::", HOSTS[0], "::1") as (both, four, six):
        port = both.transport.address.port
        for end, host in ((four, "127.41.1.2"), (six, "::1")):
            end.transport.send_packet(b"hello", Address.parse(host, port))
            data, source = await both.receive()
            assert (data, source) == (b"hello", end.transport.address)
            both.transport.send_packet(b"you too", source)
            assert (await end.receive())[0] == b"you too"


async def test_what_is_here_already_can_be_taken_in_without_waiting() -> None:
    transport = Transport.bind(HOSTS[0], 0, Counters())
    got: list[bytes] = []
    for number in range(5):
        transport.send_packet(b"%d" % number, transport.address)
    transport.drain(lambda data, source: got.append(data), 3, 60)
    assert got == [b"0", b"1", b"2"]
    transport.drain(lambda data, source: got.append(data), 3, 60)
    assert got == [b"0", b"1", b"2", b"3", b"4"]
    transport.close()


async def test_packets_that_cost_much_are_taken_in_fewer_at_a_time(mock_clock: trio.testing.MockClock) -> None:
    transport = Transport.bind(HOSTS[0], 0, Counters())
    got: list[bytes] = []

    def handle(data: bytes, source: Address) -> None:
        got.append(data)
        mock_clock.jump(0.002)

    for number in range(20):
        transport.send_packet(b"%d" % number, transport.address)
    transport.drain(handle, 64, 0.005)
    assert len(got) == 3
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.receive_packets, handle)
        await trio.lowlevel.wait_writable(transport._udp)
        assert len(got) < 10
        nursery.cancel_scope.cancel()
    transport.close()


async def test_a_flood_leaves_room_for_other_tasks() -> None:
    async with ends(HOSTS[0], HOSTS[0]) as (one, two):
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        async with trio.open_nursery() as nursery:
            third = Transport.bind(HOSTS[0], 0, Counters())
            # every packet begets one: the socket never runs empty
            nursery.start_soon(third.receive_packets, lambda data, source: third.send_packet(data, source))
            for _ in range(50):
                third.send_packet(b"x", third.address)
            nursery.start_soon(other)
            with trio.move_on_after(0.2):
                await trio.sleep_forever()
            nursery.cancel_scope.cancel()
        third.close()
        assert turns >= 10
        one.transport.send_packet(b"still here", two.transport.address)
        assert (await two.receive())[0] == b"still here"


@pytest.mark.parametrize("host", HOSTS)
async def test_streams_connect_to_the_port_that_packets_go_to(host: str) -> None:
    peers: list[Address | None] = []
    async with ends(host) as (end,), trio.open_nursery() as nursery:

        async def serve(stream: ByteStream) -> None:
            async with stream:
                peers.append(peer_address(stream))
                await stream.send_all(await stream.receive_some(100))

        nursery.start_soon(end.transport.accept_streams, serve, nursery)
        for _ in range(3):
            async with await end.transport.dial(end.transport.address) as stream:
                dialled_from = to_address(*stream.socket.getsockname()[:2])
                await stream.send_all(b"echo")
                assert await stream.receive_some(100) == b"echo"
                assert peers[-1] == dialled_from
        nursery.cancel_scope.cancel()


async def test_a_dial_that_nobody_takes_is_an_os_error() -> None:
    async with ends(HOSTS[0]) as (end,):
        with pytest.raises(ConnectionRefusedError):
            await end.transport.dial(Address.parse("127.41.1.9", end.transport.address.port))


def occupy(kind: socket.SocketKind) -> tuple[socket.socket, int]:
    sock = socket.socket(socket.AF_INET, kind)
    sock.bind((HOSTS[0], 0))
    return sock, sock.getsockname()[1]


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["tcp", "udp"])
async def test_a_port_that_is_taken_is_named(kind: socket.SocketKind) -> None:
    sock, port = occupy(kind)
    with sock, pytest.raises(ConfigError, match=rf"cannot listen on {HOSTS[0]}:{port}: address already in use"):
        Transport.bind(HOSTS[0], port, Counters())


@pytest.mark.parametrize(("host", "port"), [("localhost", 0), ("", 0), ("127.0.0.1", 70_000), ("1.2.3", 0)])
async def test_what_is_no_address_is_refused(host: str, port: int) -> None:
    with pytest.raises(ConfigError):
        Transport.bind(host, port, Counters())


async def test_any_free_port_is_found_among_many_taken_ones() -> None:
    taken = [occupy(socket.SOCK_DGRAM)[0] for _ in range(200)]
    opened = [Transport.bind(HOSTS[0], 0, Counters()) for _ in range(50)]
    assert len({transport.address.port for transport in opened}) == 50
    for transport in opened:
        transport.close()
    for sock in taken:
        sock.close()
