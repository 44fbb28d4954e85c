"""Figures of a running agent: sent to receivers, scraped, and what the dashboard and the alerts ask for."""

import json
import os
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.cli.running import RunningAgent, launched, moot, until
from tests.support.promql import series_in
from tests.unit.test_deploy import expressions

pytestmark = pytest.mark.live


class Receiver:
    """A receiver of either kind, and all lines it got."""

    def __init__(self, kind: socket.SocketKind) -> None:
        self.socket = socket.socket(socket.AF_INET, kind)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(0.1)
        self.lines: list[str] = []
        self.longest = 0
        self._ends = threading.Event()
        if kind is socket.SOCK_STREAM:
            self.socket.listen()
        self._thread = threading.Thread(
            target=self._streams if kind is socket.SOCK_STREAM else self._packets, daemon=True
        )
        self._thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.socket.getsockname()[1]}"

    def got(self, *starts: str) -> bool:
        """Whether there is a line that begins with each of these."""
        return all(any(line.startswith(start) for line in self.lines) for start in starts)

    def close(self) -> None:
        self._ends.set()
        self._thread.join()
        self.socket.close()

    def _packets(self) -> None:
        while not self._ends.is_set():
            try:
                packet = self.socket.recv(65_536)
            except TimeoutError:
                continue
            self.longest = max(self.longest, len(packet))
            self.lines += packet.decode("ascii").split("\n")

    def _streams(self) -> None:
        while not self._ends.is_set():
            try:
                stream, _ = self.socket.accept()
            except TimeoutError:
                continue
            with stream, stream.makefile(encoding="ascii") as lines:
                stream.settimeout(None)
                for line in lines:
                    self.lines.append(line.removesuffix("\n"))
                    if self._ends.is_set():
                        break


@contextmanager
def receivers() -> Iterator[tuple[Receiver, Receiver, Receiver]]:
    """statsd, statsite, DogStatsD."""
    found = (Receiver(socket.SOCK_DGRAM), Receiver(socket.SOCK_STREAM), Receiver(socket.SOCK_DGRAM))
    try:
        yield found
    finally:
        for each in found:
            each.close()


def configured(path: Path, **telemetry: object) -> None:
    path.write_text(json.dumps({"telemetry": {"collection_interval": "100ms", **telemetry}}))


def test_every_receiver_gets_figures_and_others_after_a_reload(tmp_path: Path) -> None:
    config = tmp_path / "agent.json"
    with receivers() as (statsd, statsite, datadog):
        configured(
            config,
            statsd_address=statsd.address,
            statsite_address=statsite.address,
            datadog_address=datadog.address,
            use_node_name=True,
            publish_node_metrics=True,
        )
        with launched("--config", str(config), "--node", "a", "--profile", "local") as one:
            seed = ["--join", one.started["gossip"], "--node", "b", "--profile", "local"]
            with launched(*seed) as two:
                until(lambda: one.statuses().get("b.global") == "alive", "a pool of two")
                assert two.client.members()
                gauge, host = "nomad.a.serf.members.alive:2|g", "nomad.a.client.host.memory.total:"
                kinds = (
                    gauge,
                    host,
                    "nomad.serf.member.join:",
                    "nomad.memberlist.probe:",
                    "nomad.http.request./v1/agent/members:",
                    "nomad.memberlist.msg.sent.ping:",
                )
                for each in (statsd, statsite):
                    until(partial(each.got, *kinds), "all kinds of figures")
                until(lambda: datadog.got("nomad.serf.members:2|g|#status:alive"), "tags")
                assert max(statsd.longest, datadog.longest) <= 1400
                moved = Receiver(socket.SOCK_DGRAM)
                configured(config, statsd_address=moved.address, disable_hostname=True)
                one.process.send_signal(signal.SIGHUP)
                until(lambda: moved.got("nomad.serf.members.alive:2|g"), "figures at the other receiver")
                assert not moved.got("nomad.client.host.")
                moved.close()


def test_receivers_that_are_not_there_are_told_once_and_change_nothing_else(tmp_path: Path) -> None:
    config = tmp_path / "agent.json"
    configured(config, statsd_address="127.0.0.1:1", statsite_address="127.0.0.1:1", datadog_address="[::1]:1")
    with launched("--config", str(config), "--node", "a") as agent:
        told = "cannot be reached, figures are dropped"
        for what in ("statsite", "statsd", "DogStatsD"):
            line = agent.wait_for(f"{what} {told}")
            assert (line["@level"], line["@module"]) == ("warn", "telemetry")
        for _ in range(20):
            assert agent.statuses() == {"a.global": "alive"}
        assert agent.text().count(told) == 3


@pytest.mark.parametrize("address", ["localhost", "unix:///run/dogstatsd.sock", "127.0.0.1:99999"])
def test_a_receiver_that_cannot_be_is_refused_at_the_start(address: str, tmp_path: Path) -> None:
    config = tmp_path / "agent.json"
    configured(config, statsd_address=address)
    done = moot("agent", "--config", str(config))
    assert done.returncode == 1
    assert "telemetry.statsd_address" in done.stderr
    assert "HOST:PORT" in done.stderr


def scraped(agent: RunningAgent) -> list[Metric]:
    """What Prometheus gets."""
    text = agent.client.request("GET", "/v1/metrics", [("format", "prometheus")])
    return list(text_string_to_metric_families(text.decode()))


def shown(families: Sequence[Metric]) -> set[str]:
    """Names of the series that there are, or will be when there is something to count."""
    found = {"up"}
    for family in families:
        if family.type == "counter":
            found.add(f"{family.name}_total")
        elif family.type == "histogram":
            found.update(f"{family.name}_{suffix}" for suffix in ("bucket", "sum", "count"))
        else:
            found.add(family.name)
    return found


def test_an_agent_has_every_figure_that_the_dashboard_and_the_alerts_ask_for() -> None:
    with launched("--dev", "--node", "a", "--ipc-addr", "127.0.0.1:0") as agent:
        assert moot("serf", "members", f"-rpc-addr={agent.started['ipc']}").returncode == 0

        def values() -> dict[tuple[str, ...], float]:
            samples = [it for family in scraped(agent) for it in family.samples]
            return {(it.name, *it.labels.values()): it.value for it in samples}

        until(lambda: values().get(("moot_client_nodes", "ready")) == 1, "a client node, which the agent is itself")
        found = values()
        assert found["moot_rpc_requests_total", "Node.Register"] >= 1
        assert found["moot_rpc_connections_total",] >= 1
        assert found["moot_ipc_requests_total", "members-filtered"] >= 1
        assert found["moot_ipc_connections_total",] >= 1
        assert found["moot_members", "alive"] == 1
        assert found["moot_log_lines_total", "info"] >= 1
        assert found["moot_member_changes_total", "join"] == 1
        names = shown(scraped(agent))
    for where, expression in expressions():
        assert series_in(expression) <= names, where


def test_levels_of_modules_change_on_a_reload_and_requests_are_debug(tmp_path: Path) -> None:
    config = tmp_path / "agent.json"
    config.write_text(json.dumps({"moot": {"log_levels": {"http": "debug"}}}))
    with launched("--config", str(config), "--node", "a") as agent:
        agent.client.members()
        line = agent.wait_for("request complete")
        assert (line["@level"], line["@module"], line["method"]) == ("debug", "http", "GET")
        assert line["path"].startswith("/v1/")
        assert line["status"] == 200
        config.write_text("{}")
        os.kill(agent.process.pid, signal.SIGHUP)
        agent.wait_for("configuration reloaded")
        told = len(agent.lines("request complete"))
        for _ in range(10):
            agent.client.members()
        assert len(agent.lines("request complete")) == told
