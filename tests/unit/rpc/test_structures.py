"""The structures of the RPC: how they are written, and what is accepted."""

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moot.agent.rpc import protocol
from moot.agent.rpc.layout import Layout
from moot.agent.rpc.protocol import (
    BODIES,
    Coordinate,
    Event,
    Join,
    KeyResponse,
    Member,
    Query,
    RequestHeader,
    encode_request,
)
from moot.agent.rpc.streams import as_member, encode_members
from moot.gossip import pack
from moot.gossip.errors import WireError
from tests.support.rpc import canonical, serf_member, unpack_all

TEXT = st.text(max_size=40) | st.binary(max_size=8).map(lambda octets: octets.decode("utf-8", "surrogateescape"))
U64 = st.integers(0, 2**64 - 1)
TAGS = st.dictionaries(TEXT, TEXT, max_size=4)
REQUESTS = st.one_of(
    st.tuples(st.just("handshake"), st.builds(protocol.Handshake, st.integers(-(2**31), 2**31 - 1))),
    st.tuples(st.just("auth"), st.builds(protocol.Auth, TEXT)),
    st.tuples(st.just("event"), st.builds(Event, TEXT, st.binary(max_size=300), st.booleans())),
    st.tuples(st.just("force-leave"), st.builds(protocol.ForceLeave, TEXT, st.booleans())),
    st.tuples(st.just("join"), st.builds(Join, st.lists(TEXT, max_size=4).map(tuple), st.booleans())),
    st.tuples(st.just("members-filtered"), st.builds(protocol.MembersFiltered, TAGS, TEXT, TEXT)),
    st.tuples(st.just("stream"), st.builds(protocol.Stream, TEXT)),
    st.tuples(st.just("monitor"), st.builds(protocol.Monitor, TEXT)),
    st.tuples(st.just("stop"), st.builds(protocol.Stop, U64)),
    st.tuples(st.sampled_from(["install-key", "use-key", "remove-key"]), st.builds(protocol.Key, TEXT)),
    st.tuples(st.just("tags"), st.builds(protocol.Tags, TAGS, st.lists(TEXT, max_size=3).map(tuple))),
    st.tuples(
        st.just("query"),
        st.builds(
            Query,
            TEXT,
            st.binary(max_size=40),
            st.lists(TEXT, max_size=3).map(tuple),
            TAGS,
            st.booleans(),
            st.integers(0, 255),
            st.integers(-(2**63), 2**63 - 1),
        ),
    ),
    st.tuples(st.just("respond"), st.builds(protocol.Respond, U64, st.binary(max_size=40))),
    st.tuples(st.just("get-coordinate"), st.builds(protocol.GetCoordinate, TEXT)),
)


@given(REQUESTS, U64)
def test_every_request_comes_back_as_it_was(request: tuple[str, Any], seq: int) -> None:
    command, body = request
    data = encode_request(command, seq, body)
    head, rest = pack.unpack_first(data)
    assert protocol.REQUEST_HEADER.read(head) == RequestHeader(command, seq)
    layout = BODIES[command]
    assert layout is not None
    assert layout.read(pack.unpack(rest)) == body


@given(REQUESTS)
def test_what_is_written_has_its_keys_in_order_and_its_integers_minimal(request: tuple[str, Any]) -> None:
    data = encode_request(request[0], 300, request[1])
    assert b"".join(map(canonical, unpack_all(data))) == data


def test_texts_are_texts_and_byte_strings_are_byte_strings() -> None:
    body = BODIES["event"]
    assert body is not None
    assert body.encode(Event("x" * 40, b"\0\xff", True)) == (
        b"\x83\xa8Coalesce\xc3\xa4Name\xd9\x28" + b"x" * 40 + b"\xa7Payload\xc4\x02\x00\xff"
    )


def test_what_is_empty_is_nil_where_go_has_nil() -> None:
    body = BODIES["query"]
    assert body is not None
    assert unpack_all(body.encode(Query("q"))) == [
        {
            "FilterNodes": None,
            "FilterTags": None,
            "Name": "q",
            "Payload": None,
            "RelayFactor": 0,
            "RequestAck": False,
            "Timeout": 0,
        }
    ]
    keys = unpack_all(protocol.KEY_RESPONSE.encode(KeyResponse({}, None, 0, 0, 0)))
    assert keys == [{"Keys": None, "Messages": {}, "NumErr": 0, "NumNodes": 0, "NumResp": 0}]
    vec = unpack_all(protocol.COORDINATE.encode(Coordinate((), 0.0, 0.0, 0.0)))
    assert vec == [{"Adjustment": 0.0, "Error": 0.0, "Height": 0.0, "Vec": None}]


@pytest.mark.parametrize("modern", [True, False])
def test_the_other_family_unknown_keys_and_any_order_are_accepted(modern: bool) -> None:
    sent = {"Unknown": [1, {"a": None}], "Payload": b"\xff", "Name": "deploy"}
    body = BODIES["event"]
    assert body is not None
    assert body.read(pack.unpack(msgpack.packb(sent, use_bin_type=modern))) == Event("deploy", b"\xff", False)
    assert body.read(pack.unpack(msgpack.packb({"Payload": "text"}))) == Event("", b"text", False)


def test_missing_and_nil_are_zero() -> None:
    body = BODIES["query"]
    assert body is not None
    empty = Query("", b"", (), {}, False, 0, 0)
    assert body.read(pack.unpack(b"\x80")) == empty
    nils = dict.fromkeys(("FilterNodes", "FilterTags", "Name", "Payload", "RelayFactor", "RequestAck", "Timeout"))
    assert body.read(pack.unpack(msgpack.packb(nils))) == empty


@pytest.mark.parametrize(
    ("command", "body"),
    [
        ("event", {"Name": 1}),
        ("event", {"Name": "x", "Payload": 7}),
        ("event", {"Coalesce": "yes"}),
        ("event", "text"),
        ("join", {"Existing": "127.0.0.1"}),
        ("join", {"Existing": [1]}),
        ("members-filtered", {"Tags": ["role"]}),
        ("members-filtered", {"Tags": {"role": 1}}),
        ("query", {"RelayFactor": 256}),
        ("query", {"RelayFactor": -1}),
        ("query", {"Timeout": 2**63}),
        ("stop", {"Stop": -1}),
        ("respond", {"ID": 1.5}),
    ],
)
def test_a_value_of_a_wrong_kind_is_refused(command: str, body: Any) -> None:  # noqa: ANN401 - the wrong ones, too
    layout = BODIES[command]
    assert layout is not None
    with pytest.raises(WireError):
        layout.read(pack.unpack(msgpack.packb(body)))


@pytest.mark.parametrize("count", [0, 1, 15, 16, 64, 65, 200])
@pytest.mark.parametrize("before", [{}, {"Event": "member-join"}])
def test_members_in_parts_are_the_members_in_one_piece(count: int, before: dict[str, str]) -> None:
    members = [serf_member(f"n{number}", port=number, tags={"b": "1", "a": "x" * 40}) for number in range(count)]
    whole = protocol.MEMBERS.tree(protocol.Members([as_member(member) for member in members]))
    assert b"".join(encode_members(members, **before)) == canonical({**before, **whole})


def test_many_thousand_members_keep_their_number() -> None:
    start = b"".join(encode_members([serf_member("n")] * 70_000))[:14]
    assert start == b"\x81\xa7Members\xdd" + (70_000).to_bytes(4)


def test_a_member_tells_where_it_is() -> None:
    member = Member("a", bytes(15) + b"\1", 7946, {}, "alive", 1, 5, 2, 2, 5, 5)
    assert str(member.address) == "[::1]:7946"


@given(st.binary(max_size=200))
def test_any_bytes_are_a_structure_or_an_error(data: bytes) -> None:
    layouts: list[Layout[Any]] = [layout for layout in BODIES.values() if layout is not None]
    layouts += [protocol.REQUEST_HEADER, protocol.MEMBERS, protocol.KEY_RESPONSE, protocol.COORDINATE_ANSWER]
    try:
        value = pack.unpack(data)
    except WireError:
        return
    for layout in layouts:
        try:
            layout.read(value)
        except WireError:
            continue
