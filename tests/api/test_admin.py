"""Host, schedulers, reload: shapes, rights, and who is meant."""

import json

import pytest

from moot.http.nomad_operations import ApiSettings
from tests.api.live import serving_api
from tests.api.scripted_nomad import NODE_ID
from tests.api.situations import client, dev, pool

FACTS = {"OS", "Network", "ResolvConf", "Hosts", "Environment", "Disk"}


async def test_host_wraps_its_answer_when_the_agent_was_named() -> None:
    async with serving_api(dev()) as live:
        assert set((await live.ask("GET", "/v1/agent/host")).json()) == FACTS
        for query in (f"node_id={NODE_ID}", "server_id=bacon-mac.global"):
            found = (await live.ask("GET", f"/v1/agent/host?{query}")).json()
            assert found["AgentID"] == query.partition("=")[2]
            assert set(found["HostData"]) == FACTS


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ("server_id=a&node_id=b", 400, "Can only forward to either client node or server"),
        ("server_id=zzz", 400, "unknown Nomad server zzz"),
        ("node_id=zzz", 500, "No path to node"),
        ("region=zzz", 500, "No path to region"),
        ("wait=x", 400, "Invalid wait time"),
    ],
)
async def test_host_says_why_it_does_not_tell(query: str, status: int, text: str) -> None:
    async with serving_api(dev()) as live:
        answer = await live.ask("GET", f"/v1/agent/host?{query}")
        assert (answer.status, answer.text) == (status, text)


async def test_host_is_told_while_debugging_only() -> None:
    backend = client()
    async with serving_api(backend) as live:
        assert (await live.ask("GET", "/v1/agent/host")).text == "Permission denied"
        backend.nomad.settings = ApiSettings(enable_debug=True)
        assert (await live.ask("GET", "/v1/agent/host")).status == 200


async def test_there_are_no_schedulers_and_none_can_be_made() -> None:
    none = {"server_id": "s1.global", "num_schedulers": 0, "enabled_schedulers": []}
    async with serving_api(pool()) as live:
        url = "/v1/agent/schedulers/config"
        assert (await live.ask("GET", url)).json() == none
        assert (await live.ask("PUT", url, body=json.dumps(none).encode())).json() == none
        for body in (
            b'{"num_schedulers": 1}',
            b'{"enabled_schedulers": ["batch"]}',
            b"{",
            b"",
            b"[]",
            b"[" * 100_000,
        ):
            answer = await live.ask("POST", url, body=body)
            assert (answer.status, answer.text[:17]) == (400, "Invalid request: ")


async def test_an_agent_without_the_server_role_refuses_schedulers_whatever_the_method() -> None:
    async with serving_api(client()) as live:
        for method in ("GET", "DELETE"):
            for path in ("schedulers", "schedulers/config"):
                answer = await live.ask(method, f"/v1/agent/{path}")
                assert (answer.status, answer.text) == (400, "Server only endpoint")


async def test_reload_reads_the_configuration_again() -> None:
    backend = pool()
    async with serving_api(backend) as live:
        answer = await live.ask("PUT", "/v1/agent/reload")
        assert (answer.status, answer.body, backend.nomad.reload_count) == (200, b"", 1)
        assert "content-type" not in answer.headers
        backend.nomad.reload_error = "a.toml: log_level: must be one of"
        answer = await live.ask("POST", "/v1/agent/reload")
        assert (answer.status, answer.text) == (500, "a.toml: log_level: must be one of")
        assert (await live.ask("GET", "/v1/agent/reload")).status == 405
        assert (await live.ask("PUT", "/v1/agent/reload", [("Origin", "http://evil.example")])).status == 403
        assert backend.nomad.reload_count == 2


@pytest.mark.parametrize("path", ["/v1/agent/host", "/v1/agent/monitor", "/v1/agent/keyring/list"])
async def test_what_shows_much_is_kept_from_pages_of_other_sites_even_by_address(path: str) -> None:
    async with serving_api(dev()) as live:
        assert (await live.ask("GET", path, [("Sec-Fetch-Site", "cross-site")])).status == 403
