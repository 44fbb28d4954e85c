"""Arguments and answers of Nomad's methods as maps with Go's names."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moot.agent.nomad import structures
from moot.agent.nomad.errors import Refused
from moot.agent.nomad.registry import NodeEntry, NodeFacts
from moot.agent.nomad.structures import (
    Beat,
    Granted,
    Options,
    decode_beat,
    decode_granted,
    decode_members,
    decode_nodes,
    decode_options,
    decode_register,
    decode_text,
    decode_texts,
    encode_beat,
    encode_forwarded,
    encode_granted,
    encode_members,
    encode_nodes,
    encode_options,
    encode_register,
    encode_text,
    encode_texts,
    fields_of,
)
from moot.gossip.errors import WireError
from moot.http.schema import MemberAnswer
from tests.api.scripted import made, server_tags

ID = "00000000-0000-0000-0000-000000000001"
FACTS = NodeFacts(
    node_id=ID, secret="s3cret", name="c1", datacenter="dc1", address="127.0.0.9", version="0.1.0", node_class="big"
)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.binary(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [b"Node", b"ID", b"Region", b"Servers", b"Members", b"Nodes", b"Tags", b"Addr", b"HeartbeatTTL", b"x"]
            )
            | st.integers(0, 3),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


def plain(body: bytes) -> Any:  # noqa: ANN401 - MessagePack of any shape
    """What another implementation reads."""
    return msgpack.unpackb(body, raw=False)


def test_options_go_there_and_back() -> None:
    options = Options(region="eu", stale=True, forwarded=True, token="t")
    assert decode_options(fields_of(encode_options(options))) == options
    assert decode_options(fields_of(b"\x80")) == Options()


def test_an_argument_that_is_no_map_has_no_keys() -> None:
    assert fields_of(b"\xc0") == {}
    assert fields_of(b"\x90") == {}


def test_a_registration_has_what_nomads_servers_ask_for() -> None:
    body = encode_register(FACTS, "global", "127.0.0.9:4646")
    argument = plain(body)
    node = argument["Node"]
    assert argument["Region"] == "global"
    assert {key: node[key] for key in ("ID", "SecretID", "Datacenter", "Name", "Status", "HTTPAddr")} == {
        "ID": ID,
        "SecretID": "s3cret",
        "Datacenter": "dc1",
        "Name": "c1",
        "Status": "ready",
        "HTTPAddr": "127.0.0.9:4646",
    }
    assert node["Attributes"]["nomad.version"] == "0.1.0"
    assert node["SchedulingEligibility"] == "ineligible", "real servers give us nothing to run"
    assert decode_register(fields_of(body)) == FACTS


def test_the_host_of_a_nodes_address_is_taken_without_brackets() -> None:
    body = encode_register(FACTS, "global", "[::1]:4646")
    assert decode_register(fields_of(body)).address == "::1"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"node_id": ""}, "missing node ID for client registration"),
        ({"node_id": "x"}, "invalid node ID"),
        ({"datacenter": ""}, "missing datacenter for client registration"),
        ({"name": ""}, "missing node name for client registration"),
        ({"secret": ""}, "missing node secret ID for client registration"),
        ({"name": "x" * 256}, "Name is longer than 255 characters"),
    ],
)
def test_a_registration_that_lacks_something_is_refused_in_nomads_words(change: dict[str, str], text: str) -> None:
    body = encode_register(replace(FACTS, **change), "global", "127.0.0.9:4646")
    with pytest.raises(Refused, match=text):
        decode_register(fields_of(body))


def test_a_registration_without_a_node_is_refused() -> None:
    with pytest.raises(Refused, match="missing node for client registration"):
        decode_register(fields_of(encode_options(Options())))


def test_a_heartbeat_names_node_and_status_and_shows_the_secret() -> None:
    body = encode_beat(Beat(ID, "s3cret", "ready"), "global")
    argument = plain(body)
    assert (argument["NodeID"], argument["Status"], argument["AuthToken"]) == (ID, "ready", "s3cret")
    assert decode_beat(fields_of(body)) == Beat(ID, "s3cret", "ready")
    with pytest.raises(Refused, match="missing node ID for client status update"):
        decode_beat({})


def test_a_forwarded_argument_is_the_same_but_marked() -> None:
    body = encode_register(FACTS, "eu", "127.0.0.9:4646")
    assert plain(encode_forwarded(body)) == {**plain(body), "Forwarded": True}


def test_what_cannot_be_written_again_is_not_forwarded() -> None:
    with pytest.raises(WireError):
        encode_forwarded(msgpack.packb({1: 2, "a": 3}))


def test_the_ttl_is_sent_in_nanoseconds() -> None:
    granted = Granted(ttl=12.5, servers=[("127.0.0.2:4647", "dc1")], node_count=20, leader="127.0.0.2:4647", index=7)
    body = encode_granted(granted)
    answer = plain(body)
    assert answer["HeartbeatTTL"] == 12_500_000_000
    assert answer["Servers"][0]["RPCAdvertiseAddr"] == "127.0.0.2:4647"
    assert (answer["NumNodes"], answer["LeaderRPCAddr"], answer["KnownLeader"]) == (20, "127.0.0.2:4647", True)
    assert decode_granted(body) == granted


def test_texts_go_there_and_back() -> None:
    assert decode_text(encode_text("127.0.0.1:4647")) == "127.0.0.1:4647"
    assert decode_texts(encode_texts(["eu", "global"])) == ["eu", "global"]
    assert decode_texts(b"\xc0") == []


def test_members_come_back_as_the_http_api_shows_them() -> None:
    members = [made("s1.global", "127.0.0.2", server_tags(bootstrap="1")), made("s2.eu", "::1", server_tags("eu"))]
    body = encode_members(members, name="s1", region="global", datacenter="dc1")
    answer = decode_members(body)
    assert answer.members == [MemberAnswer.of(member) for member in members]
    assert (answer.server_name, answer.server_region, answer.server_dc) == ("s1", "global", "dc1")
    assert msgpack.unpackb(body)["Members"][0]["Addr"] is not None


def test_a_name_that_is_no_utf8_survives() -> None:
    body = encode_members([made("\udcff.global", "127.0.0.2")], name="a", region="b", datacenter="c")
    assert decode_members(body).members[0].name == "\udcff.global"


def test_thousands_of_members_can_be_read() -> None:
    members = [made(f"s{n}.global", "127.0.0.2") for n in range(3000)]
    answer = decode_members(encode_members(members, name="s1", region="global", datacenter="dc1"))
    assert len(answer.members) == 3000


def test_nodes_go_there_and_back() -> None:
    entry = NodeEntry(
        node_id=ID,
        name="c1",
        datacenter="dc1",
        address="127.0.0.9",
        version="0.1.0",
        node_class="",
        status="ready",
        heard_ago=1.5,
        ttl=12.5,
        create_index=3,
        modify_index=4,
    )
    assert decode_nodes(encode_nodes([entry], 4)) == [entry]


@pytest.mark.parametrize(
    "decode",
    [
        decode_granted,
        decode_text,
        decode_texts,
        decode_members,
        decode_nodes,
        encode_forwarded,
        lambda body: decode_options(fields_of(body)),
        lambda body: decode_register(fields_of(body)),
        lambda body: decode_beat(fields_of(body)),
    ],
)
@given(body=ANY.map(lambda value: msgpack.packb(value, use_bin_type=False)) | st.binary(max_size=80))
def test_any_body_is_read_or_refused(decode: Callable[[bytes], object], body: bytes) -> None:
    try:
        decode(body)
    except (WireError, Refused):
        return


def test_bounds_are_what_a_big_pool_needs() -> None:
    assert structures.MEMBERS_MAX >= 10_000
    assert structures.NODES_MAX >= 20_000
