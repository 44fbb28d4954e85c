"""Both Python clients with an agent that is a client: its list of servers, its registration, what it passes on."""

import json
from collections.abc import Callable, Iterator

import nomad
import pytest
from nomad.api import exceptions
from nomadpy import Client, Config, QueryOptions, UnexpectedResponseError

from moot import __version__
from tests.cli.running import PATIENCE, RunningAgent, launched, until
from tests.clients.conftest import Federation

pytestmark = pytest.mark.live
DEAD = "127.0.0.1:1"
NOT_A_SERVER = (501, "Invalid method")


@pytest.fixture(scope="module")
def worker(federation: Federation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAgent]:
    """A client `c1` that knew of g1 at first."""
    file = tmp_path_factory.mktemp("client") / "agent.json"
    file.write_text(json.dumps({"enable_debug": True}))
    options = ["--node", "c1", "--client", "--servers", federation.g1.started["rpc"], "--config", str(file)]
    with launched(*options) as agent:
        nodes = plain(agent).nodes
        until(lambda: "c1" in nodes and nodes["c1"]["Status"] == "ready", "the client is registered")
        yield agent


def plain(agent: RunningAgent) -> nomad.Nomad:
    return nomad.Nomad(address=agent.url, timeout=PATIENCE)


def typed(agent: RunningAgent) -> Client:
    return Client(Config(address=agent.url))


def test_its_servers_are_listed_and_replaced_by_python_nomad(federation: Federation, worker: RunningAgent) -> None:
    g1, g2 = federation.g1.started["rpc"], federation.g2.started["rpc"]
    agent = plain(worker).agent
    assert agent.update_servers([g2, DEAD]) == 200
    assert agent.get_servers() == [g2]
    with pytest.raises(exceptions.BadRequestNomadException) as none:
        agent.update_servers(DEAD)
    assert f"Server at address {DEAD} failed ping" in none.value.nomad_resp.text
    assert agent.get_servers() == [g2]
    assert agent.update_servers([g1, g2]) == 200
    assert agent.get_servers() == sorted([g1, g2])


def test_its_servers_are_listed_and_replaced_by_nomadpy(federation: Federation, worker: RunningAgent) -> None:
    g1, g2 = federation.g1.started["rpc"], federation.g2.started["rpc"]
    agent = typed(worker).agent
    agent.set_servers([DEAD, g1])
    assert agent.servers() == [g1]
    for wrong, text in (([], "missing server address"), (["127.0.0.1:99999"], "address 99999: invalid port")):
        with pytest.raises(UnexpectedResponseError) as none:
            agent.set_servers(wrong)
        assert none.value.status_code == 400
        assert text in none.value.body
    agent.set_servers([g2, g1])
    assert agent.servers() == sorted([g1, g2])


def test_it_is_registered_and_found_by_name_id_and_prefix(federation: Federation, worker: RunningAgent) -> None:
    theirs, ours = plain(worker).nodes, typed(worker).nodes
    node_id = plain(worker).agent.get_agent()["stats"]["client"]["node_id"]

    def found() -> list[list[str]]:
        return [
            [it["ID"] for it in theirs if it["Status"] == "ready"],
            [it["ID"] for it in theirs.get_nodes(prefix=node_id[:8])],
            [it.id for it in ours.list()[0]],
            [it.id for it in ours.prefix_list(node_id[:8])[0]],
        ]

    # it may be on its way from one server to another
    until(lambda: found() == 4 * [[node_id]], "its server lists it")
    assert (node_id in theirs, "c1" in theirs, "c2" in theirs, len(theirs)) == (True, True, False, 1)
    assert theirs[node_id]["Name"] == theirs["c1"]["Name"] == "c1"
    assert theirs.get_nodes(prefix="zz") == ours.prefix_list("zz")[0] == []
    (stub,), _ = ours.list()
    assert (stub.name, stub.status, stub.datacenter) == ("c1", "ready", "dc1")
    assert (stub.version, stub.scheduling_eligibility, stub.drain) == (__version__, "ineligible", False)
    assert ours.list(QueryOptions(region="europe"))[0] == []


def test_it_tells_of_itself_as_no_member(federation: Federation, worker: RunningAgent) -> None:
    told = typed(worker).agent.self()
    assert (told.member.name, told.member.status, told.member.addr, told.member.tags) == ("", "none", None, None)
    assert told.config["Client"]["Enabled"] is True
    assert told.config["Server"]["Enabled"] is False
    known = told.stats["client"]["known_servers"].split(",")
    assert set(known) <= {federation.g1.started["rpc"], federation.g2.started["rpc"]}
    assert plain(worker).agent.get_agent()["stats"]["client"]["node_id"] == told.stats["client"]["node_id"]
    health = typed(worker).agent.health()
    assert (health.client.ok, health.server) == (True, None)


def test_what_the_pool_knows_it_asks_a_server(federation: Federation, worker: RunningAgent) -> None:
    members = plain(worker).agent.get_members()
    assert members["ServerName"] in {"g1", "g2"}
    assert [it["Name"] for it in members["Members"]] == ["e1.europe", "g1.global", "g2.global"]
    assert [it.name for it in typed(worker).agent.members().members] == ["e1.europe", "g1.global", "g2.global"]
    leader = federation.g1.started["rpc"]
    assert (plain(worker).status.leader.get_leader(), typed(worker).status.leader()) == (leader, leader)
    assert typed(worker).status.region_leader("europe") == federation.e1.started["rpc"]
    assert len(plain(worker).status.peers) == 2
    assert typed(worker).regions.list() == list(plain(worker).regions) == ["europe", "global"]


def test_its_machine_log_and_metrics_are_its_own(worker: RunningAgent) -> None:
    ours = typed(worker)
    node_id = ours.agent.self().stats["client"]["node_id"]
    assert ours.agent.host(node_id=node_id).host_data.os.startswith("Linux")
    frames = ours.stream_json(f"/v1/agent/monitor?node_id={node_id}", timeout=PATIENCE)
    assert isinstance(next(frames), dict)
    frames.close()
    assert {it.name for it in ours.operator.metrics_summary()[0].gauges} > {"nomad.runtime.num_goroutines"}
    assert plain(worker).metrics.get_metrics()["Timestamp"].endswith(" +0000 UTC")


def test_what_only_servers_do_is_refused(worker: RunningAgent) -> None:
    theirs, ours = plain(worker).agent, typed(worker).agent
    by_the_one: list[Callable[[], object]] = [
        lambda: theirs.join_agent(["127.0.0.1"]),
        lambda: theirs.force_leave("g1.global"),
    ]
    for call in by_the_one:
        with pytest.raises(exceptions.BaseNomadException) as told:
            call()
        assert (told.value.nomad_resp.status_code, told.value.nomad_resp.text) == NOT_A_SERVER
    by_the_other: list[Callable[[], object]] = [
        lambda: ours.join("127.0.0.1"),
        lambda: ours.force_leave("g1.global"),
        ours.list_keys,
    ]
    for call in by_the_other:
        with pytest.raises(UnexpectedResponseError) as caught:
            call()
        assert (caught.value.status_code, caught.value.body) == NOT_A_SERVER
    with pytest.raises(UnexpectedResponseError, match="400 \\(Server only endpoint\\)"):
        ours.get_scheduler_workers_info()
