"""Which names an agent answers to."""

import pytest

from moot.gossip.errors import ConfigError
from moot.http.exchange import Request, Response
from moot.http.hosts import KnownHosts, host_pattern, own_names
from tests.api.live import read_answer, serving


async def hello(request: Request) -> Response:
    return Response(200, [], b"hello")


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("127.0.0.1:4646", True),
        ("10.1.2.3", True),
        ("[::1]:4646", True),
        ("[fe80::1]", True),
        ("localhost:4646", True),
        ("LOCALHOST.", True),
        ("x.localhost:4646", True),
        ("web-1:4646", True),
        ("Web-1.Example:4646", True),
        ("a.b.wide.example", True),
        ("a.wide.example.", True),
        ("wide.example", False),
        ("evil.example:4646", False),
        ("web-1.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("2130706433", False),
        ("x@127.0.0.1", False),
        ("127.0.0.1@evil.example", False),
        ("evil.example/127.0.0.1", False),
        ("evil.example#127.0.0.1", False),
        ("[", False),
        (":4646", False),
        ("..", False),
    ],
)
def test_addresses_localhost_and_listed_names_are_known(host: str, known: bool) -> None:
    hosts = KnownHosts(hello, map(host_pattern, ["web-1", "web-1.example.", "*.wide.example"]))
    assert hosts.knows(host) is known


def test_a_star_knows_every_name() -> None:
    assert KnownHosts(hello, ["*"]).knows("anything.example")


@pytest.mark.parametrize(
    "text", ["", "a b", "http://x", "x:80", "*.", "a.*", "**", "-a", "a..b", "x" * 64, "é", "a\n"]
)
def test_what_is_no_name_cannot_be_listed(text: str) -> None:
    with pytest.raises(ConfigError, match="is no host name"):
        host_pattern(text)


def test_of_a_nodes_names_those_count_that_can_be_host_names() -> None:
    assert own_names(["Web-1", "web-1.global", "büro", "a b", "", "*", "*.example", "ends."]) == {
        "web-1",
        "web-1.global",
        "ends",
    }


async def test_a_request_by_a_strange_name_is_refused_with_words_that_help() -> None:
    hosts = KnownHosts(hello)
    async with serving(hosts) as live, await live.connect() as stream:
        for host, status in ((b"127.0.0.1", 200), (b"evil.example:1", 403), (b"evil.example", 403)):
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host)
            answer = await read_answer(stream)
            assert answer.status == status
        assert answer.text.startswith(
            "this agent does not go by the name evil.example; ask it by IP address, or list"
        )
        assert answer.headers["vary"] == "Accept-Encoding"
        hosts.names = frozenset({"evil.example"})
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        assert (await read_answer(stream)).status == 200


async def test_over_tls_the_browser_has_checked_the_name_and_old_clients_send_none() -> None:
    hosts = KnownHosts(hello)
    name = [(b"host", b"nomad.example")]
    assert (await hosts(Request("GET", "/", name, secure=True))).status == 200
    assert (await hosts(Request("GET", "/", name))).status == 403
    assert (await hosts(Request("GET", "/", []))).status == 200
