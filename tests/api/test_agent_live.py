"""Real agents, and what a scripted one does not show: tokens from files, reloads, the log, stuck readers."""

import http.client
import json
import signal
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from moot.http.acl import entry, new_secret
from moot.http.client import ApiClient, ApiError
from tests.api.live_situations import PATIENCE, Agent, Stage, ask, server, staged
from tests.support.launching import HTTP_PORT

pytestmark = pytest.mark.live


def guarded(secret: str, *rights: str) -> dict[str, object]:
    """A configuration with one token."""
    return {"acl": {"enabled": True, "tokens": {"ops": entry(rights, secret)}}, "log_level": "trace"}


def with_token(agent: Agent, secret: str) -> ApiClient:
    return ApiClient(f"http://{agent.host}:{HTTP_PORT}", token=secret, timeout=PATIENCE)


def refusal(call: Callable[[], object]) -> tuple[int, str]:
    """How a call is refused."""
    with pytest.raises(ApiError) as caught:
        call()
    return caught.value.status, caught.value.body


def test_tokens_come_from_the_configuration_and_change_with_a_reload(tmp_path: Path) -> None:
    old, new = new_secret(), new_secret()
    with staged(tmp_path, server(**guarded(old, "management"))) as stage:
        agent = stage.agents[0]
        holder, other = with_token(agent, old), with_token(agent, new)
        assert len(holder.members()["Members"]) == 1
        assert refusal(other.members) == (403, "ACL token not found")
        assert refusal(agent.api.members) == (403, "Permission denied")
        configuration = tmp_path / "s1.json"
        configuration.write_text(json.dumps(guarded(new, "agent:write")))
        holder.request("PUT", "/v1/agent/reload")
        assert refusal(holder.members) == (403, "ACL token not found")
        assert refusal(other.members) == (403, "Permission denied")
        configuration.write_text('{"acl": {"tokens": {"ops": "s3cret"}}}')
        status, text = refusal(lambda: other.request("PUT", "/v1/agent/reload"))
        assert (status, text[: len(str(configuration))]) == (500, str(configuration))
        assert "acl.tokens: ops must be rights" in text
        assert other.self_()["config"]["LogLevel"] == "TRACE"
        shown = agent.log_text() + json.dumps(other.self_())
        for secret in (old, new, "s3cret", entry([], new)):
            assert secret.strip() not in shown


def test_the_log_can_be_followed_more_finely_than_it_is_written(tmp_path: Path) -> None:
    with staged(tmp_path, server(log_level="error")) as stage:
        agent = stage.agents[0]
        connection = http.client.HTTPConnection(agent.host, HTTP_PORT, timeout=PATIENCE)
        connection.request("GET", "/v1/agent/monitor?plain=true&log_json=true&log_level=debug&log_include_location=1")
        answer = connection.getresponse()
        agent.api.event("deploy")
        line = json.loads(answer.readline())
        connection.close()
        assert line["@level"] in ("debug", "info")
        assert line["@caller"].startswith("agent/")
        assert line["@message"] not in agent.log_text()


def test_an_agent_that_ends_does_not_wait_for_who_follows_its_log(tmp_path: Path) -> None:
    with staged(tmp_path, server()) as stage:
        agent = stage.agents[0]
        connection = http.client.HTTPConnection(agent.host, HTTP_PORT, timeout=PATIENCE)
        connection.request("GET", "/v1/agent/monitor")
        connection.getresponse()
        begun = time.monotonic()
        agent.process.send_signal(signal.SIGTERM)
        agent.process.wait(PATIENCE)
        assert time.monotonic() - begun < 5
        connection.close()


def test_readers_that_are_stuck_do_not_slow_the_agent_down(tmp_path: Path) -> None:
    with staged(tmp_path, two) as stage, ExitStack() as stack:
        agent, other = stage.agents
        ask_for_log = f"GET /v1/agent/monitor?log_level=trace HTTP/1.1\r\nHost: {agent.host}\r\n\r\n".encode()
        for _ in range(40):
            stuck = stack.enter_context(socket.create_connection((agent.host, HTTP_PORT), PATIENCE))
            stuck.sendall(ask_for_log)
        for number in range(2000):
            agent.api.event(f"event-{number % 20}")
        durations = []
        for _ in range(50):
            begun = time.monotonic()
            agent.api.members()
            durations.append(time.monotonic() - begun)
        assert sorted(durations)[len(durations) // 2] < 0.05
        assert agent.api.self_()["stats"]["serf"]["health_score"] == "0"
        assert set(other.statuses().values()) == {"alive"}


def two(stage: Stage) -> None:
    stage.start("s1", 2)
    stage.start("s2", 3)
    stage.join()


def test_prometheus_sees_the_pool(tmp_path: Path) -> None:
    with staged(tmp_path, two_measured) as stage:
        scrape = {"method": "GET", "path": "/v1/metrics?format=prometheus"}
        found: dict[str, float] = {}

        def scraped() -> bool:
            lines = ask(stage.agents[0].host, scrape).text.splitlines()
            pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
            found.update({name: float(value) for name, value in pairs})
            return found["moot_gossip_sent_bytes_total"] > 0

        stage.wait(scraped)
        assert found['moot_members{status="alive"}'] == 2
        assert found['moot_member_changes_total{change="join"}'] == 2
        assert found["process_resident_memory_bytes"] > 0


def two_measured(stage: Stage) -> None:
    stage.start("s1", 2, settings={"telemetry": {"prometheus_metrics": True}})
    stage.start("s2", 3)
    stage.join()
