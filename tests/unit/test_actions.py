"""Actions, selectors and amounts: words to values and back, and what they do to Conditions."""

import json
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moot.gossip.actions import (
    Action,
    AskQuery,
    Calm,
    DiskFull,
    Disturb,
    Flood,
    ForceLeave,
    Heal,
    Join,
    Keys,
    Partition,
    Process,
    Scope,
    SendEvent,
    SetClock,
    Slow,
    parse,
    undoing,
)
from moot.gossip.afflict import active, afflict
from moot.gossip.amounts import rate, rate_text, seconds, seconds_text, share, share_text
from moot.gossip.errors import ConfigError
from moot.gossip.faults import TRUE_CLOCK, Arrival, Clock, Conditions, Fault
from moot.gossip.faults_json import as_json, from_json
from moot.gossip.selectors import select

NAMES = [f"moot-{number}" for number in range(1, 13)]


@pytest.mark.parametrize(
    ("words", "action"),
    [
        ("loss 10%", Disturb("loss", Fault(loss=0.1))),
        ("loss 0.1 udp", Disturb("loss", Fault(loss=0.1), Scope(transport="packet"))),
        ("delay 50ms 1>2", Disturb("delay", Fault(delay=0.05), Scope("1", "2"))),
        ("delay 50ms±20ms", Disturb("delay", Fault(delay=0.03, jitter=0.04))),
        ("duplicate 5% 3", Disturb("duplicate", Fault(duplicate=0.05), Scope("3", None, True))),
        ("reorder 10% 50ms 1↔2", Disturb("reorder", Fault(reorder=0.1, reorder_delay=0.05), Scope("1", "2", True))),
        ("corrupt 1%", Disturb("corrupt", Fault(corrupt=0.01))),
        ("bandwidth 64KB/s", Disturb("bandwidth", Fault(bandwidth=64_000.0))),
        ("cut a→b tcp", Disturb("cut", Fault(loss=1.0), Scope("a", "b", False, "stream"))),
        ("partition 1,2 3-5", Partition(("1,2", "3-5"))),
        ("slow 3 300ms", Slow("3", 0.3)),
        ("slow 3 off", Slow("3", 0.0)),
        ("clock 3 +5s", SetClock("3", Clock(5.0, 0.0))),
        ("clock 3 -5s drift -1%", SetClock("3", Clock(-5.0, -0.01))),
        ("clock 3 right", SetClock("3", TRUE_CLOCK)),
        ("disk-full 3 off", DiskFull("3", False)),
        ("heal", Heal()),
        ("heal loss 1>2", Heal("loss", Scope("1", "2"))),
        ("calm", Calm()),
        ("kill 1-3", Process("kill", "1-3")),
        ("restart 4 via 1 fresh", Process("restart", "4", "1", True)),
        ("start via", Process("start", "via")),
        ("join 4 1", Join("4", "1")),
        ("prune ghost by 2", ForceLeave("ghost", True, "2")),
        ("event deploy v2 by 1", SendEvent("deploy", "v2", "1")),
        ("query load", AskQuery("load")),
        ("key install second", Keys("install", "second")),
        ("flood 3", Flood("3")),
    ],
)
def test_words_are_actions_and_actions_words(words: str, action: Action) -> None:
    assert parse(words) == action
    assert parse(str(action)) == action


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("", "needs a verb"),
        ("explode 3", "no action explode"),
        ("loss", "loss 10%"),
        ("loss 110%", "no share"),
        ("delay soon", "no duration"),
        ("delay 10ms±20ms", "negative"),
        ("bandwidth 0KB/s", "no rate"),
        ("cut", "cut a>b"),
        ("cut a>b>c", "names no members"),
        ("loss 10% a b", "no link"),
        ("slow 3", "slow NAME"),
        ("clock 3", "clock NAME"),
        ("clock 3 drift -100%", "drift"),
        ("heal thyself", "thyself"),
        ("kill", "kill NAME"),
        ("kill 3 via 1", "kill NAME"),
        ("key forge x", "key install"),
        ("key list x", "key install"),
        ("kill " + 5000 * "x", "at most 4096"),
    ],
)
def test_wrong_words_are_refused_with_the_right_ones(words: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        parse(words)


@given(
    st.text(alphabet="abx0123456789 ,<>-%±.+msKB/→!*[", max_size=40), st.sampled_from(["loss", "delay", "cut", ""])
)
def test_any_words_are_an_action_that_comes_back_or_a_config_error(words: str, verb: str) -> None:
    try:
        action = parse(f"{verb} {words}")
    except ConfigError:
        return
    assert str(parse(str(action))) == str(action)


@given(st.floats(1e-6, 1e6), st.floats(0, 1), st.floats(1, 1e11))
def test_amounts_survive_being_written(duration: float, part: float, speed: float) -> None:
    assert seconds(seconds_text(duration)) == pytest.approx(duration, rel=1e-3, abs=1e-6)
    assert share(share_text(part)) == pytest.approx(part, abs=1e-6)
    assert rate(rate_text(speed)) == pytest.approx(speed, rel=1e-6, abs=1e-3)


@pytest.mark.parametrize(
    ("selector", "numbers"),
    [
        ("3", [3]),
        ("moot-3", [3]),
        ("2-4", [2, 3, 4]),
        ("moot-1*", [1, 10, 11, 12]),
        ("12,1,moot-1", [1, 12]),
        ("all", list(range(1, 13))),
        ("!2-12", [1]),
        ("1-5,!3", [1, 2, 4, 5]),
    ],
)
def test_selectors_name_members_in_their_order(selector: str, numbers: list[int]) -> None:
    assert select(selector, NAMES) == [f"moot-{number}" for number in numbers]


@pytest.mark.parametrize("selector", ["13", "0", "5-3", "nobody", "x*", "", "a b", "1,,2", "!"])
def test_selectors_that_mean_nobody_are_refused(selector: str) -> None:
    with pytest.raises(ConfigError):
        select(selector, NAMES)


def passes(conditions: Conditions, source: str, to: str) -> bool:
    return bool(conditions.packet(source, to, Random(1)))


def afflicted(*words: str) -> Conditions:
    conditions = Conditions()
    for each in words:
        assert afflict(conditions, parse(each), ["a", "b", "c", "d"])
    return conditions


def test_a_lone_name_means_all_links_of_it_both_ways() -> None:
    conditions = afflicted("cut a")
    assert not passes(conditions, "a", "b")
    assert not passes(conditions, "b", "a")
    assert passes(conditions, "b", "c")


def test_a_fault_replaces_its_like_and_stands_beside_others() -> None:
    conditions = afflicted("loss 10%", "loss 20% a>b", "loss 30%")
    assert active(conditions) == ["loss 30%", "loss 20% a>b"]


def test_healing_one_kind_or_one_scope_leaves_the_rest() -> None:
    conditions = afflicted("loss 10%", "loss 20% a>b udp", "cut c", "partition a,b", "heal loss a>b udp")
    assert active(conditions) == ["partition a,b", "loss 10%", "cut c"]
    afflict(conditions, parse("heal loss"), ["a"])
    afflict(conditions, parse("heal partition"), ["a"])
    assert active(conditions) == ["cut c"]


def test_what_is_active_can_be_said_again_and_means_the_same() -> None:
    said = [
        *("partition a,b", "loss 10%", "delay 50ms±20ms a<>b", "duplicate 5% all>c udp", "cut d tcp"),
        *("reorder 10% 50ms a>all", "corrupt 1%", "bandwidth 64KB/s"),
        *("slow a 300ms", "clock b +5s drift -1%", "disk-full c"),
    ]
    conditions = afflicted(*said)
    assert active(conditions) == said
    assert active(from_json(json.loads(json.dumps(as_json(conditions))))) == said
    assert as_json(afflicted(*said, "calm")) == as_json(Conditions())


@pytest.mark.parametrize(
    "words", ["loss 10% a", "partition a b", "slow a 1s", "clock a +1s", "disk-full a", "cut a>b udp", "delay 1s"]
)
def test_what_undoes_an_action_leaves_nothing_of_it(words: str) -> None:
    conditions = afflicted(words)
    end = undoing(parse(words))
    assert end is not None
    afflict(conditions, end, ["a", "b"])
    assert active(conditions) == []


def test_processes_and_commands_are_not_a_matter_of_conditions() -> None:
    assert not afflict(Conditions(), parse("kill a"), ["a"])
    assert undoing(parse("prune a")) is None
    assert undoing(parse("kill a")) == Process("start", "a")


@pytest.mark.parametrize(
    "state",
    [
        [],
        {"faults": []},
        {"faults": {"x": {"loss": "much"}}},
        {"faults": {"x": {"loss": 2}}},
        {"faults": {"x": {"loss": 10**400}}},
        {"faults": {"x": {"source": "ab"}}},
        {"faults": {"x": {"transport": "pigeon"}}},
        {"faults": {str(number): {} for number in range(1025)}},
        {"partition": [["a", 1]]},
        {"slow": {"a": float("nan")}},
        {"clocks": {"a": {"offset": float("inf")}}},
        {"clocks": {"a": {"speed": 1}}},
        {"paused": "a"},
        {"more": 1},
    ],
)
def test_conditions_that_cannot_be_are_refused(state: object) -> None:
    with pytest.raises(ConfigError):
        from_json(state)


def test_conditions_told_anew_forget_the_old_but_not_how_far_links_are_behind() -> None:
    conditions = afflicted("bandwidth 1KB/s", "slow a 1s")
    rng = Random(1)
    assert conditions.packet("a", "b", rng, size=500, now=0.0) == (Arrival(0.5),)
    conditions.become(afflicted("bandwidth 1KB/s"))
    assert conditions.slowness("a") == 0.0
    assert conditions.packet("a", "b", rng, size=500, now=0.0) == (Arrival(1.0),)
