"""`moot demo`, with and without a real serf agent."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from moot.agent import cluster_state
from moot.agent.demo import matrix
from tests.cli.running import MOOT, PATIENCE, moot, running

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("own_runtime_dir")]
OURS = ["form", "join", "crash", "force-leave", "end"]


def demo(*arguments: str, **environment: str) -> tuple[int, str]:
    done = moot("demo", *arguments, **environment)
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_the_demo_holds_and_skips_serf_where_there_is_none(own_runtime_dir: Path) -> None:
    code, said = demo(PATH=os.path.dirname(sys.executable))
    assert code == 0
    assert "no `serf` on PATH: the part with a real serf agent is skipped" in said
    for line in (
        "each of the 5 agents sees 5 alive",
        "all 6 alive in the HTTP answers of all 6 agents",
        "demo-3 failed in the HTTP answers of all 5 agents",
        "demo-3 left in the HTTP answers of all 5 agents",
        "all 6 agents ended, nothing is left behind",
    ):
        assert line in said
    assert list(own_runtime_dir.iterdir()) == []


@pytest.mark.peer
@pytest.mark.usefixtures("serf_binary")
def test_the_demo_holds_with_a_real_serf_agent_that_agrees_at_every_step() -> None:
    code, said = demo("--json")
    told = json.loads(said)
    assert (code, told["ok"], told["reason"]) == (0, True, "")
    steps = [step["step"] for step in told["steps"]]
    assert [step for step in steps if "serf" not in step] == OURS
    # serf takes a second to leave; that is part of the step
    assert next(step["took"] for step in told["steps"] if step["step"] == "serf leaves") > 0.5
    assert {"serf joins: serf agrees", "crash: serf agrees", "force-leave: serf agrees", "serf leaves"} <= set(steps)


def test_demos_run_side_by_side_and_beside_a_cluster_of_their_name(own_runtime_dir: Path) -> None:
    assert moot("cluster", "up", "1", "--name", "demo", "--detach").returncode == 0
    command = [*MOOT, "demo", "--json"]
    without_serf = os.environ | {"PATH": os.path.dirname(sys.executable)}
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, env=without_serf) for _ in range(2)]
    told = [json.loads(one.communicate(timeout=2 * PATIENCE)[0]) for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert [[step["step"] for step in one["steps"]] for one in told] == [OURS, OURS]
    assert "demo-3 failed in the HTTP answers of all 5 agents" in [step["what"] for step in told[1]["steps"]]
    assert [path.name for path in own_runtime_dir.iterdir()] == ["demo"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_demo_and_is_its_exit_code(number: signal.Signals, own_runtime_dir: Path) -> None:
    with subprocess.Popen([*MOOT, "demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        while "each of the 5 agents sees 5 alive" not in demo.stdout.readline():
            assert demo.poll() is None
        pids = [node.process.pid for node in cluster_state.clusters()[0].nodes]
        assert len(pids) >= 5
        demo.send_signal(number)
        _, errors = demo.communicate(timeout=PATIENCE)
    assert demo.returncode == 128 + number
    assert errors == f"moot: interrupted by {number.name}; all that was started is ended\n"
    assert not any(map(running, pids))
    assert list(own_runtime_dir.iterdir()) == []


def test_the_matrix_has_a_row_per_member_and_a_column_per_observer() -> None:
    views = {"n1": {"n1": "alive", "n2": "failed"}, "n3": None}
    assert [line.split() for line in matrix(views)] == [
        ["member", "by", "n1", "by", "n3"],
        ["n1", "alive", "unknown"],
        ["n2", "failed", "unknown"],
    ]
