"""Framing of Nomad's RPC: bytes as Go's net/rpc with the MessagePack codec writes them."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moot.agent.nomad.framing import (
    DEPTH_MAX,
    EMPTY,
    ERROR_CHARS_MAX,
    HEAD_MAX,
    REQUEST_MAX,
    FrameReader,
    Head,
    Mode,
    encode_answer,
    encode_request,
)
from moot.gossip.errors import LimitExceeded, WireError

PING = bytes.fromhex("82a353657100ad536572766963654d6574686f64ab5374617475732e50696e67")


def test_the_modes_have_nomads_numbers() -> None:
    assert [(mode.name, mode.value) for mode in Mode] == [
        ("RPC", 1),
        ("RAFT", 2),
        ("MULTIPLEX", 3),
        ("TLS", 4),
        ("STREAMING", 5),
        ("MULTIPLEX_V2", 6),
    ]


def test_a_request_is_a_head_and_an_argument() -> None:
    assert encode_request("Status.Ping", 0, EMPTY) == PING + b"\x80"


def test_strings_are_raw_so_that_old_servers_read_them() -> None:
    long = "Status." + "P" * 40
    assert b"\xda\x00\x2f" + long.encode() in encode_request(long, 1, EMPTY)


def test_an_answer_repeats_method_and_number() -> None:
    answer = encode_answer(Head("Status.Leader", 7), body=b"\xa1x")
    assert answer.endswith(b"\xa1x")
    assert msgpack.unpackb(answer[:-2]) == {"Error": "", "Seq": 7, "ServiceMethod": "Status.Leader"}


def test_an_error_goes_out_with_an_empty_body() -> None:
    reader = FrameReader()
    reader.feed(encode_answer(Head("A.B", 1), error="No cluster leader", body=b"\xa1x"))
    assert reader.take() == (Head("A.B", 1, "No cluster leader"), EMPTY)


def test_a_long_error_is_cut_so_that_the_head_stays_readable() -> None:
    reader = FrameReader()
    reader.feed(encode_answer(Head("A.B", 1), error="x" * 100_000))
    taken = reader.take()
    assert taken is not None
    assert taken[0].error == "x" * ERROR_CHARS_MAX + "..."


@given(st.integers(0, 2**64 - 1), st.text(max_size=50), st.lists(st.integers(1, 9), max_size=40))
def test_frames_are_read_however_they_are_cut(seq: int, method: str, cuts: list[int]) -> None:
    data = encode_request(method, seq, EMPTY) + encode_request("Next.One", 1, b"\xa3end")
    reader, taken = FrameReader(), []
    while data:
        size = cuts.pop() if cuts else len(data)
        reader.feed(data[:size])
        data = data[size:]
        while (found := reader.take()) is not None:
            taken.append(found)
    assert taken == [(Head(method, seq), EMPTY), (Head("Next.One", 1), b"\xa3end")]
    assert not reader.begun


def test_a_reader_knows_whether_a_frame_has_begun() -> None:
    reader, begun = FrameReader(), []
    for data in (b"", PING, b"\x80"):
        reader.feed(data)
        reader.take()
        begun.append(reader.begun)
    assert begun == [False, True, False]


@pytest.mark.parametrize(
    "head",
    [
        {"Seq": -1},
        {"Seq": "x"},
        {"ServiceMethod": 5},
        {"Error": 5},
        5,
        "text",
        {"Seq": 2**64 - 1, "ServiceMethod": {}},
    ],
)
def test_a_head_of_other_types_is_refused(head: object) -> None:
    reader = FrameReader()
    reader.feed(msgpack.packb(head) + EMPTY)
    with pytest.raises(WireError):
        reader.take()


def test_heads_and_bodies_have_bounds() -> None:
    reader = FrameReader()
    reader.feed(msgpack.packb({"ServiceMethod": "x" * HEAD_MAX}))
    with pytest.raises(LimitExceeded):
        reader.take()
    reader = FrameReader()
    reader.feed(PING + b"\xdb" + (REQUEST_MAX + 1).to_bytes(4))
    with pytest.raises(LimitExceeded):
        reader.take()
    reader = FrameReader()
    reader.feed(PING + b"\x91" * (DEPTH_MAX + 1))
    with pytest.raises(LimitExceeded):
        reader.take()
