"""The local cluster runner: its notes, its processes, and that nobody survives it."""

import dataclasses
import json
import os
import re
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moot.agent import cluster_state
from moot.agent.cluster import NETWORKS, Wish, agreeing, alive_everywhere, places
from moot.agent.cluster_state import ClusterState, Node
from moot.agent.processes import Process, end_all, identify, started_at
from moot.gossip.errors import ConfigError
from tests.cli.running import MOOT, moot, running, until

NODE = Node(name="a-1", member="a-1.global", gossip="127.1.1.1:1", http="127.1.1.1:2", process=Process(1, 0))


@pytest.fixture(autouse=True)
def own_runtime_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Clusters of a test are seen by that test only; what it leaves running is ended."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    yield
    moot("cluster", "down", "--all")


def state(**changes: Any) -> ClusterState:  # noqa: ANN401
    plain = ClusterState(name="a", pool="nomad", profile="local", encrypted=False, supervisor=None, nodes=(NODE,))
    return dataclasses.replace(plain, **changes)


# processes


def test_a_reused_pid_is_not_taken_for_the_process() -> None:
    me = identify(os.getpid())
    assert me.alive()
    other = Process(me.pid, me.started + 1)
    assert not other.alive()
    assert not other.kill(signal.SIGTERM)
    end_all([other])


def test_a_zombie_is_no_running_process() -> None:
    child = subprocess.Popen(["true"])
    until(lambda: started_at(child.pid) is None, "the zombie")
    with pytest.raises(ProcessLookupError):
        identify(child.pid)
    child.wait()


def test_a_process_that_ignores_sigterm_or_is_stopped_ends_all_the_same() -> None:
    stubborn = subprocess.Popen(
        ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"], stdout=subprocess.PIPE
    )
    stopped = subprocess.Popen(["sleep", "60"])
    assert stubborn.stdout is not None
    stubborn.stdout.readline()
    stopped.send_signal(signal.SIGSTOP)
    end_all([identify(stubborn.pid), identify(stopped.pid)], grace=0.3)
    assert stubborn.wait(30) == -signal.SIGKILL
    assert stopped.wait(30) == -signal.SIGTERM
    stubborn.stdout.close()


# notes


def test_what_is_saved_is_loaded_again(tmp_path: Path) -> None:
    cluster_state.create("a", {})
    saved = state(supervisor=Process(2, 1))
    cluster_state.save(saved)
    assert cluster_state.load("a") == saved
    assert cluster_state.clusters() == [saved]


def test_notes_are_private_because_the_key_is_in_them(tmp_path: Path) -> None:
    directory = cluster_state.create("a", {"server": {"encrypt": "secret"}})
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / "agent.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "moot").stat().st_mode) == 0o700


def test_a_directory_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "moot").mkdir()
    (tmp_path / "moot").chmod(0o777)
    with pytest.raises(ConfigError, match="must be a directory of yours with mode 0700"):
        cluster_state.runtime_dir()


def test_notes_that_cannot_be_read_count_as_none() -> None:
    directory = cluster_state.create("a", {})
    for text in ("", "{", "[]", '{"name": "a"}'):
        (directory / "state.json").write_text(text)
        assert cluster_state.load("a") is None
    assert cluster_state.clusters() == []


def test_the_notes_of_a_dead_cluster_are_replaced_those_of_a_running_one_are_not() -> None:
    cluster_state.create("a", {})
    cluster_state.save(state())
    cluster_state.create("a", {})
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        cluster_state.save(state(nodes=(dataclasses.replace(NODE, process=identify(sleeper.pid)),)))
        with pytest.raises(ConfigError, match=r"cluster a is running \(1 agent\)"):
            cluster_state.create("a", {})
    finally:
        sleeper.kill()
        sleeper.wait()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-a", "a" * 41, "ä"])
def test_a_name_that_could_be_another_path_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="is no cluster name"):
        cluster_state.directory_of(name)


# places and views


def test_addresses_in_use_are_passed_over_as_a_whole() -> None:
    first = places(Wish(count=3))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((first[1].host, first[1].serf))
        second = places(Wish(count=3))
    networks = [place.host.rpartition(".")[0] for place in second]
    assert set(networks) == {networks[0]}
    assert NETWORKS.index(networks[0]) > NETWORKS.index(first[0].host.rpartition(".")[0])


def test_a_base_port_puts_all_on_one_address() -> None:
    found = places(Wish(count=2, name="x", base_port=23000))
    assert [(place.name, place.host, place.http, place.rpc, place.serf) for place in found] == [
        ("x-1", "127.0.0.1", 23000, 23001, 23002),
        ("x-2", "127.0.0.1", 23003, 23004, 23005),
    ]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 23003))
        with pytest.raises(ConfigError, match="ports 23003 to 23005 are not all free"):
            places(Wish(count=2, base_port=23000))


@pytest.mark.parametrize("base_port", [80, 65535])
def test_a_base_port_without_room_is_refused(base_port: int) -> None:
    with pytest.raises(ConfigError, match="--base-port must be from 1024 to"):
        places(Wish(count=2, base_port=base_port))


def test_agreement_counts_only_agents_that_answer_and_see_it() -> None:
    views = {"a": {"x": "alive", "y": "failed"}, "b": {"x": "alive", "y": "alive"}, "c": None}
    assert agreeing(views, {"y": "failed"}) == ["a"]
    assert agreeing(views, {"x": "alive"}) == ["a", "b"]
    assert alive_everywhere(views, 2) == ["b"]


# real clusters


def pids_of(described: dict[str, Any]) -> list[int]:
    return [agent["pid"] for agent in described["agents"]]


@pytest.mark.live
def test_a_detached_cluster_is_up_shown_and_ended_by_three_commands() -> None:
    done = moot("cluster", "up", "3", "--detach", "--json", "--encrypt", "--name", "x", "--tag", "rack=7")
    assert done.returncode == 0, done.stderr
    described = json.loads(done.stdout)
    assert [agent["view"] for agent in described["agents"]] == [
        {"x-1.global": "alive", "x-2.global": "alive", "x-3.global": "alive"}
    ] * 3
    assert all(map(running, pids_of(described)))
    assert described["encrypted"]
    hosts = [agent["http"].split(":")[1] for agent in described["agents"]]
    assert len(set(hosts)) == 3

    shown = moot("cluster", "status").stdout
    assert "cluster x: 3 of 3 agents running, nomad pool, local profile, encrypted, detached" in shown
    assert shown.count("alive   3 of 3") == 3
    (again,) = json.loads(moot("cluster", "status", "--json", "--name", "x").stdout)
    assert pids_of(again) == pids_of(described)
    members = json.loads(moot("members", "--json", "--address", described["agents"][2]["http"]).stdout)["members"]
    assert [member["Tags"]["rack"] for member in members] == ["7", "7", "7"]

    second = moot("cluster", "up", "1", "--detach", "--name", "x")
    assert second.returncode == 1
    assert "cluster x is running (3 agents); `moot cluster down --name x` ends it" in second.stderr

    assert moot("cluster", "down", "--name", "x").stdout == "cluster x: 3 agents ended\n"
    assert not any(map(running, pids_of(described)))
    assert moot("cluster", "down", "--name", "x").returncode == 1


@pytest.mark.live
def test_two_clusters_live_side_by_side_and_do_not_meet() -> None:
    first, second = (
        json.loads(moot("cluster", "up", "2", "--detach", "--json", "--name", name, *more).stdout)
        for name, more in (("x", []), ("y", ["--pool", "serf", "--base-port", "23500"]))
    )
    assert first["agents"][0]["view"] == {"x-1.global": "alive", "x-2.global": "alive"}
    assert second["agents"][0]["view"] == {"y-1": "alive", "y-2": "alive"}
    assert second["agents"][1]["http"] == "http://127.0.0.1:23503"
    ended = json.loads(moot("cluster", "down", "--all", "--json").stdout)
    assert ended == [{"cluster": "x", "agents_ended": 2}, {"cluster": "y", "agents_ended": 2}]
    assert not any(map(running, pids_of(first) + pids_of(second)))


def attached(*arguments: str) -> tuple["subprocess.Popen[str]", dict[str, Any]]:
    """A cluster that stays with its supervisor, and what it said when it was ready."""
    command = [*MOOT, "cluster", "up", "3", "--json", *arguments]
    supervisor = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert supervisor.stdout is not None
    return supervisor, json.loads(supervisor.stdout.readline())


@pytest.mark.live
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_supervisor_ends_all_agents_and_forgets_the_cluster(number: signal.Signals) -> None:
    supervisor, described = attached()
    assert all(map(running, pids_of(described)))
    supervisor.send_signal(number)
    supervisor.communicate(timeout=30)
    assert supervisor.returncode == 0
    assert not any(map(running, pids_of(described)))
    assert cluster_state.clusters() == []


@pytest.mark.live
def test_no_agent_survives_a_killed_supervisor() -> None:
    supervisor, described = attached()
    supervisor.kill()
    supervisor.communicate()
    until(lambda: not any(map(running, pids_of(described))), "the end of all agents")
    assert moot("cluster", "status", "--name", "moot").returncode == 1
    again, described = attached()
    again.terminate()
    again.communicate(timeout=30)
    assert not any(map(running, pids_of(described)))


@pytest.mark.live
def test_an_attached_cluster_can_be_ended_from_elsewhere() -> None:
    supervisor, described = attached()
    assert moot("cluster", "down").stdout == "cluster moot: 3 agents ended\n"
    supervisor.communicate(timeout=30)
    assert not any(map(running, pids_of(described)))


@pytest.mark.live
def test_without_a_terminal_changes_are_told_line_by_line() -> None:
    supervisor = subprocess.Popen(
        [*MOOT, "cluster", "up", "3"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert supervisor.stdout is not None
    try:
        head = [supervisor.stdout.readline() for _ in range(5)]
        assert head[0].startswith("cluster moot is ready: 3 agents, ")
        assert head[1].split() == ["Name", "Status", "Seen", "by", "Gossip", "HTTP", "Pid"]
        rows = [line.split() for line in head[2:]]
        assert [(row[0], row[1]) for row in rows] == [(f"moot-{number}.global", "alive") for number in (1, 2, 3)]
        os.kill(int(rows[2][-1]), signal.SIGKILL)
        line = ""
        while "moot-3.global: failed (seen by 2 of 2)" not in line:
            line = supervisor.stdout.readline()
            assert line, "the supervisor ended"
    finally:
        supervisor.send_signal(signal.SIGINT)
        _, errors = supervisor.communicate(timeout=30)
    assert (supervisor.returncode, errors) == (0, "ending 3 agents\n")
    assert not any(running(int(row[-1])) for row in rows)


@pytest.mark.live
def test_an_agent_that_cannot_start_ends_the_cluster_with_its_last_words(tmp_path: Path) -> None:
    tags = [part for number in range(30) for part in ("--tag", f"long-{number}={'x' * 30}")]
    done = moot("cluster", "up", "2", *tags)
    assert done.returncode == 1
    assert re.search("agent moot-[12] ended with exit code 1:", done.stderr)
    assert "exceeds limit of 512 bytes" in done.stderr
    assert cluster_state.clusters() == []
    assert not (tmp_path / "moot" / "moot").exists()


@pytest.mark.live
def test_status_without_a_cluster_says_how_to_start_one() -> None:
    done = moot("cluster", "status")
    assert (done.returncode, done.stdout) == (0, "no cluster is running; `moot cluster up 3` starts one\n")
    assert moot("cluster", "status", "--json").stdout == "[]\n"
