"""The client RPC of `moot agent`: the real `serf` commands work on it, and only those who may."""

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from moot.http.client import ApiError
from tests.cli.running import MOOT, RunningAgent, agrees, launched, moot, until

pytestmark = pytest.mark.live

SERF_POOL = ("--pool", "serf", "--profile", "local", "--ipc-addr", "127.0.0.1:0")
HANDLER = ("--event-handler", "query:load=echo load of $SERF_SELF_NAME; cat")


class Commands:
    """`serf` words to one agent: Serf's own program, or `moot serf`."""

    def __init__(self, program: Sequence[str]) -> None:
        self.program = program

    def __call__(
        self, agent: RunningAgent, *words: str, auth: str = "", code: int = 0
    ) -> subprocess.CompletedProcess[str]:
        """What it says; fails the test when it does not end with `code`."""
        told = {"SERF_RPC_ADDR": agent.started["ipc"], "SERF_RPC_AUTH": auth}
        done = subprocess.run(
            [*self.program, *words], env=os.environ | told, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == code, (words, done)
        return done


@pytest.fixture(params=[pytest.param("serf", marks=pytest.mark.peer), "moot serf"])
def serf(request: pytest.FixtureRequest) -> Commands:
    if request.param == "serf":
        return Commands([request.getfixturevalue("serf_binary")])
    return Commands([*MOOT, "serf"])


@pytest.fixture(scope="module")
def two() -> Iterator[list[RunningAgent]]:
    """Agents `a` and `b` of an encrypted serf pool, each with a client RPC and a query handler."""
    key = moot("keygen").stdout.strip()
    options = [*SERF_POOL, *HANDLER, "--encrypt", key]
    with (
        launched("--node", "a", "--tag", "role=web", *options) as first,
        launched("--node", "b", *options, "--join", first.started["gossip"]) as second,
    ):
        until(lambda: agrees(first, "alive", 2) and agrees(second, "alive", 2), "a pool of two")
        yield [first, second]


def test_members_are_listed_and_filtered(two: list[RunningAgent], serf: Commands) -> None:
    listed = json.loads(serf(two[0], "members", "-format=json", "-detailed").stdout)["members"]
    assert {member["name"]: (member["status"], member["addr"]) for member in listed} == {
        agent.started["name"]: ("alive", agent.started["gossip"]) for agent in two
    }
    found = serf(two[1], "members", "-tag", "role=we.", "-status=alive").stdout.split()
    assert found == ["a", two[0].started["gossip"], "alive", "role=web"]


def test_queries_are_answered_by_the_handlers_of_all(two: list[RunningAgent], serf: Commands) -> None:
    said = serf(two[0], "query", "load", "now").stdout
    assert "Total Acks: 2" in said
    for name in "ab":
        assert f"Response from '{name}': load of {name}\nnow" in said
    assert "Total Responses: 1" in serf(two[0], "query", "-node=b", "load").stdout


def test_events_reach_the_other_agent(two: list[RunningAgent], serf: Commands) -> None:
    before = int(two[1].client.self_()["stats"]["serf"]["event_time"])
    serf(two[0], "event", "deploy", "v7")
    until(lambda: int(two[1].client.self_()["stats"]["serf"]["event_time"]) > before, "the event at the other agent")


def test_tags_are_changed_and_told_to_the_pool(two: list[RunningAgent], serf: Commands) -> None:
    serf(two[1], "tags", "-set", "rack=7")
    until(lambda: "rack=7" in serf(two[0], "members", "-name=b").stdout, "the tag in the other's view")
    serf(two[1], "tags", "-delete", "rack")
    until(lambda: "rack=7" not in serf(two[0], "members", "-name=b").stdout, "the tag to go")


def knows_coordinate(agent: RunningAgent, name: str) -> bool:
    try:
        return bool(agent.client.round_trip(name))
    except ApiError:
        return False


def test_keys_figures_round_trips_and_reachability_are_told(two: list[RunningAgent], serf: Commands) -> None:
    assert "[2/2]" in serf(two[0], "keys", "-list").stdout
    info = json.loads(serf(two[0], "info", "-format=json").stdout)
    assert info["agent"] == {"name": "a"}
    assert info["event_handlers"] == {"query:load": HANDLER[1].partition("=")[2]}
    assert info["serf"]["encrypted"] == "true"
    until(lambda: knows_coordinate(two[0], "b"), "a coordinate of the other one")
    assert re.search(r"Estimated b <-> a rtt: \d+\.\d{3} ms", serf(two[0], "rtt", "b").stdout)
    assert "Successfully contacted all live nodes" in serf(two[0], "reachability").stdout


def test_the_log_is_followed_as_text_and_below_its_own_level(two: list[RunningAgent], serf: Commands) -> None:
    told = {"SERF_RPC_ADDR": two[0].started["ipc"]}
    command = [*serf.program, "monitor", "-log-level=debug"]
    monitor = subprocess.Popen(command, env=os.environ | told, stdout=subprocess.PIPE, text=True)
    assert monitor.stdout is not None
    try:
        assert any("[INFO]  serf: member joined: name=a" in line for line in monitor.stdout)
        serf(two[1], "query", "-timeout=1s", "load")
        assert any("[DEBUG] serf: query: name=load" in line for line in monitor.stdout)
    finally:
        monitor.kill()
        monitor.communicate()
    assert two[0].lines("query") == []  # debug is below the level of its own log


def test_a_failed_member_is_made_to_leave_and_the_agent_leaves(serf: Commands) -> None:
    with (
        launched("--node", "a", *SERF_POOL) as first,
        launched("--node", "b", *SERF_POOL) as second,
    ):
        serf(first, "join", second.started["gossip"])
        until(lambda: agrees(second, "alive", 2), "both")
        second.process.kill()
        until(lambda: first.statuses().get("b") == "failed", "the failure")
        serf(first, "force-leave", "b")
        until(lambda: first.statuses().get("b") == "left", "the leave")
        serf(first, "force-leave", "-prune", "b")
        until(lambda: "b" not in first.statuses(), "the end of it")
        assert "Graceful leave complete" in serf(first, "leave").stdout
        assert first.process.wait(30) == 0


def test_in_a_nomad_pool_the_agents_own_tags_are_fixed(serf: Commands) -> None:
    with launched("--node", "a", "--ipc-addr", "127.0.0.1:0") as agent:
        for words in (["-set", "role=x"], ["-delete", "region"]):
            refused = serf(agent, "tags", *words, code=1)
            assert "is the agent's own in a nomad pool" in refused.stdout + refused.stderr
        serf(agent, "tags", "-set", "rack=7")
        tags = agent.client.tags()["tags"]
        assert (tags["rack"], tags["role"], tags["region"]) == ("7", "nomad", "global")


# ---- who may


@pytest.mark.parametrize("source", ["variable", "file"])
def test_clients_need_the_word_if_there_is_one_and_nobody_is_told_it(
    source: str, serf: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    word, options = "open-sesame", ["--log-level", "trace", *SERF_POOL]
    script = f"env > {tmp_path / 'env'}"
    if source == "variable":
        monkeypatch.setenv("MOOT_IPC_AUTH", word)
        monkeypatch.setenv("MOOT_ENCRYPT", moot("keygen").stdout.strip())
    else:
        file = tmp_path / "auth.json"
        file.write_text(json.dumps({"moot": {"ipc_auth": word}}))
        options += ["--config", str(file)]
    with launched("--node", "a", *options, "--event-handler", f"user={script}") as agent:
        assert "a" in serf(agent, "members", auth=word).stdout
        for wrong in ("", "open-says-me"):
            refused = serf(agent, "members", auth=wrong, code=1)
            assert "uthenticat" in refused.stdout + refused.stderr
        serf(agent, "event", "-coalesce=false", "x", auth=word)
        until(lambda: (tmp_path / "env").exists() and bool((tmp_path / "env").read_text()), "the handler to run")
        told = [agent.text(), json.dumps(agent.client.self_()), (tmp_path / "env").read_text()]
        assert not any(word in each for each in told)
        assert "MOOT_ENCRYPT" not in told[-1]
        assert agent.client.self_()["stats"]["moot"]["ipc_auth"] == "true"


# ---- where


def test_it_is_off_unless_asked_for() -> None:
    with launched() as agent:
        assert "ipc" not in agent.started
        assert agent.client.self_()["stats"]["moot"]["ipc_addr"] == ""


def test_where_it_listens_is_told_everywhere(tmp_path: Path) -> None:
    ports = ["--http-port", "0", "--serf-port", "0", "--rpc-port", "0", "--ipc-addr", "127.0.0.1:0"]
    process = subprocess.Popen([*MOOT, "agent", "--node", "a", *ports], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        block: list[str] = []
        while not any(line.startswith("==> moot agent started!") for line in block):
            block.append(process.stdout.readline())
    finally:
        process.terminate()
        process.communicate(timeout=30)
    (told,) = re.findall(r"Client RPC: (127\.0\.0\.1:\d+), without a key", "".join(block))
    assert not told.endswith(":0")
    with launched("--ipc-addr", "127.0.0.1:0") as agent:
        where = agent.started["ipc"]
        assert agent.client.self_()["stats"]["moot"]["ipc_addr"] == where
        assert f"ipc_addr = {where}" in moot("info", "--address", agent.url).stdout


def test_a_taken_port_is_told_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        ports = ["--http-port", "0", "--serf-port", "0", "--rpc-port", "0"]
        refused = moot("agent", *ports, "--ipc-addr", where)
        assert refused.returncode == 1
        assert f"the client RPC cannot listen on {where}: Address already in use; give another" in refused.stderr


def test_it_can_be_changed_by_a_restart_only(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps({"moot": {"ipc_addr": "127.0.0.1:0"}}))
    with launched("--config", str(file)) as agent:
        file.write_text(json.dumps({"moot": {"ipc_addr": "127.0.0.1:1", "discover": "x", "conflict": "warn"}}))
        agent.process.send_signal(signal.SIGHUP)
        changed = agent.wait_for("some changes need a restart of the agent")["settings"]
        assert changed == "moot.ipc_addr, moot.discover"
