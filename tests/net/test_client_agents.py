"""Client mode with whole agents: servers and clients are processes, and talk as they do in use."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from moot.http.client import ApiError
from tests.api.live_situations import PATIENCE, Agent, Place, Stage
from tests.cli.running import moot
from tests.support.certificates import Authority
from tests.support.launching import HTTP_PORT, until

pytestmark = pytest.mark.live

ROOT = Path(__file__).parent.parent.parent
SHORT = {"server": {"min_heartbeat_ttl": "1s"}}
"""Clients have 1 to 2 s then."""


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """s1 and s2 in global, e1 in eu, and the clients c1 of s1 and ce of e1."""
    with ExitStack() as stack:
        stage = Stage(Place(), tmp_path_factory.mktemp("agents"), stack)
        for name, number, region in (("s1", 1, "global"), ("s2", 2, "global"), ("e1", 3, "eu")):
            stage.start(name, number, "--region", region, settings=SHORT)
        stage.join()
        start(stage, "c1", 11, 1)
        start(stage, "ce", 13, 3, "--region", "eu")
        yield stage


def start(stage: Stage, name: str, number: int, server: int, *flags: str, folder: str = "") -> Agent:
    """A client of the server at this number, registered with one of its region."""
    data = ["--data-dir", str(stage.folder / folder)] if folder else []
    agent = stage.start(name, number, "--client", "--servers", stage.place.host(server), *data, *flags)
    stage.wait(lambda: home(agent) != "")
    return agent


def agent_of(stage: Stage, name: str) -> Agent:
    """The last one of that name."""
    return [agent for agent in stage.agents if agent.name == name][-1]


def home(agent: Agent) -> str:
    """The server that a client is registered with, `ip:port`."""
    found: str = agent.api.self_()["stats"]["client"]["server"]
    return found


def nodes(agent: Agent, region: str = "") -> dict[str, dict[str, Any]]:
    """The client nodes that an agent tells of, by name."""
    query = [("region", region)] if region else []
    return {node["Name"]: node for node in json.loads(agent.api.request("GET", "/v1/nodes", query))}


def statuses(agent: Agent) -> dict[str, str]:
    return {name: node["Status"] for name, node in nodes(agent).items()}


def lives_at(agent: Agent, server: str) -> bool:
    return home(agent) == server


def holds(server: Agent, name: str) -> bool:
    return statuses(server).get(name) == "ready"


def has_reloaded(agent: Agent) -> bool:
    return "configuration reloaded" in agent.log_text()


def ask(agent: Agent, path: str, **query: str) -> object:
    """The JSON of an answer; of an error its status and text."""
    try:
        return json.loads(agent.api.request("GET", path, list(query.items())))
    except ApiError as error:
        return error.status, error.body


@pytest.mark.parametrize("asked", ["s1", "c1"])
def test_what_is_asked_of_another_region_is_answered_by_a_server_of_it(pool: Stage, asked: str) -> None:
    agent, eu = agent_of(pool, asked), f"{pool.place.host(3)}:4647"
    assert ask(agent, "/v1/status/leader", region="eu") == eu
    assert ask(agent, "/v1/status/peers", region="eu") == [eu]
    assert set(nodes(agent, "eu")) == {"ce"}
    assert ask(agent, "/v1/regions", region="eu") == ["eu", "global"]
    members = agent.api.request("GET", "/v1/agent/members", [("region", "eu")])
    assert {it["Name"] for it in json.loads(members)["Members"]} == {"s1.global", "s2.global", "e1.eu"}
    own = f"{pool.place.host(1)}:4647"
    assert ask(agent, "/v1/status/leader", region="global") == ask(agent, "/v1/status/leader") == own
    refusal = "No path to region" if asked == "s1" else "rpc error: No path to region"
    for path in ("/v1/status/leader", "/v1/status/peers", "/v1/nodes"):
        assert ask(agent, path, region="mars") == (500, refusal)


def test_the_command_shows_the_nodes_of_a_region(pool: Stage) -> None:
    url = f"http://{pool.place.host(1)}:{HTTP_PORT}"
    shown = moot("nodes", "--region", "eu", "--json", "--address", url)
    assert [node["Name"] for node in json.loads(shown.stdout)] == ["ce"]


def test_a_client_shows_the_view_of_its_server_and_its_own_figures(pool: Stage) -> None:
    client = agent_of(pool, "c1")
    answer = client.api.members()
    assert answer["ServerName"] in ("s1", "s2")
    itself = client.api.self_()
    assert (itself["member"]["Name"], itself["member"]["Status"], itself["member"]["Tags"]) == ("", "none", None)
    figures = itself["stats"]["client"]
    assert set(itself["stats"]) == {"client", "runtime"}
    assert figures["known_servers"] == f"{pool.place.host(1)}:4647,{pool.place.host(2)}:4647"
    assert figures["node_id"] == nodes(client)["c1"]["ID"]
    assert itself["config"]["Client"]["Enabled"] is True
    assert itself["config"]["Client"]["Servers"] == [pool.place.host(1)]
    assert itself["config"]["Server"]["Enabled"] is False


def test_a_set_list_of_servers_moves_the_client(pool: Stage) -> None:
    client = start(pool, "mover", 14, 1)
    for number in (2, 1, 2):
        there = f"{pool.place.host(number)}:4647"
        client.api.set_servers([there])
        pool.wait(partial(lives_at, client, there))
        assert client.api.servers() == [there]
        holder = agent_of(pool, f"s{number}")
        pool.wait(partial(holds, holder, "mover"))
    with pytest.raises(ApiError, match="failed ping: rpc error: failed to get conn"):
        client.api.set_servers([f"{pool.place.host(99)}:4647"])
    assert client.api.servers() == [f"{pool.place.host(2)}:4647"]


def test_a_killed_client_is_down_after_its_ttl_on_its_server_alone(pool: Stage) -> None:
    client = start(pool, "victim", 15, 1)
    number = 1 if home(client).startswith(f"{pool.place.host(1)}:") else 2
    holder, other = agent_of(pool, f"s{number}"), agent_of(pool, f"s{3 - number}")
    client.kill()
    ttl = nodes(holder)["victim"]["HeartbeatTTL"]
    until("the node is down", lambda: statuses(holder)["victim"] == "down", PATIENCE)
    assert nodes(holder)["victim"]["HeartbeatAge"] >= ttl
    assert statuses(other).get("victim") != "ready"


def test_a_client_that_is_started_again_is_the_same_node(pool: Stage) -> None:
    client = start(pool, "again", 16, 1, folder="again")
    first = client.api.self_()["stats"]["client"]["node_id"]
    client.kill()
    client = start(pool, "again", 16, 1, folder="again")
    assert client.api.self_()["stats"]["client"]["node_id"] == first
    assert nodes(client)["again"]["ID"] == first
    assert {path.name for path in (pool.folder / "again").iterdir()} == {"node-id", "client-secret-id"}


@pytest.mark.parametrize("by", ["command", "signal"])
def test_a_client_that_leaves_is_down_at_once(pool: Stage, by: str) -> None:
    client = start(pool, f"leaver-{by}", 17, 1, "--leave-on-terminate")
    holder = next(it for it in pool.agents if home(client) == f"{it.host}:4647")
    if by == "signal":
        client.process.send_signal(signal.SIGTERM)
    else:
        left = moot("leave", "--address", f"http://{client.host}:{HTTP_PORT}")
        assert left.stdout == f"the client node {client.name} is down and ends\n"
    assert client.process.wait(PATIENCE) == 0
    assert statuses(holder)[client.name] == "down"


def test_a_client_that_finds_nobody_at_first_finds_its_server_later(tmp_path: Path) -> None:
    with ExitStack() as stack:
        stage = Stage(Place(), tmp_path, stack)
        client = stage.start("c1", 11, "--client", "--servers", stage.place.host(1))
        stage.wait(lambda: "no server takes this client node" in client.log_text())
        assert ask(client, "/v1/agent/servers") == [f"{stage.place.host(1)}:4647"]
        assert home(client) == ""
        status, text = failed(client, "/v1/agent/members")
        assert (status, text.startswith("rpc error: failed to get conn: dial tcp")) == (500, True)
        server = stage.start("s1", 1)
        stage.wait(lambda: home(client) == f"{server.host}:4647")
        assert statuses(server) == {"c1": "ready"}


def failed(agent: Agent, path: str) -> tuple[int, str]:
    """Status and text of an error."""
    with pytest.raises(ApiError) as caught:
        agent.api.request("GET", path)
    return caught.value.status, caught.value.body


def test_a_client_that_may_not_wait_for_ever_ends(tmp_path: Path) -> None:
    place = Place()
    join = {"retry_join": [place.host(1)], "retry_max": 1, "retry_interval": "200ms"}
    agent = Agent("c1", place.host(11), tmp_path, ["--client"], {"client": {"server_join": join}})
    agent.launch()
    try:
        assert agent.process.wait(PATIENCE) == 1
    finally:
        agent.kill()
    assert "max join retry exhausted, exiting: attempts=2" in agent.log_text()


@pytest.mark.parametrize(
    "command",
    [
        ["tags"],
        ["event", "deploy"],
        ["query", "uptime"],
        ["keys", "list"],
        ["join", "127.0.0.9"],
        ["rtt", "s1.global"],
    ],
)
def test_commands_about_the_pool_say_whom_to_ask_instead_of_a_client(pool: Stage, command: list[str]) -> None:
    done = moot(*command, "--address", f"http://{pool.place.host(11)}:{HTTP_PORT}")
    assert done.returncode == 1
    assert done.stderr.startswith(
        "moot: Invalid method (HTTP 501). Hint: this agent is a client, and in no pool; ask"
    )


def test_commands_that_a_server_can_answer_work_at_a_client(pool: Stage) -> None:
    url = f"http://{pool.place.host(11)}:{HTTP_PORT}"
    members = json.loads(moot("members", "--json", "--address", url).stdout)
    assert {member["Name"] for member in members["members"]} == {"s1.global", "s2.global", "e1.eu"}
    assert "s1.global" in moot("members", "--detailed", "--address", url).stdout
    assert "c1 " in moot("nodes", "--address", url).stdout
    assert "known_servers = " in moot("info", "--address", url).stdout


def test_certificates_of_rpc_are_taken_anew_on_both_sides(tmp_path: Path) -> None:
    with ExitStack() as stack:
        stage = Stage(Place(), tmp_path, stack)
        (tmp_path / "live").mkdir()
        old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
        tls = put_in_place(tmp_path / "live", old)
        server = stage.start("s1", 1, settings={**SHORT, "tls": tls})
        told = ("--servers", server.host)
        client = stage.start("c1", 11, "--client", *told, settings={"tls": tls})
        plain = stage.start("c2", 12, "--client", *told)
        stage.wait(lambda: statuses(server) == {"c1": "ready"})
        assert home(plain) == ""
        put_in_place(tmp_path / "live", new)
        for agent in (server, client):
            agent.process.send_signal(signal.SIGHUP)
            stage.wait(partial(has_reloaded, agent))
        client.api.set_servers([f"{server.host}:4647"])  # it is pinged on a new connection
        assert ask(client, "/v1/regions") == ["global"]


def put_in_place(folder: Path, authority: Authority) -> Mapping[str, object]:
    """The block `tls`, its files those of this authority from now on."""
    pair = authority.issue(f"member-{id(authority)}", names=["server.global.nomad"])
    files = {"ca_file": authority.ca_file, "cert_file": pair.cert_file, "key_file": pair.key_file}
    for key, path in files.items():
        (folder / key).write_bytes(Path(path).read_bytes())
    paths = {key: str(folder / key) for key in files}
    return {"rpc": True, "verify_server_hostname": True, **paths}


def test_no_client_is_unregistered_for_longer_than_its_ttl_while_two_of_three_servers_are_killed() -> None:
    net = Place().host(0).rpartition(".")[0]
    command = [sys.executable, "bench/bench_clients.py", "--servers", "3", "--clients", "20", "--ttl", "1.5"]
    done = subprocess.run(
        [*command, "--net", net], capture_output=True, text=True, cwd=ROOT, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    first, *losses = map(json.loads, done.stdout.splitlines())
    assert sum(first["registered"].values()) == 20
    assert [loss["server"] for loss in losses] == ["s1", "s2"]
    assert losses[-1]["now"] == {"s3": 20}
    assert sum(loss["moved"] for loss in losses) >= 10, "the clients were spread over the servers"
    assert all(loss["gap_max_of_ttl"] < 1.0 for loss in losses)
