"""The log over HTTP: frames, lines, levels, heartbeats, and readers that are too slow."""

import json
from base64 import b64decode

import pytest
import trio

from moot.gossip.serf.members import MemberStatus
from moot.http.monitor import FRAME_BYTES, WAITING_BYTES_MAX, Tail, pieces
from moot.http.server import Limits
from tests.api.contract import frames_of
from tests.api.live import read_stream, serving_api
from tests.api.scripted import ScriptedBackend, identity
from tests.api.scripted_nomad import NODE_ID
from tests.api.situations import client, dev, pool, three, two_regions
from tests.support.pool import until

URL = "/v1/agent/monitor"


def logged(body: bytes) -> bytes:
    """What the frames of a body hold of the log."""
    return b"".join(b64decode(frame["Data"]) for frame in frames_of(body) if frame)


async def test_lines_come_in_frames_with_heartbeats_while_there_are_none() -> None:
    backend = pool()
    async with serving_api(backend) as live, read_stream(live, "GET", URL) as answer:
        assert answer.head.headers["content-type"] == "application/json"
        assert answer.head.headers["transfer-encoding"] == "chunked"
        assert "content-encoding" not in answer.head.headers
        await until(lambda: bool(backend.nomad.followers))
        backend.nomad.log("info", "one")
        backend.nomad.log("debug", "not asked for")
        backend.nomad.log("error", "two \N{BULLET} \udcff")
        body = await answer.until(lambda body: body.endswith(b"{}"))
        assert logged(body) == "one\ntwo \N{BULLET} ?\n".encode()
        assert frames_of(body)[-1] == {}
        assert next(frame for frame in frames_of(body) if frame)["FileEvent"] == "log"


async def test_plain_lines_come_as_they_are_and_without_heartbeats() -> None:
    backend = pool()
    async with serving_api(backend) as live, read_stream(live, "GET", f"{URL}?plain=true&log_level=TRACE") as answer:
        assert answer.head.headers["content-type"] == "text/plain"
        with trio.move_on_after(1.5) as patience:
            await answer.more()
        assert patience.cancelled_caught
        backend.nomad.log("trace", "one")
        assert await answer.more() == b"one\n"


@pytest.mark.parametrize(
    ("query", "level", "as_json", "located"),
    [
        ("", "info", False, False),
        ("?log_level=wArn&log_json=1", "warn", True, False),
        ("?log_level=off&log_include_location=true&plain=f", "off", False, True),
        ("?log_level=%20debug", "debug", False, False),
    ],
)
async def test_the_request_says_what_it_wants_to_read(query: str, level: str, as_json: bool, located: bool) -> None:
    backend = pool()
    async with serving_api(backend) as live:
        async with read_stream(live, "FOO", URL + query) as answer:
            assert answer.head.status == 200
            (follower,) = backend.nomad.followers
            assert (follower.level, follower.as_json, follower.located) == (level, as_json, located)
        await until(lambda: not backend.nomad.followers)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("log_level=zz", "Unknown log level: zz"),
        ("plain=2", 'Unknown option for plain: strconv.ParseBool: parsing "2": invalid syntax'),
        (
            "log_include_location=no",
            'Unknown option for log_include_location: strconv.ParseBool: parsing "no": invalid syntax',
        ),
        ("wait=x", "Invalid wait time"),
        ("server_id=zzz", "unknown Nomad server zzz"),
    ],
)
async def test_what_cannot_be_meant_is_refused_before_anything_is_followed(query: str, text: str) -> None:
    backend = pool()
    async with serving_api(backend) as live:
        answer = await live.ask("GET", f"{URL}?{query}")
        assert (answer.status, answer.text) == (400, text)
    assert backend.nomad.followers == []


async def test_the_agent_may_be_named_in_all_its_ways() -> None:
    backend = dev()
    async with serving_api(backend) as live:
        for query in ("server_id=bacon-mac.global", "server_id=leader", f"node_id={NODE_ID}", "region=global"):
            async with read_stream(live, "GET", f"{URL}?{query}") as answer:
                assert answer.head.status == 200, query


@pytest.mark.parametrize(
    ("backend", "query", "text"),
    [
        (three(), "server_id=s2.global", "s2.global must be asked itself: neither logs nor facts"),
        (three(), "node_id=x", "No path to node"),
        (three(), "region=eu", "No path to region"),
        (two_regions(), "region=eu", "an agent of the region eu must be asked itself"),
        (client("127.0.0.2:4647"), "server_id=s1.global", "s1.global must be asked itself"),
        (ScriptedBackend(identity("s1")), "server_id=leader", "No cluster leader"),
        (three(MemberStatus.FAILED), "server_id=s3.global", "s3.global must be asked itself"),
    ],
)
async def test_other_agents_are_not_asked_for_their_log(backend: ScriptedBackend, query: str, text: str) -> None:
    async with serving_api(backend) as live:
        answer = await live.ask("GET", f"{URL}?{query}")
        assert (answer.status, answer.text[: len(text)]) == (500, text)


async def test_a_reader_that_does_not_read_loses_lines_and_holds_nobody_up() -> None:
    backend = pool()
    lines = 6000
    async with serving_api(backend) as live, read_stream(live, "GET", f"{URL}?plain=1") as slow:
        for number in range(lines):  # 6 MB, more than the sockets hold and more than may wait
            backend.nomad.log("info", f"{number} {'x' * 1000}")
            if number % 100 == 0:
                await trio.sleep(0.01)
        async with read_stream(live, "GET", f"{URL}?plain=1") as fast:
            backend.nomad.log("info", "still here")
            await fast.until(lambda body: body == b"still here\n")
        kept, lost, rest = [-1], 0, b""
        with trio.fail_after(20):
            while len(kept) + lost < lines + 2:
                *whole, rest = (rest + await slow.more()).split(b"\n")
                for line in whole:
                    if b"too slow" in line:
                        assert b"[WARN]  http.monitor: lines dropped, the reader is too slow: count=" in line
                        lost += int(line.rpartition(b"=")[2])
                    else:
                        kept.append(lines if line == b"still here" else int(line.split()[0]))
    assert lost
    assert kept == sorted(set(kept))


async def test_a_reader_that_never_reads_is_let_go() -> None:
    backend = pool()
    async with serving_api(backend, limits=Limits(write_timeout=0.3)) as live, read_stream(live, "GET", URL):
        while backend.nomad.followers:
            backend.nomad.log("info", "x" * 100_000)
            await trio.sleep(0.01)


def test_what_waits_is_bounded_and_loss_is_told_in_its_place() -> None:
    tail = Tail(as_json=True, waiting_bytes_max=10)
    for line in ("aaaa", "bbbb", "cccc", "d"):
        tail.offer(line)
    first, second, told = tail.take().splitlines()
    assert (first, second) == (b"aaaa", b"bbbb")
    entry = json.loads(told)
    assert (entry["@level"], entry["@module"], entry["count"]) == ("warn", "http.monitor", 2)
    assert tail.take() == b""
    tail.offer("ee")
    assert tail.take() == b"ee\n"


def test_lines_too_long_for_any_room_are_lost_too() -> None:
    tail = Tail(as_json=False)
    tail.offer("x" * WAITING_BYTES_MAX)
    assert b"count=1" in tail.take()


def test_frames_hold_whole_lines_unless_one_is_longer_than_a_frame() -> None:
    short = b"a" * 400 + b"\n"
    assert [len(it) for it in pieces(short * 5, FRAME_BYTES)] == [802, 802, 401]
    long = b"b" * 1500 + b"\n"
    assert [len(it) for it in pieces(long + short, FRAME_BYTES)] == [1024, 878]
    assert b"".join(pieces(long + short, FRAME_BYTES)) == long + short
    assert list(pieces(b"", FRAME_BYTES)) == []
