"""`moot agent` as a real process: start, joins, signals, exit codes."""

import json
import signal
import socket
import subprocess
import sys
import uuid
from functools import partial
from pathlib import Path

import pytest
import trio

from moot.agent.nomad.client import Dialer
from moot.http.client import ApiClient
from tests.cli.running import MOOT, PATIENCE, RunningAgent, agrees, all_see, launched, moot, pool, running, until

pytestmark = pytest.mark.live

INT, TERM, HUP, STOP, CONT = signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGSTOP, signal.SIGCONT


def test_port_zero_takes_free_ports_and_tells_them_in_one_json_line() -> None:
    with launched("--node", "a") as agent:
        started = agent.started
        assert started["name"] == "a.global"
        assert started["pid"] == agent.process.pid
        ports = {int(started[service].rpartition(":")[2]) for service in ("gossip", "http", "rpc")}
        assert len(ports) == 3
        assert 0 not in ports
        tags = agent.client.members()["Members"][0]["Tags"]
        assert tags["port"] == started["rpc"].rpartition(":")[2]


def test_a_free_rpc_port_is_nobody_elses_and_answers_pings() -> None:
    with launched() as agent:
        host, _, port = agent.started["rpc"].partition(":")
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind((host, int(port)))
        trio.run(partial(Dialer("global").ping, agent.started["rpc"], within=PATIENCE))
        assert json.loads(agent.client.request("GET", "/v1/nodes")) == []


def test_an_rpc_port_that_is_taken_ends_the_start() -> None:
    with launched() as agent, launched("--rpc-port", agent.started["rpc"].partition(":")[2], ready=False) as other:
        assert other.process.wait(PATIENCE) == 1
        assert "RPC cannot listen on" in other.text()


@pytest.mark.parametrize(("pool", "rpc"), [("nomad", "; RPC: 127.0.0.1:"), ("serf", "; RPC: none; ")])
def test_the_start_block_names_all_addresses_for_people(pool: str, rpc: str) -> None:
    given = ["--pool", pool, "--region", "global", "--http-port", "0", "--rpc-port", "0", "--serf-port", "0"]
    process = subprocess.Popen([*MOOT, "agent", "--node", "a", *given], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        block: list[str] = []
        while not any(line.startswith("==> moot agent started!") for line in block):
            block.append(process.stdout.readline())
    finally:
        process.terminate()
        rest, _ = process.communicate(timeout=30)
    said = "".join(block)
    for title in ("Advertise Addrs: HTTP: 127.0.0.1:", "Bind Addrs:", "Region (DC): global (dc1)", "Name: a"):
        assert title in said
    assert said.count(rpc) == 2  # where it listens, and what others are told
    assert "==> Caught signal: terminated" in rest
    assert process.returncode == 1


def test_nomad_tags_and_versions_are_those_of_a_server() -> None:
    with launched("--node", "a", "--region", "eu", "--dc", "north", "--dev", "--tag", "rack=7") as agent:
        (member,) = agent.client.members()["Members"]
        assert member["Name"] == "a.eu"
        tags = member["Tags"]
        assert uuid.UUID(tags.pop("id"))
        assert tags.pop("port").isdigit()
        assert tags == {
            "role": "nomad", "region": "eu", "dc": "north", "vsn": "1", "mvn": "1", "build": "0.1.0",
            "rpc_addr": "127.0.0.1", "raft_vsn": "3", "bootstrap": "1", "expect": "1", "rack": "7",
        }  # fmt: skip
        versions = [member[layer + kind] for layer in ("Protocol", "Delegate") for kind in ("Min", "Max", "Cur")]
        assert versions == [1, 5, 2, 2, 5, 4]


def test_a_serf_pool_member_has_only_the_tags_given() -> None:
    with launched("--node", "a", "--pool", "serf", "--tag", "role=db") as agent:
        (member,) = agent.client.members()["Members"]
        assert (member["Name"], member["Tags"], member["DelegateCur"]) == ("a", {"role": "db"}, 5)


def test_the_node_id_outlives_a_restart_with_a_data_directory(tmp_path: Path) -> None:
    directory = tmp_path / "deep" / "data"
    ids = []
    for _ in range(2):
        with launched("--data-dir", str(directory)) as agent:
            ids.append(agent.client.members()["Members"][0]["Tags"]["id"])
    assert ids[0] == ids[1] == (directory / "node-id").read_text().strip()


@pytest.mark.parametrize("number", [INT, TERM])
def test_a_signal_stops_at_once_with_exit_code_1_by_default(number: signal.Signals) -> None:
    with pool(2) as (first, second):
        assert second.signal(number) == 1
        assert second.wait_for(f"Caught signal: {'interrupt' if number == INT else 'terminated'}")
        assert first.statuses()["n2.global"] != "left"


@pytest.mark.parametrize(("number", "flag"), [(INT, "--leave-on-interrupt"), (TERM, "--leave-on-terminate")])
def test_a_signal_with_its_leave_flag_leaves_gracefully_with_exit_code_0(number: signal.Signals, flag: str) -> None:
    with pool(2, flag) as (first, second):
        assert second.signal(number) == 0
        assert second.wait_for("Gracefully shutting down agent...")
        until(lambda: first.statuses()["n2.global"] == "left", "left in the other's view")


def test_a_second_signal_cuts_the_leave_short_with_exit_code_1() -> None:
    with pool(2, "--leave-on-interrupt") as (_, second):
        second.process.send_signal(INT)
        second.wait_for("Gracefully shutting down agent...")
        assert second.signal(TERM) == 1


def test_a_hangup_reloads_level_and_headers_and_tells_what_needs_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps({"region": "eu"}))
    with launched("--config", str(file)) as agent:
        file.write_text(
            json.dumps({"region": "us", "log_level": "debug", "http_api_response_headers": {"X-Fresh": "yes"}})
        )
        agent.process.send_signal(HUP)
        assert agent.wait_for("configuration reloaded")["log_level"] == "debug"
        assert "region" in agent.wait_for("some changes need a restart of the agent")["settings"]
        assert "X-Fresh: yes" in head(agent)
        assert agent.client.self_()["config"]["LogLevel"] == "DEBUG"
        assert agent.client.members()["ServerRegion"] == agent.client.self_()["config"]["Region"] == "eu"


def test_a_hangup_names_changed_keys_as_they_are_written_and_no_others(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text("{}")
    with launched("--config", str(file)) as agent:
        same = {"name": socket.gethostname(), "moot": {"profile": "wan"}, "log_level": "debug"}
        file.write_text(json.dumps(same))
        agent.process.send_signal(HUP)
        agent.wait_for("configuration reloaded")
        assert agent.lines("some changes need a restart of the agent") == []
        file.write_text(json.dumps({"name": "b", "server": {"retry_max": 3}, "moot": {"profile": "lan"}}))
        agent.process.send_signal(HUP)
        agent.wait_for("configuration reloaded", 2)
        changed = agent.wait_for("some changes need a restart of the agent")["settings"]
        assert changed == "name, server.retry_max, moot.profile"


def test_every_broken_new_configuration_keeps_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps({"http_api_response_headers": {"X-Old": "yes"}}))
    broken = ["{", "[" * 100_000, '{"name": "\\ud800"}', '{"zork": 1}', '{"server": {"retry_interval": "0s"}}']
    with launched("--config", str(tmp_path)) as agent:
        for number, content in enumerate(broken, start=1):
            file.write_text(content)
            agent.process.send_signal(HUP)
            assert str(file) in agent.wait_for("configuration not reloaded, the old one stays", number)["reason"]
        file.unlink()
        tmp_path.rmdir()
        agent.process.send_signal(HUP)
        agent.wait_for("configuration not reloaded, the old one stays", len(broken) + 1)
        assert "X-Old: yes" in head(agent)
        assert running(agent.process.pid)
        assert "Traceback" not in agent.text()
        tmp_path.mkdir()


def head(agent: RunningAgent) -> str:
    """Head of an answer, raw."""
    host, _, port = agent.started["http"].partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as stream:
        stream.sendall(b"GET /v1/agent/members HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return b"".join(iter(lambda: stream.recv(4096), b"")).decode().partition("\r\n\r\n")[0]


def test_a_join_at_start_that_reaches_nobody_ends_with_1_and_every_reason() -> None:
    with launched("--join", "127.0.0.1:9", "--join", "no-such-host.invalid", ready=False) as agent:
        assert agent.process.wait(60) == 1
        assert (
            "nobody joined: Failed to join 127.0.0.1: dial tcp 127.0.0.1:9: connect: connection refused"
            in agent.text()
        )
        assert "Failed to resolve no-such-host.invalid" in agent.text()
        assert "--retry-join" in agent.text()


def test_a_join_at_start_that_reaches_somebody_goes_on_and_logs_each_result() -> None:
    with (
        launched("--node", "a") as first,
        launched("--node", "b", "--join", "127.0.0.1:9", "--join", first.started["gossip"]) as second,
    ):
        assert second.wait_for("not joined")["target"] == "127.0.0.1:9"
        assert second.wait_for("joined")["target"] == first.started["gossip"]
        assert second.wait_for("join completed")["agents"] == 1
        assert agrees(second, "alive", 2)


def test_a_retried_join_goes_on_in_the_background_until_somebody_is_there() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{holder.getsockname()[1]}"
        with launched("--node", "b", "--retry-join", address, "--retry-interval", "100ms") as waiting:
            assert waiting.wait_for("join failed, trying again")["attempt"] == 1
            assert agrees(waiting, "alive", 1)
            holder.close()
            with launched("--node", "a", "--serf-port", address.rpartition(":")[2]):
                waiting.wait_for("join completed")
                assert agrees(waiting, "alive", 2)


def test_used_up_retries_end_with_1() -> None:
    with launched(
        "--retry-join", "127.0.0.1:9", "--retry-max", "1", "--retry-interval", "100ms", ready=False
    ) as agent:
        assert agent.process.wait(60) == 1
        assert agent.wait_for("max join retry exhausted, exiting")["attempts"] == 2


def test_what_was_wrong_with_a_join_decides_what_is_advised() -> None:
    with (
        launched("--node", "a") as plain,
        launched("--node", "s", "--pool", "serf") as serf,
        launched("--node", "b", "--label", "blue", "--retry-join", plain.started["gossip"]) as blue,
    ):
        gossip, http, serfs = plain.started["gossip"], plain.started["http"], serf.started["gossip"]
        assert "its label or its key may differ" not in blue.text()
        assert "label or key may differ" in blue.wait_for("not joined")["hint"]
        assert plain.wait_for("refused a stream: label or key differ from ours")["peer"].startswith("127.0.0.1:")

        assert "label or key may differ" in moot("join", gossip, "--address", blue.url).stderr
        assert "give the gossip port" in moot("join", http, "--address", plain.url).stderr
        assert "--pool serf" in moot("join", serfs, "--address", plain.url).stderr
        refused = moot("join", "127.0.0.1:9", "--address", plain.url).stderr
        assert "nothing listens there: start them first" in refused
        assert "its label" not in refused


def test_the_merge_check_keeps_serf_agents_out_of_a_nomad_pool() -> None:
    with launched("--node", "a") as nomad, launched("--node", "s", "--pool", "serf") as serf:
        joined, error = nomad.client.join([serf.started["gossip"]])
        assert joined == 0
        assert "member 's' is not a server" in error
        assert nomad.statuses() == {"a.global": "alive"}


def test_a_key_is_needed_to_get_into_an_encrypted_pool() -> None:
    key = moot("keygen").stdout.strip()
    with launched("--node", "a", "--encrypt", key) as sealed, launched("--node", "b") as plain:
        assert sealed.client.agent()["encrypted"]
        joined, error = plain.client.join([sealed.started["gossip"]])
        assert (joined, sealed.statuses()) == (0, {"a.global": "alive"})
        assert "Remote state is encrypted and encryption is not configured" in error
        assert "check the key" in moot("join", sealed.started["gossip"], "--address", plain.url).stderr
        reason = sealed.wait_for("refused a stream: label or key differ from ours")["reason"]
        assert reason == "plain where encryption is required"


def test_the_key_may_come_from_the_environment_and_is_told_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, other = moot("keygen").stdout.strip(), moot("keygen").stdout.strip()
    file = tmp_path / "a.json"
    file.write_text("{}")
    monkeypatch.setenv("MOOT_ENCRYPT", key)
    options = ["--log-level", "trace", "--config", str(file)]
    with launched("--node", "a", *options) as first, launched("--node", "b", *options) as second:
        assert second.client.join([first.started["gossip"]]) == (1, "")
        file.write_text(json.dumps({"server": {"encrypt": other}}))
        first.process.send_signal(HUP)
        first.wait_for("configuration reloaded")
        told = [first.text(), json.dumps(first.client.self_()), json.dumps(first.client.agent())]
        assert first.client.agent()["encrypted"]
        command = Path(f"/proc/{first.process.pid}/cmdline").read_text()
        assert not any(secret in text for text in (*told, command) for secret in (key, other))


def test_http_that_listens_everywhere_is_told_at_an_address_that_can_be_reached() -> None:
    with launched("--http-addr", "0.0.0.0", "--advertise", "127.0.0.1") as agent:
        port = agent.started["http"].rpartition(":")[2]
        config = ApiClient(f"http://127.0.0.1:{port}").self_()["config"]
        assert config["AdvertiseAddrs"]["HTTP"] == f"127.0.0.1:{port}"
        assert config["Addresses"]["HTTP"] == "0.0.0.0"


def test_dev_mode_answers_the_dev_settings_of_nomad() -> None:
    with launched("--dev") as agent:
        config = agent.client.self_()["config"]
        assert {key: config[key] for key in ("DevMode", "EnableDebug", "DisableUpdateCheck", "LogLevel")} == {
            "DevMode": True, "EnableDebug": True, "DisableUpdateCheck": False, "LogLevel": "DEBUG",
        }  # fmt: skip


def test_a_taken_port_is_told_with_what_to_do() -> None:
    with launched() as agent:
        gossip, http = (agent.started[service].rpartition(":")[2] for service in ("gossip", "http"))
        refused = moot("agent", "--serf-port", gossip, "--http-port", "0")
        assert refused.returncode == 1
        assert f"127.0.0.1:{gossip}" in refused.stderr
        assert "give another --bind or --serf-port" in refused.stderr
        refused = moot("agent", "--serf-port", "0", "--http-port", http)
        assert refused.returncode == 1
        assert f"HTTP cannot listen on 127.0.0.1:{http}" in refused.stderr


def test_an_agent_ends_when_its_lifeline_does() -> None:
    starter = (
        "import os, subprocess, sys\n"
        "read, write = os.pipe()\n"
        "command = [*sys.argv[1:], '--lifeline', str(read)]\n"
        "child = subprocess.Popen(command, pass_fds=[read], stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
        "input()\n"
    )
    agent = [*MOOT, "agent", "--http-port", "0", "--rpc-port", "0", "--serf-port", "0"]
    parent = subprocess.Popen(
        [sys.executable, "-c", starter, *agent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert running(pid)
    parent.kill()
    parent.wait()
    parent.stdin.close()
    parent.stdout.close()
    until(lambda: not running(pid), "the end of the agent")


def test_an_agent_that_left_over_http_ends_with_0() -> None:
    with pool(2) as (first, second):
        second.client.leave()
        assert second.process.wait(30) == 0
        until(lambda: all_see([first], "n2.global", "left"), "left in the other's view")


def test_an_agent_outlives_the_reader_of_its_log() -> None:
    ports = ["--http-port", "0", "--serf-port", "0", "--rpc-port", "0"]
    process = subprocess.Popen([*MOOT, "agent", "--log-json", *ports], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        started = {"@message": ""}
        while started["@message"] != "agent started":
            started = json.loads(process.stdout.readline())
        process.stdout.close()
        client = ApiClient(started["http"])
        client.join(["127.0.0.1:9"])
        assert client.agent()["members"] == {"alive": 1}
        client.leave()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def test_a_signal_during_the_join_at_start_ends_it_without_a_complaint() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = f"127.0.0.1:{silent.getsockname()[1]}"
        with launched("--join", target, ready=False) as agent:
            silent.settimeout(30)
            held, _ = silent.accept()
            with held:
                assert agent.signal(TERM) == 1
            assert "moot: " not in agent.text()
