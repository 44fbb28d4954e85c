"""Shrinking: what is left still goes wrong in the same way, nothing can be left out, and the same comes out again."""

from collections.abc import Sequence

import pytest

from moot.gossip.actions import Partition, parse
from moot.gossip.selectors import select
from moot.gossip.serf.membership import Membership
from moot.gossip.sim import library
from moot.gossip.sim.finding import Finding, about, play
from moot.gossip.sim.lab import run
from moot.gossip.sim.rename import moved, numbered, renamed
from moot.gossip.sim.scenario import ClusterSpec, Goal, Scenario, Step, Wait
from moot.gossip.sim.scenario_file import dump, load
from moot.gossip.sim.schedules import PLAIN, Variation, concrete, varied
from moot.gossip.sim.shrink import Shrunk, Trial, shrink

NAMES = ClusterSpec(size=5).names


def steps(*words: str) -> tuple[Step, ...]:
    return tuple(Step(do=(parse(text),), after=1.0) for text in words)


def words(scenario: Scenario) -> list[str]:
    return [str(action) for step in scenario.steps if isinstance(step, Step) for action in step.do]


def shrunk_by(trial: Trial, *needed: str, size: int = 1) -> Shrunk:
    """Shrinks for a fault that shows whenever these actions are left, in a pool of that size at least."""

    def first_failing(trials: Sequence[Trial]) -> int | None:
        return next(
            (
                place
                for place, each in enumerate(trials)
                if set(needed) <= set(words(each.scenario)) and each.scenario.cluster.size >= size
            ),
            None,
        )

    return shrink(trial, first_failing)


def test_only_what_is_needed_is_left() -> None:
    many = steps("kill 3", "loss 10%", "stop 2", "partition 1,2 3-5", "cont 2", "slow 1 300ms", "heal", "calm")
    found = shrunk_by(Trial(Scenario(name="many", settle=20.0, steps=many), 7), "loss 10%", "heal", size=2)
    assert words(found.trial.scenario) == ["loss 10%", "heal"]
    assert found.trial.scenario.cluster.size == 2
    assert found.trial.scenario.settle == 0.0
    assert [step.after for step in found.trial.scenario.steps] == [0.0, 0.0]
    assert found.complete
    assert found.run_count < 200


def test_actions_lose_the_members_that_do_not_matter() -> None:
    def parts_the_second(trial: Trial) -> bool:
        actions = [action for step in trial.scenario.steps if isinstance(step, Step) for action in step.do]
        groups = [group for action in actions if isinstance(action, Partition) for group in action.groups]
        return trial.scenario.cluster.size == 5 and any("moot-2" in select(group, NAMES) for group in groups)

    trial = Trial(Scenario(name="groups", steps=steps("partition 1-3 4-5")), 1)
    found = shrink(trial, lambda trials: next((at for at, each in enumerate(trials) if parts_the_second(each)), None))
    assert words(found.trial.scenario) == ["partition 2"]


def test_a_scenario_that_needs_everything_stays_as_it_is() -> None:
    trial = Trial(Scenario(name="all", cluster=ClusterSpec(size=1), steps=(Step(do=(parse("calm"),)),)), 3)
    assert shrunk_by(trial, "calm").trial == trial


def test_it_ends_when_there_have_been_enough_runs() -> None:
    trial = Trial(Scenario(name="long", steps=steps(*["heal"] * 50)), 1)
    found = shrink(trial, lambda trials: None, runs_max=40)
    assert found == Shrunk(trial, 40, complete=False)


@pytest.mark.parametrize(
    ("given", "there"),
    [
        ("3", "2"),
        ("1-5", "1-4"),
        ("2", ""),
        ("2,4", "3"),
        ("all", "all"),
        ("!2", "1-4"),
        ("ghost", "ghost"),
        ("moot-5", "4"),
    ],
)
def test_selectors_follow_the_members_that_move(given: str, there: str) -> None:
    assert moved(given, NAMES, {1: 1, 3: 2, 4: 3, 5: 4}) == there


def test_numbers_become_the_shortest_selector() -> None:
    assert numbered([1, 2, 3, 5, 7, 8]) == "1-3,5,7-8"


def test_what_is_about_nobody_any_more_is_left_out() -> None:
    acts = steps(
        "kill 2", "cut 2>1", "cut 1<>3 tcp", "join 2 1", "prune 3 by 2", "start 3 via 2", "event deploy by 1"
    )
    scenario = Scenario(name="less", steps=(*acts, Wait(until=Goal("failed", "2")), Wait(until=Goal("agreed"))))
    fewer = renamed(scenario, {1: 1, 3: 2})
    assert fewer is not None
    assert words(fewer) == ["cut 1<>2 tcp", "prune 2", "start 2", "event deploy by 1"]
    assert [str(step.until) for step in fewer.steps if isinstance(step, Wait)] == ["agreed"]
    assert renamed(scenario, {}) is None


def test_chance_spelled_out_is_the_same_run() -> None:
    monkey = library.scenario("monkey")
    spelled = concrete(monkey, 5)
    assert spelled != monkey
    whole, again = run(monkey, 5), run(spelled, 5)
    assert whole.digest == again.digest


def test_a_seed_makes_one_schedule_and_another_seed_another() -> None:
    scenario = library.scenario("zombie-after-prune")
    found = [varied(scenario, seed, Variation(faults=("loss", "kill"))) for seed in (1, 1, 2)]
    assert found[0] == found[1] != found[2]
    assert varied(scenario, 1, PLAIN) == scenario
    for each in found:
        assert load(dump(each)) == each


def test_a_planted_bug_shrinks_to_a_run_that_still_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks for those that failed, so a parted pool stays parted."""
    monkeypatch.setattr(Membership, "lost_one", lambda self: None)
    scenario = varied(library.scenario("partition-heals"), 1, Variation())
    before = next(finding for finding in play(scenario, 1).findings if finding.check == "convergence")

    def again(trial: Trial) -> Finding | None:
        return next((each for each in play(trial.scenario, trial.seed).findings if before.is_like(each)), None)

    def first_failing(trials: Sequence[Trial]) -> int | None:
        return next((place for place, trial in enumerate(trials) if again(trial)), None)

    start = Trial(about(scenario, before), 1)
    one, other = (shrink(start, first_failing, runs_max=150, seeds_tried=1) for _ in range(2))
    assert one == other
    assert again(load_again(one.trial)) is not None
    assert one.trial.scenario.cluster.size < scenario.cluster.size
    assert {text.split()[0] for text in words(one.trial.scenario)} == {"partition", "heal"}


def load_again(trial: Trial) -> Trial:
    return Trial(load(dump(trial.scenario)), trial.seed)
