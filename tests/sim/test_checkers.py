"""Every checker: when it holds, when it is violated, and when it cannot tell."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moot.gossip.errors import ConfigError
from moot.gossip.sim.checkers import CHECKERS, check
from moot.gossip.sim.history import (
    Command,
    EventDelivered,
    EventSent,
    History,
    KeyState,
    Life,
    Record,
    Refuted,
    Sample,
    Waited,
)
from moot.gossip.sim.verdicts import EVIDENCE_MAX, Outcome
from tests.support.runs import crash, fault, history, outcome, prune, saw, verdict

HOLDS, VIOLATED, UNKNOWN = Outcome.HOLDS, Outcome.VIOLATED, Outcome.UNKNOWN


def all_saw(at: float, subject: str, status: str, before: str = "alive", *, by: str = "ab") -> list[Record]:
    return [saw(at, observer, subject, status, before) for observer in by]


# completeness


def test_a_crash_that_all_see_in_time_is_complete() -> None:
    run = history(crash(10, "c"), all_saw(15, "c", "failed"))
    assert outcome(run, "completeness", within=5.0) is HOLDS
    assert outcome(run, "completeness", within=4.9) is VIOLATED


def test_a_view_that_misses_a_crash_is_named() -> None:
    run = history(crash(10, "c"), all_saw(15, "c", "failed", by="a"))
    found = verdict(run, "completeness", within=30.0)
    assert found.outcome is VIOLATED
    assert found.evidence[0].text == "b sees c alive, 30s after it crashed"
    assert found.evidence[0].members == ("b", "c")


def test_without_a_crash_or_without_time_completeness_cannot_tell() -> None:
    assert outcome(history(), "completeness") is UNKNOWN
    assert outcome(history(crash(90, "c")), "completeness", within=30.0) is UNKNOWN
    assert outcome(history(crash(10, "c"), Life(12, "c", "started")), "completeness") is UNKNOWN


def test_who_is_stopped_or_cut_off_itself_need_not_see_a_crash() -> None:
    stopped = history(crash(10, "c"), all_saw(15, "c", "failed", by="a"), Life(11, "b", "stopped"))
    assert outcome(stopped, "completeness") is HOLDS
    lonely = history(crash(10, "c"), all_saw(15, "c", "failed", by="ad"), fault(9, 90, "cut b"), names="abcd")
    assert outcome(lonely, "completeness") is HOLDS


@given(st.lists(st.floats(0.1, 60), min_size=2, max_size=6), st.floats(0.1, 60))
def test_completeness_is_that_the_slowest_view_is_in_time(latencies: list[float], within: float) -> None:
    observers = [f"o{number}" for number in range(len(latencies))]
    news = [saw(10 + wait, name, "x", "failed") for name, wait in zip(observers, latencies, strict=True)]
    run = history(crash(10, "x"), news, names=[*observers, "x"], end=200.0)
    in_time = 10 + max(latencies) <= 10 + within
    assert outcome(run, "completeness", within=within) is (HOLDS if in_time else VIOLATED)


# detection, dissemination


def test_detection_measures_the_first_and_the_last() -> None:
    run = history(crash(10, "c"), saw(12, "a", "c", "failed"), saw(16, "b", "c", "failed"))
    found = verdict(run, "detection", first=2.0, last=6.0)
    assert found.outcome is HOLDS
    assert found.figures == {"first": 2.0, "median": 4.0, "p99": 6.0, "last": 6.0}
    assert outcome(run, "detection", first=1.9) is VIOLATED
    assert outcome(run, "detection", median=3.9) is VIOLATED
    assert outcome(run, "detection", last=5.9) is VIOLATED


def test_detection_cannot_tell_without_a_crash_or_when_the_run_is_too_short() -> None:
    assert outcome(history(), "detection") is UNKNOWN
    assert outcome(history(crash(10, "c")), "detection") is UNKNOWN
    assert outcome(history(crash(10, "c"), end=140.0), "detection", first=10.0) is VIOLATED


def test_news_has_to_be_everywhere_soon_after_the_first_has_it() -> None:
    run = history(crash(10, "c"), saw(12, "a", "c", "failed"), saw(16, "b", "c", "failed"))
    assert outcome(run, "dissemination", within=4.0) is HOLDS
    assert outcome(run, "dissemination", within=3.9) is VIOLATED
    assert outcome(history(crash(10, "c"), saw(12, "a", "c", "failed")), "dissemination") is VIOLATED
    assert outcome(history(), "dissemination") is UNKNOWN
    assert outcome(history(crash(10, "c"), saw(99, "a", "c", "failed")), "dissemination") is UNKNOWN


# accuracy, flaps


def test_a_failure_of_a_member_that_runs_is_false_and_says_who_did_it() -> None:
    run = history(
        saw(40, "a", "c", "suspect", accuser="b"),
        saw(44, "a", "c", "failed", "suspect", accuser="b", confirmed=2),
        Refuted(45, "c", 2, "b"),
        saw(46, "a", "c", "alive", "failed", incarnation=2),
    )
    found = verdict(run, "accuracy")
    assert found.outcome is VIOLATED
    assert found.evidence[0].text == (
        "a sees c failed while it runs, accused by b, confirmed by 2 others, refuted after 1s, alive again after 2s"
    )
    assert outcome(run, "accuracy", most=1.0) is HOLDS
    assert outcome(run, "flaps") is VIOLATED
    assert outcome(run, "flaps", most=1.0) is HOLDS
    assert outcome(run, "flaps", most=1.0, total=0.0) is VIOLATED


@pytest.mark.parametrize(
    "cause",
    [
        [Life(39, "c", "stopped"), Life(40, "c", "continued")],
        [Life(39, "c", "killed"), Life(40, "c", "started")],
        [Life(39, "c", "leaving")],
        fault(20, 35, "partition c"),
        fault(20, 80, "cut c>a"),
    ],
)
def test_a_failure_with_a_cause_is_not_false(cause: list[Record]) -> None:
    run = history(cause, saw(44, "a", "c", "failed"), saw(46, "a", "c", "alive", "failed"))
    assert outcome(run, "accuracy") is HOLDS
    assert outcome(run, "flaps") is HOLDS


def test_a_slow_member_is_ill_and_counts_unless_it_is_told_otherwise() -> None:
    run = history(fault(20, 80, "slow c 2s"), saw(44, "a", "c", "failed"))
    assert outcome(run, "accuracy") is VIOLATED
    assert outcome(run, "accuracy", healthy_only=True) is HOLDS


def test_without_views_nothing_is_known_of_accuracy_and_flaps() -> None:
    empty = History(["a"])
    assert outcome(empty, "accuracy") is UNKNOWN
    assert outcome(empty, "flaps") is UNKNOWN


# convergence


def healed(*more: Record, end: float = 100.0) -> History:
    parted = [*all_saw(12, "c", "failed"), saw(12, "c", "a", "failed"), saw(12, "c", "b", "failed")]
    return history(fault(10, 20, "partition c"), parted, more, end=end)


def back(at: float, pairs: str) -> list[Record]:
    return [saw(at, pair[0], pair[1], "alive", "failed") for pair in pairs.split()]


def test_views_that_agree_after_the_fault_have_converged() -> None:
    run = healed(*back(25, "ac bc ca"), *back(28, "cb"))
    found = verdict(run, "convergence", within=10.0)
    assert found.outcome is HOLDS
    assert found.figures["slowest"] == pytest.approx(8.0)
    assert outcome(run, "convergence", within=7.9) is VIOLATED


def test_views_that_part_again_by_themselves_have_not_converged() -> None:
    run = healed(*back(25, "ac bc ca cb"), saw(50, "a", "c", "failed"))
    found = verdict(run, "convergence", within=10.0)
    assert found.outcome is VIOLATED
    assert "alive to 2, failed to 1" in found.evidence[0].text


def test_without_trouble_or_without_quiet_convergence_cannot_tell() -> None:
    assert outcome(history(), "convergence") is UNKNOWN
    assert outcome(healed(end=25.0), "convergence", within=60.0) is UNKNOWN


def test_a_suspicion_does_not_part_views_and_the_dead_need_not_look_the_same() -> None:
    run = history(
        crash(10, "c"), saw(15, "a", "c", "failed"), saw(15, "b", "c", "left"), saw(16, "a", "b", "suspect")
    )
    assert outcome(run, "convergence", within=10.0) is HOLDS
    assert outcome(run, "convergence", within=10.0, listed=True) is VIOLATED


@given(st.lists(st.floats(21, 60), min_size=4, max_size=4), st.floats(1, 40))
def test_convergence_takes_as_long_as_the_last_view(times: list[float], within: float) -> None:
    more = [record for at, pair in zip(times, ("ac", "bc", "ca", "cb"), strict=True) for record in back(at, pair)]
    assert outcome(healed(*more), "convergence", within=within) is (HOLDS if max(times) - 20 <= within else VIOLATED)


# zombie, resurrection, left stays left


def test_who_was_pruned_is_gone_and_stays_gone() -> None:
    gone = [crash(10, "c"), *all_saw(15, "c", "failed"), prune(20, "c")]
    run = history(gone, all_saw(21, "c", "none", "failed"))
    assert outcome(run, "zombie") is HOLDS
    again = history(gone, all_saw(21, "c", "none", "failed"), saw(50, "b", "c", "failed", "none"))
    found = verdict(again, "zombie")
    assert found.outcome is VIOLATED
    assert found.evidence[0].text == "b lists c again, as failed"
    kept = history(gone, all_saw(21, "c", "none", "failed", by="a"))
    assert "b still lists c, as failed" in verdict(kept, "zombie", within=60.0).evidence[0].text


def test_a_pruned_member_that_starts_again_is_no_zombie() -> None:
    run = history(
        crash(10, "c"),
        all_saw(15, "c", "failed"),
        prune(20, "c"),
        all_saw(21, "c", "none", "failed"),
        Life(40, "c", "started"),
        all_saw(41, "c", "alive", "none"),
    )
    assert outcome(run, "zombie") is HOLDS
    assert outcome(run, "resurrection") is HOLDS


def test_nothing_is_known_of_zombies_without_a_prune_of_one_that_is_down_and_time() -> None:
    assert outcome(history(), "zombie") is UNKNOWN
    assert outcome(history(prune(20, "c")), "zombie") is UNKNOWN
    late = history(crash(10, "c"), all_saw(15, "c", "failed"), prune(90, "c"))
    assert outcome(late, "zombie", within=60.0) is UNKNOWN


def test_a_dead_member_that_is_seen_alive_was_resurrected() -> None:
    dead = [crash(10, "c"), *all_saw(15, "c", "failed")]
    assert outcome(history(dead), "resurrection") is HOLDS
    run = history(dead, saw(50, "b", "c", "alive", "failed"))
    found = verdict(run, "resurrection")
    assert found.outcome is VIOLATED
    assert found.evidence[0].text == "b sees c alive, incarnation 1, but it is gone"
    assert outcome(history(), "resurrection") is UNKNOWN
    assert outcome(history(crash(10, "c")), "resurrection") is UNKNOWN


def test_who_left_stays_left_or_is_forgotten() -> None:
    leave = [Life(10, "c", "leaving"), Life(12, "c", "left"), *all_saw(11, "c", "leaving"), *all_saw(13, "c", "left")]
    assert outcome(history(leave), "left-stays-left") is HOLDS
    assert outcome(history(leave, saw(50, "a", "c", "none", "left")), "left-stays-left") is HOLDS
    failed = history(leave, saw(50, "a", "c", "failed", "left"))
    assert outcome(failed, "left-stays-left") is VIOLATED
    never = history([Life(10, "c", "leaving"), Life(12, "c", "left"), saw(13, "a", "c", "left")])
    assert "b sees c alive" in verdict(never, "left-stays-left").evidence[0].text
    assert outcome(history(), "left-stays-left") is UNKNOWN
    assert outcome(history(Life(98, "c", "left")), "left-stays-left", within=30.0) is UNKNOWN


# incarnations and Lamport times


def test_incarnations_and_lamport_times_of_one_life_never_fall() -> None:
    grown = history(
        saw(10, "a", "b", "alive", incarnation=3, ltime=5), saw(20, "a", "b", "suspect", incarnation=3, ltime=5)
    )
    assert outcome(grown, "never-falls") is HOLDS
    fallen = history(
        saw(10, "a", "b", "alive", incarnation=3, ltime=5), saw(20, "a", "b", "suspect", incarnation=2, ltime=4)
    )
    found = verdict(fallen, "never-falls")
    assert found.outcome is VIOLATED
    assert [each.text for each in found.evidence] == [
        "a: incarnation of b fell from 3 to 2",
        "a: Lamport time of b fell from 5 to 4",
    ]
    clock = history(Sample(10, "a", ltime=7), Sample(11, "a", ltime=6))
    assert outcome(clock, "never-falls") is VIOLATED
    assert outcome(History(["a"]), "never-falls") is UNKNOWN


def test_a_new_life_begins_with_a_small_incarnation() -> None:
    run = history(
        saw(10, "a", "b", "alive", incarnation=3, ltime=5),
        crash(20, "b"),
        Life(21, "b", "started"),
        saw(22, "a", "b", "alive", incarnation=1, ltime=5),
        Sample(10, "b", ltime=7),
        Sample(22, "b", ltime=1),
    )
    assert outcome(run, "never-falls") is not VIOLATED


def test_news_of_an_earlier_life_may_come_late_and_is_outlived() -> None:
    """A push/pull brings what the first life claimed; then the second one, which never claimed as much, is back."""
    late = [
        saw(10, "a", "b", "alive", incarnation=2, ltime=5),
        crash(20, "b"),
        Life(30, "b", "started"),
        saw(31, "a", "b", "alive", incarnation=1, ltime=5),
        saw(32, "a", "b", "failed", incarnation=2, ltime=5),
    ]
    back = saw(50, "a", "b", "alive", incarnation=1, ltime=5)
    assert outcome(history(*late, back), "never-falls") is not VIOLATED
    assert outcome(history(*late, Refuted(31.5, "b", 2), back), "never-falls") is VIOLATED


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=2, max_size=12))
def test_a_step_back_is_found_wherever_it_is(steps: list[tuple[int, int]]) -> None:
    views = [saw(10 + at, "a", "b", "alive", incarnation=i, ltime=t) for at, (i, t) in enumerate(steps)]
    pairs = list(zip([(1, 1), *steps], steps, strict=False))
    falls = any(later[0] < before[0] or later[1] < before[1] for before, later in pairs)
    assert outcome(history(views), "never-falls") is (VIOLATED if falls else HOLDS)


# events, keys


def delivered(at: float, by: str, payload: str = "v") -> list[Record]:
    return [EventDelivered(at, agent, "deploy", payload, 1) for agent in by]


def test_an_event_reaches_everybody_once() -> None:
    sent = EventSent(10, "a", "deploy", "v")
    assert outcome(history(sent, delivered(11, "abc")), "delivery") is HOLDS
    twice = verdict(history(sent, delivered(11, "abcc")), "delivery")
    assert twice.evidence[0].text == "c got deploy 2 times"
    missed = verdict(history(sent, delivered(11, "ab")), "delivery")
    assert missed.evidence[0].text == "c did not get deploy, 30s after it was sent"
    again = history(sent, EventSent(20, "a", "deploy", "v"), delivered(11, "abc"), delivered(21, "abc"))
    assert outcome(again, "delivery") is HOLDS


def test_delivery_cannot_tell_without_an_event_or_time_and_asks_nothing_of_the_dead() -> None:
    assert outcome(history(), "delivery") is UNKNOWN
    assert outcome(history(EventSent(90, "a", "deploy", "v"), delivered(91, "ab")), "delivery") is UNKNOWN
    dead = history(crash(12, "c"), EventSent(10, "a", "deploy", "v"), delivered(11, "ab"))
    assert outcome(dead, "delivery") is HOLDS


def test_all_that_run_have_the_same_keys_at_the_end() -> None:
    same = [KeyState(5, agent, ("k1",)) for agent in "abc"]
    assert outcome(history(same), "key-coverage") is HOLDS
    other = verdict(history(same, KeyState(50, "b", ("k2", "k1"))), "key-coverage")
    assert other.evidence[0].text == "b has k2, k1, most have k1"
    assert outcome(history(same, KeyState(50, "b", ("k2",)), crash(60, "b")), "key-coverage") is HOLDS
    assert outcome(history(), "key-coverage") is UNKNOWN


# figures


def test_cost_is_what_an_agent_sends_in_a_second_on_the_average() -> None:
    run = history([Sample(0, "a", bytes=0, messages=0), Sample(10, "a", bytes=5000, messages=20)])
    found = verdict(run, "cost", sent_bytes=500.0, sent_messages=2.0)
    assert (found.outcome, found.figures) == (HOLDS, {"bytes": 500.0, "messages": 2.0})
    assert outcome(run, "cost", sent_bytes=499.0) is VIOLATED
    assert outcome(run, "cost", sent_messages=1.9) is VIOLATED
    assert outcome(history(), "cost") is UNKNOWN
    assert outcome(history(Sample(10, "a", health=0)), "cost") is UNKNOWN


def test_health_scores_stay_below_a_bound() -> None:
    run = history(fault(5, 20, "slow b 1s"), [Sample(10, "a", health=1), Sample(10, "b", health=5)])
    assert outcome(run, "health", most=5.0) is HOLDS
    assert outcome(run, "health", most=4.0) is VIOLATED
    assert outcome(run, "health", most=4.0, healthy_only=True) is HOLDS
    assert outcome(history(), "health") is UNKNOWN


def test_http_is_answered_in_time_by_all_that_are_not_stopped() -> None:
    assert outcome(history(Sample(10, "a", http=0.2)), "answered", within=0.2) is HOLDS
    assert outcome(history(Sample(10, "a", http=0.2)), "answered", within=0.1) is VIOLATED
    silent = verdict(history(Sample(10, "a", http=-2.0)), "answered")
    assert silent.evidence[0].text == "a did not answer"
    assert outcome(history(Life(9, "a", "stopped"), Sample(10, "a", http=-2.0)), "answered") is UNKNOWN
    assert outcome(history(), "answered") is UNKNOWN


def test_commands_end_well_and_soon() -> None:
    good = Command(10, "leave c", "c", 1.5)
    bad = Command(12, "join a b", "a", 0.5, "connection refused")
    assert outcome(history(good), "commands", within=1.5) is HOLDS
    assert outcome(history(good), "commands", within=1.4) is VIOLATED
    assert verdict(history(good, bad), "commands").evidence[0].text == "join a b: connection refused"
    assert outcome(history(good, bad), "commands", failed=1.0) is HOLDS
    assert outcome(history(), "commands") is UNKNOWN


def test_what_was_waited_for_came_about() -> None:
    assert outcome(history(Waited(10, "agreed", 5.0, True)), "reached") is HOLDS
    assert outcome(history(Waited(10, "agreed", 60.0, False)), "reached") is VIOLATED
    assert outcome(history(), "reached") is UNKNOWN


# all of them


def records() -> st.SearchStrategy[Record]:
    who = st.sampled_from("abc")
    at = st.floats(0, 100)
    status = st.sampled_from(["alive", "suspect", "leaving", "left", "failed", "none"])
    what = st.sampled_from(["started", "stopped", "continued", "leaving", "left", "killed", "ended"])
    small = st.integers(0, 3)
    return st.one_of(
        st.builds(saw, at, who, who, status, status, incarnation=small, ltime=small),
        st.builds(Life, at, who, what),
        st.builds(prune, at, who),
        st.builds(EventSent, at, who, who),
        st.builds(EventDelivered, at, who, who),
        st.builds(Sample, at, who, small, small, small, small, st.floats(-2, 2)),
        st.builds(KeyState, at, who, st.tuples(who)),
        st.builds(Waited, at, who, at, st.booleans()),
    )


@given(st.lists(records(), max_size=40), st.floats(0, 50), st.sampled_from(["partition a", "cut b", "slow c 1s"]))
def test_every_checker_has_a_verdict_on_any_history(found: list[Record], at: float, words: str) -> None:
    run = history(found, fault(at, at + 20, words))
    for name in CHECKERS:
        given = check(run, name)
        assert given.summary
        assert (given.outcome is VIOLATED) == bool(given.evidence)
        assert len(given.evidence) <= EVIDENCE_MAX


def test_an_empty_history_proves_nothing() -> None:
    assert {check(History([]), name).outcome for name in CHECKERS} == {UNKNOWN}


def test_bounds_are_read_as_people_write_them() -> None:
    checker = CHECKERS["accuracy"]
    assert checker.read({"most": 3, "grace": "1m", "healthy-only": True}) == {
        "most": 3.0,
        "grace": 60.0,
        "healthy-only": True,
    }
    assert checker.text.startswith("At most so many views")
    for wrong in ({"least": 1}, {"most": True}, {"healthy-only": 1}, {"most": -1}, {"most": inf}, {"grace": "soon"}):
        with pytest.raises(ConfigError):
            checker.read(wrong)


def test_every_checker_says_what_it_asks_and_has_a_bound_or_none() -> None:
    for name, checker in CHECKERS.items():
        assert checker.text, name
        assert all(isinstance(default, float | bool) for default in checker.bounds.values())
