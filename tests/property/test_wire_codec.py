"""What holds for every message and for any bytes: single messages, tags, filters, coordinates."""

from contextlib import suppress

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from moot.gossip.errors import ConfigError, WireError
from moot.gossip.pack import pack
from moot.gossip.serf.messages import Coordinate, Filter, SerfMessage
from moot.gossip.serf.tags import decode_tags, encode_tags
from moot.gossip.swim.messages import Ack, ErrorReply, Message, PacketMessage, PushPull, User
from moot.gossip.wire.codec import TABLE, decode, encode, size_of
from moot.gossip.wire.coordinate_codec import decode_any_coordinate, encode_any_coordinate
from moot.gossip.wire.serf_codec import (
    decode_coordinate,
    decode_filter,
    decode_serf,
    encode_coordinate,
    encode_filter,
    encode_serf,
)
from tests.property import wire_strategies as wire

ROWS = {row.cls: row for row in TABLE}


@given(wire.packet_messages)
def test_a_message_survives_the_way_to_bytes_and_back(message: PacketMessage) -> None:
    assert decode(encode(message)) == message


@given(wire.packet_messages | wire.push_pulls | wire.acks | st.builds(ErrorReply, wire.texts))
def test_the_size_of_a_message_is_the_length_of_its_bytes(message: Message) -> None:
    assert size_of(message) == len(encode(message))
    assert not isinstance(message, User) or size_of(User(message.body)) == len(encode(message))


@given(wire.messages_of_swim | st.builds(ErrorReply, wire.texts))
def test_a_structure_has_its_keys_sorted_and_may_come_as_an_array(message: PacketMessage | ErrorReply) -> None:
    row = ROWS[type(message)]
    fields = row.write(message)
    assert list(fields) == sorted(fields)
    assert set(fields) <= set(row.keys)
    kind = bytes((row.kind,))
    assert decode(kind + pack([fields.get(key) for key in row.keys])) == message
    assert decode(kind + pack([*(fields.get(key) for key in row.keys), "surplus"])) == message


@given(wire.messages_of_swim, st.binary(max_size=5))
def test_what_newer_peers_write_means_the_same(message: PacketMessage, rest: bytes) -> None:
    row = ROWS[type(message)]
    fields = {key: value for key, value in row.write(message).items() if value}
    unsorted = {b"Unheard": [1, {"of": None}], **dict(reversed(fields.items()))}
    with_bin = msgpack.packb(unsorted, use_bin_type=True, unicode_errors="surrogateescape")
    # bytes keys become bin too, which the newer library reads as well
    assert decode(bytes((row.kind,)) + with_bin + rest) == message


@given(wire.messages_of_serf)
def test_a_serf_message_survives_the_way_to_bytes_and_back(message: SerfMessage) -> None:
    assert decode_serf(encode_serf(message)) == message


@given(st.binary())
@example(b"\x00" + b"\x91" * 5000)
@example(b"\x02\x82\xa7Payload\xdd\xff\xff\xff\xff")
@example(b"\x05\xc7\x0c\xff" + b"\xff" * 12)
def test_any_bytes_are_a_message_or_a_wire_error(data: bytes) -> None:
    try:
        message = decode(data)
    except WireError:
        return
    # what was understood can be told on
    again = decode(encode(message))
    assert again == message or isinstance(message, User)


@given(st.integers(0, 11), st.binary())
def test_any_bytes_after_a_type_byte_are_a_serf_message_or_a_wire_error(kind: int, body: bytes) -> None:
    with suppress(WireError):
        decode_serf(bytes((kind,)) + body)


@given(wire.messages_of_serf, st.data())
def test_a_damaged_serf_message_is_another_one_or_a_wire_error(message: SerfMessage, data: st.DataObject) -> None:
    encoded = bytearray(encode_serf(message))
    index = data.draw(st.integers(0, len(encoded) - 1))
    encoded[index] = data.draw(wire.u8s)
    cut = data.draw(st.integers(1, len(encoded)))
    with suppress(WireError):
        decode_serf(bytes(encoded[:cut]))


@given(wire.tags)
def test_tags_survive_the_way_to_meta_and_back(tags: dict[str, str]) -> None:
    encoded = b"\xff" + pack(dict(sorted(tags.items())))
    if len(encoded) > 512:
        with pytest.raises(ConfigError, match=r"^Encoded length of tags exceeds limit of 512 bytes$"):
            encode_tags(tags)
    else:
        assert encode_tags(dict(reversed(tags.items()))) == encoded
    assert decode_tags(encoded) == tags


@given(st.binary(max_size=600))
def test_any_meta_has_tags_that_nobody_can_change(meta: bytes) -> None:
    for data in (meta, b"\xff" + meta):
        tags = decode_tags(data)
        assert all(isinstance(part, str) for pair in tags.items() for part in pair)
        with pytest.raises(TypeError):
            tags["role"] = "other"  # type: ignore[index]  # this is what is tried


@given(wire.filters)
def test_a_filter_survives_the_way_to_bytes_and_back(wanted: Filter) -> None:
    assert decode_filter(encode_filter(wanted)) == wanted


@given(st.binary())
def test_any_bytes_are_a_filter_or_a_wire_error(data: bytes) -> None:
    with suppress(WireError):
        found = decode_filter(data)
        assert decode_filter(encode_filter(found)) == found


@given(wire.coordinates)
def test_a_coordinate_survives_the_way_to_bytes_and_back(coordinate: Coordinate) -> None:
    payload = encode_coordinate(coordinate)
    assert payload == encode_any_coordinate(coordinate)
    assert decode_coordinate(payload) == decode_any_coordinate(payload) == coordinate


@given(wire.coordinates, st.integers(0, 118), st.integers(0, 255))
def test_a_coordinate_that_was_changed_on_the_way_is_read_as_by_msgpack(
    coordinate: Coordinate, at: int, byte: int
) -> None:
    payload = bytearray(encode_coordinate(coordinate))
    payload[at] = byte
    assert decode_coordinate(bytes(payload)) == decode_any_coordinate(bytes(payload))


@given(st.binary(), st.lists(st.floats() | wire.u64s, max_size=9), st.floats())
def test_any_ack_payload_is_a_finite_coordinate_or_none(data: bytes, vec: list[float], height: float) -> None:
    shaped = b"\x01" + pack({"Vec": vec, "Height": height})
    for payload in (data, b"\x01" + data, shaped):
        found = decode_coordinate(payload)
        if found is not None:
            assert len(found.vec) == 8
            parts = (*found.vec, found.error, found.adjustment, found.height)
            assert all(abs(part) < float("inf") for part in parts)


def test_the_bytes_of_a_user_message_are_sent_as_they_came() -> None:
    assert encode(User(object(), b"as it came")) == b"\x08as it came"
    assert encode(User(b"opaque")) == b"\x08opaque"
    assert encode(PushPull(False, [], b"opaque")).endswith(b"\x06opaque")
    assert encode(Ack(1)) == b"\x02\x82\xa7Payload\xc0\xa5SeqNo\x01"
