"""However a cluster ends, and whenever: no agent is left, and no key."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import pytest

from moot.agent import cluster as runner
from moot.agent import cluster_start, cluster_state
from moot.agent.cluster import Cluster, wait_ready
from moot.agent.cluster_places import Wish
from moot.agent.cluster_start import ClusterError
from moot.agent.cluster_state import ClusterState
from moot.agent.cluster_views import Observer
from moot.agent.interrupts import Interrupts, caught
from moot.agent.processes import end_all
from tests.cli.running import MOOT, PATIENCE, moot, running, until

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("own_runtime_dir")]
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def pids_of(described: dict[str, Any]) -> list[int]:
    return [agent["pid"] for agent in described["agents"]]


def attached(*arguments: str) -> tuple["subprocess.Popen[str]", dict[str, Any]]:
    """A cluster that stays with its supervisor, and what it said when it was ready."""
    command = [*MOOT, "cluster", "up", "3", "--json", *arguments]
    supervisor = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert supervisor.stdout is not None
    return supervisor, json.loads(supervisor.stdout.readline())


@contextlib.contextmanager
def starting(*arguments: str) -> Iterator[tuple["subprocess.Popen[str]", ClusterState]]:
    """A cluster of three that cannot become ready, because one of its agents is stopped; and its notes."""
    supervisor = subprocess.Popen([*MOOT, "cluster", "up", "3", *arguments], stderr=subprocess.PIPE, text=True)
    try:
        until(lambda: any(len(state.nodes) == 3 for state in cluster_state.clusters()), "three agents in the notes")
        (state,) = cluster_state.clusters()
        state.nodes[0].process.kill(signal.SIGSTOP)
        yield supervisor, state
    finally:
        supervisor.kill()
        supervisor.wait()
        if supervisor.stderr is not None:
            supervisor.stderr.close()
        state.nodes[0].process.kill(signal.SIGCONT)


# ready clusters


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_to_the_supervisor_ends_all_agents_and_forgets_the_cluster(number: signal.Signals) -> None:
    supervisor, described = attached()
    assert all(map(running, pids_of(described)))
    supervisor.send_signal(number)
    supervisor.communicate(timeout=PATIENCE)
    assert supervisor.returncode == 0
    assert not any(map(running, pids_of(described)))
    assert cluster_state.clusters() == []


def test_no_agent_survives_a_killed_supervisor_and_no_key(own_runtime_dir: Path) -> None:
    supervisor, described = attached("--encrypt")
    key = json.loads((own_runtime_dir / "moot" / "agent.json").read_text())["server"]["encrypt"]
    assert len(key) == 44
    supervisor.kill()
    supervisor.communicate()
    until(lambda: not any(map(running, pids_of(described))), "the end of all agents")
    assert moot("cluster", "status").stdout == "no cluster is running; `moot cluster up 3` starts one\n"
    assert list(own_runtime_dir.iterdir()) == []


def test_an_attached_cluster_can_be_ended_from_elsewhere() -> None:
    supervisor, described = attached()
    assert moot("cluster", "down").stdout == "cluster moot: 3 agents ended\n"
    supervisor.communicate(timeout=PATIENCE)
    assert supervisor.returncode == 0
    assert not any(map(running, pids_of(described)))


def test_a_cluster_whose_agents_have_all_ended_says_so_and_fails(own_runtime_dir: Path) -> None:
    supervisor, described = attached()
    for pid in pids_of(described):
        os.kill(pid, signal.SIGKILL)
    _, errors = supervisor.communicate(timeout=PATIENCE)
    assert (supervisor.returncode, errors) == (1, "moot: all agents of cluster moot have ended: 3 by SIGKILL\n")
    assert list(own_runtime_dir.iterdir()) == []


def test_a_detached_cluster_whose_agents_have_ended_is_kept_for_its_logs(own_runtime_dir: Path) -> None:
    described = json.loads(moot("cluster", "up", "1", "--detach", "--json").stdout)
    os.kill(pids_of(described)[0], signal.SIGKILL)
    until(lambda: not running(pids_of(described)[0]), "the end of the agent")
    logs = own_runtime_dir / "moot"
    said = f"cluster moot: all its agents have ended; their logs are in {logs}, `moot cluster down` removes them\n"
    assert moot("cluster", "status").stdout == said
    assert (logs / "moot-1.log").read_text()
    assert moot("cluster", "down").stdout == "cluster moot: its agents had ended already\n"
    assert list(own_runtime_dir.iterdir()) == []


# clusters that are starting


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_during_the_start_ends_all_agents_and_is_the_exit_code(
    number: signal.Signals, own_runtime_dir: Path
) -> None:
    with starting() as (supervisor, state):
        supervisor.send_signal(number)
        _, errors = supervisor.communicate(timeout=PATIENCE)
        assert supervisor.returncode == 128 + number
        assert errors == f"moot: interrupted by {number.name}; all that was started is ended\n"
        assert state.running() == []
        assert list(own_runtime_dir.iterdir()) == []


def test_a_cluster_that_is_starting_is_shown_so_and_can_be_ended_from_elsewhere() -> None:
    with starting("--detach") as (supervisor, state):
        assert (
            "cluster moot: 3 of 3 agents running, nomad pool, local profile, plain, starting"
            in moot("cluster", "status").stdout
        )
        assert moot("cluster", "down").stdout == "cluster moot: 3 agents ended\n"
        supervisor.communicate(timeout=PATIENCE)
        assert supervisor.returncode == 128 + signal.SIGTERM
        assert state.running() == []


def test_no_agent_survives_when_the_supervisor_is_killed_before_it_detaches() -> None:
    with starting("--detach") as (supervisor, state):
        supervisor.kill()
        supervisor.wait()
        state.nodes[0].process.kill(signal.SIGCONT)
        until(lambda: not state.running(), "the end of all agents")


def test_an_agent_that_hangs_while_it_starts_is_named_and_ended_in_time() -> None:
    with Observer(timeout=0.5) as observer, Cluster(Wish(count=3), Interrupts()) as cluster:
        cluster.start()
        nodes = list(cluster.nodes)
        nodes[1].process.kill(signal.SIGSTOP)
        with pytest.raises(ClusterError, match=r"not ready after 3 s:\n  agent moot-2 does not answer; its log "):
            list(wait_ready(cluster, observer, timeout=3.0))
    assert not any(node.process.alive() for node in nodes)
    assert cluster_state.clusters() == []


def test_a_cluster_that_is_not_ready_in_time_fails_and_leaves_nothing(own_runtime_dir: Path) -> None:
    done = moot("cluster", "up", "2", "--timeout", "0.1")
    assert done.returncode == 1
    assert done.stderr.startswith("moot: not ready after 0.1 s:\n  agent moot-")
    assert list(own_runtime_dir.iterdir()) == []


def test_a_signal_right_after_an_agent_was_started_does_not_leave_it_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    children: list[subprocess.Popen[bytes]] = []

    def spawn(command: Sequence[str], log: Path, inherited: Sequence[int] = ()) -> "subprocess.Popen[bytes]":
        children.append(subprocess.Popen(["sleep", "60"]))
        log.touch()
        os.kill(os.getpid(), signal.SIGINT)
        return children[-1]

    def up() -> None:
        with caught() as interrupts, Observer() as observer, Cluster(Wish(count=2), interrupts) as cluster:
            cluster.start()
            list(wait_ready(cluster, observer, PATIENCE))

    monkeypatch.setattr(cluster_start, "spawn", spawn)
    with pytest.raises(click.exceptions.Exit) as ended:
        up()
    assert ended.value.exit_code == 130
    assert [child.poll() for child in children] == [-signal.SIGTERM] * 2
    assert cluster_state.clusters() == []


def test_a_signal_while_agents_are_ended_does_not_break_that_off(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        end_all(*arguments)

    monkeypatch.setattr(runner, "end_all", interrupted)
    with caught() as interrupts:
        with Cluster(Wish(count=2), interrupts) as cluster:
            cluster.start()
            nodes = list(cluster.nodes)
        assert not any(node.process.alive() for node in nodes)
        assert cluster_state.clusters() == []
