"""Sweeps: what is asked for, what is kept, and what it comes to."""

import math
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from moot.agent.sweep import Axis, Sweep, axis, run_task
from moot.agent.sweep_store import ROWS, opened
from moot.agent.sweep_table import bootstrap, points_of, quantile, rate
from moot.gossip.errors import ConfigError
from moot.gossip.sim.trial import Setting, run_trial

SMALL = Sweep(axes=(Axis("nodes", (4.0,)), Axis("suspicion_mult", (2.0, 3.0))), seeds=2, watch=12.0)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("suspicion_mult=2..5", (2, 3, 4, 5)),
        ("suspicion_mult=2..8/3", (2, 5, 8)),
        ("gossip_nodes=3,1", (3, 1)),
        ("loss=0..0.3", (0, 0.1, 0.2, 0.3)),
        ("loss=0..30%/2", (0, 0.3)),
        ("rtt=1ms,50ms", (0.001, 0.05)),
        ("probe_interval=500ms..2s/4", (0.5, 1, 1.5, 2)),
    ],
)
def test_a_parameter_has_values(text: str, values: tuple[float, ...]) -> None:
    assert axis(text) == Axis(text.split("=")[0], values)


@pytest.mark.parametrize(
    "text",
    [
        "loss",
        "=1",
        "speed=1..2",
        "loss=0.3..0",
        "loss=2",
        "suspicion_mult=1.5",
        "loss=0..1/1",
        "suspicion_mult=1..5000",
    ],
)
def test_what_is_no_parameter_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        axis(text)


def test_a_setting_that_cannot_be_is_refused() -> None:
    slow = (("probe_timeout", 2.0),)
    wrong: list[dict[str, Any]] = [{"nodes": 2}, {"loss": 1.0}, {"rtt": 0.0}, {"profile": "moon"}, {"engine": slow}]
    for bad in wrong:
        with pytest.raises(ConfigError):
            Setting(**bad)


def test_a_trial_measures_one_crash_and_one_event_and_is_the_same_again() -> None:
    measured = run_trial(Setting(nodes=8), 1, watch=20.0)
    assert measured == run_trial(Setting(nodes=8), 1, watch=20.0)
    assert measured.detect_s is not None
    assert measured.known_s is not None
    assert measured.converge_s is not None
    assert 2.0 < measured.detect_s <= measured.known_s < 15.0
    assert 0.0 < measured.converge_s < 2.0
    assert (measured.reached, measured.false_failures) == (1.0, 0)
    assert 100 < measured.bytes_per_member_s < 1000
    assert run_trial(Setting(nodes=8), 2, watch=20.0).digest != measured.digest


def test_a_pool_that_loses_most_packets_declares_members_that_run() -> None:
    measured = run_trial(Setting(nodes=8, loss=0.7, engine=(("suspicion_mult", 1),)), 1)
    assert measured.false_failures > 0


def test_what_a_kill_left_half_is_tried_again(tmp_path: Path) -> None:
    tasks = SMALL.tasks()
    with opened(tmp_path, SMALL) as store:
        for task in tasks[:3]:
            store.add(task, run_task(task))
        before = store.rows
    path = tmp_path / ROWS
    path.write_bytes(path.read_bytes()[:-5])
    with opened(tmp_path, SMALL) as store:
        assert store.rows == before[:2]
        assert store.missing(tasks) == tasks[2:]
        for task in tasks[2:]:
            store.add(task, run_task(task))
        points = points_of(store.rows, ["nodes", "suspicion_mult"])
    assert [(point.at["suspicion_mult"], point.trials) for point in points] == [(2, 2), (3, 2)]
    with opened(tmp_path, SMALL) as store:
        assert store.missing(tasks) == []
        assert points_of(store.rows, ["nodes", "suspicion_mult"]) == points


def test_a_folder_is_for_one_sweep_and_one_writer(tmp_path: Path) -> None:
    other = Sweep(axes=(Axis("nodes", (5.0,)), *SMALL.axes[1:]), seeds=2, watch=12.0)
    with opened(tmp_path, SMALL), pytest.raises(ConfigError, match="another sweep writes"), opened(tmp_path, SMALL):
        raise AssertionError("two write")
    with pytest.raises(ConfigError, match="holds another sweep"), opened(tmp_path, other):
        raise AssertionError("two are kept")


def test_estimates_have_intervals() -> None:
    few, many = bootstrap([1.0, 2.0, 9.0], median), bootstrap([1.0, 2.0, 9.0] * 30, median)
    assert few.value == many.value == 2.0
    assert few.low <= many.low <= 2.0 <= many.high <= few.high
    assert bootstrap([3.0], median).high == 3.0
    none = rate([0.0], [10.0])
    assert none.value == none.low == 0.0
    assert math.isclose(none.high, 0.369, rel_tol=0.05)  # 3.69 is the exact upper limit when none is seen
    ten = rate([4.0, 6.0], [1.0, 1.0])
    assert (round(2 * ten.low, 1), round(2 * ten.high, 1)) == (4.8, 18.4)  # exact: 4.8 and 18.4
    assert quantile([3.0, 1.0, 2.0], 0.95) == 3.0
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
