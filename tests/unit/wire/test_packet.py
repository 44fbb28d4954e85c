"""PacketCodec: labels, checksums, verification switches, faults of parts and of the whole."""

import pytest

from moot.gossip.config import WireConfig
from moot.gossip.errors import CryptoError, LimitExceeded, WireError
from moot.gossip.swim.messages import Ack, Nack, PacketMessage, Ping, User
from moot.gossip.wire.codec import encode
from moot.gossip.wire.keyring import Keyring
from moot.gossip.wire.packet import PacketCodec, overhead_of

PING = Ping(1, "b")
NACK = Nack(2)


def codec(config: WireConfig | None = None, *keys: bytes) -> PacketCodec:
    return PacketCodec(config or WireConfig(), Keyring(keys, lambda: bytes(12)) if keys else None)


def compound(*parts: bytes) -> bytes:
    lengths = b"".join(len(part).to_bytes(2, "big") for part in parts)
    return bytes((7, len(parts))) + lengths + b"".join(parts)


def test_one_message_goes_bare_and_several_go_as_a_compound() -> None:
    assert codec().seal([PING], False) == encode(PING)
    assert codec().seal([PING, NACK], False) == compound(encode(PING), encode(NACK))


def test_a_faulty_part_does_not_spoil_the_others() -> None:
    junk = [b"", b"\x63", b"\x00\xc1", b"\x06\x80", b"\x0d\x80", b"\x0c\0\0\0\0" + encode(PING), b"\x08"]
    opened = codec().open(compound(encode(PING), *junk, encode(NACK)))
    assert opened.messages == [PING, NACK]
    assert [error.kind for error in opened.errors] == [
        "empty",
        "unsupported",
        "malformed",
        *["unsupported"] * 3,
        "empty",
    ]


def test_parts_before_one_that_is_cut_off_are_kept() -> None:
    whole = compound(encode(PING), encode(NACK))
    opened = codec().open(whole[:-1])
    assert opened.messages == [PING]
    assert [error.kind for error in opened.errors] == ["truncated"]


def test_bytes_after_the_last_part_are_ignored() -> None:
    assert codec().open(compound(encode(PING)) + b"rest").messages == [PING]
    assert codec().open(compound()).messages == []


@pytest.mark.parametrize("data", [b"\x07", b"\x07\x02\x00\x01\x00", b"\x07\xff" + bytes(509)])
def test_a_compound_without_all_its_lengths_is_dropped(data: bytes) -> None:
    with pytest.raises(WireError, match="truncated"):
        codec().open(data)


def test_more_than_255_messages_take_several_packets() -> None:
    messages: list[PacketMessage] = [Nack(seq) for seq in range(600)]
    packets = codec().seal_all(messages, True)
    assert [len(codec().open(packet).messages) for packet in packets] == [255, 255, 90]
    with pytest.raises(LimitExceeded, match="256 messages"):
        codec().seal(messages[:256], False)


def test_a_message_beyond_16_bits_of_length_goes_alone_or_not_at_all() -> None:
    great = User(b"\xee" * 0x10000)
    assert len(codec().seal([great], False)) == 0x10001
    with pytest.raises(LimitExceeded, match="65537 bytes in a compound"):
        codec().seal([great, PING], False)


def test_a_checksum_that_does_not_match_drops_the_packet() -> None:
    data = codec().seal([PING], True)
    assert codec().open(data).messages == [PING]
    with pytest.raises(WireError, match="crc"):
        codec().open(data[:-1] + b"x")


def test_a_checksum_too_short_for_one_is_an_unsupported_message() -> None:
    with pytest.raises(WireError, match="unsupported"):
        codec().open(b"\x0c\0\0\0")


@pytest.mark.parametrize(
    ("config", "data"),
    [
        (WireConfig(), b"\xf4\x04blue"),
        (WireConfig(label=b"blue"), b""),
        (WireConfig(label=b"blue"), b"\xf4\x03red"),
        (WireConfig(label=b"blue"), b"\xf4\x05blue"),
        (WireConfig(), b"\xf4\x00"),
        (WireConfig(label=b"blue", skip_inbound_label_check=True), b"\xf4\x04blue"),
    ],
)
def test_another_label_than_ours_drops_the_packet(config: WireConfig, data: bytes) -> None:
    with pytest.raises(WireError, match="label"):
        codec(config).open(data + encode(PING))


@pytest.mark.parametrize("data", [b"\xf4", b"\xf4\x04blu", b"\xf4\x00"])
def test_a_label_header_that_is_cut_off_drops_the_packet(data: bytes) -> None:
    with pytest.raises(WireError, match="label"):
        codec(WireConfig(label=b"blue")).open(data)


def test_with_the_label_check_skipped_the_label_still_authenticates() -> None:
    key = bytes(16)
    behind = codec(WireConfig(label=b"blue", skip_inbound_label_check=True), key)
    sent = codec(WireConfig(label=b"blue"), key).seal([PING], False)
    assert behind.open(sent.removeprefix(b"\xf4\x04blue")).messages == [PING]
    with pytest.raises(CryptoError):
        behind.open(codec(WireConfig(), key).seal([PING], False))


def test_a_plain_packet_is_dropped_where_encryption_is_required_only() -> None:
    key, plain = bytes(16), encode(PING)
    with pytest.raises(CryptoError):
        codec(None, key).open(plain)
    lenient = codec(WireConfig(verify_incoming=False, verify_outgoing=False), key)
    assert lenient.open(plain).messages == [PING]
    assert lenient.open(codec(None, key).seal([PING], False)).messages == [PING]
    assert lenient.seal([PING], False) == plain


def test_an_empty_packet_is_dropped_also_under_its_layers() -> None:
    key = bytes(16)
    sealed = Keyring([key], lambda: bytes(12)).seal(b"")
    for opener, data in ((codec(), b""), (codec(None, key), sealed), (codec(), b"\x0c\0\0\0\0")):
        with pytest.raises(WireError, match="empty"):
            opener.open(data)


def test_compression_is_used_only_where_it_makes_a_packet_shorter() -> None:
    squeezing = codec(WireConfig(compress=True))
    assert squeezing.seal([PING], False) == encode(PING)
    assert squeezing.seal([Ack(1, bytes(500))], False)[0] == 9


def test_the_overhead_is_that_of_label_and_encryption() -> None:
    keys = Keyring([bytes(16)], lambda: bytes(12))
    assert overhead_of(WireConfig(), None) == 0
    assert overhead_of(WireConfig(label=b"blue"), None) == 6
    assert overhead_of(WireConfig(label=b"blue"), keys) == 6 + 29
    assert overhead_of(WireConfig(encryption_version=0), keys) == 45
    assert overhead_of(WireConfig(verify_outgoing=False), keys) == 0


def test_another_compression_algorithm_is_unsupported() -> None:
    with pytest.raises(WireError, match="LZW"):
        codec().open(b"\x09\x82\xa4Algo\x01\xa3Buf\xa0")
