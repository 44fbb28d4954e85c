"""What stands around every handler: configured headers, gzip, and the guard against pages of other sites."""

import pytest

from moot.gossip.errors import ConfigError
from moot.http.exchange import HttpError, Request
from moot.http.guard import accepts_gzip, configured_headers, refuse_foreign_names, refuse_foreign_pages
from moot.http.routes import clean_path
from tests.api.live import read_answer, serving_api
from tests.api.scripted import ScriptedBackend, identity
from tests.api.scripted_nomad import ScriptedClientRole
from tests.api.situations import pool


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("gzip", True),
        ("deflate, GZip;q=0.5", True),
        ("gzip; q=0", False),
        ("gzip;q=0.000", False),
        ("gzip;q=x", False),
        ("gzip;level=1", True),
        ("identity", False),
        ("*", False),
        ("", False),
    ],
)
def test_gzip_is_used_when_it_is_asked_for(value: str, wanted: bool) -> None:
    assert accepts_gzip(value) is wanted


def test_configured_headers_are_sent_in_canonical_case() -> None:
    sent = configured_headers({"x-custom-ONE": " a ", "access-control-allow-origin": "*"})
    assert sent == [(b"X-Custom-One", b"a"), (b"Access-Control-Allow-Origin", b"*")]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("bad name", "x"), ("", "x"), ("X", "a\r\nY: b"), ("X", "a\0"), ("X", "é"), ("X", "\ud800")),
        *(("Content-Length", "1"), ("connection", "x"), ("Date", "x"), ("content-type", "text/html")),
    ],
)
def test_headers_that_would_break_an_answer_are_refused(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match="http_api_response_headers"):
        configured_headers({name: value})


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({}, True),
        ({"host": "127.0.0.1:4646", "origin": "http://127.0.0.1:4646"}, True),
        ({"host": "localhost:4646", "origin": "http://localhost:4646", "sec-fetch-site": "same-origin"}, True),
        ({"host": "[::1]:4646", "origin": "http://[::1]:4646"}, True),
        ({"host": "127.0.0.1:4646", "origin": "http://evil.example"}, False),
        ({"host": "127.0.0.1:4646", "origin": "http://127.0.0.1:8000"}, False),
        ({"host": "127.0.0.1:4646", "origin": "null"}, False),
        ({"host": "127.0.0.1:4646", "origin": "http://["}, False),
        ({"host": "[", "origin": "http://["}, False),
        ({"host": "\xbd", "origin": "http://\xbd"}, False),
        ({"host": "evil.example:4646", "origin": "http://evil.example:4646"}, False),
        ({"host": "127.0.0.1:4646", "sec-fetch-site": "cross-site"}, False),
    ],
)
def test_pages_of_other_sites_change_nothing(headers: dict[str, str], passes: bool) -> None:
    request = Request("PUT", "/", [(name.encode(), value.encode("latin-1")) for name, value in headers.items()])
    if passes:
        refuse_foreign_pages(request)
        return
    with pytest.raises(HttpError) as caught:
        refuse_foreign_pages(request)
    assert caught.value.status == 403


@pytest.mark.parametrize(
    ("origin", "secure", "passes"),
    [
        ("https://agent.example:4646", True, True),
        ("https://agent.example:4646", False, False),
        ("http://agent.example:4646", True, False),
        ("https://evil.example:4646", True, False),
        ("https://agent.example", True, False),
    ],
)
def test_by_tls_the_agents_own_page_may_have_any_name(origin: str, secure: bool, passes: bool) -> None:
    headers = [(b"host", b"agent.example:4646"), (b"origin", origin.encode()), (b"sec-fetch-site", b"same-origin")]
    request = Request("PUT", "/", headers, secure=secure)
    if passes:
        refuse_foreign_pages(request)
        return
    with pytest.raises(HttpError, match="other sites"):
        refuse_foreign_pages(request)


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({"host": "nomad.example:4646"}, True),
        ({"host": "nomad.example:4646", "sec-fetch-site": "same-origin"}, True),
        ({"host": "nomad.example:4646", "origin": "http://nomad.example"}, True),
        ({"host": "nomad.example:4646", "origin": "http://evil.example"}, False),
        ({"host": "nomad.example:4646", "origin": "null"}, False),
        ({"host": "nomad.example:4646", "origin": "http://["}, False),
        ({"host": "[", "origin": "http://["}, False),
        ({"origin": "http://evil.example"}, False),
        ({"host": "nomad.example", "sec-fetch-site": "cross-site"}, False),
        ({"host": "nomad.example", "sec-fetch-site": "cross-site", "origin": "http://nomad.example"}, False),
        ({"host": "nomad.example", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, True),
        ({"host": "127.0.0.1:4646", "sec-fetch-site": "cross-site", "origin": "http://evil.example"}, True),
        ({"host": "localhost:4646", "origin": "http://evil.example"}, True),
    ],
)
def test_pages_of_other_sites_read_nothing_through_a_host_name(headers: dict[str, str], passes: bool) -> None:
    request = Request("GET", "/", [(name.encode(), value.encode("latin-1")) for name, value in headers.items()])
    refuse_foreign_names(request, configured_headers({"access-control-allow-origin": "*"}))
    if passes:
        refuse_foreign_names(request, [])
        return
    with pytest.raises(HttpError) as caught:
        refuse_foreign_names(request, configured_headers({"X-Other": "1"}))
    assert caught.value.status == 403


@pytest.mark.parametrize(
    "path", ["join?address=127.0.0.9", "force-leave?node=s2.global", "servers?address=127.0.0.9", "../moot/leave"]
)
@pytest.mark.parametrize(
    "page", [("Origin", "http://evil.example"), ("Origin", "http://["), ("Sec-Fetch-Site", "cross-site")]
)
async def test_nothing_that_changes_the_pool_obeys_pages_of_other_sites(path: str, page: tuple[str, str]) -> None:
    backend = ScriptedBackend(identity("s1"), [], client=ScriptedClientRole(["127.0.0.2:4647"]))
    async with serving_api(backend) as live:
        place = clean_path(f"/v1/agent/{path}")
        assert (await live.ask("POST", place, [page])).status == 403
        assert backend.calls == []
        assert backend.client is not None
        assert backend.client.addresses == ["127.0.0.2:4647"]
        assert (await live.ask("POST", place)).status != 403


async def test_reads_through_a_host_name_are_refused_to_other_sites() -> None:
    ask = b"GET /v1/regions HTTP/1.1\r\nHost: nomad.example\r\n%b\r\n"
    async with serving_api(pool()) as live, await live.connect() as stream:
        await stream.send_all(ask % b"")
        assert (await read_answer(stream)).status == 200
        await stream.send_all(ask % b"Sec-Fetch-Site: cross-site\r\n")
        assert (await read_answer(stream)).status == 403
