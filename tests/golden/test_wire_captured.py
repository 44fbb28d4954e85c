"""Packets and streams that real agents exchanged, plain, compressed, encrypted, of both generations."""

from collections.abc import Iterator
from typing import Any

import pytest

from moot.gossip.config import WireConfig
from moot.gossip.errors import CryptoError, WireError
from moot.gossip.serf.messages import Coordinate, Query, Relay
from moot.gossip.swim.messages import Ack, ErrorReply, PacketMessage, PushPull, StreamMessage, User
from moot.gossip.wire.codec import encode, size_of
from moot.gossip.wire.keyring import Keyring
from moot.gossip.wire.packet import PacketCodec
from moot.gossip.wire.serf_codec import decode_coordinate, decode_serf, encode_coordinate
from moot.gossip.wire.stream import StreamReader, error_text, frame
from tests.golden.wire_vectors import assert_same, describe, describe_serf, load

UDP = {scenario["scenario"]: scenario for scenario in load("captured_udp")["scenarios"]}
TCP = {scenario["scenario"]: scenario for scenario in load("captured_tcp")["scenarios"]}
PACKETS = [(name, index) for name, scenario in UDP.items() for index in range(len(scenario["packets"]))]
SIDES = [
    (name, index, side)
    for name, scenario in TCP.items()
    for index, stream in enumerate(scenario["streams"])
    for side in ("dialer", "listener")
    if stream[f"{side}_sent_hex"]
]
UNREADABLE = [("mixed", 3), ("mixed", 7)]
"""Sealed with a key that nobody had."""
UNEXPECTED = [("mixed", 4), ("mixed", 8)]
"""A dead message, which has no place on a stream."""
READABLE = [side for side in SIDES if side[2] == "listener" or side[:2] not in UNREADABLE + UNEXPECTED]


OTHER_FORMS = (b"\xacUserStateLen\xd1", b"\xa4Port\xd1", b"\xa4Addr\xc4")
"""Encodings that we accept and never write: signed integers, as the newer library has them in signed fields and
a hand-written node tried them elsewhere, and byte strings as bin, which it tried too."""


def keyring(scenario: dict[str, Any], nonce: bytes = bytes(12), first: str = "") -> Keyring | None:
    keys = [bytes.fromhex(key) for key in scenario["keys_hex"]]
    if not keys:
        return None
    ring = Keyring(keys, lambda: nonce)
    if first:
        ring.use(bytes.fromhex(first))
    return ring


def told_parts(told: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The single messages in the description of a packet."""
    if "parts" in told:
        for part in told["parts"]:
            yield from told_parts(part)
    elif told["type"] == 9:
        yield from told_parts(told["inner"])
    else:
        yield told


def assert_told(told: dict[str, Any], message: PacketMessage) -> None:
    if not isinstance(message, User):
        assert_same(told["body"], describe(message))
    else:
        assert_same(told["serf"]["body"], describe_serf(message.body))
        if isinstance(message.body, Relay):
            inner = told["serf"]["inner"]
            assert_same(inner["body"], describe_serf(decode_serf(message.body.inner)))
    if isinstance(message, Ack) and "payload_decoded" in told:
        wanted = told["payload_decoded"]["coordinate"]
        found = decode_coordinate(message.payload)
        assert found == Coordinate(wanted["Vec"], wanted["Error"], wanted["Adjustment"], wanted["Height"])
        assert encode_coordinate(found) == message.payload


@pytest.mark.parametrize(("name", "index"), PACKETS)
def test_a_captured_packet_decodes_to_what_the_capture_says(name: str, index: int) -> None:
    packet = UDP[name]["packets"][index]
    opened = PacketCodec(WireConfig(), keyring(UDP[name])).open(bytes.fromhex(packet["hex"]))
    assert not opened.errors
    told = list(told_parts(packet["decoded"]["message"]))
    assert len(told) == len(opened.messages)
    for part, message in zip(told, opened.messages, strict=True):
        assert_told(part, message)


@pytest.mark.parametrize(("name", "index"), PACKETS)
def test_a_captured_packet_is_sealed_again_to_the_same_bytes(name: str, index: int) -> None:
    packet = UDP[name]["packets"][index]
    data, told = bytes.fromhex(packet["hex"]), packet["decoded"]
    ring = keyring(UDP[name], nonce=data[1:13], first=told.get("key", ""))
    codec = PacketCodec(WireConfig(compress=name in ("comp", "enc")), ring)
    messages = codec.open(data).messages
    fresh = [User(message.body) if isinstance(message, User) else message for message in messages]
    bodies = [message.body for message in messages if isinstance(message, User)]
    ours = codec.seal(fresh, crc="crc32" in told)
    if name == "new" and any(isinstance(body, Query | Relay) for body in bodies):
        # the newer library writes the signed fields of these two in the signed family; we never do
        assert ours != data
        again = codec.open(ours).messages
        assert [describe(message) for message in again] == [describe(message) for message in messages]
    else:
        assert ours == data
    # what is gossiped on is what was received
    assert codec.seal(messages, crc="crc32" in told) == data
    for message in (*fresh, *messages):
        assert size_of(message) == len(encode(message))


def read(name: str, data: bytes, *, dialer: bool) -> tuple[StreamMessage | None, StreamReader]:
    reader = StreamReader(WireConfig(), keyring(TCP[name]), expect_label=dialer)
    return reader.feed(data), reader


@pytest.mark.parametrize(("name", "index", "side"), READABLE)
def test_a_captured_stream_decodes_to_what_the_capture_says(name: str, index: int, side: str) -> None:
    stream = TCP[name]["streams"][index]
    told = stream[f"{side}_sent"]
    message, reader = read(name, bytes.fromhex(stream[f"{side}_sent_hex"]), dialer=side == "dialer")
    assert message is not None
    assert not reader.errors
    assert_same(told["header"], describe(message))
    if isinstance(message, PushPull):
        found = describe(message)["states"]
        assert isinstance(found, list)
        for wanted, member in zip(told["nodes"], found, strict=True):
            assert_same(wanted, member)
        assert_same(told["user_state"]["body"], describe_serf(message.state))


@pytest.mark.parametrize(("name", "index", "side"), READABLE)
def test_a_captured_stream_is_framed_again_to_the_same_bytes(name: str, index: int, side: str) -> None:
    stream = TCP[name]["streams"][index]
    told, data = stream[f"{side}_sent"], bytes.fromhex(stream[f"{side}_sent_hex"])
    message, _ = read(name, data, dialer=side == "dialer")
    assert message is not None
    ring = keyring(TCP[name], nonce=data[6:18], first=told.get("key", ""))
    ours = frame(message, WireConfig(compress=told.get("compressed", False)), ring, dialer=side == "dialer")
    if any(form in data for form in OTHER_FORMS):
        assert ours != data
        assert read(name, ours, dialer=side == "dialer")[0] == message
    else:
        assert ours == data


@pytest.mark.parametrize(("name", "index"), UNREADABLE)
def test_a_captured_stream_without_its_key_gets_the_error_text_of_the_real_listener(name: str, index: int) -> None:
    stream = TCP[name]["streams"][index]
    with pytest.raises(CryptoError) as refused:
        read(name, bytes.fromhex(stream["dialer_sent_hex"]), dialer=True)
    assert error_text(refused.value) == stream["listener_sent"]["header"]["Error"]


@pytest.mark.parametrize(("name", "index"), UNEXPECTED)
def test_a_captured_dead_message_on_a_stream_is_refused_where_the_listener_was_silent(name: str, index: int) -> None:
    stream = TCP[name]["streams"][index]
    reader = StreamReader(WireConfig(), None, expect_label=True)
    with pytest.raises(WireError, match="type 5 on a stream"):
        reader.feed(bytes.fromhex(stream["dialer_sent_hex"]))
    assert reader.unwrapped
    assert not stream["listener_sent_hex"]


def test_the_listener_answered_an_unknown_key_with_an_error_under_its_own() -> None:
    stream = TCP["enc"]["streams"][4]
    outdated = Keyring([bytes.fromhex(stream["listener_sent"]["key"])], lambda: bytes(12))
    reader = StreamReader(WireConfig(), outdated, expect_label=True)
    with pytest.raises(CryptoError) as refused:
        reader.feed(bytes.fromhex(stream["dialer_sent_hex"]))
    message, _ = read("enc", bytes.fromhex(stream["listener_sent_hex"]), dialer=False)
    assert message == ErrorReply(error_text(refused.value))
