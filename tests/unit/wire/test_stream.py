"""StreamReader and frame: who writes labels, what must be encrypted, what a listener answers."""

from itertools import pairwise

import pytest

from moot.gossip.config import WireConfig
from moot.gossip.errors import CryptoError, LimitExceeded, WireError
from moot.gossip.pack import pack
from moot.gossip.record import Address
from moot.gossip.serf.messages import JoinIntent, SerfPushPull, Unknown
from moot.gossip.swim.member import Member, Status
from moot.gossip.swim.messages import Ack, Ping, PushPull, StreamMessage, User
from moot.gossip.wire.codec import encode
from moot.gossip.wire.keyring import Keyring
from moot.gossip.wire.limits import USER_MAX
from moot.gossip.wire.serf_codec import encode_serf
from moot.gossip.wire.stream import StreamReader, content, error_text, frame

PLAIN = WireConfig()
BLUE = WireConfig(label=b"blue")
PING = Ping(1, "b")
MEMBER = Member("a", Address.parse("127.0.0.1", 7946), 3, Status.SUSPECT, b"\xff\x80")
STATE = SerfPushPull(5, {"a": 4, "b": 0}, ["b"], 2, [], 1)


def ring(key: bytes = bytes(16)) -> Keyring:
    return Keyring([key], lambda: bytes(12))


def read(
    data: bytes, config: WireConfig = PLAIN, keys: Keyring | None = None, *, dialer: bool = True
) -> StreamMessage:
    message = StreamReader(config, keys, expect_label=dialer).feed(data)
    assert message is not None
    return message


def test_only_the_dialer_writes_the_label() -> None:
    assert frame(PING, BLUE, None, dialer=True) == b"\xf4\x04blue" + encode(PING)
    assert frame(PING, BLUE, None, dialer=False) == encode(PING)


def test_a_reply_under_a_label_is_authenticated_by_it() -> None:
    reply = frame(Ack(1), BLUE, ring(), dialer=False)
    assert read(reply, BLUE, ring(), dialer=False) == Ack(1)
    with pytest.raises(CryptoError):
        read(reply, PLAIN, ring(), dialer=False)


@pytest.mark.parametrize(
    ("config", "header", "dialer"),
    [
        (PLAIN, b"\xf4\x04blue", True),
        (BLUE, b"", True),
        (BLUE, b"\xf4\x03red", True),
        (BLUE, b"\xf4\x00", True),
        (WireConfig(label=b"blue", skip_inbound_label_check=True), b"\xf4\x04blue", True),
    ],
)
def test_another_label_than_ours_is_refused(config: WireConfig, header: bytes, dialer: bool) -> None:
    with pytest.raises(WireError, match="label"):
        read(header + encode(PING), config, dialer=dialer)


def test_with_the_label_check_skipped_a_stream_has_no_label() -> None:
    config = WireConfig(label=b"blue", skip_inbound_label_check=True)
    assert read(encode(PING), config) == PING


def test_a_label_on_a_reply_is_an_unexpected_message() -> None:
    with pytest.raises(WireError, match="type 244"):
        read(b"\xf4\x04blue" + encode(PING), BLUE, dialer=False)


def test_the_error_texts_are_those_of_the_reference() -> None:
    cases = [
        (frame(PING, PLAIN, ring(), dialer=True), None, "Remote state is encrypted and encryption is not configured"),
        (encode(PING), ring(), "Encryption is configured but remote state is not encrypted"),
        (frame(PING, PLAIN, ring(b"o" * 16), dialer=True), ring(), "No installed keys could decrypt the message"),
        (b"\x0a\x02\0\0\0", ring(), "Remote node state is larger than limit (20971520)"),
    ]
    for data, keys, text in cases:
        reader = StreamReader(PLAIN, keys, expect_label=True)
        with pytest.raises(WireError) as refused:
            reader.feed(data)
        assert error_text(refused.value) == text
        assert not reader.unwrapped


def test_faults_below_the_layers_are_those_that_the_reference_meets_with_silence() -> None:
    for data in (b"\x05\x80", b"\x0b\x80", b"\x06\x81\xa5Nodes\xa1x", b"\x00\xc1"):
        reader = StreamReader(PLAIN, None, expect_label=True)
        with pytest.raises(WireError) as refused:
            reader.feed(data)
        assert reader.unwrapped
        assert reader.kind == data[0]
        assert error_text(refused.value) == str(refused.value)


def test_a_plain_stream_is_taken_where_incoming_is_not_verified() -> None:
    config = WireConfig(verify_incoming=False, verify_outgoing=False)
    assert frame(PING, config, ring(), dialer=True) == encode(PING)
    assert read(encode(PING), config, ring()) == PING
    assert read(frame(PING, PLAIN, ring(), dialer=True), config, ring()) == PING


def test_what_ends_inside_a_sealed_frame_can_never_be_completed() -> None:
    cut = encode(PushPull(True, [MEMBER], STATE))[:-1]
    head = b"\x0a" + (29 + len(cut)).to_bytes(4, "big")
    with pytest.raises(WireError, match="truncated"):
        read(head + ring().seal(cut, head), PLAIN, ring())


def test_a_push_pull_holds_members_and_the_state_of_serf() -> None:
    message = PushPull(True, [MEMBER], STATE)
    for config in (PLAIN, WireConfig(compress=True)):
        assert read(frame(message, config, None, dialer=True), config) == message


def test_a_member_that_cannot_be_read_is_left_out_and_told() -> None:
    nodes = [{"Name": "bad", "State": 4}, {"Name": "b", "Port": 65536}, {"Name": "c", "Addr": b"abc"}, {"Name": "d"}]
    nodes += [{"Name": "e", "Meta": b"m" * 513}, {"Name": "n" * 1025}, {"Name": "f", "Vsn": b"v" * 17}]
    data = b"\x06" + pack({"Join": True, "Nodes": len(nodes)}) + b"".join(map(pack, nodes))
    reader = StreamReader(PLAIN, None, expect_label=True)
    message = reader.feed(data)
    assert message == PushPull(True, [Member("d", Address(b"", 0), 0, Status.ALIVE, b"", b"")])
    assert [error.kind for error in reader.errors] == ["field", "field", "address", "meta", "name", "versions"]


def test_members_are_merged_also_when_the_state_cannot_be_read() -> None:
    for state, kind in ((b"\x02\xc1", "malformed"), (b"\x63", "state"), (encode_serf(JoinIntent(1, "a")), "state")):
        reader = StreamReader(PLAIN, None, expect_label=True)
        message = reader.feed(frame(PushPull(False, [MEMBER], state), PLAIN, None, dialer=True))
        assert message == PushPull(False, [MEMBER], None)
        assert [error.kind for error in reader.errors] == [kind]


def test_user_messages_travel_on_streams_too() -> None:
    assert read(frame(User(JoinIntent(1, "a")), PLAIN, None, dialer=True)) == User(
        JoinIntent(1, "a"), encode_serf(JoinIntent(1, "a"))
    )
    assert read(frame(User(b"\x63?"), PLAIN, None, dialer=True)) == User(Unknown(0x63), b"\x63?")
    with pytest.raises(WireError, match="empty"):
        read(b"\x08\x80")
    with pytest.raises(LimitExceeded, match="user"):
        read(b"\x08" + pack({"UserMsgLen": USER_MAX + 1}))


def test_a_great_push_pull_is_read_in_slices() -> None:
    members = [Member(f"node-{number}", MEMBER.address, 1, Status.ALIVE, bytes(50)) for number in range(5000)]
    state = SerfPushPull(5, {member.name: 1 for member in members}, [member.name for member in members], 2, [], 1)
    message = PushPull(False, members, state)
    for config in (PLAIN, WireConfig(compress=True)):
        reader = StreamReader(config, ring(), expect_label=True)
        reader.give(frame(message, config, ring(), dialer=True))
        held = []
        while (read := reader.step()) is None:
            assert not reader.hungry
            held.append(reader.held)
        assert read == message
        assert 5000 / 256 < len(held) < 400
        assert max(after - before for before, after in pairwise(held)) < 2**20


def test_what_a_reader_holds_counts_the_members_and_not_only_their_bytes() -> None:
    data = content(PushPull(False, [MEMBER] * 1000, STATE), PLAIN)
    reader = StreamReader(PLAIN, None, expect_label=True)
    assert reader.feed(data[:-1]) is None
    assert reader.hungry
    assert reader.held > len(data) + 1000 * 300


def test_compress_messages_are_read_as_maps_in_any_order_and_as_arrays() -> None:
    body = frame(PING, WireConfig(compress=True), None, dialer=True)
    squeezed = body[body.index(b"\xa3Buf") + 4 :]
    for form in (
        b"\x83\xa3Buf" + squeezed + b"\xa7Unheard\x91\x01\xa4Algo\x00",
        b"\x92\x00" + squeezed,
        b"\x93\x00" + squeezed + b"\xc0",
    ):
        assert read(b"\x09" + form) == PING
