"""Bad clients of the RPC port, and bad servers of a client: junk, lengths that lie, slow ones, and many."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgpack
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from moot.agent.nomad.client import Dialer
from moot.agent.nomad.errors import Unreached
from moot.agent.nomad.framing import EMPTY, REQUEST_MAX, FrameReader, Head, Mode, encode_answer, encode_request
from moot.agent.nomad.registry import NodeFacts, RegistrySettings
from moot.agent.nomad.server import RpcLimits
from moot.agent.nomad.structures import Beat, Granted, encode_beat, encode_granted, encode_register
from moot.gossip.errors import WireError
from tests.support.nomad import Server, World, world
from tests.support.pool import until

PING = encode_request("Status.Ping", 1, EMPTY)
RPC = bytes([Mode.RPC])
HASTY = RpcLimits(handshake_timeout=0.3, idle_timeout=0.3, request_timeout=0.3, send_timeout=0.3)


@asynccontextmanager
async def serving(limits: RpcLimits | None = None, **options: Any) -> AsyncIterator[tuple[World, Server]]:
    """One server, which in the end must still answer."""
    async with world() as here:
        registry = RegistrySettings(**options) if options else None
        server = await here.start("s1", "127.46.2.1", limits=limits, settings=registry)
        yield here, server
        await here.dialer.ping(server.address)


async def connect(server: Server, source: str | None = None) -> trio.SocketStream:
    """A connection, from any address of this machine unless it is said."""
    host, _, port = server.address.rpartition(":")
    return await trio.open_tcp_stream(host, int(port), local_address=source)


async def read_all(stream: trio.abc.Stream, within: float = 10.0) -> bytes:
    """What comes until the other side hangs up, be it rudely."""
    data = b""
    with trio.fail_after(within), contextlib.suppress(trio.BrokenResourceError):
        while piece := await stream.receive_some(65_536):
            data += piece
    return data


@pytest.mark.parametrize("mode", [0, 2, 5, 7, 0x16, 0x47, 0x80, 0xFF])
async def test_modes_that_are_not_served_are_hung_up_on(mode: int) -> None:
    async with serving() as (_, server), await connect(server) as stream:
        await stream.send_all(bytes([mode]) + PING)
        assert await read_all(stream) == b""
        assert any("hung up on a client" in line for line in server.log.lines)


async def test_tls_that_is_not_configured_is_hung_up_on() -> None:
    async with serving() as (_, server), await connect(server) as stream:
        await stream.send_all(bytes([Mode.TLS]) + b"\x16\x03\x01")
        assert await read_all(stream) == b""


@pytest.mark.parametrize(
    "junk",
    [
        b"\xc1",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\x91" * 500,
        msgpack.packb({"ServiceMethod": 5, "Seq": "x"}) + EMPTY,
        msgpack.packb({"ServiceMethod": "x" * 5000, "Seq": 1}) + EMPTY,
        msgpack.packb({"ServiceMethod": "Status.Ping", "Seq": 1}) + b"\xdb" + (REQUEST_MAX + 1).to_bytes(4),
        msgpack.packb({"ServiceMethod": "Status.Ping", "Seq": 1}) + msgpack.packb([0] * 20_000),
    ],
)
async def test_junk_ends_its_connection_and_no_other(junk: bytes) -> None:
    async with serving() as (here, server), await here.dialer.connect(server.address) as good:
        await good.call("Status.Ping")
        async with await connect(server) as stream:
            await stream.send_all(RPC + PING + junk)
            reader = FrameReader()
            reader.feed(await read_all(stream))
            assert reader.take() == (Head("Status.Ping", 1), EMPTY)
            assert reader.take() is None
        await good.call("Status.Ping")


def test_whatever_bytes_come_the_server_answers_or_hangs_up_and_has_no_fault() -> None:
    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(
            st.binary(max_size=60)
            | st.builds(
                encode_request,
                st.sampled_from(["Status.Leader", "Node.Register", "Node.UpdateStatus", "Moot.Release", "X.Y", ""]),
                st.integers(0, 2**64 - 1),
                st.binary(max_size=20)
                | st.dictionaries(
                    st.sampled_from(["Region", "Node", "NodeID", "Status", "AuthToken", "Forwarded"]),
                    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5) | st.just({"ID": 5}),
                ).map(msgpack.packb),
            ),
            max_size=5,
        )
    )
    def check(pieces: list[bytes]) -> None:
        async def play() -> None:
            async with serving() as (_, server), await connect(server) as stream:
                with contextlib.suppress(trio.BrokenResourceError):
                    await stream.send_all(RPC + b"".join(pieces))
                    await stream.send_eof()
                answered = await read_all(stream)
                reader = FrameReader()
                reader.feed(answered)
                while reader.take() is not None:
                    continue
                assert not reader.begun

        trio.run(play)

    check()


async def test_who_says_nothing_is_hung_up_on_after_the_handshake_timeout() -> None:
    async with serving(HASTY) as (_, server), await connect(server) as stream:
        assert await read_all(stream, 5.0) == b""


async def test_who_sends_a_request_byte_by_byte_is_hung_up_on() -> None:
    async with serving(HASTY) as (_, server), await connect(server) as stream:
        began = trio.current_time()
        with contextlib.suppress(trio.BrokenResourceError):
            for byte in RPC + encode_request("Status.Ping", 1, b"\xda\xff\xff" + b"x" * 100):
                await stream.send_all(bytes([byte]))
                await trio.sleep(0.02)
        assert await read_all(stream) == b""
        assert trio.current_time() - began < 5.0


async def test_who_is_idle_is_hung_up_on_but_a_registered_node_may_be_silent_for_its_ttl() -> None:
    facts = NodeFacts(
        node_id="00000000-0000-0000-0000-000000000001", secret="s", name="c", datacenter="dc1", address="127.0.0.1"
    )
    register = encode_request("Node.Register", 1, encode_register(facts, "global", "127.0.0.1:1"))
    async with (
        serving(HASTY, min_heartbeat_ttl=1.0) as (_, server),
        await connect(server) as idle,
        await connect(server) as node,
    ):
        began = trio.current_time()
        await idle.send_all(RPC + PING)
        await node.send_all(RPC + register)
        await read_all(idle)
        assert trio.current_time() - began < 1.0
        await read_all(node)
        assert trio.current_time() - began >= 1.3


async def test_who_does_not_read_answers_is_hung_up_on() -> None:
    async with serving(RpcLimits(send_timeout=0.3, requests_per_second_max=10_000)) as (here, server):
        for n in range(2000):
            here.pool.add(f"x{n}.global", "127.46.2.9", 4647)
        async with await connect(server) as stream:
            requests = RPC + encode_request("Status.Members", 1, EMPTY) * 200
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.send_all(requests)
            await until(lambda: server.rpc.open_count == 0)


async def test_there_are_only_so_many_connections_from_one_address_and_in_all() -> None:
    limits = RpcLimits(connections_max=4, connections_per_client_max=3)
    async with serving(limits) as (here, server):
        async with contextlib.AsyncExitStack() as stack:
            streams = [await stack.enter_async_context(await connect(server)) for _ in range(5)]
            for stream in streams:
                with contextlib.suppress(trio.BrokenResourceError):
                    await stream.send_all(RPC + PING)
            answered = [await first_bytes(stream) for stream in streams]
            assert [bool(data) for data in answered] == [True] * 3 + [False] * 2
            assert server.rpc.open_count == 3
        await until(lambda: server.rpc.open_count == 0)
        assert here.servers


async def first_bytes(stream: trio.SocketStream) -> bytes:
    """What comes first, nothing from who hangs up."""
    try:
        return await stream.receive_some(1000)
    except trio.BrokenResourceError:
        return b""


async def test_who_asks_too_fast_waits_while_others_are_answered_at_once() -> None:
    limits = RpcLimits(requests_per_second_max=20.0)
    async with serving(limits) as (_, server), await connect(server) as greedy:
        answered: list[int] = []

        async def count() -> None:
            reader = FrameReader()
            while data := await greedy.receive_some(65_536):
                reader.feed(data)
                while reader.take() is not None:
                    answered.append(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            await greedy.send_all(RPC + PING * 2000)
            await until(lambda: len(answered) >= 20)
            began = trio.current_time()
            async with await connect(server, "127.46.2.77") as other:
                await other.send_all(RPC + PING)
                await other.receive_some(1000)
            assert trio.current_time() - began < 0.5
            async with await connect(server) as same:
                await same.send_all(RPC + PING * 20)
            await until(lambda: trio.current_time() > began + 1.0)
            assert len(answered) < 100
            nursery.cancel_scope.cancel()


async def test_registrations_without_end_fill_the_registry_and_nothing_else() -> None:
    async with serving(RpcLimits(requests_per_second_max=10_000), nodes_max=50) as (here, server):
        agent, log = here.client("late", [server.address], seed=99)
        async with await connect(server) as stream, trio.open_nursery() as nursery:
            nursery.start_soon(read_all, stream, 60.0)
            await stream.send_all(RPC)
            for n in range(300):
                facts = NodeFacts(
                    node_id=f"00000000-0000-0000-0000-{n:012x}", secret="s", name="c", datacenter="dc1", address="a"
                )
                await stream.send_all(
                    encode_request("Node.Register", n, encode_register(facts, "global", "127.0.0.1:1"))
                )
            await until(lambda: len(server.rpc.registry) == 50)
            nursery.start_soon(agent.run)
            await until(lambda: any("too many client nodes, 50" in line for line in log.lines))
            nursery.cancel_scope.cancel()


async def test_nobody_takes_a_node_over_without_its_secret() -> None:
    async with serving() as (here, server):
        agent, _ = here.client("c1", [server.address])
        await here.nursery.start(agent.run)
        await until(lambda: server.ready() == {"c1"})
        node = "00000000-0000-0000-0000-000000000001"
        thief = NodeFacts(node_id=node, secret="guess", name="thief", datacenter="dc1", address="127.6.6.6")
        for method, body in (
            ("Node.Register", encode_register(thief, "global", "127.6.6.6:1")),
            ("Node.UpdateStatus", encode_beat(Beat(node, "guess", "down"), "global")),
            ("Moot.Release", encode_beat(Beat(node, "", "down"), "global")),
        ):
            async with await here.dialer.connect(server.address) as link:
                with pytest.raises(Exception, match=r"secret ID does not match|Permission denied"):
                    await link.call(method, body)
        assert server.statuses() == {"c1": "ready"}


# bad servers


@asynccontextmanager
async def bad_server(behave: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[tuple[World, str]]:
    """Something that listens and behaves like that on each connection."""
    async with world() as here:
        (listener,) = await trio.open_tcp_listeners(0, host="127.46.2.9")

        async def serve(stream: trio.SocketStream) -> None:
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await behave(stream)

        here.nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield here, f"127.46.2.9:{listener.socket.getsockname()[1]}"


def answering(*answers: bytes) -> Callable[[trio.SocketStream], Awaitable[None]]:
    """Answer any call with these bytes, and then wait."""

    async def behave(stream: trio.SocketStream) -> None:
        while await stream.receive_some(65_536):
            for answer in answers:
                await stream.send_all(answer)

    return behave


@pytest.mark.parametrize(
    "answer",
    [
        b"\xc1" * 100,
        b"220 hello\r\n",
        encode_answer(Head("Status.Ping", 77)),
        encode_answer(Head("Status.Ping", 1), body=b"\xdd\xff\xff\xff\xff"),
        encode_answer(Head("Status.Ping", 1), body=b"\xdb\xff\xff\xff\xff"),
    ],
)
async def test_an_answer_that_is_none_is_told_as_such(answer: bytes) -> None:
    async with bad_server(answering(answer)) as (_, address):
        with pytest.raises(Unreached):
            await Dialer("global").ping(address, within=5.0)


async def test_an_answer_without_end_is_not_read_to_the_end() -> None:
    async def flood(stream: trio.SocketStream) -> None:
        await stream.receive_some(1000)
        await stream.send_all(encode_answer(Head("Status.Ping", 1))[:-1] + b"\xdb\x00\xff\xff\xff")
        while True:
            await stream.send_all(b"x" * 65_536)

    async with bad_server(flood) as (_, address):
        with pytest.raises(Unreached, match=r"i/o timeout|above"):
            await Dialer("global").call(address, "Status.Ping", within=2.0)


@pytest.mark.parametrize(
    "body",
    [
        b"\xa1x",
        b"\x81\xa7Servers\x05",
        b"\x81\xacHeartbeatTTL\xa1x",
        b"\x81\xa7Servers" + msgpack.packb([{"RPCAdvertiseAddr": "x"}] * 2000, use_bin_type=False),
    ],
)
async def test_a_client_leaves_a_server_whose_answers_make_no_sense(body: bytes) -> None:
    async with bad_server(answering(encode_answer(Head("Node.Register", 1), body=body))) as (here, bad):
        good = await here.start("s1", "127.46.2.1")
        agent, log = here.client("c1", [bad, good.address])
        agent._servers.works(bad)  # so that it is asked first
        await here.nursery.start(agent.run)
        # the server lists it before the client has read the answer
        await until(lambda: good.ready() == {"c1"} and agent.stats()["server"] == good.address)
        assert any("server failed" in line and bad in line for line in log.lines)
        assert not any("registered with server" in line and bad in line for line in log.lines)


async def test_a_server_that_wants_a_heartbeat_every_nanosecond_gets_a_few_in_a_second() -> None:
    calls: list[float] = []

    async def greedy(stream: trio.SocketStream) -> None:
        reader = FrameReader()
        while data := await stream.receive_some(65_536):
            reader.feed(data)
            while (found := reader.take()) is not None:
                calls.append(trio.current_time())
                await stream.send_all(encode_answer(found[0], body=encode_granted(Granted(1e-9))))

    async def behave(stream: trio.SocketStream) -> None:
        await stream.receive_some(1)
        await greedy(stream)

    async with bad_server(behave) as (here, address):
        agent, _ = here.client("c1", [address])
        await here.nursery.start(agent.run)
        await until(lambda: len(calls) >= 5)
        assert calls[4] - calls[0] >= 4 * 0.04


async def test_servers_that_make_no_sense_do_not_replace_those_that_do() -> None:
    strange = ["", "x", "0.0.0.0:4647", "server.example:4647", "127.0.0.1:99999", "[::1", "\x1b[31m"]
    body = encode_granted(Granted(1.0, servers=[(text, "dc1") for text in strange]))
    async with bad_server(answering(encode_answer(Head("Node.Register", 1), body=body))) as (here, address):
        agent, _ = here.client("c1", [address])
        await here.nursery.start(agent.run)
        await until(lambda: agent.stats()["server"] == address)
        assert agent.known_servers() == (address,)


async def test_a_server_that_hangs_up_on_every_call_is_not_asked_without_pause() -> None:
    calls: list[float] = []

    async def rude(stream: trio.SocketStream) -> None:
        calls.append(trio.current_time())
        await stream.receive_some(10)

    async with bad_server(rude) as (here, address):
        agent, _ = here.client("c1", [address])
        await here.nursery.start(agent.run)
        await until(lambda: len(calls) >= 6)
        assert calls[5] - calls[0] >= 1.0, "the pauses between rounds grow"


@given(st.binary(max_size=300))
def test_any_answer_is_an_answer_or_an_error(data: bytes) -> None:
    reader = FrameReader()
    reader.feed(data)
    try:
        while reader.take() is not None:
            continue
    except WireError:
        return
