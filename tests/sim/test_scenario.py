"""Scenarios and histories as files: there and back, and errors that say where."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moot.gossip.actions import parse
from moot.gossip.errors import ConfigError
from moot.gossip.sim.history import (
    FaultBegan,
    FaultEnded,
    History,
    Life,
    Record,
    Sample,
    Waited,
    in_order,
    line_of,
    record_of,
)
from moot.gossip.sim.history import load as load_history
from moot.gossip.sim.lab import SimLab, judge, run
from moot.gossip.sim.monkey import DRAWS, draw
from moot.gossip.sim.scenario import Chance, ClusterSpec, Expect, Goal, Scenario, Step, Wait, parse_goal
from moot.gossip.sim.scenario_file import dump, load
from moot.gossip.sim.verdicts import Outcome
from tests.sim.test_checkers import records

WHOLE = """
name = "whole"
story = '''
two
lines'''
source = "somewhere"
settle = "1m"

[cluster]
size = 6
profile = "lan"
encryption = true
islands = ["1-3", "4-6"]
snapshots = true

[cluster.settings]
probe_interval = "500ms"
event_buffer = 64

[[step]]
at = "2s"
do = ["partition 1 2", "loss 10%"]
for = 20

[[step]]
after = "1s"
until = "3 failed"
within = "30s"

[[step]]
random = ["kill", "cut"]
for = "1m"
seed = 7
members = "2-4"

[[expect]]
check = "accuracy"
most = 2
grace = "10s"
on = "processes"
serf = "violated"
"""


def test_a_file_is_what_it_says() -> None:
    scenario = load(WHOLE)
    assert scenario == Scenario(
        name="whole",
        story="two\nlines",
        source=("somewhere",),
        settle=60.0,
        cluster=ClusterSpec(
            size=6,
            profile="lan",
            keys=("first",),
            islands=("1-3", "4-6"),
            snapshots=True,
            settings={"probe_interval": 0.5, "event_buffer": 64},
        ),
        steps=(
            Step(do=(parse("partition 1 2"), parse("loss 10%")), at=2.0, lasts=20.0),
            Wait(until=parse_goal("3 failed"), within=30.0, after=1.0),
            Chance(faults=("kill", "cut"), lasts=60.0, seed=7, members="2-4"),
        ),
        expects=(Expect(check="accuracy", bounds={"most": 2.0, "grace": 10.0}, on="processes", serf="violated"),),
    )
    assert load(dump(scenario)) == scenario
    assert scenario.cluster.configs()[0].probe_interval == 0.5


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ('name = "whole"', "name = whole", "file.toml:2: "),
        ('name = "whole"', "title = 1", "file.toml:2: title: unknown"),
        ('settle = "1m"', 'settle = "soon"', "file.toml:7: settle: 'soon' is no duration"),
        ("size = 6", "size = 0", "file.toml:10: cluster.size: size must be from 1"),
        ("size = 6", "size = true", "file.toml:10: cluster.size: must be a whole number"),
        ('profile = "lan"', 'profile = "moon"', "file.toml:11: cluster.profile: "),
        ('"4-6"]', '"4-9"]', "file.toml:13: cluster.islands|file.toml:9: cluster"),
        ("event_buffer = 64", "event_buffer = 0", "file.toml:16: cluster.settings: "),
        ("event_buffer = 64", "buffers = 64", "file.toml:18: cluster.settings.buffers: there is no such setting"),
        ('"loss 10%"]', '"loss 110%"]', "file.toml:22: step.1.do: '110%' is no share"),
        ("for = 20", "for = -1", "file.toml:23: step.1.for: must be a duration"),
        ('at = "2s"', 'at = "2s"\nafter = 1', "file.toml:22: step.1.after: must not be beside at"),
        ('until = "3 failed"', 'until = "3 tired"', "file.toml:27: step.2.until: '3 tired' is no goal"),
        ('until = "3 failed"', "", "file.toml:25: step.2: must have one of do, until and random"),
        ('["kill", "cut"]', '["dance"]', "file.toml:31: step.3.random: 'dance' cannot be drawn"),
        ('check = "accuracy"', 'check = "beauty"', "file.toml:37: expect.1.check: there is no checker 'beauty'"),
        ("most = 2", "least = 2", "file.toml:38: expect.1.least: accuracy has no bound least"),
        ('grace = "10s"', 'grace = "ten"', "file.toml:39: expect.1.grace: 'ten' is no duration"),
        ('on = "processes"', 'on = "mars"', "file.toml:40: expect.1.on: on must be"),
    ],
)
def test_errors_name_the_line_and_the_key(old: str, new: str, where: str) -> None:
    assert old in WHOLE
    with pytest.raises(ConfigError, match=where):
        load(WHOLE.replace(old, new), "file.toml")


@given(st.text(max_size=200))
def test_any_text_is_a_scenario_or_a_config_error(text: str) -> None:
    for attempt in (text, WHOLE.replace("kill", text), WHOLE.replace("3 failed", text), WHOLE + text):
        try:
            scenario = load(attempt)
        except ConfigError:
            continue
        assert load(dump(scenario)) == scenario


@given(st.lists(records(), max_size=30))
def test_a_history_comes_back_from_its_lines(found: list[Record]) -> None:
    history = History(["a", "b"], "x", 7, "processes")
    for record in found:
        history.add(record_of(line_of(record)))
    back = load_history(history.dump())
    assert back == history


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[]",
        "{",
        "[" * 100_000,
        '{"t": "rumour", "at": 1}',
        '{"t": "seen", "at": 1}',
        '{"t": "seen", "at": "1", "observer": "a", "subject": "b", "before": "", "status": ""}',
        '{"t": "ended", "at": 1e999}',
        '{"t": "ended", "at": true}',
        '{"t": "ended", "at": 1, "more": 1}',
        '{"t": "keys", "at": 1, "agent": "a", "keys": "k"}',
        '{"t": "waited", "at": 1, "words": "x", "seconds": 1, "reached": 1}',
        '{"t": "sample", "at": 1, "agent": "a", "health": 1.5}',
    ],
)
def test_a_line_that_is_no_record_is_refused_with_its_number(line: str) -> None:
    with pytest.raises(ConfigError, match="line 2"):
        load_history(['{"moot-history": 1}', line])
    with pytest.raises(ConfigError, match="line 1"):
        load_history([line])


def test_an_empty_file_is_no_history() -> None:
    with pytest.raises(ConfigError, match="heading"):
        load_history([])
    with pytest.raises(ConfigError, match="format"):
        load_history(['{"moot-history": 2}'])


def test_records_of_several_agents_are_put_in_order() -> None:
    one, two = [Sample(1, "a"), Sample(3, "a")], [Sample(2, "b"), Sample(3, "b")]
    assert in_order([one, two]) == [one[0], two[0], one[1], two[1]]


def test_one_seed_draws_one_course_of_faults() -> None:
    drawn = draw(7, list(DRAWS), ["a", "b", "c"], 300.0, 5.0)
    assert drawn == draw(7, list(DRAWS), ["a", "b", "c"], 300.0, 5.0)
    assert drawn != draw(8, list(DRAWS), ["a", "b", "c"], 300.0, 5.0)
    assert [at for at, _ in drawn] == [5.0 * number for number in range(60)]
    assert len({type(action) for _, action in drawn}) >= 5
    for wrong in (["dance"], []):
        with pytest.raises(ConfigError):
            draw(1, wrong, ["a"], 10.0, 5.0)


# running them


def scenario_of(*steps: Step | Wait | Chance, size: int = 4, **more: object) -> Scenario:
    return Scenario(name="test", cluster=ClusterSpec(size=size), steps=steps, **more)  # type: ignore[arg-type]  # any of its fields


def do(*words: str, after: float = 1.0, lasts: float | None = None) -> Step:
    return Step(do=tuple(map(parse, words)), after=after, lasts=lasts)


def kinds(scenario: Scenario, *, seed: int = 1) -> list[str]:
    """Lives, faults and commands, in words."""
    found = []
    for line in run(scenario, seed).history.dump():
        held = json.loads(line)
        kind = held.get("t")
        if kind == "life" and held["at"] > 0:
            found.append(f"{held['agent']} {held['what']}")
        elif kind in ("fault-began", "fault-ended"):
            found.append(f"{kind} {held['words']}")
        elif kind == "command":
            found.append(f"{held['words']}: {held.get('error') or held.get('result') or 'done'}")
    return [entry for entry in found if not entry.endswith("started")]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_run_is_the_same_as_objects_and_as_bytes_and_again(seed: int) -> None:
    scenario = load(WHOLE.replace("1m", "20s"))
    first, second = run(scenario, seed), run(scenario, seed, wire=True)
    assert list(first.history.dump()) == list(second.history.dump())
    assert first.digest == second.digest == run(scenario, seed).digest
    assert first.digest != run(scenario, seed + 10).digest


def test_what_lasts_is_undone_while_other_steps_go_on() -> None:
    scenario = scenario_of(do("loss 10%", lasts=5.0), do("slow 2 1s", lasts=1.0), do("event x", after=3.0))
    assert kinds(scenario) == [
        "fault-began loss 10%",
        "fault-began slow moot-2 1s",
        "fault-ended slow moot-2 1s",
        "event x: done",
        "fault-ended loss 10%",
    ]


def test_lives_are_told_as_they_happen() -> None:
    scenario = scenario_of(do("kill 2", lasts=5.0), do("stop 3", lasts=2.0), do("leave 4"), settle=10.0)
    assert [each for each in kinds(scenario) if ":" not in each] == [
        "moot-2 killed",
        "moot-3 stopped",
        "moot-4 leaving",
        "moot-3 continued",
        "moot-4 left",
    ]


def test_what_cannot_be_done_is_a_command_that_failed() -> None:
    scenario = scenario_of(do("kill 2", "stop 2", "start 1", "kill 9", "join 1 2"), settle=15.0)
    found = kinds(scenario)
    assert "stop 2: moot-2 does not run" in found
    assert "start 1: moot-1 runs already" in found
    assert any(each.startswith("kill 9: there is no member 9") for each in found)
    assert any("connection refused" in each for each in found)


def test_commands_tell_how_they_ended() -> None:
    scenario = scenario_of(do("query load"), do("force-leave nobody"), do("key list"), do("join 2 1"), settle=10.0)
    found = kinds(scenario)
    assert "query load: 0 answers" in found
    assert "force-leave nobody by moot-1: done" in found
    assert "join 2 1: joined 1 of 1" in found
    assert any(each.startswith("key list: ") for each in found)


def test_calm_ends_everything_that_lasts() -> None:
    wrong = ("stop 2", "slow 3 1s", "clock 4 +5s", "disk-full 1", "loss 5%", "flood 1")
    result = run(scenario_of(do(*wrong), do("calm", after=3.0), settle=40.0), 1)
    assert result.history.records[-1].at > 40
    began = {record.words for record in result.history.of(FaultBegan)}
    ended = {record.words for record in result.history.of(FaultEnded)}
    assert began == ended
    assert len(began) == 5


def test_a_wait_in_vain_is_a_violation_though_nobody_asked() -> None:
    result = run(scenario_of(Wait(until=parse_goal("3 failed"), within=5.0)), 1)
    assert [(expect.check, verdict.outcome) for expect, verdict in result.verdicts] == [("reached", Outcome.VIOLATED)]
    assert result.outcome is Outcome.VIOLATED
    assert not result.as_expected


def test_expectations_of_the_other_driver_are_not_asked() -> None:
    expects = (Expect(check="answered", bounds={}, on="processes"), Expect(check="accuracy", bounds={}))
    result = run(scenario_of(expects=expects), 1)
    assert [expect.check for expect, _ in result.verdicts] == ["accuracy"]
    assert result.outcome is Outcome.HOLDS
    result.history.source = "processes"
    assert [verdict.outcome for _, verdict in judge(result.scenario, result.history)] == [
        Outcome.UNKNOWN,
        Outcome.HOLDS,
    ]


def test_a_moment_of_chance_leaves_nothing_wrong() -> None:
    scenario = scenario_of(
        Chance(faults=tuple(DRAWS), lasts=60.0, every=3.0), Wait(until=parse_goal("agreed")), size=6
    )
    lab = SimLab(scenario, 3)
    history = lab.play()
    assert len(lab.cluster.hosts) == 6
    assert not lab.cluster.conditions.faults
    assert judge(scenario, history)[0][1].outcome is Outcome.HOLDS


def test_a_recorded_run_is_judged_alike_when_it_is_read_again(tmp_path: Path) -> None:
    scenario = scenario_of(
        do("kill 2"), settle=40.0, expects=(Expect(check="completeness", bounds={"within": 30.0}),)
    )
    result = run(scenario, 1)
    path = tmp_path / "history.jsonl"
    path.write_text("\n".join(result.history.dump()))
    again = judge(scenario, load_history(path.read_text().splitlines()))
    assert [(verdict.outcome, verdict.summary) for _, verdict in again] == [
        (verdict.outcome, verdict.summary) for _, verdict in result.verdicts
    ]


def test_a_member_that_starts_again_tries_its_own_join_again_when_nobody_lets_it_in() -> None:
    """Each life counts its tickets anew: the end of the first life's join is not that of the second one's."""
    steps = (
        Step(do=(parse("delay 2s tcp"),), after=0.1),
        Step(do=(parse("move 2"),), after=0.1),
        Step(do=(parse("calm"),), after=0.1),
        Wait(until=Goal("agreed"), after=1.0, within=60.0),
    )
    found = run(Scenario(name="moved", cluster=ClusterSpec(size=2), steps=steps), 0)
    assert [wait.reached for wait in found.history.of(Waited)] == [True, True]


def test_an_agent_that_leaves_meanwhile_does_not_try_its_join_again() -> None:
    lab = SimLab(Scenario(name="leaving", cluster=ClusterSpec(size=3)), 1)
    lab.boot()
    lab.pass_time(10.0)
    lab.do(parse("leave 2"))
    lab.deeds.start_later("moot-2", ["moot-1"], 0.05)
    lab.pass_time(20.0)
    lives = [(life.agent, life.what) for life in lab.end().of(Life)]
    assert lives[-2:] == [("moot-2", "leaving"), ("moot-2", "left")]
