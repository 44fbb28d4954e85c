"""The pools that the clients ask."""

import base64
import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from moot.http import acl
from tests.cli.running import RunningAgent, agrees, launched, until
from tests.support.certificates import Authority, Pair

KEY = base64.b64encode(bytes(range(32))).decode()
"""The key of the federation's gossip."""


@dataclass
class Federation:
    """Two servers of the region global and one of europe, all in one encrypted pool."""

    g1: RunningAgent
    g2: RunningAgent
    e1: RunningAgent

    @property
    def agents(self) -> list[RunningAgent]:
        return [self.g1, self.g2, self.e1]


@pytest.fixture(scope="package")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """Shared by all tests here: who changes something brings it back."""
    file = tmp_path_factory.mktemp("federation") / "agent.json"
    settings = {"enable_debug": True, "telemetry": {"prometheus_metrics": True}}
    file.write_text(json.dumps({**settings, "server": {"encrypt": KEY}}))
    common = ["--profile", "local", "--config", str(file)]
    with contextlib.ExitStack() as stack:
        g1 = stack.enter_context(launched("--node", "g1", *common))
        seed = ["--join", g1.started["gossip"]]
        g2 = stack.enter_context(launched("--node", "g2", *common, *seed))
        e1 = stack.enter_context(launched("--node", "e1", "--region", "europe", "--dc", "fra", *common, *seed))
        until(lambda: all(agrees(agent, "alive", 3) for agent in (g1, g2, e1)), "a pool that is whole")
        yield Federation(g1, g2, e1)


@pytest.fixture
def pair() -> Iterator[tuple[RunningAgent, RunningAgent]]:
    """Two servers, `a` and `b`, that do not know each other."""
    with launched("--node", "a", "--profile", "local") as a, launched("--node", "b", "--profile", "local") as b:
        yield a, b


@dataclass
class Guarded:
    """An agent `s` that asks its callers for a certificate and a token."""

    agent: RunningAgent
    ca_file: str
    pair: Pair
    operator: str
    """A token that may do everything, as `guest` may only read the members."""
    guest: str

    @property
    def url(self) -> str:
        return f"https://{self.agent.started['http']}"


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    authority = Authority(tmp_path)
    pair = authority.issue("agent", ips=["127.0.0.1"], names=["server.global.nomad"])
    operator, guest = acl.new_secret(), acl.new_secret()
    tokens = {"ops": acl.entry(["management"], operator), "guest": acl.entry(["node:read"], guest)}
    tls = {"http": True, "ca_file": authority.ca_file, "cert_file": pair.cert_file, "key_file": pair.key_file}
    file = tmp_path / "agent.json"
    file.write_text(
        json.dumps({"tls": {**tls, "verify_https_client": True}, "acl": {"enabled": True, "tokens": tokens}})
    )
    with launched("--node", "s", "--config", str(file)) as agent:
        yield Guarded(agent, authority.ca_file, pair, operator, guest)
