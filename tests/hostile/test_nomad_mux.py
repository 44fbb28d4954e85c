"""Multiplexed connections to the RPC port: peers that stall, flood, break frames, or open streams without end."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio

from moot.agent.nomad.framing import EMPTY, FrameReader, Head, Mode, encode_request
from moot.agent.nomad.server import RpcLimits
from tests.support import yamux
from tests.support.nomad import Server, World, world
from tests.support.pool import until
from tests.support.yamux import Frame, data, frame, frames, opening

CALL = encode_request("Status.Ping", 1, EMPTY)
BIG = encode_request("Status.Members", 2, EMPTY)
HASTY = RpcLimits(idle_timeout=0.5, request_timeout=0.3, send_timeout=0.3, streams_max=4)


class Peer:
    """The other end of a multiplexed connection."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.raw = b""
        self.over = False

    @property
    def heard(self) -> list[Frame]:
        return frames(self.raw)

    async def send(self, *pieces: bytes) -> None:
        await self.stream.send_all(b"".join(pieces))

    async def read(self) -> None:
        """For as long as the server says something."""
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while piece := await self.stream.receive_some(65_536):
                self.raw += piece
        self.over = True

    def answers(self, stream: int) -> list[Head]:
        """Heads of the answers on one stream."""
        reader, found = FrameReader(body_max=2**30, values_max=2**30), []
        reader.feed(b"".join(each.payload for each in self.heard if each.stream == stream))
        while (taken := reader.take()) is not None:
            found.append(taken[0])
        return found

    def has(self, kind: int, flags: int, stream: int) -> bool:
        """Whether such a frame came."""
        return any((each.kind, each.flags, each.stream) == (kind, flags, stream) for each in self.heard)


@asynccontextmanager
async def peer(
    limits: RpcLimits | None = None, mode: int = Mode.MULTIPLEX, *, reads: bool = True
) -> AsyncIterator[tuple[World, Server, Peer]]:
    """A connection to a server that in the end must still answer others."""
    async with world() as here:
        server = await here.start("s1", "127.46.5.1", limits=limits)
        host, _, port = server.address.rpartition(":")
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            other = Peer(stream)
            await other.send(bytes([mode]))
            if reads:
                here.nursery.start_soon(other.read)
            yield here, server, other
        await here.dialer.ping(server.address)


async def test_streams_are_served_side_by_side() -> None:
    async with peer() as (_, _, other):
        await other.send(opening(1), opening(3), data(1, CALL[:5]), data(3, CALL), data(1, CALL[5:]))
        await until(lambda: other.answers(1) == other.answers(3) == [Head("Status.Ping", 1)])
        await other.send(data(3, CALL), data(3, b"", yamux.FIN))
        await until(lambda: other.has(yamux.WINDOW_UPDATE, yamux.FIN, 3))
        assert len(other.answers(3)) == 2


async def test_in_the_second_version_each_stream_begins_with_its_mode() -> None:
    async with peer(mode=Mode.MULTIPLEX_V2) as (_, _, other):
        await other.send(opening(1), data(1, bytes([Mode.RPC]) + CALL))
        await until(lambda: other.answers(1) == [Head("Status.Ping", 1)])
        await other.send(opening(3), data(3, bytes([Mode.STREAMING]) + CALL))
        await until(lambda: other.has(yamux.WINDOW_UPDATE, yamux.RST, 3))
        await other.send(data(1, CALL))
        await until(lambda: len(other.answers(1)) == 2)


async def test_streams_beyond_the_limit_are_reset_and_the_others_go_on() -> None:
    async with peer(HASTY) as (_, _, other):
        await other.send(*(opening(number) for number in range(1, 21, 2)))
        await until(lambda: all(other.has(yamux.WINDOW_UPDATE, yamux.RST, number) for number in range(9, 21, 2)))
        await other.send(data(1, CALL))
        await until(lambda: other.answers(1) == [Head("Status.Ping", 1)])
        assert not other.over


async def test_a_request_that_stalls_costs_its_stream() -> None:
    async with peer(HASTY) as (_, _, other):
        await other.send(opening(1), opening(3), data(1, CALL[:5]))
        with trio.move_on_after(0.35):
            while True:
                await other.send(data(3, CALL))
                await trio.sleep(0.05)
        await until(lambda: other.has(yamux.WINDOW_UPDATE, yamux.RST, 1))
        assert other.answers(3)
        assert not other.over


async def test_who_gives_no_room_for_an_answer_loses_the_stream() -> None:
    async with peer(replace(HASTY, idle_timeout=10.0)) as (here, _, other):
        for n in range(3000):
            here.pool.add(f"x{n}.global", "127.46.5.9", 4647)
        await other.send(opening(1), opening(3), data(1, BIG))
        for _ in range(10):
            await other.send(data(3, CALL))
            await trio.sleep(0.05)
        await until(lambda: other.has(yamux.WINDOW_UPDATE, yamux.RST, 1))
        assert len(other.answers(3)) == 10
        assert sum(len(each.payload) for each in other.heard if each.stream == 1) == 256 * 1024


async def test_who_gives_room_gets_the_whole_answer() -> None:
    async with peer() as (here, _, other):
        for n in range(3000):
            here.pool.add(f"x{n}.global", "127.46.5.9", 4647)
        await other.send(opening(1), data(1, BIG))
        await until(lambda: sum(len(each.payload) for each in other.heard) == 256 * 1024)
        await other.send(frame(yamux.WINDOW_UPDATE, 0, 1, 2**20))
        await until(lambda: other.answers(1) == [Head("Status.Members", 2)])


async def test_who_does_not_read_at_all_is_hung_up_on() -> None:
    async with peer(HASTY, reads=False) as (here, server, other):
        for n in range(3000):
            here.pool.add(f"x{n}.global", "127.46.5.9", 4647)
        with contextlib.suppress(trio.BrokenResourceError), trio.move_on_after(10):
            for number in range(1, 100_000, 2):
                await other.send(
                    opening(number),
                    frame(yamux.WINDOW_UPDATE, 0, number, 2**24),
                    data(number, BIG * 20),
                    data(number, b""),
                )
                if not server.rpc.open_count:
                    break
        await until(lambda: server.rpc.open_count == 0)


@pytest.mark.parametrize(
    "bad",
    [
        b"\x82" * 12,
        frame(9, 0, 1, 0),
        opening(2),
        opening(1) + opening(1),
        opening(1) + frame(yamux.DATA, 0, 1, 2**32 - 1),
        opening(1) + data(1, b"\xc1"),
        opening(1) + data(1, b"\xdd\xff\xff\xff\xff"),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
async def test_junk_ends_the_connection(bad: bytes) -> None:
    async with peer() as (_, server, other):
        await other.send(bad)
        await until(lambda: other.over)
        await until(lambda: server.rpc.open_count == 0)
        assert any("hung up on a client" in line for line in server.log.lines)


async def test_a_frame_that_breaks_the_rules_is_answered_with_a_goodbye() -> None:
    async with peer() as (_, _, other):
        await other.send(opening(2))
        await until(lambda: other.over)
        assert other.heard[-1] == Frame(yamux.GO_AWAY, 0, 0, 1)


async def test_a_flood_of_pings_and_streams_leaves_nothing_behind() -> None:
    async with peer() as (_, server, other):
        for number in range(1, 4001, 2):
            await other.send(opening(number), data(number, b"", yamux.FIN), frame(yamux.PING, yamux.SYN, 0, number))
        await until(lambda: sum(each.kind == yamux.PING for each in other.heard) == 2000)
        assert all(each.flags == yamux.ACK for each in other.heard if each.kind == yamux.PING)
        await other.send(opening(9001), data(9001, CALL))
        await until(lambda: other.answers(9001) == [Head("Status.Ping", 1)])
        assert server.rpc.open_count == 1


async def test_pings_keep_a_connection_and_silence_ends_it() -> None:
    async with peer(HASTY) as (_, _, other):
        began = trio.current_time()
        while trio.current_time() - began < 1.0:
            await other.send(frame(yamux.PING, yamux.SYN, 0, 1))
            await trio.sleep(0.1)
        assert not other.over
        await until(lambda: other.over)


async def test_a_server_that_stops_hangs_up_on_all() -> None:
    async with peer() as (here, server, other):
        await other.send(opening(1), data(1, CALL))
        await until(lambda: bool(other.answers(1)))
        await server.rpc.stop()
        await until(lambda: other.over)
        port = int(server.address.rpartition(":")[2])
        await here.start("s1", "127.46.5.1", port=port)
