"""Tuning and convergence: what is tried, what is proposed, and how near a formula comes."""

from math import inf

import pytest

from moot.agent.sweep_table import Estimate
from moot.agent.tune import Candidate, Goal, frontier, judge, proposal, settings, tasks_of
from moot.gossip.config import LAN
from moot.gossip.errors import ConfigError
from moot.gossip.sim.convergence import expected, observed
from moot.gossip.sim.trial import Setting, event_times, run_trial


def candidate(detect: float, false: float, high: float, cost: float) -> Candidate:
    return Candidate(Setting(), detect, Estimate(false, 0.0, high), cost)


def test_only_settings_that_can_do_it_are_tried() -> None:
    tried = [dict(setting.engine) for setting in settings(100, 0.0, 0.2, Goal(detect_within=4.5, false_below=1.0))]
    assert {engine["probe_interval"] for engine in tried} == {1.0}  # half of 0.5 s is too short for the rtt
    assert {engine["suspicion_mult"] for engine in tried} == {2.0}
    assert all(engine["probe_timeout"] == engine["probe_interval"] / 2 for engine in tried)
    with pytest.raises(ConfigError, match="no setting can detect"):
        settings(100, 0.0, None, Goal(detect_within=0.5, false_below=1.0))


def test_the_curve_has_what_nothing_beats_and_the_proposal_does_what_is_asked() -> None:
    fast, sure, cheap = candidate(2, 5.0, 9.0, 900), candidate(8, 0.0, 0.5, 500), candidate(16, 0.0, 0.5, 300)
    worse, never = candidate(8, 0.1, 0.9, 600), candidate(inf, 0.0, 0.5, 100)
    tried = [never, worse, cheap, sure, fast]
    assert frontier(tried) == [fast, sure, cheap, never]
    assert proposal(tried, Goal(detect_within=10, false_below=1.0)) is sure
    assert proposal(tried, Goal(detect_within=20, false_below=1.0)) is cheap
    assert proposal(tried, Goal(detect_within=1, false_below=1.0)) is None


def test_trials_of_a_setting_come_to_a_candidate() -> None:
    setting = Setting(nodes=6)
    trials = [run_trial(task.setting, task.seed, task.watch) for task in tasks_of([setting], 3, 15.0)]
    found = judge(setting, trials)
    assert found.detect_s == max(trial.detect_s or inf for trial in trials)
    assert found.false.value == 0.0
    assert found.meets(Goal(detect_within=20, false_below=0.1))


@pytest.mark.parametrize("loss", [0.0, 0.1])
def test_the_formula_and_the_simulator_agree_about_how_fast_news_spread(loss: float) -> None:
    runs = [event_times(Setting(nodes=64, loss=loss), seed, 3.0) for seed in range(1, 7)]
    formula, simulated = expected(64, LAN, loss, 3.0), observed(runs, 64, 0.01, 3.0)
    for share in (0.5, 0.9):
        by_formula, by_runs = formula.reaches(share), simulated.reaches(share)
        assert by_formula is not None
        assert by_runs is not None
        assert abs(by_formula - by_runs) < 0.25 * by_runs
    assert formula.at(0.0) == 1 / 64
    assert simulated.at(3.0) == 1.0


def test_more_fan_out_is_faster_and_loss_is_slower() -> None:
    times = [expected(n, LAN, loss, 15.0).reaches(0.99) or inf for n, loss in ((32, 0.0), (512, 0.0), (512, 0.3))]
    assert times == sorted(times)
    assert expected(512, LAN, 1.0, 1.0).at(1.0) == 1 / 512
    with pytest.raises(ConfigError):
        expected(1, LAN, 0.0, 1.0)
