"""ApiClient against a real server, and against everything that is none."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest
import trio

from moot.gossip.serf.members import MemberStatus
from moot.http.client import ApiClient, ApiError, Unreachable
from moot.http.exchange import Request, Response
from moot.http.server import HttpServer
from tests.api.live import Live, serving, serving_api
from tests.api.situations import client, dev, pool, three

T = TypeVar("T")
LOCAL = ("127.41.0.9", 0)


def client_of(live: Live, token: str = "") -> ApiClient:
    """A client of a running server."""
    return ApiClient(f"http://{live.address}", token=token)


async def in_thread(call: Callable[[], T]) -> T:
    """The client blocks, so it gets a thread of its own."""
    return await trio.to_thread.run_sync(call)


async def test_every_method_gets_its_answer() -> None:
    backend = three(MemberStatus.FAILED)
    async with serving_api(backend) as live:
        api = client_of(live)
        members = (await in_thread(api.members))["Members"]
        assert [it["Status"] for it in members] == ["alive", "alive", "failed"]
        assert (await in_thread(api.self_))["member"]["Name"] == "s1.global"
        assert (await in_thread(api.agent))["pool"] == "nomad"
        assert await in_thread(api.regions) == ["global"]
        assert await in_thread(api.leader) == "127.0.0.2:4647"
        assert await in_thread(lambda: api.leader("global")) == "127.0.0.2:4647"
        assert len(await in_thread(api.peers)) == 3
        assert await in_thread(lambda: api.join(["127.0.0.3", "a b&c=d/ä"])) == (2, "")
        await in_thread(lambda: api.force_leave("s3.global", prune=True))
        await in_thread(api.leave)
    assert backend.calls == [
        ("join", "127.0.0.3", "a b&c=d/ä"),
        ("force_leave", "s3.global", True),
        ("leave",),
    ]


async def test_the_client_role_is_spoken_to() -> None:
    async with serving_api(dev()) as live:
        api = client_of(live)
        assert await in_thread(api.servers) == ["127.0.0.1:4647"]
        await in_thread(lambda: api.set_servers(["127.0.0.7", "127.0.0.6:1"]))
        assert await in_thread(api.servers) == ["127.0.0.6:1", "127.0.0.7:4647"]


async def test_a_failed_join_says_why() -> None:
    async with serving_api(pool()) as live:
        joined, error = await in_thread(lambda: client_of(live).join(["127.0.0.9"]))
    assert joined == 0
    assert "Failed to join 127.0.0.9: dial tcp" in error


async def test_an_error_answer_carries_status_and_body() -> None:
    async with serving_api(client()) as live:
        with pytest.raises(ApiError, match=r"^no servers \(HTTP 500\)$") as caught:
            await in_thread(client_of(live).members)
        assert (caught.value.status, caught.value.body) == (500, "no servers")
        with pytest.raises(ApiError, match=r"^Not Found \(HTTP 404\)$"):
            await in_thread(lambda: client_of(live).request("GET", "/nope"))


@pytest.mark.parametrize("token", ["a\ud800", "\u20ac", "a\nb"])
def test_what_can_be_no_token_is_refused_before_it_is_sent(token: str) -> None:
    with pytest.raises(ValueError, match="a token is printable ASCII"):
        ApiClient("http://127.0.0.1:1", token=token)


def test_text_that_cannot_be_sent_is_named() -> None:
    with pytest.raises(ValueError, match=r"'a\\ud800' cannot be sent: it holds a lone surrogate"):
        ApiClient("http://127.0.0.1:1").force_leave("a\ud800")


async def test_the_token_is_sent() -> None:
    seen: list[str] = []

    async def note(request: Request) -> Response:
        seen.append(request.header(b"x-nomad-token"))
        return Response(200, [], b"[]")

    async with serving(note) as live:
        await in_thread(client_of(live, token="secret").regions)
        await in_thread(client_of(live).regions)
    assert seen == ["secret", ""]


async def test_ipv6_and_a_path_before_the_api_work() -> None:
    seen: list[str] = []

    async def note(request: Request) -> Response:
        seen.append(request.target)
        return Response(200, [], b"[]")

    server = HttpServer(note, report=lambda what, error: None)
    (address,) = await server.listen([("::1", 0)])
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        api = ApiClient(f"http://[::1]:{address.port}/behind/")
        assert api.url == f"http://[::1]:{address.port}/behind"
        await in_thread(lambda: api.peers("e u"))
        await server.stop()
    assert seen == ["/behind/v1/status/peers?region=e+u"]


@pytest.mark.parametrize("body", [b"<html>", b"", b"[1, 2", b'"text"', b"\xff"])
async def test_what_is_no_agent_is_called_so(body: bytes) -> None:
    async def other(request: Request) -> Response:
        return Response(200, [], body)

    async with serving(other) as live:
        for call in (client_of(live).members, client_of(live).regions):
            with pytest.raises(ApiError, match="does not speak the agent's API"):
                await in_thread(call)


def test_a_refused_connection_tells_what_to_do_next() -> None:
    with socket.create_server(LOCAL) as held:
        port = held.getsockname()[1]
    api = ApiClient(f"127.41.0.9:{port}")
    with pytest.raises(Unreachable, match="moot agent") as caught:
        api.members()
    assert str(caught.value).startswith(f"no agent answers at http://127.41.0.9:{port} (connection refused)")
    assert caught.value.status == 0


@contextmanager
def answering(answer: bytes | None) -> Iterator[str]:
    """A listener that sends these bytes and hangs up, or with None says nothing until the end."""
    done = threading.Event()

    def serve() -> None:
        link, _ = listener.accept()
        with link:
            if answer is None:
                done.wait(10)
                return
            link.recv(65_536)
            link.sendall(answer)

    with socket.create_server(LOCAL) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.41.0.9:{listener.getsockname()[1]}"
        finally:
            done.set()
            thread.join()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (None, "timed out"),
        (b"", "it hung up without an answer"),
        (b"SSH-2.0-x\r\n", "what answers does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{", "its answer broke off"),
    ],
)
def test_no_answer_says_why(answer: bytes | None, why: str) -> None:
    with answering(answer) as address, pytest.raises(Unreachable, match=why):
        ApiClient(address, timeout=0.3).agent()


def test_an_unknown_host_is_named_so() -> None:
    with pytest.raises(Unreachable, match="host name is unknown"):
        ApiClient("http://nobody.invalid:1").agent()


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://x:port", "http://x:99999", "", "unix:///x"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is no address of an agent"):
        ApiClient(url)


def test_port_and_scheme_have_defaults() -> None:
    assert ApiClient("10.0.0.1").url == "http://10.0.0.1:4646"
    assert ApiClient("https://host.example").url == "https://host.example:4646"
    assert ApiClient().url == "http://127.0.0.1:4646"
