"""How `moot agent` finds its pool, by retried joins and discovery, and what the pool sees of a reload."""

import io
import json
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from moot.agent.agent import Agent
from moot.agent.config import Flag, load
from moot.agent.logs import Logs
from tests.cli.running import agrees, launched, until
from tests.net.test_targets import ScriptedResolver
from tests.support.launching import Net
from tests.support.launching import until as until_lab
from tests.support.pool import until as until_trio
from tests.support.processes import Lab, lab

POOL = ("--pool", "serf", "--profile", "local")
FLAGS = {"moot.pool": "serf", "moot.profile": "local", "ports.serf": 4648, "ports.http": 0, "ports.rpc": 0}


class Inside:
    """An agent that runs in this process, so that the test decides what names stand for."""

    def __init__(self, name: str, host: str, **flags: object) -> None:
        settings = FLAGS | {"name": name, "bind_addr": host}
        settings |= {key.replace("__", "."): value for key, value in flags.items()}
        given = [Flag(f"--{key}", key, value) for key, value in settings.items()]
        self._stream = io.StringIO()
        logs = Logs(level="info", as_json=True, stream=self._stream)
        self.agent = Agent(load([], given), logs, reread=lambda: load([], given))

    def lines(self, message: str) -> list[dict[str, object]]:
        """The log lines with this text."""
        found = [json.loads(line) for line in self._stream.getvalue().splitlines()]
        return [line for line in found if line["@message"] == message]

    def sees(self, count: int) -> bool:
        return len(self.agent.pool.members()) == count


async def test_every_attempt_looks_the_name_up_anew_and_tries_all_it_stands_for(nursery: trio.Nursery) -> None:
    net = Net()
    nobody, somebody, seed = net.host(), net.host(), net.host()
    table = {"pool.example": [nobody]}
    trio.socket.set_custom_hostname_resolver(ScriptedResolver(table))
    first = Inside("first", somebody)
    nursery.start_soon(first.agent.run)
    await until_trio(lambda: bool(first.lines("agent started")))
    again = Inside("again", seed, server__retry_join=["pool.example"], server__retry_interval="200ms")
    nursery.start_soon(again.agent.run)
    await until_trio(lambda: len(again.lines("join failed, trying again")) >= 2)
    assert {line["reason"] for line in again.lines("not joined")} == {
        f"Failed to join {nobody}: dial tcp {nobody}:4648: connect: connection refused"
    }
    del table["pool.example"]
    await until_trio(lambda: "Failed to resolve pool.example" in str(again.lines("not joined")[-1]["reason"]))
    table["pool.example"] = [nobody, somebody]
    await until_trio(lambda: bool(again.lines("join completed")))
    (joined,) = again.lines("joined")
    assert (joined["target"], joined["address"]) == ("pool.example", f"{somebody}:4648")
    assert f"Failed to join {nobody}" in str(again.lines("not joined")[-1]["reason"])
    await until_trio(lambda: first.sees(2) and again.sees(2))
    nursery.cancel_scope.cancel()


async def test_the_pause_doubles_up_to_the_interval_and_advice_comes_once(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    trio.socket.set_custom_hostname_resolver(ScriptedResolver({}))
    alone = Inside("alone", Net().host(), server__retry_join=["pool.example"], server__retry_interval="5s")
    nursery.start_soon(alone.agent.run)
    await until_trio(lambda: len(alone.lines("join failed, trying again")) >= 6, within=60)
    pauses = [line["retry_in"] for line in alone.lines("join failed, trying again")]
    assert pauses[:6] == ["1s", "2s", "4s", "5s", "5s", "5s"]
    assert ["hint" in line for line in alone.lines("not joined")][:6] == [True, *[False] * 5]
    nursery.cancel_scope.cancel()


# ---- with other processes


@pytest.mark.live
@pytest.mark.parametrize("options", [(), ("--replay",)], ids=["not asked for", "asked for"])
def test_past_events_come_with_a_join_only_if_asked_for(options: tuple[str, ...], tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    with launched("--node", "a", *POOL) as first:
        first.client.event("deploy", b"v1")
        joining = ["--join", first.started["gossip"], "--event-handler", f"user=cat >> {seen}"]
        with launched("--node", "b", *POOL, *options, *joining) as second:
            second.client.event("now", b"v2")
            until(lambda: seen.exists() and "v2" in seen.read_text(), "the event of its own")
            assert ("v1" in seen.read_text()) == bool(options)


@pytest.fixture
def ours() -> Iterator[Lab]:
    with lab() as running:
        yield running


@pytest.mark.live
def test_agents_that_discover_find_each_other(ours: Lab) -> None:
    ours_name, other_name = (f"t{secrets.token_hex(4)}" for _ in range(2))
    for name, pool in (("a", ours_name), ("b", ours_name), ("c", other_name)):
        ours.moot(name, "--discover", pool)
    ours.everybody_sees({"a": "alive", "b": "alive"}, ours.agents[:2])
    ours.everybody_sees({"c": "alive"}, ours.agents[2:])
    assert "joined discovered agents: count=1" in ours.agents[0].log_text() + ours.agents[1].log_text()


@pytest.mark.live
def test_an_interface_that_is_not_there_ends_the_start() -> None:
    with launched("--discover", "x", "--discover-interface", "no-such-if0", ready=False) as agent:
        assert agent.process.wait(30) == 1
        assert "moot: there is no network interface 'no-such-if0' to discover agents through" in agent.text()


@pytest.mark.live
@pytest.mark.peer
def test_a_real_serf_sees_the_tags_of_a_reloaded_configuration(serf_binary: str, tmp_path: Path) -> None:
    file = tmp_path / "agent.json"
    with lab(serf_binary) as mixed:
        theirs = mixed.serf("theirs")

        def tags() -> dict[str, str]:
            found: dict[str, dict[str, str]] = {member["name"]: member["tags"] for member in theirs.members()}
            return found.get("ours", {})

        file.write_text(json.dumps({"moot": {"tags": {"rack": "7", "old": "x"}}}))
        agent = mixed.moot("ours", "--config", str(file))
        agent.join(theirs)
        until_lab("the first tags", lambda: tags() == {"rack": "7", "old": "x"})
        agent.api.change_tags({"mine": "1"})
        file.write_text(json.dumps({"moot": {"tags": {"rack": "8"}}}))
        agent.process.send_signal(signal.SIGHUP)
        until_lab("the tags of the reload beside the live one", lambda: tags() == {"rack": "8", "mine": "1"})


@pytest.mark.live
def test_extra_tags_of_a_nomad_pool_are_reloaded_beside_its_own(tmp_path: Path) -> None:
    file = tmp_path / "agent.json"
    file.write_text(json.dumps({"moot": {"tags": {"rack": "7"}}}))
    with launched("--node", "a", "--config", str(file)) as agent:
        before = agent.client.tags()["tags"]
        file.write_text(json.dumps({"moot": {"tags": {"rack": "8"}}}))
        agent.process.send_signal(signal.SIGHUP)
        agent.wait_for("tags changed")
        assert agent.client.tags()["tags"] == before | {"rack": "8"}
        file.write_text(json.dumps({"moot": {"tags": {"role": "db"}}}))
        agent.process.send_signal(signal.SIGHUP)
        reason = agent.wait_for("configuration not reloaded, the old one stays")["reason"]
        assert "the tag role is the agent's own in a nomad pool" in reason
        assert agrees(agent, "alive", 1)
