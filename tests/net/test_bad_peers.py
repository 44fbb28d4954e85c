"""Peers that send junk, stall, vanish or come in crowds: a node stands, and goes on serving the others."""

import functools
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random

import pytest
import trio

from moot.gossip.config import WireConfig
from moot.gossip.counters import Counters
from moot.gossip.errors import StreamError, WireError
from moot.gossip.net import Node
from moot.gossip.net.streams import (
    PUSH_PULLS_MAX,
    STREAMS_MAX,
    TOLD_AFTER,
    TOLD_MAX,
    Answer,
    StreamRefused,
    Streams,
)
from moot.gossip.net.transport import ByteStream, Transport
from moot.gossip.record import Address
from moot.gossip.swim.member import Member, Status
from moot.gossip.swim.messages import Ack, ErrorReply, Ping, PushPull, StreamMessage, User
from moot.gossip.wire.keyring import Keyring
from moot.gossip.wire.packet import PacketCodec
from moot.gossip.wire.stream import StreamReader, content, frame
from tests.support.pool import FAST_SWIM, PATIENCE, open_pool, settings_of, until

KEY = bytes(range(16))
WIRE = WireConfig()
CROWD = 200
STALL = 3 * FAST_SWIM.stream_timeout + 5
"""By then a node must have given up on whoever stalls."""


def unheard(event: StreamRefused) -> None:
    """For streams that are not asked what they refuse."""


@asynccontextmanager
async def victim(*keys: bytes) -> AsyncIterator[Node]:
    """A node, and at the end the proof that it still serves: a ping, a stream ping and a join."""
    async with open_pool(settings_of("victim", keys=keys)) as pool:
        yield pool["victim"]
        keyring = ring(*keys)
        answer = await packet_ping(pool["victim"], keyring)
        assert isinstance(answer, Ack)
        assert answer.seq == 7
        assert await exchange(pool["victim"].address, frame(Ping(8, ""), WIRE, keyring, dialer=True), keyring) == Ack(
            8
        )
        friend = await pool.start(settings_of("friend", keys=keys))
        (outcome,) = await friend.join([str(pool["victim"].address)])
        assert outcome.error is None
        await until(pool.converged)


def ring(*keys: bytes) -> Keyring | None:
    return Keyring(keys, lambda: bytes(12)) if keys else None


async def packet_ping(node: Node, keyring: Keyring | None) -> object:
    """Ping until it is answered, as packets may be lost in the junk."""
    codec = PacketCodec(WIRE, keyring)
    host, port = node.address.host, node.address.port
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, trio.fail_after(PATIENCE):
        while True:
            await sock.sendto(codec.seal([Ping(7, "victim")], False), (host, port))
            with trio.move_on_after(0.5):
                (first, *_) = codec.open(await sock.recv(2000)).messages
                return first


async def exchange(to: Address, data: bytes, keyring: Keyring | None = None) -> StreamMessage | None:
    """Send bytes on a stream; answers the reply, None when it was closed without one."""
    with trio.fail_after(PATIENCE):
        async with await trio.open_tcp_stream(to.host, to.port) as stream:
            reader = StreamReader(WIRE, keyring, expect_label=False)
            try:
                await stream.send_all(data)
                while received := await stream.receive_some(65_536):
                    message = reader.feed(bytes(received))
                    if message is not None:
                        return message
            except trio.BrokenResourceError:
                pass  # closed on us while we still wrote
            return None


async def ends_within(stream: trio.SocketStream, seconds: float) -> bool:
    """Whether the other side closes in time, politely or not."""
    with trio.move_on_after(seconds):
        try:
            while await stream.receive_some(65_536):
                pass
        except trio.BrokenResourceError:
            pass
        return True
    return False


def push_pull() -> bytes:
    return frame(PushPull(False, ()), WIRE, None, dialer=True)


@pytest.mark.parametrize("keys", [(), (KEY,)], ids=["plain", "encrypted"])
async def test_junk_packets_are_counted_and_dropped(keys: tuple[bytes, ...]) -> None:
    rng = Random(1)
    async with victim(*keys) as node:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            where = (node.address.host, node.address.port)
            for _ in range(500):
                sock.sendto(rng.randbytes(rng.randrange(200)), where)
            sock.sendto(rng.randbytes(60_000), where)
            await until(lambda: node.counters.packets_in > 400)
        assert node.counters.refused.total() > 100


@pytest.mark.parametrize("keys", [(), (KEY,)], ids=["plain", "encrypted"])
async def test_junk_streams_are_closed(keys: tuple[bytes, ...]) -> None:
    rng = Random(2)
    async with victim(*keys) as node, trio.open_nursery() as nursery:
        for _ in range(50):
            junk = rng.randbytes(rng.randrange(1, 5000)) + bytes(10_000)
            nursery.start_soon(exchange, node.address, junk, ring(*keys))


@pytest.mark.parametrize(
    ("keys", "data", "text"),
    [
        ((KEY,), b"\x0a\xff\xff\xff\xff", "Remote node state is larger than limit"),
        ((KEY,), push_pull(), "Encryption is configured but remote state is not encrypted"),
        ((), b"\x0a\x00\x00\x00\x20" + bytes(32), "Remote state is encrypted and encryption is not configured"),
        ((KEY,), b"\x0a\x00\x00\x00\x20" + bytes([1] * 32), "No installed keys could decrypt the message"),
    ],
    ids=["oversized", "plain", "encrypted", "other key"],
)
async def test_what_cannot_be_unwrapped_is_answered_with_the_reason(
    keys: tuple[bytes, ...], data: bytes, text: str
) -> None:
    async with victim(*keys) as node:
        reply = await exchange(node.address, data, ring(*keys))
        assert isinstance(reply, ErrorReply)
        assert reply.text.startswith(text)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xf4\x04blue" + push_pull(),
        b"\x06\x83\xa4Join\xc2\xa5Nodes\xce\xff\xff\xff\xff\xacUserStateLen\x00",
        b"\x06\x83\xa4Join\xc2\xa5Nodes\x00\xacUserStateLen\xce\x7f\xff\xff\xff",
        frame(Ping(1, "somebody else"), WIRE, None, dialer=True),
    ],
    ids=["http", "label", "nodes", "state", "not me"],
)
async def test_what_makes_no_sense_is_closed_without_a_reply(data: bytes) -> None:
    async with victim() as node:
        assert await exchange(node.address, data) is None


async def test_who_says_nothing_is_closed_after_the_stream_timeout() -> None:
    async with victim() as node, await trio.open_tcp_stream(node.address.host, node.address.port) as stream:
        assert await ends_within(stream, STALL)


async def test_who_trickles_is_cut_off_as_one_who_says_nothing() -> None:
    async with victim() as node, await trio.open_tcp_stream(node.address.host, node.address.port) as stream:

        async def trickle() -> None:
            try:
                for byte in b"\x06\x83\xa4Join\xc2\xa5Nodes\x00\xacUserStateLen\xce\x00\x10\x00\x00" + bytes(1000):
                    await stream.send_all(bytes([byte]))
                    await trio.sleep(0.1)
            except trio.BrokenResourceError:
                pass  # that is what is to happen

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trickle)
            assert await ends_within(stream, STALL)


async def test_who_asks_and_does_not_read_is_cut_off() -> None:
    counters = Counters()
    transport = Transport.bind("127.41.0.1", 0, counters)
    streams = Streams(transport, wire=WIRE, keyring=None, timeout=0.2, counters=counters, tell=unheard)
    flood = User(b"", bytes(16 * 1024 * 1024))

    async def serve(stream: ByteStream) -> None:
        await streams.serve(stream, lambda source, message: flood)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.accept_streams, serve, nursery)
        async with await transport.dial(transport.address) as stream:
            await stream.send_all(frame(Ping(1, ""), WIRE, None, dialer=True))
            await until(lambda: counters.streams_broken == 1)
        nursery.cancel_scope.cancel()
    transport.close()


async def test_a_reset_in_the_middle_costs_one_connection() -> None:
    async with victim() as node:
        for _ in range(20):
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            sock.connect((node.address.host, node.address.port))
            sock.send(b"\x06\x83\xa4Join")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        await until(lambda: node.counters.streams_broken == 20)


async def test_two_hundred_idle_connections_keep_nobody_out() -> None:
    async with AsyncExitStack() as held, victim() as node:
        for _ in range(CROWD):
            await held.enter_async_context(await trio.open_tcp_stream(node.address.host, node.address.port))
        await until(lambda: node.counters.streams_in == CROWD)


async def connect(node: Node, host: str = "127.0.0.1") -> trio.SocketStream:
    """A connection from this address of ours."""
    return await trio.open_tcp_stream(node.address.host, node.address.port, local_address=host)


async def test_with_more_connections_than_allowed_the_oldest_gives_way() -> None:
    async with victim() as node, AsyncExitStack() as held:
        oldest = await held.enter_async_context(await connect(node))
        for _ in range(STREAMS_MAX):
            await held.enter_async_context(await connect(node))
        assert await ends_within(oldest, FAST_SWIM.stream_timeout / 2)
        assert await exchange(node.address, frame(Ping(1, ""), WIRE, None, dialer=True)) == Ack(1)
        assert node.counters.streams_refused == 2


async def test_who_holds_many_connections_keeps_no_other_address_out() -> None:
    async with victim() as node, AsyncExitStack() as held:
        honest = await held.enter_async_context(await connect(node, "127.41.0.8"))
        for _ in range(STREAMS_MAX + 20):
            await held.enter_async_context(await connect(node, "127.41.0.7"))
        await until(lambda: node.counters.streams_refused == 21)
        await honest.send_all(frame(Ping(3, ""), WIRE, None, dialer=True))
        with trio.fail_after(PATIENCE):
            reply = await honest.receive_some(1000)
        assert StreamReader(WIRE, None, expect_label=False).feed(bytes(reply)) == Ack(3)


async def test_with_more_push_pulls_than_allowed_the_oldest_gives_way() -> None:
    async with victim() as node, AsyncExitStack() as held:
        halves = []
        for _ in range(PUSH_PULLS_MAX):
            halves.append(await held.enter_async_context(await connect(node)))
            await halves[-1].send_all(b"\x06\x83\xa4Join\xc2\xa5Nodes\x01")
        await until(lambda: node.counters.streams_in == PUSH_PULLS_MAX)
        assert isinstance(await exchange(node.address, push_pull()), PushPull)
        assert await ends_within(halves[0], FAST_SWIM.stream_timeout / 2)
        assert node.counters.streams_refused == 1


async def test_who_holds_most_memory_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moot.gossip.net.streams.HELD_BYTES_MAX", 2**20)
    begin = b"\x06\x83\xa4Join\xc2\xa5Nodes\x00\xacUserStateLen\xce\x01\x00\x00\x00"
    begin_members = b"\x06\x83\xa4Join\xc2\xa5Nodes\xcd\x10\x00\xacUserStateLen\x00"
    hogs = [begin + bytes(900_000), begin_members + b"\x91\xa1x" * 2000]
    for hog in hogs:
        async with victim() as node, await connect(node) as greatest, await connect(node) as other:
            await greatest.send_all(hog)
            counters = node.counters
            await until(functools.partial(lambda counted: bool(counted.streams_in == 2), counters))
            await other.send_all(begin + bytes(400_000))
            assert await ends_within(greatest, FAST_SWIM.stream_timeout / 2)
            assert node.counters.streams_refused == 1
            assert not await ends_within(other, 0)


async def serve_once(streams: Streams, transport: Transport, data: bytes, answer: Answer) -> None:
    """Serve one connection on which `data` are here already; its peer reads nothing."""
    async with trio.open_nursery() as nursery:
        accepted: list[ByteStream] = []

        async def accept(stream: ByteStream) -> None:
            accepted.append(stream)

        nursery.start_soon(transport.accept_streams, accept, nursery)
        async with await transport.dial(transport.address) as stream:
            await stream.send_all(data)
            await until(lambda: bool(accepted))
            await streams.serve(accepted[0], answer)
        nursery.cancel_scope.cancel()


def make_streams(counters: Counters) -> tuple[Streams, Transport]:
    transport = Transport.bind("127.41.0.1", 0, counters)
    streams = Streams(transport, wire=WIRE, keyring=None, timeout=PATIENCE, counters=counters, tell=unheard)
    return streams, transport


async def test_replies_that_nobody_reads_count_as_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moot.gossip.net.streams.HELD_BYTES_MAX", 2**20)
    counters = Counters()
    streams, transport = make_streams(counters)
    flood = User(b"", bytes(2**21))
    await serve_once(streams, transport, frame(Ping(1, ""), WIRE, None, dialer=True), lambda source, message: flood)
    assert counters.streams_refused == 1
    transport.close()


async def test_a_great_push_pull_leaves_room_for_other_tasks() -> None:
    members = [Member(f"node-{number}", Address(bytes(4), 1), 1, Status.ALIVE) for number in range(10_000)]
    data = frame(PushPull(False, members), WireConfig(compress=True), None, dialer=True)
    streams, transport = make_streams(Counters())
    turns = [0]
    took: list[int] = []

    async def other() -> None:
        while True:
            turns[-1] += 1
            await trio.lowlevel.checkpoint()

    def answer(source: Address, message: StreamMessage) -> None:
        assert isinstance(message, PushPull)
        took.append(turns[-1])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await serve_once(streams, transport, data, answer)
        nursery.cancel_scope.cancel()
    assert took[0] > len(members) / 256
    transport.close()


async def test_a_push_pull_that_did_not_change_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[StreamMessage] = []

    def counted(message: StreamMessage, config: WireConfig) -> bytes:
        encoded.append(message)
        return content(message, config)

    monkeypatch.setattr("moot.gossip.net.streams.content", counted)
    async with victim() as node:
        replies = [await exchange(node.address, push_pull()) for _ in range(3)]
        assert replies[0] == replies[1] == replies[2]
        assert len(encoded) == 1


async def serve_bytes(nursery: trio.Nursery, data: bytes | None) -> int:
    """Listen and answer every connection with these bytes, or with silence; answers the port."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.41.0.9")

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            if data is None:
                await trio.sleep_forever()
            else:
                await stream.receive_some(65_536)
                await stream.send_all(data)

    nursery.start_soon(trio.serve_listeners, answer, [listener])
    port: int = listener.socket.getsockname()[1]
    return port


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (None, "read tcp 127.41.0.9:{port}: i/o timeout"),
        (b"", "EOF"),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            "received invalid msgType (72), expected pushPullMsg (6) from=127.41.0.9:{port}",
        ),
        (
            frame(Ack(1), WIRE, None, dialer=False),
            "received invalid msgType (2), expected pushPullMsg (6) from=127.41.0.9:{port}",
        ),
        (frame(ErrorReply("go away"), WIRE, None, dialer=False), "remote error: go away"),
        (b"\x06\x83\xa4Join", "EOF"),
    ],
    ids=["silence", "nothing", "http", "ack", "error", "half"],
)
async def test_a_join_through_something_else_returns_with_its_cause(data: bytes | None, cause: str) -> None:
    async with victim() as node, trio.open_nursery() as nursery:
        port = await serve_bytes(nursery, data)
        with trio.fail_after(STALL):
            (outcome,) = await node.join([f"127.41.0.9:{port}"])
        assert outcome.cause == cause.format(port=port)
        nursery.cancel_scope.cancel()


async def test_a_ping_that_is_answered_with_something_else_fails_with_what_was_expected() -> None:
    streams, transport = make_streams(Counters())
    async with trio.open_nursery() as nursery:
        port = await serve_bytes(nursery, push_pull())
        to = Address.parse("127.41.0.9", port)
        with pytest.raises(StreamError, match=rf"invalid msgType \(6\), expected ackRespMsg \(2\) from={to}"):
            await streams.request(to, Ping(1, ""), PATIENCE)
        nursery.cancel_scope.cancel()
    transport.close()


@pytest.mark.parametrize(
    ("keys", "label", "data", "reason"),
    [
        ((), b"", b"\xf4\x04blue" + push_pull(), "the label is not ours"),
        ((), b"blue", push_pull(), "no label where ours is expected"),
        ((KEY,), b"", push_pull(), "plain where encryption is required"),
        ((), b"", b"\x0a\x00\x00\x00\x20" + bytes(32), "encrypted, and there is no keyring"),
        ((KEY,), b"", b"\x0a\x00\x00\x00\x20" + bytes([1] * 32), "no installed key opens it"),
    ],
    ids=["another label", "no label", "plain", "encrypted", "another key"],
)
async def test_a_stream_with_another_label_or_key_is_told_at_once_with_its_peer(
    keys: tuple[bytes, ...], label: bytes, data: bytes, reason: str
) -> None:
    async with open_pool(settings_of("a", keys=keys, wire=WireConfig(label=label))) as pool:
        node = pool["a"]
        with node.subscribe() as events, trio.fail_after(PATIENCE):
            async with await connect(node, "127.41.0.7") as stream:
                await stream.send_all(data)
                event = await events.receive()
            assert isinstance(event, StreamRefused)
            assert event.peer.host == "127.41.0.7"
            assert event.reason == reason


async def test_whoever_tries_again_and_again_with_another_label_is_told_once() -> None:
    async with open_pool(settings_of("a")) as pool:
        node = pool["a"]
        with node.subscribe() as events:
            for _ in range(20):
                assert await exchange(node.address, b"\xf4\x04blue" + push_pull()) is None
            await until(lambda: node.counters.refused["label"] == 20)
            assert events.statistics().current_buffer_used == 1


async def test_a_crowd_with_another_label_is_told_of_a_few_only(autojump_clock: trio.testing.MockClock) -> None:
    told: list[StreamRefused] = []
    transport = Transport.bind("127.41.0.1", 0, Counters())
    streams = Streams(transport, wire=WIRE, keyring=None, timeout=1, counters=Counters(), tell=told.append)
    for number in range(1000):
        streams._tell_refused(Address(number.to_bytes(4), 1), WireError("label", "the label is not ours"))
    assert len(told) == len(streams._told) == TOLD_MAX
    await trio.sleep(TOLD_AFTER)
    streams._tell_refused(Address(bytes(4), 1), WireError("label", "the label is not ours"))
    assert len(told) == TOLD_MAX + 1
    assert len(streams._told) == 1
    transport.close()
