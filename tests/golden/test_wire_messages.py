"""Each message on its own against bytes that the real libraries made."""

from typing import Any

import pytest

from moot.gossip.pack import as_fields, i64, pack, unpack
from moot.gossip.serf.messages import Coordinate, NodeFilter, Relay, TagFilter
from moot.gossip.serf.tags import decode_tags, encode_tags
from moot.gossip.swim.messages import User
from moot.gossip.wire.codec import HEADER_KEYS, decode, encode, size_of
from moot.gossip.wire.serf_codec import (
    decode_coordinate,
    decode_filter,
    decode_serf,
    encode_coordinate,
    encode_filter,
    encode_serf,
)
from tests.golden.wire_vectors import assert_same, describe, describe_serf, vectors

MEMBERLIST = vectors("memberlist_messages")
SERF = vectors("serf_messages")

LAYERED = {name for name in MEMBERLIST if name.startswith(("compound", "compressed", "crc"))}
HEADERS = {name for name in MEMBERLIST if "header" in name}
SINGLE = sorted(MEMBERLIST.keys() - LAYERED - HEADERS)

REENCODED_DIFFERENTLY = {
    "ack_empty_payload": "an empty payload that is not nil; we send nil, as every relayed ack is",
    "push_pull_left_member": "a nil Events array; we keep an array",
}
"""Vectors that hold a value which means the same as the one that we send, with the reason."""

TAGS = [name for name in SERF if name.startswith("tags")]
FILTERS = [name for name in SERF if name.startswith("filter")]
PAYLOADS = [name for name in SERF if name.startswith("ping_payload")]
SERF_SINGLE = sorted(SERF.keys() - set(TAGS) - set(FILTERS) - set(PAYLOADS))


def both(vector: dict[str, Any]) -> list[bytes]:
    """The old library's bytes, and the new one's where they differ."""
    new = vector["hex_go_msgpack_v2"]
    return [bytes.fromhex(vector["hex"])] + ([bytes.fromhex(new)] if new != "same" else [])


@pytest.mark.parametrize("name", SINGLE)
def test_a_message_of_the_real_library_decodes_to_what_it_says(name: str) -> None:
    vector = MEMBERLIST[name]
    for data in both(vector):
        message = decode(data)
        assert data[0] == vector["decoded"]["type"]
        if name == "user_udp":
            assert isinstance(message, User)
            assert message.raw == bytes.fromhex(vector["decoded"]["body_hex"])
        else:
            assert_same(vector["decoded"], describe(message))


@pytest.mark.parametrize("name", SINGLE)
def test_a_message_is_encoded_to_the_bytes_of_the_real_library(name: str) -> None:
    data = bytes.fromhex(MEMBERLIST[name]["hex"])
    message = decode(data)
    ours = encode(message)
    assert size_of(message) == len(ours)
    if name in REENCODED_DIFFERENTLY:
        assert ours != data
        assert decode(ours) == message
    else:
        assert ours == data


@pytest.mark.parametrize("name", sorted(HEADERS))
def test_a_bare_header_is_read_from_both_libraries_and_written_like_the_older_one(name: str) -> None:
    vector = MEMBERLIST[name]
    for data in both(vector):
        fields = as_fields(unpack(data), HEADER_KEYS)
        for key, value in vector["decoded"].items():
            assert fields.get(key.encode()) == value
            assert isinstance(value, bool) or i64(fields, key.encode()) == value
        assert pack(fields) == both(vector)[0]


@pytest.mark.parametrize("name", SERF_SINGLE)
def test_a_serf_message_of_the_real_library_decodes_to_what_it_says(name: str) -> None:
    vector = SERF[name]
    for data in both(vector):
        message = decode_serf(data)
        assert data[0] == vector["decoded"]["type"]
        assert_same(vector["decoded"], describe_serf(message))
        if isinstance(message, Relay):
            assert message.inner == bytes.fromhex(SERF["query_response"]["hex"])


@pytest.mark.parametrize("name", SERF_SINGLE)
def test_a_serf_message_is_encoded_to_the_bytes_of_the_real_library(name: str) -> None:
    for data in both(SERF[name]):
        message = decode_serf(data)
        ours = encode_serf(message)
        if name in REENCODED_DIFFERENTLY:
            assert ours != data
            assert decode_serf(ours) == message
        else:
            # whichever library wrote it, we write signed integers as the older one does
            assert ours == both(SERF[name])[0]


@pytest.mark.parametrize("name", FILTERS)
def test_a_query_filter_goes_there_and_back(name: str) -> None:
    data, told = bytes.fromhex(SERF[name]["hex"]), SERF[name]["decoded"]
    found = decode_filter(data)
    wanted = TagFilter(told["Tag"], told["Expr"]) if told["filter_type"] else NodeFilter(told["nodes"])
    assert found == wanted
    assert encode_filter(found) == data


@pytest.mark.parametrize("name", TAGS)
def test_tags_go_there_and_back(name: str) -> None:
    for data in both(SERF[name]):
        tags = SERF[name]["decoded"]["tags"] or {}
        found = decode_tags(data)
        if data == b"\xff\xc0":
            assert found == {}
        elif name == "tags_legacy_role":
            assert found == tags
        else:
            assert found == tags
            assert encode_tags(found) == data


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_coordinate_goes_there_and_back(name: str) -> None:
    data, told = bytes.fromhex(SERF[name]["hex"]), SERF[name]["decoded"]
    found = decode_coordinate(data)
    assert found == Coordinate(told["Vec"], told["Error"], told["Adjustment"], told["Height"])
    assert encode_coordinate(found) == data
