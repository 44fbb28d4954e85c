"""The local cluster runner: its notes, its processes, and that nobody survives it."""

import contextlib
import dataclasses
import json
import os
import re
import signal
import socket
import stat
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moot.agent import cli, cluster_places, cluster_state
from moot.agent.cluster_places import NETWORKS, PORTS, Layout, Place, Wish, find_places
from moot.agent.cluster_state import ClusterState, Node
from moot.agent.cluster_views import agreeing, alive_everywhere, groups
from moot.agent.commands.cluster import report
from moot.agent.processes import Process, end_all, identify, started_at
from moot.gossip.errors import ConfigError
from tests.cli.running import MOOT, moot, running, until

pytestmark = pytest.mark.usefixtures("own_runtime_dir")
NODE = Node(
    name="a-1",
    member="a-1.global",
    gossip="127.1.1.1:1",
    http="127.1.1.1:2",
    rpc="127.1.1.1:3",
    process=Process(1, 0),
)


def state(**changes: Any) -> ClusterState:
    layout = Layout(prefix="a", pool="nomad", network="127.1.1", ports=(2, 3, 1))
    plain = ClusterState(
        name="a", pool="nomad", profile="local", encrypted=False, supervisor=None, layout=layout, nodes=(NODE,)
    )
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


def test_what_is_saved_is_loaded_again() -> None:
    begun = cluster_state.create(state(supervisor=identify(os.getpid()), nodes=()), {})
    assert cluster_state.load("a") == begun
    saved = state(supervisor=Process(2, 1), ready=True)
    cluster_state.save(saved)
    assert cluster_state.load("a") == saved
    assert cluster_state.clusters() == [saved]


def test_notes_are_private_because_the_key_is_in_them(own_runtime_dir: Path) -> None:
    cluster_state.create(state(), {"server": {"encrypt": "secret"}})
    assert stat.S_IMODE(own_runtime_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE((own_runtime_dir / "a").stat().st_mode) == 0o700
    assert stat.S_IMODE((own_runtime_dir / "a" / "agent.json").stat().st_mode) == 0o600


def test_a_directory_that_others_can_write_to_is_refused(own_runtime_dir: Path) -> None:
    own_runtime_dir.mkdir()
    own_runtime_dir.chmod(0o777)
    with pytest.raises(ConfigError, match="must be a directory of yours with mode 0700"):
        cluster_state.runtime_dir()


def test_notes_that_cannot_be_read_count_as_none() -> None:
    cluster_state.create(state(), {})
    for text in ("", "{", "[]", '{"name": "a"}'):
        (cluster_state.directory_of("a") / "state.json").write_text(text)
        assert cluster_state.load("a") is None
    assert cluster_state.clusters() == []


@pytest.fixture
def sleeper() -> Iterator[Process]:
    """A process that runs until the end of the test."""
    child = subprocess.Popen(["sleep", "60"])
    yield identify(child.pid)
    child.kill()
    child.wait()


def test_the_notes_of_a_dead_cluster_are_replaced_those_of_a_running_one_are_not(sleeper: Process) -> None:
    cluster_state.create(state(), {})
    cluster_state.create(state(), {})
    running_node = dataclasses.replace(NODE, process=sleeper)
    for alive, agents in (
        (state(nodes=(running_node,)), "1 agent"),
        (state(supervisor=sleeper, nodes=()), "0 agents"),
    ):
        cluster_state.create(state(), {})
        cluster_state.save(alive)
        with pytest.raises(ConfigError, match=rf"cluster a is running \({agents}\)"):
            cluster_state.create(state(), {})
        cluster_state.remove_dead("a")
        assert cluster_state.load("a") == alive
        cluster_state.remove("a")
        assert cluster_state.load("a") is None


def test_a_numbered_cluster_takes_the_first_free_name(sleeper: Process) -> None:
    mine = state(supervisor=sleeper, nodes=())
    names = [cluster_state.create(mine, {}, numbered=True).name for _ in range(3)]
    assert names == ["a", "a-2", "a-3"]
    cluster_state.remove("a-2")
    assert cluster_state.create(mine, {}, numbered=True).name == "a-2"


def test_what_killed_supervisors_left_is_swept_and_nothing_else(own_runtime_dir: Path, sleeper: Process) -> None:
    dead = Process(1, 0)
    forgotten = subprocess.Popen(["sleep", "60"])
    forgotten.send_signal(signal.SIGSTOP)
    for name, supervisor, process in (
        ("abandoned", dead, dead),
        ("detached", None, dead),
        ("ending", dead, identify(forgotten.pid)),
        ("starting", sleeper, dead),
    ):
        node = dataclasses.replace(NODE, process=process)
        cluster_state.create(state(name=name), {})
        cluster_state.save(state(name=name, supervisor=supervisor, nodes=(node,)))
    (own_runtime_dir / "half-removed").mkdir()
    (own_runtime_dir / "half-removed" / "agent.json").touch()
    cluster_state.sweep()
    assert sorted(path.name for path in own_runtime_dir.iterdir()) == ["detached", "starting"]
    assert forgotten.wait(30) == -signal.SIGTERM
    assert sleeper.alive()


def test_only_one_at_a_time_changes_notes() -> None:
    short = cluster_state.exclusive(patience=0.05)
    with cluster_state.exclusive(), pytest.raises(ConfigError, match="try again"):
        short.__enter__()
    with cluster_state.exclusive(patience=0.05):
        pass


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-a", "a" * 41, "ä"])
def test_a_name_that_could_be_another_path_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="is no cluster name"):
        cluster_state.directory_of(name)


# places and views


@contextlib.contextmanager
def places(wish: Wish) -> Iterator[list[Place]]:
    """Places that are claimed during the block."""
    _, found, claims = find_places(wish)
    with contextlib.ExitStack() as stack:
        for claim in claims:
            stack.enter_context(claim)
        yield found


def network_of(found: list[Place]) -> str:
    (network,) = {place.host.rpartition(".")[0] for place in found}
    return network


def test_addresses_in_use_are_passed_over_as_a_whole() -> None:
    with places(Wish(count=3)) as first:
        pass
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((first[1].host, first[1].serf))
        with places(Wish(count=3)) as second:
            assert NETWORKS.index(network_of(second)) > NETWORKS.index(network_of(first))


def test_clusters_that_start_at_once_get_networks_of_their_own() -> None:
    with places(Wish(count=3)) as first, places(Wish(count=3)) as second:
        assert network_of(first) != network_of(second)


def test_more_agents_than_a_network_has_addresses_go_on_in_the_next_which_is_claimed_too() -> None:
    with places(Wish(count=600)) as first, places(Wish(count=3)) as second:
        networks = [place.host.rpartition(".")[0] for place in first]
        assert sorted(Counter(networks).values()) == [94, 253, 253]
        assert len({place.host for place in first}) == 600
        assert network_of(second) not in networks


def test_ports_that_are_taken_on_all_addresses_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as everywhere:
        everywhere.bind(("0.0.0.0", 0))
        port = everywhere.getsockname()[1]
        monkeypatch.setattr(cluster_places, "PORTS", ((port - 2, port - 1, port), PORTS[1]))
        with places(Wish(count=2)) as found:
            assert [(place.http, place.rpc, place.serf) for place in found] == [PORTS[1]] * 2
        monkeypatch.setattr(cluster_places, "PORTS", ((port - 2, port - 1, port),))
        with pytest.raises(ConfigError, match="try --base-port"):
            find_places(Wish(count=2))


def test_a_base_port_puts_all_on_one_address() -> None:
    with places(Wish(count=2, name="x", base_port=23000)) as found:
        assert [(place.name, place.host, place.http, place.rpc, place.serf) for place in found] == [
            ("x-1", "127.0.0.1", 23000, 23001, 23002),
            ("x-2", "127.0.0.1", 23003, 23004, 23005),
        ]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 23003))
        with pytest.raises(ConfigError, match="ports 23003 to 23005 are not all free"):
            find_places(Wish(count=2, base_port=23000))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["up", "2", "--base-port", "4"], "'--base-port': 4 is not in the range"),
        (["up", "2", "--base-port", "65530"], "'--base-port': 2 agents need it to be at most 65529"),
        (["up", "2", "--timeout", "0"], "'--timeout': 0.0 is not in the range"),
        (["up", "2", "--name", "../x"], "'--name': '../x' is no cluster name"),
        (["status", "--name", "../x"], "'--name': '../x' is no cluster name"),
        (["down", "--name", "../x"], "'--name': '../x' is no cluster name"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["cluster", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_no_escape_sequence_of_a_name_reaches_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    name = "\x1b[31mred"
    before = report([NODE], {"a-1": {name: "alive"}}, {})
    report([NODE], {"a-1": {name: "failed"}}, before)
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "\\x1b[31mred: failed (seen by 1 of 1)" in said


def test_agreement_counts_only_agents_that_answer_and_see_it() -> None:
    views = {"a": {"x": "alive", "y": "failed"}, "b": {"x": "alive", "y": "alive"}, "c": None}
    assert groups(views | {"d": views["a"]}) == [(["a", "d"], views["a"]), (["b"], views["b"]), (["c"], None)]
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

    nobody = moot("members", "--status", "failed", "--address", described["agents"][0]["http"]).stdout.splitlines()
    assert nobody[0].endswith("sees no such member")
    assert nobody[1].split() == ["Name", "Address", "Status", "Build", "Datacenter", "Region"]

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
def test_an_agent_that_cannot_start_ends_the_cluster_with_its_last_words(own_runtime_dir: Path) -> None:
    tags = [part for number in range(30) for part in ("--tag", f"long-{number}={'x' * 30}")]
    done = moot("cluster", "up", "2", *tags)
    assert done.returncode == 1
    assert re.search("agent moot-[12] ended with exit code 1:", done.stderr)
    assert "exceeds limit of 512 bytes" in done.stderr
    assert cluster_state.clusters() == []
    assert list(own_runtime_dir.iterdir()) == []


@pytest.mark.live
def test_status_without_a_cluster_says_how_to_start_one() -> None:
    done = moot("cluster", "status")
    assert (done.returncode, done.stdout) == (0, "no cluster is running; `moot cluster up 3` starts one\n")
    assert moot("cluster", "status", "--json").stdout == "[]\n"
