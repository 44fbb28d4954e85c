"""`moot demo`, with and without a real serf agent."""

import json
import os
import sys
from pathlib import Path

import pytest

from moot.agent.demo import matrix
from tests.cli.running import moot

pytestmark = pytest.mark.live
OURS = ["form", "join", "crash", "force-leave", "end"]


def demo(tmp_path: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    done = moot("demo", *arguments, XDG_RUNTIME_DIR=str(tmp_path), **environment)
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_the_demo_holds_and_skips_serf_where_there_is_none(tmp_path: Path) -> None:
    code, said = demo(tmp_path, PATH=os.path.dirname(sys.executable))
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
    assert not any((tmp_path / "moot").iterdir())


@pytest.mark.peer
@pytest.mark.usefixtures("serf_binary")
def test_the_demo_holds_with_a_real_serf_agent_that_agrees_at_every_step(tmp_path: Path) -> None:
    code, said = demo(tmp_path, "--json")
    told = json.loads(said)
    assert (code, told["ok"], told["reason"]) == (0, True, "")
    steps = [step["step"] for step in told["steps"]]
    assert [step for step in steps if "serf" not in step] == OURS
    assert {"serf joins: serf agrees", "crash: serf agrees", "force-leave: serf agrees", "serf leaves"} <= set(steps)


def test_the_matrix_has_a_row_per_member_and_a_column_per_observer() -> None:
    views = {"n1": {"n1": "alive", "n2": "failed"}, "n3": None}
    assert [line.split() for line in matrix(views)] == [
        ["member", "by", "n1", "by", "n3"],
        ["n1", "alive", "unknown"],
        ["n2", "failed", "unknown"],
    ]
