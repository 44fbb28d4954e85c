"""Tokens: who is let in, to which route, and what never shows."""

import hashlib

import pytest

from moot.gossip.errors import ConfigError
from moot.http.acl import ANONYMOUS, MANAGEMENT, Acl, Right, entry, new_secret, parse_token, parse_tokens, token_of
from moot.http.api import build_api
from moot.http.counters import HttpCounters
from moot.http.exchange import HttpError, Request
from moot.http.nomad_operations import ApiSettings
from tests.api.live import read_stream, serving_api
from tests.api.scripted import ScriptedBackend
from tests.api.scripted_pool import ScriptedKeys, ScriptedPool
from tests.api.situations import client, dev, three

SECRETS = {right: new_secret() for right in Right}
ROOT = new_secret()
WRONG = "11111111-2222-3333-4444-555555555555"
BODY = b'{"Key": "YWJj"}'

OPEN = (
    ("PUT", "/v1/agent/join?address=127.0.0.3"),
    ("GET", "/v1/agent/health"),
    ("GET", "/v1/status/leader"),
    ("GET", "/v1/status/peers"),
    ("GET", "/v1/regions"),
    ("GET", "/v1/metrics"),
    ("GET", "/ui/"),
    ("GET", "/v1/openapi.json"),
)
GUARDED = (
    ("GET", "/v1/agent/members", Right.NODE_READ),
    ("GET", "/v1/agent/self", Right.AGENT_READ),
    ("POST", "/v1/agent/self", Right.AGENT_READ),
    ("GET", "/v1/agent/servers", Right.AGENT_READ),
    ("PUT", "/v1/agent/servers?address=127.0.0.3", Right.AGENT_WRITE),
    ("PUT", "/v1/agent/force-leave?node=x", Right.AGENT_WRITE),
    ("GET", "/v1/agent/keyring/list", Right.AGENT_WRITE),
    ("PUT", "/v1/agent/keyring/install", Right.AGENT_WRITE),
    ("GET", "/v1/agent/host", Right.AGENT_READ),
    ("GET", "/v1/agent/schedulers", Right.AGENT_READ),
    ("GET", "/v1/agent/schedulers/config", Right.AGENT_READ),
    ("PUT", "/v1/agent/schedulers/config", Right.AGENT_WRITE),
    ("PUT", "/v1/agent/reload", Right.AGENT_WRITE),
    ("GET", "/v1/agent/monitor?log_level=off", Right.AGENT_READ),
    ("GET", "/v1/nodes", Right.NODE_READ),
    ("GET", "/v1/moot/agent", Right.AGENT_READ),
    ("PUT", "/v1/moot/leave", Right.AGENT_WRITE),
    ("PUT", "/v1/moot/event", Right.AGENT_WRITE),
    ("PUT", "/v1/moot/query", Right.AGENT_WRITE),
    ("GET", "/v1/moot/keys", Right.AGENT_WRITE),
    ("PUT", "/v1/moot/keys/install", Right.AGENT_WRITE),
    ("PUT", "/v1/moot/keys/use", Right.AGENT_WRITE),
    ("PUT", "/v1/moot/keys/remove", Right.AGENT_WRITE),
    ("GET", "/v1/moot/tags", Right.NODE_READ),
    ("PUT", "/v1/moot/tags", Right.AGENT_WRITE),
    ("GET", "/v1/moot/coordinates", Right.NODE_READ),
    ("GET", "/v1/moot/rtt", Right.NODE_READ),
    ("GET", "/v1/moot/flaps", Right.NODE_READ),
    ("GET", "/v1/moot/events?follow=false", Right.NODE_READ),
    ("GET", "/v1/moot/view", Right.NODE_READ),
    ("PUT", "/v1/moot/join?address=127.0.0.3", Right.AGENT_WRITE),
    ("PUT", "/v1/moot/force-leave?name=x", Right.AGENT_WRITE),
)


def guarded(**more: str) -> ScriptedBackend:
    """An agent of both roles with a token for each right, one for all of them, and what `more` names."""
    backend = three(encrypted=True)
    backend.client = dev().client
    backend.operations = ScriptedPool(ScriptedKeys.of(backend.table, bytes(16)))
    entries = {f"t{number}": entry([right.value], SECRETS[right]) for number, right in enumerate(Right)}
    entries |= {"root": entry([MANAGEMENT], ROOT), **more}
    backend.nomad.settings = ApiSettings(acl=Acl(parse_tokens(entries), enabled=True))
    return backend


def request(**headers: str) -> Request:
    """A request with these headers, underscores for dashes."""
    return Request("GET", "/", [(name.replace("_", "-").encode(), it.encode()) for name, it in headers.items()])


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ({}, ""),
        ({"x_nomad_token": " a "}, "a"),
        ({"authorization": "Bearer a"}, "a"),
        ({"authorization": "bEARER   a  b"}, "a"),
        ({"authorization": "Basic a"}, ""),
        ({"authorization": "Bearer"}, ""),
        ({"authorization": "  "}, ""),
        ({"x_nomad_token": "a", "authorization": "Bearer b"}, "a"),
        ({"x_nomad_token": " ", "authorization": "Bearer b"}, "b"),
    ],
)
def test_tokens_are_read_from_either_header(headers: dict[str, str], token: str) -> None:
    assert token_of(request(**headers)) == token


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ops", ""),
        ("ops", "agent:write"),
        ("ops", f"sha256:{'0' * 64}"),
        ("ops", "agent:write s3cret"),
        ("ops", f"agent:write sha256:{'0' * 63}"),
        ("ops", f"agent:admin sha256:{'0' * 64}"),
        ("ops", f"agent:write sha256:{'0' * 64} sha256:{'1' * 64}"),
        ("s3cret name", f"agent:write sha256:{'0' * 64}"),
        (ANONYMOUS, f"agent:write sha256:{'0' * 64}"),
    ],
)
def test_entries_that_are_none_are_refused_without_repeating_them(name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=r"acl\.tokens") as caught:
        parse_token(name, text)
    assert "s3cret" not in str(caught.value)
    assert "0" * 63 not in str(caught.value)


def test_one_token_cannot_stand_twice() -> None:
    with pytest.raises(ConfigError, match="same token"):
        parse_tokens({"a": entry(["agent:read"], ROOT), "b": entry(["agent:write"], ROOT)})


def test_neither_a_token_nor_its_digest_shows() -> None:
    (token,) = parse_tokens({"ops": entry(["agent:write,node:read"], ROOT)})
    digest = hashlib.sha256(ROOT.encode())
    assert token.digest == digest.digest()
    assert token.rights == {Right.AGENT_WRITE, Right.AGENT_READ, Right.NODE_READ}
    shown = repr(token) + repr(Acl([token], enabled=True)) + repr(ApiSettings(acl=Acl([token])))
    assert ROOT not in shown
    assert digest.hexdigest() not in shown
    assert repr(digest.digest()) not in shown


def test_tokens_of_odd_bytes_are_looked_up_like_any_other() -> None:
    acl = Acl(enabled=True)
    with pytest.raises(HttpError, match="ACL token not found"):
        acl.check(Request("GET", "/", [(b"x-nomad-token", b"\xff\x80")]), Right.AGENT_READ)


async def test_this_page_knows_every_route() -> None:
    backend = guarded()
    known = {path.partition("?")[0] for _, path, *_ in (*OPEN, *GUARDED)}
    served = set(build_api(backend, counters=HttpCounters())._exact)
    assert {path for path in served if not path.startswith("/v1/agent/keyring/")} <= known


@pytest.mark.parametrize(("method", "path", "right"), GUARDED)
async def test_each_route_asks_for_its_right(method: str, path: str, right: Right) -> None:
    enough = {right} | ({Right.AGENT_WRITE} if right is Right.AGENT_READ else set())
    async with serving_api(guarded()) as live:
        for secret, text in (("", "Permission denied"), (WRONG, "ACL token not found")):
            answer = await live.ask(method, path, [("X-Nomad-Token", secret)] if secret else (), BODY)
            assert (answer.status, answer.text) == (403, text)
            assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        for held, secret in SECRETS.items():
            if held not in enough:
                answer = await live.ask(method, path, [("Authorization", f"Bearer {secret}")], BODY)
                assert (answer.status, answer.text) == (403, "Permission denied")


@pytest.mark.parametrize(("method", "path", "right"), GUARDED)
async def test_the_right_is_enough(method: str, path: str, right: Right) -> None:
    for secret in (SECRETS[right], ROOT):
        async with serving_api(guarded()) as live:
            if "monitor" in path or "query" in path:
                async with read_stream(live, method, path, [("X-Nomad-Token", secret)], b'{"name": "x"}') as endless:
                    assert endless.head.status == 200
                continue
            answer = await live.ask(method, path, [("X-Nomad-Token", secret)], BODY)
            assert answer.status != 403


@pytest.mark.parametrize(("method", "path"), OPEN)
async def test_open_routes_do_not_even_look_at_a_token(method: str, path: str) -> None:
    async with serving_api(guarded()) as live:
        for headers in ([], [("X-Nomad-Token", WRONG)]):
            assert (await live.ask(method, path, headers)).status == 200


async def test_callers_without_a_token_have_the_rights_of_the_anonymous_entry() -> None:
    async with serving_api(guarded(anonymous="node:read")) as live:
        assert (await live.ask("GET", "/v1/agent/members")).status == 200
        assert (await live.ask("GET", "/v1/agent/self")).status == 403
        wrong = await live.ask("GET", "/v1/agent/members", [("X-Nomad-Token", WRONG)])
        assert (wrong.status, wrong.text) == (403, "ACL token not found")


async def test_the_checks_come_in_nomads_order() -> None:
    backend = guarded()
    async with serving_api(backend) as live:
        for method, path, status, text in (
            ("GET", "/v1/agent/force-leave", 405, "Invalid method"),
            ("PUT", "/v1/agent/force-leave", 403, "Permission denied"),
            ("PUT", "/v1/agent/servers", 400, "missing server address"),
            ("PUT", "/v1/agent/servers?address=127.0.0.3", 403, "Permission denied"),
            ("PUT", "/v1/agent/keyring/zzz", 403, "Permission denied"),
            ("GET", "/v1/agent/members?wait=x", 400, "Invalid wait time"),
            ("GET", "/v1/agent/monitor?log_level=zz", 400, "Unknown log level: zz"),
            ("GET", "/v1/agent/monitor?server_id=zz", 403, "Permission denied"),
            ("GET", "/v1/agent/host?server_id=a&node_id=b", 403, "Permission denied"),
            ("DELETE", "/v1/agent/schedulers", 405, "Invalid method"),
        ):
            answer = await live.ask(method, path)
            assert (answer.status, answer.text) == (status, text), path
    outside = client()
    outside.nomad.settings = backend.nomad.settings
    async with serving_api(outside) as live:
        for method, path, status in (
            ("DELETE", "/v1/agent/schedulers", 400),
            ("PUT", "/v1/agent/force-leave", 501),
            ("PUT", "/v1/agent/keyring/zzz", 501),
        ):
            assert (await live.ask(method, path)).status == status


async def test_pages_of_other_sites_are_refused_whatever_they_know() -> None:
    async with serving_api(guarded()) as live:
        headers = [("X-Nomad-Token", ROOT), ("Origin", "http://evil.example")]
        answer = await live.ask("PUT", "/v1/agent/force-leave?node=x", headers)
        assert (answer.status, answer.text) == (403, "requests from other sites are refused")


async def test_tokens_can_be_replaced_while_the_agent_runs() -> None:
    backend = guarded()
    async with serving_api(backend) as live:
        held = [("X-Nomad-Token", ROOT)]
        assert (await live.ask("GET", "/v1/agent/self", held)).status == 200
        backend.nomad.settings = ApiSettings(acl=Acl(enabled=True))
        assert (await live.ask("GET", "/v1/agent/self", held)).text == "ACL token not found"
        backend.nomad.settings = ApiSettings()
        assert (await live.ask("GET", "/v1/agent/self", held)).status == 200
