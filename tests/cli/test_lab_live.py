"""Scenarios on real agents: the verdicts are those of the simulator, and nothing is left behind."""

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from moot.agent import cluster_state, lab
from moot.gossip.sim import library
from moot.gossip.sim.history import EventDelivered, KeyState, Life, Sample, Seen
from moot.gossip.sim.scenario_file import load
from moot.gossip.sim.verdicts import Outcome
from tests.cli.running import MOOT, running, until

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("own_runtime_dir")]
HOLDS = Outcome.HOLDS
PATIENCE = 240
"""Seconds for a whole run, on a machine that is busy with others."""
QUICK = """
name = "quick"
[cluster]
size = 4
keys = ["first"]
snapshots = true
[cluster.settings]
suspicion_mult = 2
push_pull_interval = "2s"
dead_node_reclaim_time = "200ms"
[[step]]
do = ["event deploy one by 1", "event deploy two by 2", "key install second by 1", "partition 1,2 3,4"]
for = "500ms"
[[step]]
after = "600ms"
do = ["stop 3", "kill 4"]
[[step]]
after = "500ms"
do = ["cont 3", "query ping by 2"]
[[step]]
until = "4 failed"
[[step]]
after = "500ms"
do = ["force-leave nobody by 1", "move 4"]
[[step]]
until = "agreed"
[[step]]
do = "leave 2"
[[step]]
until = "2 left"
[[step]]
do = ["flood 1", "join 3 1"]
for = "500ms"
[[step]]
after = "1s"
do = "restart 1"
[[step]]
until = "agreed"
[[expect]]
check = "reached"
[[expect]]
check = "left-stays-left"
within = "1s"
[[expect]]
check = "never-falls"
[[expect]]
check = "answered"
within = "10s"
on = "processes"
"""


def run_of(*arguments: str) -> tuple[int, dict[str, Any]]:
    """A run's exit code, and what it says as JSON."""
    command = [*MOOT, "lab", "run", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_all_that_can_be_done_is_done_to_real_agents_and_written_down(tmp_path: Path) -> None:
    found = lab.run(load(QUICK), 3, logs=tmp_path)
    assert {expect.check: verdict for expect, verdict in found.result.verdicts if verdict.outcome is not HOLDS} == {}
    history = found.result.history
    lives = [(life.agent, life.what) for life in history.of(Life)]
    for life in (("moot-4", "killed"), ("moot-3", "stopped"), ("moot-3", "continued"), ("moot-2", "left")):
        assert life in lives
    assert lives.count(("moot-4", "started")) == lives.count(("moot-1", "started")) == 2
    assert {seen.observer for seen in history.of(Seen) if (seen.subject, seen.status) == ("moot-4", "failed")}
    assert {seen.observer for seen in history.of(Seen)} == set(history.names)
    # who sends one takes it itself; gossip may miss others
    assert {event.agent for event in history.of(EventDelivered)} >= {"moot-1", "moot-2"}
    assert {len(state.keys) for state in history.of(KeyState)} == {1, 2}
    samples = history.of(Sample)
    assert any(sample.http > 0 for sample in samples)
    assert any(sample.bytes > 0 for sample in samples)
    assert [record.at for record in history.records] == sorted(record.at for record in history.records)
    assert all(path.read_text() for path in found.logs.values())
    assert cluster_state.clusters() == []


def test_two_scenarios_run_side_by_side_and_come_out_as_in_the_simulator(tmp_path: Path) -> None:
    files = []
    for name in ("one-name-twice", "two-pools-merge"):
        files.append(tmp_path / f"{name}.toml")
        text = library.text(name).replace('settle = "20s"', 'settle = "1s"')
        files[-1].write_text(text)
    code, answer = run_of(*map(str, files), "--jobs", "2")
    assert (code, len(answer["runs"])) == (0, 2), answer
    assert cluster_state.clusters() == []


def test_real_serf_agents_are_observers_and_subjects_too(serf_binary: str, tmp_path: Path) -> None:
    scenario = load(
        """
        name = "mixed"
        [cluster]
        size = 4
        serf = 2
        [[step]]
        do = ["event deploy one by 4", "event deploy two by 2", "kill 1"]
        [[step]]
        until = "1 failed"
        [[step]]
        do = "stop 4"
        for = "500ms"
        [[step]]
        after = "1s"
        do = "force-leave 1 by 3"
        [[step]]
        until = "1 left"
        [[step]]
        do = "leave 3"
        [[step]]
        until = "3 left"
        """
    )
    found = lab.run(scenario)
    history = found.result.history
    assert found.result.as_expected, found.result.verdicts
    seen = {(each.observer, each.subject, each.status) for each in history.of(Seen)}
    assert {("moot-4", "moot-1", "failed"), ("moot-4", "moot-1", "left"), ("moot-2", "moot-3", "left")} <= seen
    assert {event.agent for event in history.of(EventDelivered)} >= {"moot-2", "moot-4"}
    assert {sample.agent for sample in history.of(Sample)} == set(history.names)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_however_a_run_is_ended_no_agent_is_left(number: signal.Signals, tmp_path: Path) -> None:
    file = tmp_path / "long.toml"
    file.write_text('name = "long"\nsettle = "300s"\n[cluster]\nsize = 2\n')
    child = subprocess.Popen([*MOOT, "lab", "run", str(file)], stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    for line in child.stderr:
        if "looking on" in line:
            break
    (state,) = cluster_state.clusters()
    pids = [node.process.pid for node in state.nodes]
    assert all(map(running, pids))
    child.send_signal(number)
    child.communicate(timeout=PATIENCE)
    assert child.returncode == (130 if number == signal.SIGINT else -number)
    until(lambda: not any(map(running, pids)), "the end of all agents")
    cluster_state.sweep()
    assert cluster_state.clusters() == []
