"""Agents that share processes are addressed, broken and ended as those that have one each."""

import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from moot.agent import cluster_state
from moot.agent.chaos import Chaos
from moot.agent.cluster import Cluster, wait_ready
from moot.agent.cluster_places import Wish
from moot.agent.cluster_start import ClusterError, control_of
from moot.agent.cluster_state import ClusterState, Node
from moot.agent.cluster_views import Observer
from moot.agent.control_client import ask
from moot.agent.interrupts import Interrupts
from moot.agent.tenants import Tenant
from moot.gossip.actions import parse
from moot.http.client import ApiClient, Unreachable
from tests.cli.running import MOOT, PATIENCE, moot, running, until

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Five agents in two processes. Each test leaves all of them there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("in-process")))
        with Observer() as observer, Cluster(Wish(count=5, houses=2, pool="serf"), Interrupts()) as cluster:
            cluster.start()
            list(wait_ready(cluster, observer, PATIENCE))
            yield cluster


def do(words: str) -> None:
    Chaos("moot").do(parse(words))


def state() -> ClusterState:
    found = cluster_state.load("moot")
    assert found is not None
    return found


def node(number: int) -> Node:
    return state().nodes[number - 1]


def seen(status: str, *members: str) -> None:
    """Until every agent that answers sees them so, and five answer unless one of those is not there."""

    def holds() -> bool:
        views = [view for view in observer.views(state().nodes).values() if view is not None]
        return len(views) >= 4 and all(view.get(member) == status for view in views for member in members)

    with Observer() as observer:
        until(holds, f"{members} {status}")


def whole() -> None:
    seen("alive", *(each.member for each in state().nodes))


def test_they_are_in_as_many_processes_as_wished_each_with_its_own_address_and_log(five: Cluster) -> None:
    nodes = state().nodes
    counts = [sum(each.process.pid == house.pid for each in nodes) for house in state().houses]
    assert counts == [3, 2]
    assert len({each.gossip for each in nodes}) == 5
    for each in nodes:
        assert ApiClient(each.url).self_()["member"]["Name"] == each.member
        assert f"Name: {each.name}\n" in five.log_of(each.name).read_text()


def test_one_that_is_killed_leaves_no_socket_and_no_goodbye_and_can_be_started_again(five: Cluster) -> None:
    victim = node(3)
    do("kill 3")
    assert not victim.process.alive()
    assert not victim.process.kill(signal.SIGTERM)
    for address in (victim.gossip, victim.http):
        with socket.create_server((address.rpartition(":")[0], int(address.rpartition(":")[2]))):
            pass
    seen("failed", victim.member)
    with pytest.raises(ClusterError, match="moot-3 is not running"):
        do("kill 3")
    do("start 3")
    assert isinstance(victim.process, Tenant)
    assert not victim.process.alive()
    assert node(3).process.alive()
    whole()


def test_one_that_is_stopped_neither_hears_nor_acts_until_it_goes_on(five: Cluster) -> None:
    do("stop 2")
    held = node(2)
    assert held.process.stopped()
    assert "(stopped)" in moot("cluster", "status").stdout
    with pytest.raises(Unreachable):
        ApiClient(held.url, timeout=0.5).members()
    seen("failed", held.member)
    do("cont 2")
    assert not held.process.stopped()
    whole()
    assert "refuted" in five.log_of(held.name).read_text()


def test_restart_leave_and_faults_work_as_with_processes(five: Cluster) -> None:
    before = node(4).process
    do("restart 4")
    assert not before.alive()
    do("leave 5")
    assert not node(5).process.alive()
    seen("left", node(5).member)
    do("start 5 fresh")
    whole()
    do("partition 1 2-5")
    for each in state().nodes:
        told = ask(control_of(five.directory, each.name), {"do": "state"})
        assert told["active"] == ["partition moot-1 moot-2,moot-3,moot-4,moot-5"]
    do("calm")
    whole()


def test_what_an_agent_dies_of_stands_in_its_log_and_the_others_live_on(own_runtime_dir: Path) -> None:
    wish = Wish(count=2, houses=1, pool="serf", key="no key")
    with Observer() as observer, Cluster(wish, Interrupts()) as cluster:
        cluster.start()
        with pytest.raises(ClusterError, match=r"agent moot-1 ended:\n  moot: .*encrypt"):
            list(wait_ready(cluster, observer, PATIENCE))


def views_of_first() -> dict[str, str]:
    with Observer() as observer:
        return observer.view(node(1)) or {}


def test_agents_of_a_process_that_is_gone_are_started_in_another_and_nothing_is_left(own_runtime_dir: Path) -> None:
    done = moot("cluster", "up", "3", "--in-process", "--detach", "--json")
    assert done.returncode == 0, done.stderr
    assert {agent["running"] for agent in json.loads(done.stdout)["agents"]} == {True}
    houses = state().houses
    if len(houses) > 1:
        houses[0].kill(signal.SIGKILL)
        until(lambda: not node(1).process.alive(), "the end of the process")
        do("start 1")
        assert node(1).process.pid == houses[1].pid
        until(lambda: views_of_first().get(node(2).member) == "alive", "the restarted one in the pool")
    assert moot("cluster", "down").returncode == 0
    assert not any(running(house.pid) for house in houses)
    assert list(own_runtime_dir.iterdir()) == []


def test_no_process_survives_a_killed_supervisor(own_runtime_dir: Path) -> None:
    command = [*MOOT, "cluster", "up", "3", "--in-process", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        described = json.loads(supervisor.stdout.readline())
        supervisor.kill()
    until(lambda: not any(running(agent["pid"]) for agent in described["agents"]), "the end of all agents")
    assert "no cluster is running" in moot("cluster", "status").stdout
    assert list(own_runtime_dir.iterdir()) == []
