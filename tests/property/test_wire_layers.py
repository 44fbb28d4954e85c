"""What holds for every packet, every stream and every way to cut one into pieces."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moot.gossip.config import WireConfig
from moot.gossip.errors import WireError
from moot.gossip.swim.messages import PacketMessage, StreamMessage
from moot.gossip.wire import lzw
from moot.gossip.wire.codec import size_of
from moot.gossip.wire.keyring import Keyring
from moot.gossip.wire.packet import PacketCodec
from moot.gossip.wire.stream import StreamReader, frame
from tests.property import wire_strategies as wire

KEYS = [bytes(range(16)), bytes(range(24)), bytes(range(32))]
configs = st.builds(
    WireConfig,
    compress=st.booleans(),
    label=st.sampled_from([b"", b"blue", b"\xf4" * 255]),
    encryption_version=st.sampled_from([0, 1]),
)
keyrings = st.none() | st.permutations(KEYS).map(lambda keys: Keyring(keys, lambda: bytes(12)))
plain_configs = st.builds(WireConfig, compress=st.booleans(), label=st.sampled_from([b"", b"blue"]))


@given(configs, keyrings, st.lists(wire.packet_messages, min_size=1, max_size=5), st.booleans())
def test_what_one_codec_seals_another_opens(
    config: WireConfig, keyring: Keyring | None, messages: list[PacketMessage], crc: bool
) -> None:
    data = PacketCodec(config, keyring).seal(messages, crc)
    other = Keyring(list(reversed(keyring.keys)), lambda: bytes(12)) if keyring else None
    opened = PacketCodec(config, other).open(data)
    assert opened.messages == messages
    assert not opened.errors


@given(configs, keyrings, st.lists(wire.packet_messages, min_size=1, max_size=5), st.booleans())
def test_a_packet_is_never_larger_than_its_parts_and_the_overhead_tell(
    config: WireConfig, keyring: Keyring | None, messages: list[PacketMessage], crc: bool
) -> None:
    codec = PacketCodec(config, keyring)
    budget = 2 + sum(2 + size_of(message) for message in messages)
    assert len(codec.seal(messages, crc)) <= budget + codec.overhead + 5 * crc


@given(plain_configs, st.binary() | st.binary().map(lambda data: b"\x07\x02\x00\x03\x00\x02" + data))
def test_any_packet_gives_messages_or_one_wire_error(config: WireConfig, data: bytes) -> None:
    with suppress(WireError):
        opened = PacketCodec(config, None).open(data)
        assert len(opened.messages) + len(opened.errors) <= len(data) + 1


@given(configs, keyrings, st.lists(wire.packet_messages, min_size=1, max_size=3), st.booleans(), st.data())
def test_a_damaged_packet_gives_messages_or_one_wire_error(
    config: WireConfig, keyring: Keyring | None, messages: list[PacketMessage], crc: bool, data: st.DataObject
) -> None:
    codec = PacketCodec(config, keyring)
    sealed = bytearray(codec.seal(messages, crc))
    outermost = len(config.label) + 2 * bool(config.label)
    damaged = data.draw(st.integers(0, len(sealed) - 1))
    sealed[damaged] ^= data.draw(st.integers(1, 255))
    if damaged == outermost or (keyring is None and not crc):
        # the first byte says how to read the rest, and is covered by neither seal nor checksum
        with suppress(WireError):
            codec.open(bytes(sealed))
    else:
        with pytest.raises(WireError):
            codec.open(bytes(sealed))


@given(configs, keyrings, wire.stream_messages, st.booleans(), st.data())
def test_a_stream_reads_the_same_however_it_is_cut(
    config: WireConfig, keyring: Keyring | None, message: StreamMessage, dialer: bool, data: st.DataObject
) -> None:
    framed = frame(message, config, keyring, dialer=dialer)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(framed)), max_size=12)))
    reader = StreamReader(config, keyring, expect_label=dialer)
    found = None
    for start, end in zip([0, *cuts], [*cuts, len(framed)], strict=True):
        if found is None:
            found = reader.feed(framed[start:end])
            assert (found is not None) is (end == len(framed))
    assert found == message
    assert not reader.errors


@given(configs, keyrings, wire.stream_messages)
def test_a_stream_is_complete_with_its_last_byte_and_not_before(
    config: WireConfig, keyring: Keyring | None, message: StreamMessage
) -> None:
    framed = frame(message, config, keyring, dialer=True)
    reader = StreamReader(config, keyring, expect_label=True)
    assert reader.feed(framed[:-1]) is None
    assert reader.hungry
    assert reader.feed(framed[-1:] + b"what follows is ignored") == message


@given(plain_configs, st.sampled_from([0, 2, 6, 8, 9, 10, 13, 244]), st.binary(), st.booleans())
def test_any_stream_gives_a_message_or_asks_for_more_or_is_a_wire_error(
    config: WireConfig, kind: int, data: bytes, expect_label: bool
) -> None:
    def read(pieces: list[bytes]) -> tuple[str, object]:
        reader = StreamReader(config, None, expect_label=expect_label)
        try:
            for piece in pieces:
                message = reader.feed(piece)
                if message is not None:
                    return "message", message
        except WireError as error:
            return "error", error.kind
        return "more", None

    whole = bytes((kind,)) + data
    assert read([whole]) == read([whole[index : index + 1] for index in range(len(whole))])


@given(st.binary(max_size=2000) | st.lists(st.sampled_from([b"ab", b"abc", b"\0" * 50]), max_size=400).map(b"".join))
def test_lzw_expands_to_what_was_compressed(data: bytes) -> None:
    squeezed = lzw.compress(data)
    assert lzw.decompress(squeezed, len(data)) == data
    assert lzw.decompress(squeezed + b"rest", len(data)) == data


@given(st.binary(min_size=3000, max_size=6000), st.integers(1, 3))
def test_lzw_survives_a_full_table(data: bytes, times: int) -> None:
    plain = data * times
    assert lzw.decompress(lzw.compress(plain), len(plain)) == plain


@given(st.binary(), st.integers(0, 5000))
def test_any_bytes_expand_within_the_limit_or_are_a_wire_error(data: bytes, limit: int) -> None:
    with suppress(WireError):
        assert len(lzw.decompress(data, limit)) <= limit


@given(st.binary(min_size=1, max_size=300), st.data())
def test_compressed_data_without_its_end_is_truncated(data: bytes, draw: st.DataObject) -> None:
    squeezed = lzw.compress(data)
    with pytest.raises(WireError, match="truncated"):
        lzw.decompress(squeezed[: draw.draw(st.integers(0, len(squeezed) - 2))], len(data))
