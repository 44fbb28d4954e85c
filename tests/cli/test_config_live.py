"""Agents with Nomad's files, with variables, and what a reload makes of both."""

import shutil
import signal
import socket
from pathlib import Path

import pytest

from tests.cli.running import launched

pytestmark = pytest.mark.live
NOMAD = Path(__file__).parents[1] / "fixtures" / "nomad"
LOCAL = ("-bind", "127.0.0.1", "-advertise", "127.0.0.1")
WITHOUT = "accepted without effect, for what this agent does not have: "


def test_nomads_files_start_a_server_and_a_client_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOOT_ADVERTISE_RPC", "127.0.0.1")
    server_data, client_data = str(tmp_path / "server"), str(tmp_path / "client")
    with launched(
        "-config", str(NOMAD / "server.hcl"), "-data-dir", server_data, "-log-level=info", *LOCAL
    ) as server:
        lines = [line for line in server.text().splitlines() if WITHOUT in line]
        assert len(lines) == 1
        assert "acl.replication_token, acl.token_ttl, audit, autopilot, " in lines[0]
        assert server.started["name"] == "nomad-server-1.eu"
        options = ("-config", str(NOMAD / "client.hcl"), "-data-dir", client_data, "-region=eu")
        with launched(*options, "-servers", server.started["rpc"]) as client:
            client.wait_for("registered with server")
            assert WITHOUT in client.text()
            assert server.started["rpc"] in client.client.servers()


def test_a_reload_reads_files_again_and_keeps_to_the_variables_and_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "conf"
    folder.mkdir()
    shutil.copy(NOMAD / "both.json", folder / "a.json")
    second = folder / "b.hcl"
    second.write_text('log_level = "info"\nname = "file"\ndatacenter = "file"')
    monkeypatch.setenv("MOOT_DATACENTER", "variable")
    monkeypatch.setenv("MOOT_TAGS", "from=variable")
    with launched("-config", str(folder), "-node", "flag") as agent:
        assert agent.client.agent()["name"] == "flag"
        second.write_text(
            'log_level = "debug"\nname = "other"\ndatacenter = "other"\nmoot { tags { more = "x" } }\n'
            "limits { http_max_conns_per_client = 1 }"
        )
        agent.process.send_signal(signal.SIGHUP)
        assert agent.wait_for("configuration reloaded")["log_level"] == "debug"
        assert agent.lines("some changes need a restart of the agent") == []
        (own,) = agent.client.members()["Members"]
        assert own["Tags"]["dc"] == "variable"
        assert (own["Tags"]["from"], own["Tags"]["more"]) == ("variable", "x")

        host, port = agent.started["http"].split(":")
        with socket.create_connection((host, int(port)), 30) as first:
            first.sendall(b"GET /v1/agent/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert first.recv(4096).startswith(b"HTTP/1.1 200")
            with socket.create_connection((host, int(port)), 30) as too_many:
                assert too_many.recv(4096).startswith(b"HTTP/1.1 429")

        second.write_text("zork = 1\nlog_json = 3")
        agent.process.send_signal(signal.SIGHUP)
        reason = agent.wait_for("configuration not reloaded, the old one stays")["reason"]
        assert f"{second}:1: unknown key zork" in reason
        assert f"{second}:2: log_json: must be true or false" in reason
