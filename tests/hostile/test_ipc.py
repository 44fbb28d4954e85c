"""Bad clients of the RPC: bytes that are nothing, lengths that lie, clients that are slow, many, or gone."""

import itertools
import random
import socket
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgpack
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from moot.agent.rpc import protocol
from moot.agent.rpc.contract import Limits
from moot.agent.rpc.protocol import BODIES, encode_request
from moot.agent.rpc.scanner import OBJECT_MAX, Scanner
from moot.agent.rpc.server import RpcServer
from moot.agent.rpc.session import Session
from moot.gossip.errors import WireError
from moot.gossip.serf.events import UserEventReceived
from moot.gossip.serf.messages import UserEvent
from tests.support.pool import until
from tests.support.rpc import Caller, HeardLog, ScriptedBackend, session, unpack_all

HELLO = encode_request("handshake", 1, protocol.Handshake())
TINY = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
FIELDS = [
    "Name",
    "Payload",
    "Node",
    "Tags",
    "Type",
    "LogLevel",
    "Stop",
    "Key",
    "ID",
    "Existing",
    "FilterTags",
    "Timeout",
]
STRANGE_REQUESTS = st.tuples(
    st.fixed_dictionaries(
        {"Command": st.sampled_from([*BODIES, "frobnicate"]) | TINY, "Seq": TINY | st.integers(0, 9)}
    ),
    st.dictionaries(st.sampled_from(FIELDS), TINY, max_size=6),
).map(lambda parts: b"".join(map(msgpack.packb, parts)))


@given(st.binary(max_size=400), st.lists(st.integers(1, 50), max_size=10))
def test_any_bytes_are_objects_or_one_error_however_they_are_cut(data: bytes, cuts: list[int]) -> None:
    def scan(sizes: list[int]) -> tuple[list[bytes], bool]:
        scanner, rest, taken = Scanner(), data, []
        try:
            while rest:
                size = sizes.pop() if sizes else len(rest)
                scanner.feed(rest[:size])
                rest = rest[size:]
                while (found := scanner.take()) is not None:
                    taken.append(found)
        except WireError:
            return taken, True
        return taken, False

    assert scan([]) == scan(cuts)


@given(st.lists(st.binary(max_size=30) | STRANGE_REQUESTS, max_size=6), st.booleans())
def test_whatever_a_client_sends_it_gets_headers_and_bodies_and_the_session_ends_with_it(
    junk: list[bytes], shaken: bool
) -> None:
    async def play() -> bytes:
        async with session(ScriptedBackend(), shaken=False) as caller:
            await caller.send(HELLO if shaken else b"", *junk)
            assert isinstance(caller.stream, trio.StapledStream)
            await caller.stream.send_eof()
            received = b""
            while data := await caller.stream.receive_some():
                received += data
            return received

    received = trio.run(play, clock=trio.testing.MockClock(autojump_threshold=0))
    assert all(isinstance(found, dict) for found in unpack_all(received))


@pytest.mark.parametrize(
    "bomb",
    [
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff" + bytes(1000),
        b"\xdc\x04\x00" * 10_000,
        b"\x91" * 100_000,
        b"\x81\xa7Command" * 10_000,
        b"\xc6\x7f\xff\xff\xff" + bytes(OBJECT_MAX),
    ],
    ids=["array", "map", "bytes", "text", "arrays in arrays", "depth", "maps in maps", "long"],
)
@pytest.mark.parametrize("shaken", [False, True])
async def test_a_length_that_lies_costs_next_to_nothing_and_ends_the_session(bomb: bytes, shaken: bool) -> None:
    async with session(ScriptedBackend(), shaken=shaken) as caller:
        tracemalloc.start()
        try:
            with trio.fail_after(20):
                await caller.send(bomb)
                assert await caller.hung_up()
            assert tracemalloc.get_traced_memory()[1] < 2 * 1024 * 1024
        finally:
            tracemalloc.stop()


async def test_an_unfinished_request_is_not_waited_for_for_ever(autojump_clock: trio.testing.MockClock) -> None:
    limits = Limits()
    async with session(ScriptedBackend(), limits=limits) as caller:
        begun = trio.current_time()
        request = encode_request("event", 2, protocol.Event("x" * 200))

        async def trickle() -> None:
            for octet in itertools.cycle(request[:100]):
                await caller.send(bytes([octet]))
                await trio.sleep(1)

        with pytest.raises(trio.BrokenResourceError):
            await trickle()
        assert trio.current_time() - begun <= 2 * limits.request_timeout + limits.linger_timeout + 1


async def test_who_says_nothing_is_hung_up_on_but_not_after_the_handshake(
    autojump_clock: trio.testing.MockClock,
) -> None:
    limits = Limits()
    async with session(ScriptedBackend(), limits=limits, shaken=False) as caller:
        assert await caller.hung_up()
        assert trio.current_time() <= limits.handshake_timeout + limits.linger_timeout + 1
    async with session(ScriptedBackend(), limits=limits) as caller:
        await trio.sleep(24 * 3600)
        assert await caller.ask("stats", 2) == {"Seq": 2, "Error": ""}


async def test_a_client_that_does_not_read_loses_events_and_later_the_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    backend, log, limits = ScriptedBackend(), HeardLog(), Limits()
    ours, theirs = trio.testing.lockstep_stream_pair()
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            made = Session(theirs, backend, auth_key="", limits=limits, log=log, about="slow")
            await made.run()
            await theirs.aclose()

        nursery.start_soon(serve)
        caller = Caller(ours)
        await caller.send(HELLO)
        assert await caller.next() == {"Seq": 1, "Error": ""}
        assert await caller.ask("stream", 2, protocol.Stream()) == {"Seq": 2, "Error": ""}
        ((_, feed),) = backend.feeds

        async def flood() -> None:
            for number in range(2000):
                feed.send_nowait(UserEventReceived(UserEvent(number, "e")))
                await trio.lowlevel.checkpoint()

        with pytest.raises(trio.WouldBlock):
            await flood()
        await trio.sleep(limits.send_timeout + 5)
        assert backend.feeds == []
        assert "does not read" in log.lines[-1]


async def test_streams_and_queries_are_limited_and_the_session_goes_on() -> None:
    backend = ScriptedBackend()
    backend.hold_queries = True
    limits = Limits()
    full = "too many streams and queries are open on this connection"
    async with session(backend) as caller:
        for seq in range(2000):
            answer = await caller.ask("stream", seq, protocol.Stream())
            assert answer == {"Seq": seq, "Error": "" if seq < limits.streams_max else full}
        assert await caller.ask("query", 5000, protocol.Query("q")) == {"Seq": 5000, "Error": full}
        assert len(backend.feeds) == limits.streams_max
        assert await caller.ask("stop", 5001, protocol.Stop(3)) == {"Seq": 5001, "Error": ""}
        assert await caller.ask("query", 5002, protocol.Query("q")) == {"Seq": 5002, "Error": ""}
        assert await caller.ask("query", 5003, protocol.Query("q")) == {"Seq": 5003, "Error": full}
    assert backend.feeds == []


async def test_streams_can_be_opened_and_stopped_without_end() -> None:
    backend = ScriptedBackend()
    async with session(backend) as caller:
        for number in range(2000):
            assert await caller.ask("stream", 2, protocol.Stream()) == {"Seq": 2, "Error": ""}
            assert await caller.ask("stop", 3, protocol.Stop(2)) == {"Seq": 3, "Error": ""}
            assert len(backend.feeds) == 0, number


async def test_the_largest_seq_is_repeated_and_a_larger_one_ends_the_session() -> None:
    async with session(ScriptedBackend()) as caller:
        assert await caller.ask("stats", 2**64 - 1) == {"Seq": 2**64 - 1, "Error": ""}
        assert await caller.next() == {}
        await caller.send(msgpack.packb({"Command": "stats", "Seq": -1}))
        assert await caller.hung_up()


async def test_a_flood_of_requests_leaves_time_for_others() -> None:
    async with session(ScriptedBackend()) as caller:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(others)
            await caller.send(*(encode_request("event", seq, protocol.Event("x")) for seq in range(2000)))
            await caller.take(2000)
            nursery.cancel_scope.cancel()
        assert turns >= 2000


# ---- the server, over sockets


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Caller]:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        yield Caller(stream)


async def shake(caller: Caller) -> None:
    assert await caller.ask("handshake", 1, protocol.Handshake()) == {"Seq": 1, "Error": ""}


@asynccontextmanager
async def served(limits: Limits, backend: ScriptedBackend) -> AsyncIterator[tuple[RpcServer, int, list[object]]]:
    """A server on a free port, and the bugs it reports."""
    faults: list[object] = []
    server = RpcServer(backend, HeardLog(), report=lambda what, error: faults.append((what, error)), limits=limits)
    port = (await server.listen("127.0.0.1", 0)).port
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        yield server, port, faults
        nursery.cancel_scope.cancel()


async def test_only_so_many_clients_are_served_at_once_and_room_comes_back() -> None:
    async with served(Limits(connections_max=2), ScriptedBackend()) as (server, port, faults):
        async with connected(port) as first:
            await shake(first)
            async with connected(port) as second:
                await shake(second)
                for _ in range(5):
                    async with connected(port) as refused:
                        assert await refused.hung_up()
                await still_served(first)
            await until(lambda: server.open_count == 1)
            async with connected(port) as late:
                await shake(late)
        assert faults == []


async def still_served(caller: Caller) -> None:
    assert await caller.ask("stop", 2, protocol.Stop(0)) == {"Seq": 2, "Error": ""}


async def test_clients_that_break_off_at_any_point_leave_nothing_behind() -> None:
    backend = ScriptedBackend()
    rng = random.Random(1)
    script = HELLO + b"".join(
        [
            encode_request("stream", 2, protocol.Stream()),
            encode_request("monitor", 3, protocol.Monitor("debug")),
            encode_request("query", 4, protocol.Query("q")),
            encode_request("members", 5),
        ]
    )
    async with served(Limits(linger_timeout=0.1), backend) as (server, port, faults):
        for cut in range(0, len(script), 3):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            await stream.send_all(script[:cut])
            if rng.random() < 0.5:
                # a reset instead of an end
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await stream.aclose()
        await until(lambda: server.open_count == 0)
        assert backend.feeds == []
        assert faults == []


async def test_a_bug_costs_one_client_and_is_reported() -> None:
    backend = ScriptedBackend()
    backend.statistics = {"serf": {"members": object()}}  # type: ignore[dict-item]  # what cannot be packed is the bug
    async with served(Limits(), backend) as (_, port, faults):
        async with connected(port) as caller:
            await shake(caller)
            await caller.send(encode_request("stats", 2))
            assert await caller.hung_up()
        assert len(faults) == 1
        async with connected(port) as other:
            await shake(other)
