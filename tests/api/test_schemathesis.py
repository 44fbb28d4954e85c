"""Schemathesis finds no answer of a running agent that our OpenAPI document does not have, nor of another shape."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from moot.http.acl import MANAGEMENT, entry, new_secret
from tests.api.described import operations
from tests.api.live_situations import Agent, Stage, staged
from tests.api.schemathesis_run import LEAVE, Report, Run
from tests.api.situations import KEY

pytestmark = pytest.mark.live
SECRET = new_secret()
ACL = {"enabled": True, "tokens": {"root": entry([MANAGEMENT], SECRET)}}
TELEMETRY = {"prometheus_metrics": True}


def document_of(agent: Agent) -> dict[str, Any]:
    answer = requests.get(f"{agent.api.url}/v1/openapi.json", timeout=30)
    document: dict[str, Any] = answer.json()
    return document


def run(agent: Agent, document: dict[str, Any] | None = None, token: str = "", *, draws: bool = False) -> Report:
    """Whatever is asked, nobody beyond the agent's own address is."""
    closed, itself = f"{agent.host}:1", agent.host
    addresses = (itself, closed, f"{itself}:4646", f"{itself}:99999", "", "/", f"x/{itself}", "[::1]:1")
    return Run(agent.api.url, document or document_of(agent), addresses, token).everything(draws=draws)


def told(report: Report) -> str:
    return "\n".join(f"{label}: {kind}: {text}" for (label, kind), text in report.found.items())


def leaves(agent: Agent, document: dict[str, Any], token: str = "") -> None:
    """The operation that ends the agent is as described, too."""
    operation = document["paths"][LEAVE]["put"]
    answer = requests.put(f"{agent.api.url}{LEAVE}", headers={"X-Nomad-Token": token}, timeout=30)
    described = operation["responses"][str(answer.status_code)]["content"][answer.headers["content-type"]]
    assert described["schema"] == {"$ref": "#/components/schemas/LeaveAnswer"}
    assert set(answer.json()) == set(document["components"]["schemas"]["LeaveAnswer"]["required"])
    assert agent.process.wait(30) == 0


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path, lambda _: None) as made:
        yield made


def test_a_server_with_tokens_answers_as_described(stage: Stage) -> None:
    settings = {"acl": ACL, "telemetry": TELEMETRY}
    agent = stage.start("s1", 1, "--server", "--encrypt", KEY, settings=settings)
    document = document_of(agent)
    report = run(agent, document, SECRET, draws=True)
    assert report.found == {}, told(report)
    assert {200, 400, 404, 405, 409, 500, 501} <= set(report.statuses)
    for method, path, operation in operations(document):
        answer = requests.request(method, agent.api.url + path, timeout=30, stream=True)
        answer.close()
        assert str(answer.status_code) in operation["responses"]
        assert operation["x-moot-right"] is None or answer.status_code in (400, 403, 501), (method, path)
    leaves(agent, document, SECRET)


def test_an_agent_of_a_serf_pool_answers_as_described(stage: Stage) -> None:
    agent = stage.start("s1", 1, "--pool", "serf", settings={"enable_debug": True})
    document = document_of(agent)
    report = run(agent, document)
    assert report.found == {}, told(report)
    leaves(agent, document)


def test_a_client_answers_as_described(stage: Stage) -> None:
    server = stage.start("s1", 1, "--server")
    agent = stage.start("c1", 2, "--client", "--servers", server.host)
    report = run(agent)
    assert report.found == {}, told(report)
    assert {200, 400, 405, 501} <= set(report.statuses)


def test_what_is_not_described_is_found(stage: Stage) -> None:
    agent = stage.start("s1", 1, "--server")
    planted = document_of(agent)
    kept = ("/v1/agent/force-leave", "/v1/agent/members", "/v1/regions", "/v1/status/leader", "/v1/agent/join")
    planted["paths"] = {path: it for path, it in planted["paths"].items() if path in kept}
    del planted["paths"]["/v1/agent/force-leave"]["put"]["responses"]["400"]
    planted["components"]["schemas"]["MembersAnswer"]["properties"]["ServerName"]["type"] = "integer"
    regions = planted["paths"]["/v1/regions"]["get"]["responses"]["200"]["content"]
    regions["text/html"] = regions.pop("application/json")
    del planted["paths"]["/v1/status/leader"]["get"]["responses"]["500"]
    words = planted["paths"]["/v1/agent/join"]["put"]["responses"]["400"]["content"]["text/plain; charset=utf-8"]
    words["schema"] = {"const": "something else"}
    assert set(run(agent, planted, draws=True).found) >= {
        ("PUT /v1/agent/force-leave", "UndefinedStatusCode"),
        ("GET /v1/agent/members", "JsonSchemaError"),
        ("GET /v1/regions", "UndefinedContentType"),
        ("GET /v1/status/leader", "UndefinedStatusCode"),
        ("PUT /v1/agent/join", "words"),
    }
