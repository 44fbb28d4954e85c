"""python-nomad: every call it has about agents, with what comes back looked at, and every error it knows of them.

It sends POST where something changes, asks for gzip, and takes the JSON as it comes.
"""

import socket
from collections.abc import Callable
from typing import Any

import nomad
import pytest
from nomad.api import exceptions

from moot import __version__
from tests.cli.running import PATIENCE, RunningAgent, agrees, until
from tests.clients.conftest import Federation, Guarded

pytestmark = pytest.mark.live


def client(agent: RunningAgent, **options: str) -> nomad.Nomad:
    return nomad.Nomad(address=agent.url, timeout=PATIENCE, **options)


def refused(call: Callable[[], object], kind: type[Exception]) -> tuple[int, str]:
    """Status and body of the error that a call ends with, which is of exactly this kind."""
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    answer: Any = vars(caught.value)["nomad_resp"]
    return answer.status_code, answer.text


def test_an_agent_tells_of_itself(federation: Federation) -> None:
    told = client(federation.g1).agent.get_agent()
    assert set(told) == {"config", "member", "stats"}
    assert (told["config"]["Region"], told["config"]["Datacenter"]) == ("global", "dc1")
    assert told["config"]["AdvertiseAddrs"]["HTTP"] == federation.g1.started["http"]
    assert told["config"]["Version"] == __version__
    assert (told["member"]["Name"], told["member"]["Status"]) == ("g1.global", "alive")
    assert told["stats"]["serf"] | {"members": "3", "failed": "0", "encrypted": "true"} == told["stats"]["serf"]
    assert told["stats"]["nomad"]["leader_addr"] == federation.g1.started["rpc"]
    assert all(type(value) is str for block in told["stats"].values() for value in block.values())


def test_the_members_of_all_regions_are_listed_by_each_agent(federation: Federation) -> None:
    for agent, name, region, dc in (
        (federation.g2, "g2", "global", "dc1"),
        (federation.e1, "e1", "europe", "fra"),
    ):
        told = client(agent).agent.get_members()
        listed = told.pop("Members")
        assert told == {"ServerName": name, "ServerRegion": region, "ServerDC": dc}
        assert {it["Name"]: (it["Status"], it["Tags"]["dc"]) for it in listed} == {
            "e1.europe": ("alive", "fra"),
            "g1.global": ("alive", "dc1"),
            "g2.global": ("alive", "dc1"),
        }
        addresses = {
            it["Name"]: (f"{it['Addr']}:{it['Port']}", f"{it['Addr']}:{it['Tags']['port']}") for it in listed
        }
        assert addresses == {
            it.started["name"]: (it.started["gossip"], it.started["rpc"]) for it in federation.agents
        }
        assert [it["Tags"]["role"] for it in listed] == ["nomad"] * 3


def test_a_join_counts_who_could_be_joined(pair: tuple[RunningAgent, RunningAgent]) -> None:
    a, b = pair
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = f"127.0.0.1:{unused.getsockname()[1]}"
        ours = client(a).agent
        missed = ours.join_agent(dead)
        assert missed["num_joined"] == 0
        assert f"Failed to join 127.0.0.1: dial tcp {dead}: connect: connection refused" in missed["error"]
        assert a.statuses() == {"a.global": "alive"}
        assert ours.join_agent([b.started["gossip"], dead]) == {"num_joined": 1, "error": ""}
    assert ours.join_agent(b.started["gossip"]) == {"num_joined": 1, "error": ""}
    until(lambda: agrees(a, "alive", 2) and agrees(b, "alive", 2), "both see both")


def test_a_failed_member_is_made_to_leave(pair: tuple[RunningAgent, RunningAgent]) -> None:
    a, b = pair
    ours = client(a).agent
    assert ours.join_agent([b.started["gossip"]])["num_joined"] == 1
    b.process.kill()
    until(lambda: a.statuses() == {"a.global": "alive", "b.global": "failed"}, "the failure is seen")
    assert ours.force_leave("b") == 200  # without its region it is nobody's name
    assert a.statuses()["b.global"] == "failed"
    assert ours.force_leave("b.global") == 200
    until(lambda: a.statuses()["b.global"] == "left", "the member counts as left")
    assert ours.get_agent()["stats"]["serf"]["failed"] == "0"


def test_a_server_has_no_list_of_servers(federation: Federation) -> None:
    ours = client(federation.g1).agent
    for call in (ours.get_servers, lambda: ours.update_servers([federation.g2.started["rpc"]])):
        assert refused(call, exceptions.BaseNomadException) == (501, "Invalid method")


def test_leaders_and_peers_are_those_of_the_region(federation: Federation) -> None:
    g1, g2, e1 = (agent.started["rpc"] for agent in federation.agents)
    here = client(federation.g2).status
    assert here.leader.get_leader() == g1
    assert (g1 in here.leader, g2 in here.leader, len(here.leader)) == (True, False, len(g1))
    assert here.peers.get_peers() == list(here.peers) == sorted([g1, g2])
    assert (g2 in here.peers, e1 in here.peers, len(here.peers), here.peers[g2]) == (True, False, 2, g2)
    with pytest.raises(KeyError):
        here.peers[e1]
    there = client(federation.g2, region="europe").status  # passed on by RPC
    assert (there.leader.get_leader(), there.peers.get_peers()) == (e1, [e1])


def test_regions_are_those_with_a_server(federation: Federation) -> None:
    regions = client(federation.e1).regions
    assert regions.get_regions() == list(regions) == ["europe", "global"]
    assert ("europe" in regions, "asia" in regions, len(regions), regions["global"]) == (True, False, 2, "global")
    with pytest.raises(KeyError):
        regions["asia"]


def test_metrics_have_nomads_shape(federation: Federation) -> None:
    told = client(federation.g1).metrics.get_metrics()
    assert set(told) == {"Timestamp", "Gauges", "Points", "Counters", "Samples"}
    gauges = {(it["Name"], *it["Labels"].values()): it["Value"] for it in told["Gauges"]}
    assert gauges["nomad.serf.members", "alive"] == 3
    keys = {"Name", "Count", "Sum", "Min", "Max", "Mean", "Stddev", "Rate", "Labels"}
    assert all(set(it) == keys for it in told["Counters"])
    assert {it["Name"].split(".")[0] for it in told["Counters"]} == {"nomad"}


def test_a_server_with_which_nobody_registers_has_no_nodes(federation: Federation) -> None:
    nodes = client(federation.e1).nodes
    assert nodes.get_nodes() == nodes.get_nodes(prefix="ab") == list(nodes) == []
    assert (len(nodes), "c1" in nodes) == (0, False)
    with pytest.raises(KeyError):
        nodes["c1"]


def test_each_kind_of_error_is_told_by_its_class(federation: Federation) -> None:
    ours = client(federation.g1)
    bad = exceptions.BadRequestNomadException
    assert refused(lambda: ours.agent.join_agent([]), bad) == (400, "missing address to join")
    assert refused(lambda: ours.agent.force_leave(""), bad) == (400, "missing node to force leave")
    # what there is not here
    assert refused(ours.jobs.get_jobs, exceptions.URLNotFoundNomadException) == (404, "")
    nowhere = client(federation.g1, region="asia")
    assert refused(nowhere.status.leader.get_leader, exceptions.BaseNomadException) == (500, "No path to region")
    nobody = nomad.Nomad(address="http://127.0.0.1:1")
    with pytest.raises(exceptions.BaseNomadException, match="Connection refused"):
        nobody.agent.get_members()


def test_tokens_and_certificates_are_shown(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    def allowed(token: str | None) -> nomad.Nomad:
        cert = (guarded.pair.cert_file, guarded.pair.key_file)
        return nomad.Nomad(address=guarded.url, token=token, verify=guarded.ca_file, cert=cert, timeout=PATIENCE)

    operator, guest, stranger = allowed(guarded.operator), allowed(guarded.guest), allowed(None)
    assert operator.agent.get_agent()["member"]["Name"] == "s.global"
    assert operator.agent.force_leave("nobody.global") == 200
    assert guest.agent.get_members()["ServerName"] == "s"
    denied = exceptions.URLNotAuthorizedNomadException
    assert refused(guest.agent.get_agent, denied) == (403, "Permission denied")
    assert refused(stranger.agent.get_members, denied) == (403, "Permission denied")
    assert refused(allowed("wrong").agent.get_members, denied) == (403, "ACL token not found")
    assert stranger.regions.get_regions() == ["global"]
    bare = nomad.Nomad(address=guarded.url, token=guarded.operator, verify=guarded.ca_file)
    with pytest.raises(exceptions.BaseNomadException):
        bare.agent.get_members()

    for variable, value in (
        ("NOMAD_ADDR", guarded.url),
        ("NOMAD_TOKEN", guarded.guest),
        ("NOMAD_CLIENT_CERT", guarded.pair.cert_file),
        ("NOMAD_CLIENT_KEY", guarded.pair.key_file),
    ):
        monkeypatch.setenv(variable, value)
    assert nomad.Nomad(verify=guarded.ca_file).agent.get_members()["ServerName"] == "s"
