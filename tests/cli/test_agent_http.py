"""The HTTP port of a real agent: the names that it answers to."""

import http.client
import json
import signal
from pathlib import Path

import pytest

from tests.cli.running import PATIENCE, RunningAgent, launched

pytestmark = pytest.mark.live


def status_for(agent: RunningAgent, host: str) -> int:
    """What the agent answers to who calls it so."""
    address, _, port = agent.started["http"].rpartition(":")
    connection = http.client.HTTPConnection(address, int(port), timeout=PATIENCE)
    try:
        connection.request("GET", "/v1/agent/self", headers={"Host": host})
        return connection.getresponse().status
    finally:
        connection.close()


def test_an_agent_answers_only_to_its_own_names_and_to_those_that_are_listed(tmp_path: Path) -> None:
    file = tmp_path / "names.json"
    file.write_text(json.dumps({"moot": {"http_hosts": ["*.wide.example"]}}))
    with launched("--node", "web-1", "--config", str(file)) as agent:
        port = agent.started["http"].rpartition(":")[2]
        for known in ("127.0.0.1", "10.1.2.3", "[::1]", "localhost", "web-1", "web-1.global", "a.wide.example"):
            assert status_for(agent, f"{known}:{port}") == 200, known
        assert status_for(agent, f"evil.example:{port}") == 403

        file.write_text(json.dumps({"moot": {"http_hosts": ["evil.example"]}}))
        agent.process.send_signal(signal.SIGHUP)
        agent.wait_for("configuration reloaded")
        assert status_for(agent, "evil.example") == 200
        assert status_for(agent, "a.wide.example") == 403
