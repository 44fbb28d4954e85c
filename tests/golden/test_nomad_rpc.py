"""Conversations of Go's net/rpc with the libraries that Nomad uses; nomad_rpc.json says how they were recorded."""

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from moot.agent.nomad.framing import EMPTY, FrameReader, Head, Mode, encode_answer, encode_request
from moot.agent.nomad.structures import (
    decode_beat,
    decode_granted,
    decode_members,
    decode_options,
    decode_register,
    decode_text,
    encode_text,
    fields_of,
)
from moot.agent.nomad.yamux import Mux, Opened, Received
from tests.support.nomad import world

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "nomad_rpc.json").read_text())
PLAIN = bytes.fromhex(RECORDED["plain"])
MUX = bytes.fromhex(RECORDED["mux"])
ANSWERS = [(method, bytes.fromhex(data)) for method, data in RECORDED["answers"]]
METHODS = [
    "Status.Ping",
    "Status.Leader",
    "Status.Leader",
    "Status.Peers",
    "Region.List",
    "Status.Members",
    "Node.UpdateStatus",
    "Node.Register",
    "Node.UpdateStatus",
    "Job.Plan",
]
ID = "00000000-0000-0000-0000-000000000001"


def frames(data: bytes) -> list[tuple[Head, bytes]]:
    """All frames of these bytes, which hold nothing else."""
    reader, found = FrameReader(), []
    reader.feed(data)
    while (frame := reader.take()) is not None:
        found.append(frame)
    assert not reader.begun
    return found


def streams(data: bytes) -> dict[int, bytes]:
    """What came on each stream of a multiplexed connection."""
    found: dict[int, bytes] = {}
    for event in Mux(10).feed(data):
        if isinstance(event, Opened):
            found[event.stream] = b""
        elif isinstance(event, Received):
            found[event.stream] += event.data
    return found


def test_what_a_client_asks_is_understood() -> None:
    assert PLAIN[0] == Mode.RPC
    asked = frames(PLAIN[1:])
    assert [(head.method, head.seq) for head, _ in asked] == list(zip(METHODS, range(1, 11), strict=True))
    assert decode_options(fields_of(asked[2][1])).region == "mars"
    assert decode_beat(fields_of(asked[6][1])).node_id == ID
    facts = decode_register(fields_of(asked[7][1]))
    assert (facts.name, facts.address, facts.version, facts.status) == (
        "gonode",
        "127.0.0.5",
        "1.1.2",
        "initializing",
    )
    beat = decode_beat(fields_of(asked[8][1]))
    assert (beat.secret, beat.status) == ("s", "ready")


def test_what_it_asks_through_yamux_is_the_same() -> None:
    assert MUX[0] == Mode.MULTIPLEX
    assert streams(MUX[1:]) == {1: PLAIN[1:]}


def test_our_first_request_is_the_same_to_the_byte() -> None:
    assert PLAIN[1:].startswith(encode_request("Status.Ping", 1, EMPTY))


def test_our_answers_are_the_same_to_the_byte() -> None:
    assert ANSWERS[0][1] == encode_answer(Head("Status.Ping", 1))
    assert ANSWERS[1][1] == encode_answer(Head("Status.Leader", 2), body=encode_text("127.0.0.77:4647"))
    assert ANSWERS[4][1] == encode_answer(Head("Status.Leader", 5), error="No path to region")
    assert ANSWERS[5][1] == encode_answer(Head("Job.Plan", 6), error="rpc: can't find service Job.Plan")


def test_what_a_server_answers_is_understood() -> None:
    bodies = [frames(data)[0][1] for _, data in ANSWERS]
    assert decode_text(bodies[1]) == "127.0.0.77:4647"
    (member,) = decode_members(bodies[2]).members
    assert (member.name, member.addr, member.port) == ("go1.global", "127.0.0.77", 4648), "its IP has sixteen bytes"
    granted = decode_granted(bodies[3])
    assert (granted.ttl, granted.node_count) == (0.5, 1)
    assert [datacenter for _, datacenter in granted.servers] == ["dc1"]


@pytest.mark.parametrize("recorded", [PLAIN, MUX], ids=["plain", "mux"])
async def test_a_client_that_asks_like_that_is_answered(recorded: bytes) -> None:
    async with world() as here:
        server = await here.start("s1", "127.46.4.1")
        host, _, port = server.address.rpartition(":")
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            answered, raw = list[tuple[Head, bytes]](), b""
            said = recorded[:-24] if recorded is MUX else recorded  # without its end: the last two frames
            for at in range(0, len(said), 50):
                await stream.send_all(said[at : at + 50])
            with trio.fail_after(10):
                while len(answered) < len(METHODS):
                    raw += await stream.receive_some(65_536)
                    answered = taken(raw if recorded is PLAIN else b"".join(unwrapped(raw)))
        assert [head.method for head, _ in answered] == METHODS
        assert decode_text(answered[1][1]) == server.address
        errors = {head.seq: head.error for head, _ in answered if head.error}
        assert errors == {3: "No path to region", 7: "node not found", 10: "rpc: can't find service Job.Plan"}
        assert server.ready() == {"gonode"}


def taken(data: bytes) -> list[tuple[Head, bytes]]:
    """The frames that are complete."""
    reader, found = FrameReader(), []
    reader.feed(data)
    while (frame := reader.take()) is not None:
        found.append(frame)
    return found


def unwrapped(data: bytes) -> list[bytes]:
    """The payloads of the data frames that a server sends, as far as they are complete."""
    found, at = [], 0
    while at + 12 <= len(data):
        kind, length = data[at + 1], int.from_bytes(data[at + 8 : at + 12])
        at += 12
        if kind == 0:
            found.append(data[at : at + length])
            at += length
    return found
