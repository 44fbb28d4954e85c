"""A pool of our agents and real serf agents is broken in every way, and both kinds see it and mend."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from moot.agent import cluster_state
from moot.agent.chaos import Chaos
from moot.agent.cluster_start import control_of
from moot.agent.cluster_state import ClusterState
from moot.agent.cluster_views import Observer, groups
from moot.agent.control_client import ask
from moot.gossip.actions import parse
from tests.cli.running import MOOT, PATIENCE, moot, running
from tests.support.launching import until

pytestmark = pytest.mark.live
NAMES = ["moot-1", "moot-2", "moot-serf-3", "moot-serf-4"]


@pytest.fixture(scope="module")
def mixed(serf_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two agents of ours and two of serf's, detached; where their notes are. Each test leaves them calm and whole."""
    folder = tmp_path_factory.mktemp("chaos")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        done = moot("cluster", "up", "2", "--with-serf", "2", "--detach", "--encrypt", "--tag", "rack=7")
        assert done.returncode == 0, done.stderr
        yield folder / "moot" / "moot"
        moot("cluster", "down", "--all")


def said(*words: str) -> Any:  # noqa: ANN401 - JSON of any shape
    """What a command answers as JSON."""
    done = moot(*words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def do(words: str) -> list[str]:
    """Carry out an action that starts nothing; what is wrong then."""
    outcome = Chaos("moot").do(parse(words))
    assert outcome.untold == []
    return outcome.active


def state() -> ClusterState:
    found = cluster_state.load("moot")
    assert found is not None
    return found


def await_groups(*expected: Sequence[str], alive: int) -> None:
    """Until exactly these agree with one another, and each sees so many alive."""

    def holds() -> bool:
        views = observer.views(state().nodes)
        found = groups(views)
        whole = all(view is not None and list(view.values()).count("alive") == alive for _, view in found)
        return whole and sorted(sorted(names) for names, _ in found) == sorted(map(sorted, expected))

    with Observer() as observer:
        until(f"groups {expected}, each with {alive} alive", holds)


def whole() -> None:
    await_groups(NAMES, alive=4)


def test_a_mixed_pool_is_parted_and_healed_and_both_kinds_see_it(mixed: Path) -> None:
    whole()
    outcome = said("chaos", "partition", "1,3", "2,4")
    assert outcome["faults"] == ["partition moot-1,moot-serf-3 moot-2,moot-serf-4"]
    assert "faults: partition moot-1,moot-serf-3 moot-2,moot-serf-4" in moot("cluster", "status").stdout
    await_groups(["moot-1", "moot-serf-3"], ["moot-2", "moot-serf-4"], alive=2)
    shown = said("cluster", "views")
    assert shown["faults"] == outcome["faults"]
    assert shown["views"]["moot-serf-3"]["moot-serf-4"] == "failed"
    assert said("chaos", "heal")["faults"] == []
    whole()


def test_without_tcp_nobody_can_join_and_nobody_fails_and_the_reverse(mixed: Path) -> None:
    first, _, serf, _ = state().nodes
    do("cut all tcp")
    assert moot("join", serf.gossip, "--address", first.url).returncode == 1
    # ours is asked by packets, and answers in packets
    assert moot("reachability", "--address", first.url).returncode == 0
    do("calm")
    do("cut 3 udp")
    assert moot("join", serf.gossip, "--address", first.url).returncode == 0
    assert moot("reachability", "--address", first.url).returncode == 1
    do("calm")
    whole()


def test_a_serf_agent_that_loses_everything_is_failed_by_both_kinds_and_fails_all(mixed: Path) -> None:
    whole()
    do("loss 100% 3")
    with Observer() as observer:

        def cut_off() -> bool:
            views = observer.views(state().nodes)
            lonely = views.pop("moot-serf-3") or {}
            others = [view is not None and view.get("moot-serf-3") == "failed" for view in views.values()]
            return all(others) and [name for name, status in lonely.items() if status == "alive"] == ["moot-serf-3"]

        until("moot-serf-3 alone", cut_off)
    do("heal loss")
    first, _, serf, _ = state().nodes
    # sooner than they would find together by themselves
    assert moot("join", serf.gossip, "--address", first.url).returncode == 0
    whole()


def test_an_agent_that_was_stopped_learns_of_the_faults_when_it_goes_on(mixed: Path) -> None:
    whole()
    assert do("stop 2") == ["stop moot-2"]
    assert do("slow 1 10ms") == ["slow moot-1 10ms", "stop moot-2"]
    do("clock 1 +1s")
    do("cont 2")
    for name in NAMES:
        answer = ask(control_of(mixed, name), {"do": "state"})
        assert answer["active"] == ["slow moot-1 10ms", "clock moot-1 +1s"], name
    assert do("calm") == []
    whole()


def test_processes_are_killed_restarted_in_the_faults_of_the_day_and_leave(mixed: Path) -> None:
    assert said("chaos", "kill", "4")["members"] == ["moot-serf-4"]
    assert "(ended)" in moot("cluster", "status").stdout
    do("duplicate 10%")
    for member in ("1", "4"):
        assert said("cluster", "restart", member)[0]["name"].endswith(member)
    for name in ("moot-1", "moot-serf-4"):
        assert ask(control_of(mixed, name), {"do": "state"})["active"] == ["duplicate 10%"]
    do("calm")
    whole()
    do("leave 2,4")
    with Observer() as observer:
        gone = {"moot-2": "left", "moot-serf-4": "left"}

        def left() -> bool:
            views = observer.views(state().running()).values()
            return all(view is not None and gone.items() <= view.items() for view in views)

        until("two that left", left)
    said("chaos", "start", "2,4", "fresh")
    whole()


def test_a_monkey_breaks_by_chance_and_leaves_nothing_broken_also_when_it_is_called_off(mixed: Path) -> None:
    whole()
    drawn = ["--every", "1s", "--faults", "kill,stop,slow,cut", "--seed", "7"]
    done = moot("chaos", "monkey", "--for", "4s", *drawn)
    assert done.returncode == 0, done.stderr
    assert len([line for line in done.stdout.splitlines() if line.split()[1] in ("kill", "stop", "slow", "cut")]) >= 4
    with subprocess.Popen([*MOOT, "chaos", "monkey", "--for", "300s", *drawn], stdout=subprocess.PIPE) as monkey:
        assert monkey.stdout is not None
        assert monkey.stdout.readline()
        monkey.send_signal(signal.SIGINT)
        monkey.communicate(timeout=PATIENCE)
    assert monkey.returncode == 130
    assert said("chaos", "show")["faults"] == []
    whole()


def test_logs_are_shown_by_member_and_followed(mixed: Path, tmp_path: Path) -> None:
    told = moot("cluster", "logs", "3-4", "-n", "2").stdout.splitlines()
    assert [line.split(":")[0] for line in told] == ["moot-serf-3"] * 2 + ["moot-serf-4"] * 2
    found = map(json.loads, moot("cluster", "logs", "1", "--json").stdout.splitlines())
    assert {entry["name"] for entry in found} == {"moot-1"}
    assert moot("cluster", "logs", "9").returncode == 2
    output = tmp_path / "followed"
    with output.open("w") as file:
        follower = subprocess.Popen([*MOOT, "cluster", "logs", "1", "-f", "-n", "1"], stdout=file)
    try:
        until("the last line", lambda: output.read_text() != "")
        state().nodes[0].process.kill(signal.SIGHUP)
        until("what is written later", lambda: "configuration reloaded" in output.read_text())
    finally:
        follower.send_signal(signal.SIGINT)
        assert follower.wait(30) == 130


@pytest.mark.usefixtures("own_runtime_dir")
def test_more_agents_of_both_kinds_join_and_all_end_together(serf_binary: str, own_runtime_dir: Path) -> None:
    assert moot("cluster", "up", "1", "--pool", "serf", "--detach").returncode == 0
    assert [each["name"] for each in said("cluster", "add")] == ["moot-2"]
    assert [each["name"] for each in said("cluster", "add", "--serf")] == ["moot-serf-3"]
    await_groups(["moot-1", "moot-2", "moot-serf-3"], alive=3)
    do("stop 2,3")
    pids = [node.process.pid for node in state().nodes]
    children = [child for pid in pids for child in children_of(pid)]
    assert len(children) == 1  # the relay
    assert said("cluster", "down") == [{"cluster": "moot", "agents_ended": 3}]
    until("the end of agents and relays", lambda: not any(map(running, [*pids, *children])))
    assert list(own_runtime_dir.iterdir()) == []


def children_of(pid: int) -> list[int]:
    """The processes that a process's threads have started."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        found += map(int, path.read_text().split())
    return found


# attached clusters


@pytest.mark.usefixtures("own_runtime_dir")
def test_what_is_added_or_restarted_or_stopped_does_not_survive_a_killed_supervisor(
    serf_binary: str, own_runtime_dir: Path
) -> None:
    supervisor = subprocess.Popen(
        [*MOOT, "cluster", "up", "1", "--with-serf", "1", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert supervisor.stdout is not None
    assert json.loads(supervisor.stdout.readline())["ready_seconds"] > 0
    said("cluster", "add", "1")
    said("cluster", "restart", "2")
    assert len(state().running()) == 3
    pids = [node.process.pid for node in state().nodes]
    pids += children_of(pids[1])
    assert len(pids) == 4
    said("chaos", "stop", "1")
    os.kill(supervisor.pid, signal.SIGKILL)
    supervisor.communicate()
    until("the end of those that could notice", lambda: not any(map(running, pids[1:])))
    assert running(pids[0])
    assert moot("cluster", "status").stdout == "no cluster is running; `moot cluster up 3` starts one\n"
    assert not running(pids[0])
    assert list(own_runtime_dir.iterdir()) == []
