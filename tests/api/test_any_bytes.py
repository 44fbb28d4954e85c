"""Whatever bytes a client sends: answers or an end, never a bug of ours, and always soon."""

import contextlib
import json
import re
from urllib.parse import quote

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from moot.http.api import build_api
from moot.http.connection import Connection
from moot.http.counters import HttpCounters
from moot.http.exchange import Request
from moot.http.server import HttpServer, Limits
from tests.api.situations import SITUATIONS

LIMITS = Limits(header_bytes_max=2000, body_bytes_max=100, linger_timeout=0.2)

METHODS = st.sampled_from([b"GET", b"PUT", b"POST", b"HEAD", b"FOO", b"CONNECT", b"OPTIONS"])
TARGETS = st.sampled_from(
    [
        *(b"/", b"//", b"*", b"x:1", b"/%", b"/ui/x", b"http://h/v1/regions?pretty", b"/v1/agent/members?pretty"),
        *(b"/v1/agent/force-leave?node=%ff&prune=1", b"/v1/agent/self", b"/v1/agent/join?address=%00&address"),
        *(b"/v1/agent/monitor", b"/v1/agent/keyring/list", b"/v1/agent/keyring/install", b"/v1/metrics"),
        *(b"/v1/agent/schedulers/config", b"/v1/agent/host", b"/v1/agent/reload"),
        *(b"/v1/moot/events?follow=0&after=%ff", b"/v1/moot/view", b"/v1/moot/join?address=%ff"),
        b"/v1/moot/force-leave?name=%ff&prune&wait=1ms",
    ]
)
HEADERS = st.sampled_from(
    [
        *(b"Content-Length: 5", b"Content-Length: 101", b"Transfer-Encoding: chunked", b"Expect: 100-continue"),
        *(b"Connection: close", b"Connection: upgrade\r\nUpgrade: h2c", b"Accept-Encoding: gzip", b"Host: y"),
        *(b"Origin: http://x", b"Origin: http://[", b"Sec-Fetch-Site: cross-site", b"Host: ["),
        *(b"X: " + b"x" * 900, b"", b"\xff: y", b" folded"),
    ]
)
REST = st.sampled_from([b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"\r\n", b"\0", b"GET / HTTP/1.1\r\n"])
VERSIONS = st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2"])
REQUESTS = st.builds(
    lambda method, target, version, headers, rest: (
        b"%b %b %b\r\nHost: x\r\n" % (method, target, version)
        + b"".join(it + b"\r\n" for it in headers)
        + b"\r\n"
        + rest
    ),
    *(METHODS, TARGETS, VERSIONS, st.lists(HEADERS, max_size=2), REST),
)
BYTES = st.lists(st.one_of(REQUESTS, REQUESTS, REQUESTS, st.binary(max_size=8)), max_size=5)
PLACES = (
    *("/v1/agent/members", "/v1/agent/join", "/v1/agent/force-leave", "/v1/regions", "/v1/agent/host"),
    *("/v1/agent/keyring/list", "/v1/metrics", "/v1/agent/schedulers"),
    *("/v1/moot/join", "/v1/moot/view", "/v1/moot/force-leave"),
)
WORDS = st.one_of(
    st.sampled_from(
        [
            *("node", "prune", "stale", "wait", "index", "address", "pretty"),
            *("format", "region", "server_id", "node_id", "prometheus", "leader", "name", "after", "since"),
        ]
    ),
    st.text(max_size=8),
)
EXPECTED = (b"1/1 nodes reported failure", b"No path to region", b"No path to node")
"""The errors of an agent that has no key and is asked for others; with status 500."""


async def talk(chunks: list[bytes]) -> bytes:
    """Send the chunks over a connection in memory, close our half, and read to the end."""
    bugs: list[tuple[str, Exception]] = []
    server = HttpServer(
        build_api(SITUATIONS["dev"](), counters=HttpCounters(), leader_wait=0.0),
        report=lambda what, error: bugs.append((what, error)),
        limits=LIMITS,
    )
    ours, theirs = trio.testing.memory_stream_pair()
    heard = b""
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:

            async def serve() -> None:
                await Connection(server, theirs, "127.0.0.1").run()
                await theirs.aclose()

            nursery.start_soon(serve)
            with contextlib.suppress(trio.BrokenResourceError):  # the server may have had enough before the end
                for chunk in chunks:
                    await ours.send_all(chunk)
                await ours.send_eof()
            while data := await ours.receive_some():
                heard += data
    assert bugs == []
    return heard


@settings(max_examples=300, deadline=None)
@given(BYTES)
def test_any_bytes_are_answered_or_ended_without_a_bug(chunks: list[bytes]) -> None:
    heard = trio.run(talk, chunks)
    assert heard == b"" or re.match(rb"HTTP/1\.1 [1-5][0-9][0-9] ", heard)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["GET", "PUT", "FOO"]), st.text(max_size=30), st.dictionaries(WORDS, WORDS))
def test_any_path_and_query_get_an_answer(method: str, path: str, query: dict[str, str]) -> None:
    async def ask() -> None:
        application = build_api(SITUATIONS["dev"](), counters=HttpCounters(), leader_wait=0.0)
        pairs = "&".join(f"{quote(key)}={quote(value)}" for key, value in query.items())
        for place in (f"/{quote(path)}", *PLACES):
            response = await application(Request(method, f"{place}?{pairs}", []))
            assert response.status in (200, 301, 307, 400, 404, 405) or response.body.startswith(EXPECTED)
            if (b"Content-Type", b"application/json") in response.headers:
                json.loads(response.body)

    trio.run(ask)
