"""Small inputs that ask for much: each is refused within a bound on memory, tracemalloc being the witness."""

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from random import Random

import pytest

from moot.gossip.config import WireConfig
from moot.gossip.errors import LimitExceeded, WireError
from moot.gossip.pack import pack
from moot.gossip.record import Address
from moot.gossip.serf.messages import SerfPushPull
from moot.gossip.swim.messages import IndirectPing, Ping, PushPull, StreamMessage, User
from moot.gossip.wire import lzw
from moot.gossip.wire.codec import encode
from moot.gossip.wire.limits import (
    DEPTH_MAX,
    FAULTY_NODES_MAX,
    NODES_MAX,
    PACKET_MAX,
    PARTS_MAX,
    REQUESTS_MAX,
    STREAM_FRAMING_MAX,
    STREAM_MAX,
)
from moot.gossip.wire.packet import PacketCodec, compressed
from moot.gossip.wire.serf_codec import decode_coordinate, decode_filter, decode_serf, read_push_pull
from moot.gossip.wire.stream import StreamReader

MIB = 1 << 20
AT = Address(bytes(4), 7946)
NODE = pack({"Name": "n", "Port": 1})


@contextmanager
def memory_below(limit: int) -> Iterator[None]:
    """Whatever happens inside never holds more than `limit` bytes beyond what was there before."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < limit, f"{peak / MIB:.1f} MiB"


def plain_codec() -> PacketCodec:
    return PacketCodec(WireConfig(), None)


def read(*pieces: bytes) -> tuple[StreamMessage | None, StreamReader]:
    reader = StreamReader(WireConfig(), None, expect_label=True)
    message = None
    for piece in pieces:
        message = reader.feed(piece)
    return message, reader


def push_pull(nodes: int, state: int = 0) -> bytes:
    return b"\x06" + pack({"Join": False, "Nodes": nodes, "UserStateLen": state})


HUGE_LENGTHS = [head + b"\xff\xff\xff\xff\x01" for head in (b"\xdd", b"\xdf", b"\xdb", b"\xc6", b"\xc9")]
NESTED = [b"\xdc\xff\xff", b"\xdc\x04\x00", b"\x91", b"\x81\xa1k", b"\xdd\x00\x00\x04\x00"]
LIES = [*HUGE_LENGTHS, *(opening * 20_000 for opening in NESTED)]


@pytest.mark.parametrize("bomb", LIES, ids=lambda b: b[:5].hex())
def test_lengths_that_lie_take_no_memory(bomb: bytes) -> None:
    bodies = (bomb, b"\x81\xa7Payload" + bomb, b"\x92\x01" + bomb)
    with memory_below(12 * MIB):
        for body in bodies:
            for kind in range(12):
                with suppress(WireError):
                    plain_codec().open(bytes((kind,)) + body)
                with suppress(WireError):
                    decode_serf(bytes((kind,)) + body)
            with suppress(WireError):
                decode_filter(b"\x00" + body)
            assert decode_coordinate(b"\x01" + body) is None


@pytest.mark.parametrize("bomb", LIES, ids=lambda b: b[:5].hex())
@pytest.mark.parametrize("before", [b"\x00", b"\x06", b"\x08", b"\x09", push_pull(1), push_pull(1) + b"\x81\xa4Addr"])
def test_lengths_that_lie_on_a_stream_take_no_memory(before: bytes, bomb: bytes) -> None:
    with memory_below(12 * MIB), suppress(WireError):
        read(before, bomb)


def test_one_object_of_a_mebibyte_is_refused_before_it_is_built() -> None:
    # a million empty arrays would take 64 times their bytes
    great = b"\xdc\x04\x00" + (b"\xdc\x04\x00" + b"\x90" * 1024) * 1024
    with memory_below(16 * MIB), pytest.raises(LimitExceeded, match="an object above"):
        read(push_pull(1) + b"\x81\xa4Addr" + great)


def test_a_packet_expands_to_64_kib_at_most() -> None:
    fits = b"\x08\xee" + bytes(PACKET_MAX - 2)
    assert plain_codec().open(compressed(fits)).messages
    bomb = compressed(fits + b"\0")
    assert len(bomb) < 1000
    with memory_below(2 * MIB), pytest.raises(LimitExceeded):
        plain_codec().open(bomb)


def compound(*parts: bytes) -> bytes:
    lengths = b"".join(len(part).to_bytes(2, "big") for part in parts)
    return bytes((7, len(parts))) + lengths + b"".join(parts)


def test_a_packet_is_decompressed_once_wherever_that_stands() -> None:
    part, junk = compressed(b"\x08\xee"), b"\x09\xff"
    assert len(plain_codec().open(part).messages) == 1
    for parts in ([part] * 255, [b"\x08\xee", *[junk] * 254]):
        opened = plain_codec().open(compound(*parts))
        assert len(opened.messages) == 1
        assert [error.kind for error in opened.errors[-253:]] == ["compress"] * 253
    with pytest.raises(LimitExceeded, match="compressed more than once"):
        plain_codec().open(compressed(part))


def test_a_packet_makes_us_answer_a_handful_of_times_at_most() -> None:
    ping, indirect = encode(Ping(1, "")), encode(IndirectPing(1, AT, "x", True))
    packet = compressed(compound(*[ping, indirect] * 127, b"\x08\xee"))
    opened = plain_codec().open(packet)
    assert len(opened.messages) == REQUESTS_MAX + 1
    assert isinstance(opened.messages[-1], User)
    assert {error.kind for error in opened.errors} == {"requests"}


def test_layers_inside_each_other_are_counted() -> None:
    packet = b"\x08\xee"
    for _ in range(DEPTH_MAX):
        packet = compound(packet)
    assert plain_codec().open(packet).messages
    opened = plain_codec().open(compound(packet))
    assert [error.kind for error in opened.errors] == ["depth"]
    for _ in range(5000):
        packet = b"\x07\x01" + min(len(packet), 0xFFFF).to_bytes(2, "big") + packet[:0xFFFF]
    opened = plain_codec().open(packet)
    assert not opened.messages
    assert [error.kind for error in opened.errors] == ["depth"]


def test_messages_of_a_packet_are_counted_over_all_layers() -> None:
    inner = compound(*[b"\x08\xee"] * 255)
    assert len(plain_codec().open(inner).messages) == PARTS_MAX
    opened = plain_codec().open(compound(*[inner] * 16))
    assert len(opened.messages) == PARTS_MAX - 1
    assert {error.kind for error in opened.errors} == {"parts"}
    assert len(opened.errors) <= 16


def test_lzw_stops_at_its_limit_and_not_after() -> None:
    bomb = lzw.compress(bytes(4 * MIB))
    with memory_below(10 * MIB), pytest.raises(LimitExceeded):
        lzw.decompress(bomb, MIB)


def test_a_stream_expands_to_20_mib_at_most() -> None:
    bomb = compressed(push_pull(0, STREAM_MAX) + bytes(STREAM_MAX))
    assert len(bomb) < 200_000
    with memory_below(STREAM_MAX + 10 * MIB), pytest.raises(LimitExceeded):
        read(bomb)


def test_compressed_inside_compressed_is_refused() -> None:
    with pytest.raises(WireError, match="message type 9"):
        read(compressed(compressed(b"\x08")))
    with pytest.raises(WireError, match="message type 10"):
        read(compressed(b"\x0a\0\0\0\x20"))


@pytest.mark.parametrize("count", [-1, NODES_MAX + 1, 1 << 31, 1 << 63])
def test_a_push_pull_of_too_many_members_is_refused_by_its_header(count: int) -> None:
    with memory_below(MIB), pytest.raises(WireError):
        read(push_pull(count))


def test_a_small_stream_that_unfolds_to_members_without_end_is_refused() -> None:
    bomb = compressed(push_pull(NODES_MAX) + b"\x91\xa1x" * NODES_MAX)
    assert len(bomb) < 10_000
    reader = StreamReader(WireConfig(), None, expect_label=True)
    with pytest.raises(LimitExceeded, match="announced in"):
        reader.feed(bomb)


def test_what_lzw_builds_on_the_way_stays_near_its_output() -> None:
    # literals only: a reference to each would take eight times what it stands for
    junk = Random(1).randbytes(2 * MIB)
    squeezed = lzw.compress(junk)
    with memory_below(5 * MIB):
        assert lzw.decompress(squeezed, 2 * MIB) == junk


def test_what_arrives_in_single_bytes_is_not_copied_for_each() -> None:
    reader = StreamReader(WireConfig(), None, expect_label=True)
    for piece in (push_pull(0, STREAM_MAX), bytes(16 * MIB), b"\0"):
        assert reader.feed(piece) is None
    with memory_below(MIB):
        for _ in range(1000):
            assert reader.feed(b"\0") is None


@pytest.mark.parametrize(
    "tail",
    [
        b"\xacStatusLTimes\xdf\x00\x03\x00\x00" + b"\xa1x\x01" * 0x30000,
        b"\xabLeftMembers\xdd\x00\x03\x00\x00" + b"\xa1x" * 0x30000,
        b"\xa6Events\xdc\x10\x00" + (b"\x92\x01\xdc\x00\x30" + b"\x90" * 48) * 0x1000,
    ],
    ids=["ltimes", "left", "events"],
)
def test_a_great_state_is_read_in_slices_and_its_entries_are_counted(tail: bytes) -> None:
    faults: list[WireError] = []
    slices = list(read_push_pull(b"\x02\x81" + tail, faults))
    assert not faults
    assert len(slices) > 0x30000 // 1024
    assert max(slices) < MIB
    assert sum(slices) > 0x30000 * 150


@pytest.mark.parametrize("size", [-1, STREAM_MAX + 1, 1 << 62])
def test_a_state_or_user_message_of_too_many_bytes_is_refused_by_its_header(size: int) -> None:
    with memory_below(MIB), pytest.raises(LimitExceeded):
        read(push_pull(0, size))
    with memory_below(MIB), pytest.raises(LimitExceeded):
        read(b"\x08" + pack({"UserMsgLen": size}))


def test_a_frame_of_too_many_bytes_is_refused_by_its_header() -> None:
    from_config = WireConfig(verify_incoming=False)
    reader = StreamReader(from_config, None, expect_label=True)
    with pytest.raises(WireError, match="no keyring"):
        reader.feed(b"\x0a\xff\xff\xff\xff")


def test_no_more_is_buffered_than_a_stream_may_have() -> None:
    reader = StreamReader(WireConfig(), None, expect_label=True)
    piece = bytes(MIB)
    assert reader.feed(push_pull(0, STREAM_MAX)) is None
    with memory_below(STREAM_MAX * 5 // 4):
        for _ in range(STREAM_MAX // MIB - 1):
            assert reader.feed(piece) is None
    assert STREAM_MAX - MIB <= reader.held < STREAM_MAX


def test_members_without_end_are_refused_when_the_stream_is_full() -> None:
    reader = StreamReader(WireConfig(), None, expect_label=True)
    assert reader.feed(push_pull(NODES_MAX)) is None
    piece = (NODE * 100 + b"\x82\xa4Name\xa1n\xa1x\xda\x80\x00" + bytes(0x8000)) * 10
    rounds = (STREAM_MAX + STREAM_FRAMING_MAX) // len(piece)
    with memory_below(16 * MIB):
        for _ in range(rounds):
            assert reader.feed(piece) is None
        with pytest.raises(LimitExceeded, match="stream"):
            reader.feed(piece)


def test_nameless_members_are_left_out_until_there_are_too_many() -> None:
    message, reader = read(push_pull(FAULTY_NODES_MAX + 1) + NODE + b"\x80" * FAULTY_NODES_MAX)
    assert isinstance(message, PushPull)
    assert len(message.members) == 1
    assert len(reader.errors) == FAULTY_NODES_MAX
    with pytest.raises(LimitExceeded, match="faulty members"):
        read(push_pull(NODES_MAX) + b"\x80" * (FAULTY_NODES_MAX + 1))


STATE = {"EventLTime": 1, "LTime": 1, "QueryLTime": 1}


@pytest.mark.parametrize(
    "tail",
    [
        b"\xacStatusLTimes\xdf\x00\x10\x00\x01",
        b"\xacStatusLTimes\xdf\x00\x0f\x00\x00\xa1a\x01",
        b"\xabLeftMembers\xdd\xff\xff\xff\xff",
        b"\xabLeftMembers\xdc\xff\xff\xa0",
        b"\xa6Events\xdd\x00\x01\x00\x01",
        b"\xa6Events\xdc\xff\xff\xc0",
        b"\xa6Events\x91\x81\xa6Events\xdd\xff\xff\xff\xff",
        b"\xa6Events\x91\x91" + b"\xdc\x04\x00" * 2000,
        b"\xa7Unheard" + b"\xdc\xff\xff" * 2000,
    ],
)
def test_counts_in_a_serf_state_are_not_believed(tail: bytes) -> None:
    body = b"\x02\x82\xa5LTime\x01" + tail
    with memory_below(12 * MIB), pytest.raises(WireError):
        decode_serf(body)
    # members are merged without it, and the fault is visible
    message, reader = read(push_pull(1, len(body)) + NODE + body)
    assert isinstance(message, PushPull)
    assert message.state is None
    assert len(message.members) == len(reader.errors) == 1


def test_a_great_state_of_small_slots_is_read_whole() -> None:
    body = b"\x02\x81\xa6Events\xdc\x80\x00" + b"\xc0" * 0x8000
    state = decode_serf(body)
    assert isinstance(state, SerfPushPull)
    assert state.events == [None] * 0x8000


def test_a_stream_fed_byte_by_byte_is_read_in_linear_time() -> None:
    data = push_pull(2000, 100_000) + NODE * 2000 + bytes(100_000)
    reader = StreamReader(WireConfig(), None, expect_label=True)
    steps = [reader.feed(data[index : index + 1]) for index in range(len(data))]
    assert isinstance(steps[-1], PushPull)
    assert steps.count(None) == len(data) - 1
