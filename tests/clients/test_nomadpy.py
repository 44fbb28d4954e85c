"""nomadpy, a port of Nomad's Go client: every call it has about agents, with what comes back looked at.

It sends PUT where something changes, decodes into typed objects, adds `region`, `namespace` and `wait` of its
configuration to any call, and takes anything but 200 for an error.
"""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import nomadpy
import pytest
from nomadpy import Client, Config, QueryOptions, TLSConfig, UnexpectedResponseError

from tests.cli.running import RunningAgent, agrees, until
from tests.clients.conftest import KEY, Federation, Guarded

pytestmark = pytest.mark.live
OTHER_KEY = base64.b64encode(bytes(range(100, 132))).decode()


def client(agent: RunningAgent, **options: Any) -> Client:
    return Client(Config(address=agent.url, **options))


def refused(call: Callable[[], object]) -> tuple[int, str]:
    """Status and body of the error that a call ends with."""
    with pytest.raises(UnexpectedResponseError) as caught:
        call()
    assert str(caught.value).startswith(f"Unexpected response code: {caught.value.status_code}")
    return caught.value.status_code, caught.value.body


def test_an_agent_tells_of_itself(federation: Federation) -> None:
    agent = client(federation.e1).agent
    assert (agent.node_name(), agent.datacenter(), agent.region()) == ("e1.europe", "fra", "europe")
    told = agent.self()
    assert (told.member.status, f"{told.member.addr}:{told.member.port}") == (
        "alive",
        federation.e1.started["gossip"],
    )
    versions = ("protocol_min", "protocol_max", "protocol_cur", "delegate_min", "delegate_max", "delegate_cur")
    assert [getattr(told.member, name) for name in versions] == [1, 5, 2, 2, 5, 4]
    assert told.stats["serf"]["members"] == "3"
    assert told.config["Server"]["Enabled"] is True


def test_the_members_of_all_regions_are_listed(federation: Federation) -> None:
    told = client(federation.g2).agent.members()
    assert (told.server_name, told.server_region, told.server_dc) == ("g2", "global", "dc1")
    assert [(it.name, it.status) for it in told.members] == [
        ("e1.europe", "alive"),
        ("g1.global", "alive"),
        ("g2.global", "alive"),
    ]
    # as `nomad server members` finds the leader of each region
    for region, name in (("europe", "e1.europe"), ("global", "g1.global")):
        leader = client(federation.g2).status.region_leader(region)
        assert [it.name for it in told.members if f"{it.addr}:{it.tags['port']}" == leader] == [name]


def test_what_a_configuration_adds_to_each_call_does_no_harm(federation: Federation) -> None:
    ours = client(federation.g1, region="europe", namespace="apps", wait_time=timedelta(seconds=2))
    assert ours.agent.node_name() == "g1.global"
    assert len(ours.agent.members().members) == 3
    assert ours.agent.health().server.ok
    assert ours.status.leader() == federation.e1.started["rpc"]
    waiting = QueryOptions(allow_stale=True, wait_index=7, wait_time=timedelta(seconds=30))
    assert len(client(federation.g1).agent.members(waiting).members) == 3
    _, meta = ours.query("/v1/agent/members")
    assert (meta.last_index, meta.known_leader, meta.next_token) == (0, False, "")


def test_members_join_fail_and_are_pruned(pair: tuple[RunningAgent, RunningAgent]) -> None:
    a, b = pair
    agent = client(a).agent
    with pytest.raises(
        RuntimeError, match=r"failed joining: 1 error occurred:\n\t\* Failed to join 127\.0\.0\.1: dial"
    ):
        agent.join("127.0.0.1:1")
    assert agent.join(b.started["gossip"], "127.0.0.1:1") == (1, "")
    assert agent.join(b.started["gossip"], a.started["gossip"]) == (2, "")
    until(lambda: agrees(a, "alive", 2) and agrees(b, "alive", 2), "both see both")
    b.process.kill()
    until(lambda: a.statuses()["b.global"] == "failed", "the failure is seen")
    agent.force_leave("b", prune=True)
    assert a.statuses()["b.global"] == "failed"
    agent.force_leave("b.global", prune=True)
    until(lambda: [it.name for it in agent.members().members] == ["a.global"], "the member is forgotten")


def test_who_is_alive_cannot_be_made_to_leave(federation: Federation) -> None:
    client(federation.g1).agent.force_leave("g2.global")
    until(lambda: all(agrees(agent, "alive", 3) for agent in federation.agents), "the member has refuted")


def test_a_server_has_no_list_of_servers(federation: Federation) -> None:
    agent = client(federation.g1).agent
    assert refused(agent.servers) == (501, "Invalid method")
    assert refused(lambda: agent.set_servers([federation.g2.started["rpc"]])) == (501, "Invalid method")


def test_the_pools_key_is_replaced_and_brought_back(federation: Federation) -> None:
    agent = client(federation.g2).agent

    def held() -> dict[str, int]:
        told = agent.list_keys()
        assert (told.num_nodes, told.messages) == (3, {})
        keys: dict[str, int] = told.keys
        return keys

    assert held() == {KEY: 3}
    for key, old in ((OTHER_KEY, KEY), (KEY, OTHER_KEY)):
        assert agent.install_key(key).num_nodes == 3
        assert held() == {KEY: 3, OTHER_KEY: 3}
        assert agent.use_key(key).messages == {}
        assert refused(partial(agent.remove_key, key)) == (500, "3/3 nodes reported failure")
        done = agent.remove_key(old)
        assert (done.num_nodes, done.messages, done.keys) == (3, {}, {})
        assert held() == {key: 3}
    assert refused(lambda: agent.use_key(OTHER_KEY)) == (500, "3/3 nodes reported failure")
    assert refused(lambda: agent.install_key("no base64")) == (500, "illegal base64 data at input byte 2")


def test_health_is_told_of_the_roles_that_an_agent_has(federation: Federation) -> None:
    told = client(federation.g1).agent.health()
    assert (told.server.ok, told.server.message, told.client) == (True, "ok", None)


def test_the_machine_is_described(federation: Federation) -> None:
    ours = client(federation.g1)
    raw, _ = ours.query("/v1/agent/host")  # without an id there is no wrapper
    assert set(raw) == {"OS", "Network", "ResolvConf", "Hosts", "Environment", "Disk"}
    told = ours.agent.host(server_id="g1.global")
    assert told.agent_id
    assert told.host_data.os.startswith("Linux")
    assert all(disk.disk_mb >= disk.used_mb >= 0 for disk in told.host_data.disk.values())
    status, text = refused(lambda: ours.agent.host(server_id="a", node_id="b"))
    assert (status, text) == (400, "Can only forward to either client node or server")


def test_there_are_no_schedulers(federation: Federation) -> None:
    agent = client(federation.g1).agent
    none = nomadpy.SchedulerWorkerPoolArgs(0, [])
    assert agent.get_scheduler_worker_config() == agent.set_scheduler_worker_config(none) == none
    workers = agent.get_scheduler_workers_info()
    assert (workers.server_id, workers.schedulers) == ("g1.global", [])
    status, text = refused(lambda: agent.set_scheduler_worker_config(nomadpy.SchedulerWorkerPoolArgs(2, ["service"])))
    assert (status, text) == (400, "Invalid request: this agent has no schedulers")


def test_the_log_is_followed_frame_by_frame(federation: Federation) -> None:
    ours = client(federation.g1)
    frames = ours.stream_json("/v1/agent/monitor?log_level=debug", timeout=30)
    try:
        first = next(frames)
        assert first == {} or first["FileEvent"] == "log"
        heard = ""
        ours.agent.reload()  # is logged
        for frame in frames:
            heard += base64.b64decode(frame.get("Data", "")).decode()
            if "reload" in heard:
                break
        assert heard.endswith("\n")
    finally:
        frames.close()
    status, text = refused(lambda: ours.query("/v1/agent/monitor?log_level=loud"))
    assert (status, text) == (400, "Unknown log level: loud")


def test_leaders_peers_and_regions(federation: Federation) -> None:
    g1, g2, e1 = (agent.started["rpc"] for agent in federation.agents)
    ours = client(federation.g1)
    assert (ours.status.leader(), ours.status.region_leader("europe")) == (g1, e1)
    assert ours.status.peers() == sorted([g1, g2])
    assert ours.regions.list() == ["europe", "global"]
    assert refused(lambda: ours.status.region_leader("asia")) == (500, "No path to region")


def test_metrics_come_in_both_forms(federation: Federation) -> None:
    operator = client(federation.g1).operator
    summary, _ = operator.metrics_summary()
    alive = [it.value for it in summary.gauges if it.display_labels == {"status": "alive"}]
    assert (alive, summary.points) == ([3], [])
    assert all(it.name.startswith("nomad.") and it.min <= it.mean <= it.max for it in summary.counters)
    text = operator.metrics(QueryOptions(params={"format": "prometheus"})).decode()
    assert "# TYPE " in text


def test_a_server_with_which_nobody_registers_has_no_nodes(federation: Federation) -> None:
    nodes = client(federation.e1).nodes
    assert nodes.list()[0] == nodes.prefix_list("ab")[0] == []
    passed_on, _ = client(federation.g1).nodes.list(QueryOptions(region="europe"))
    assert passed_on == []


@dataclass(frozen=True)
class Wrong:
    call: Callable[[Client], object]
    answer: tuple[int, str]


WRONG: Sequence[Wrong] = (
    Wrong(lambda it: it.agent.join(), (400, "missing address to join")),
    Wrong(lambda it: it.agent.force_leave(""), (400, "missing node to force leave")),
    Wrong(lambda it: it.query("/v1/agent/members?wait=long"), (400, "Invalid wait time")),
    Wrong(lambda it: it.delete("/v1/agent/self"), (405, "Invalid method")),
    Wrong(lambda it: it.query("/v1/agent/keyring/turn"), (404, "resource not found")),
    Wrong(lambda it: it.jobs.list(), (404, "")),
)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.answer[1] or "jobs")
def test_what_is_wrong_is_told(federation: Federation, wrong: Wrong) -> None:
    assert refused(lambda: wrong.call(client(federation.g1))) == wrong.answer


def test_tokens_and_certificates_are_shown(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    tls = TLSConfig(ca_cert=guarded.ca_file, client_cert=guarded.pair.cert_file, client_key=guarded.pair.key_file)

    def allowed(token: str) -> Client:
        return Client(Config(address=guarded.url, secret_id=token, tls_config=tls))

    operator, guest, stranger = allowed(guarded.operator), allowed(guarded.guest), allowed("")
    assert operator.agent.node_name() == "s.global"
    operator.agent.reload()
    assert guest.agent.members().server_name == "s"
    assert refused(guest.agent.self) == (403, "Permission denied")
    assert refused(guest.agent.reload) == (403, "Permission denied")
    assert refused(guest.agent.list_keys) == (403, "Permission denied")
    assert refused(stranger.agent.members) == (403, "Permission denied")
    assert refused(allowed("wrong").agent.members) == (403, "ACL token not found")
    assert stranger.agent.health().server.ok
    assert guarded.operator not in guarded.agent.text()

    for variable, value in (
        ("NOMAD_ADDR", guarded.url),
        ("NOMAD_TOKEN", guarded.guest),
        ("NOMAD_CACERT", guarded.ca_file),
        ("NOMAD_CLIENT_CERT", guarded.pair.cert_file),
        ("NOMAD_CLIENT_KEY", guarded.pair.key_file),
        ("NOMAD_REGION", "global"),
    ):
        monkeypatch.setenv(variable, value)
    assert Client().agent.members().server_name == "s"


def test_a_certificate_for_another_name_is_taken_when_the_name_is_told(guarded: Guarded) -> None:
    named = TLSConfig(
        ca_cert=guarded.ca_file,
        client_cert=guarded.pair.cert_file,
        client_key=guarded.pair.key_file,
        tls_server_name="server.global.nomad",
    )
    ours = Client(Config(address=guarded.url, secret_id=guarded.guest, tls_config=named))
    assert ours.agent.members().server_region == "global"
