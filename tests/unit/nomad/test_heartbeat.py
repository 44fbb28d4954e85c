"""Heartbeat: when a client speaks, and how patient it is."""

from random import Random

import pytest

from moot.agent.nomad.heartbeat import PAUSE_MAX, PAUSE_MIN, TTL_MAX, TTL_MIN, Heartbeat


def test_at_first_there_is_no_home_and_nothing_to_wait_for() -> None:
    heart = Heartbeat(Random(1))
    assert (heart.home, heart.ttl, heart.heard_at) == ("", 0.0, None)
    assert heart.due_at <= 0.0


def test_it_speaks_after_half_to_three_quarters_of_the_ttl() -> None:
    heart = Heartbeat(Random(1))
    waits = []
    for _ in range(200):
        heart.answered(100.0, "a", 20.0)
        waits.append(heart.due_at - 100.0)
    assert all(9.0 <= wait <= 15.0 for wait in waits)
    assert max(waits) - min(waits) > 5.0
    assert (heart.home, heart.ttl, heart.heard_at) == ("a", 20.0, 100.0)


@pytest.mark.parametrize("ttl", [1.0, 10.0, 20.0, 400.0])
def test_two_silent_servers_in_a_row_cost_less_than_the_rest_of_the_ttl(ttl: float) -> None:
    heart = Heartbeat(Random(1))
    for _ in range(100):
        heart.answered(0.0, "a", ttl)
        if ttl >= 2.5:  # below, a quarter of a second is waited anyway
            assert heart.due_at + 2 * heart.patience < ttl


def test_patience_has_bounds() -> None:
    heart = Heartbeat(Random(1))
    assert heart.patience == 5.0
    heart.answered(0.0, "a", 0.5)
    assert heart.patience == 0.25
    heart.answered(0.0, "a", 1000.0)
    assert heart.patience == 10.0


@pytest.mark.parametrize(("told", "taken"), [(0.0, TTL_MIN), (-5.0, TTL_MIN), (1e18, TTL_MAX)])
def test_a_ttl_that_makes_no_sense_is_bounded(told: float, taken: float) -> None:
    heart = Heartbeat(Random(1))
    heart.answered(0.0, "a", told)
    assert heart.ttl == taken


def test_when_the_server_hangs_up_the_client_looks_soon_but_at_a_time_of_its_own() -> None:
    looks = set()
    for seed in range(50):
        heart = Heartbeat(Random(seed))
        heart.answered(0.0, "a", 20.0)
        heart.hung_up(3.0)
        assert 3.0 <= heart.due_at <= 5.0
        looks.add(heart.due_at)
    assert len(looks) == 50


def test_hanging_up_never_puts_a_heartbeat_off() -> None:
    heart = Heartbeat(Random(1))
    heart.answered(0.0, "a", 20.0)
    due = heart.due_at
    heart.hung_up(due - 0.0001)
    assert heart.due_at <= due


def test_a_server_that_forgot_us_is_no_home() -> None:
    heart = Heartbeat(Random(1))
    heart.answered(0.0, "a", 20.0)
    heart.unknown()
    assert heart.home == ""


def test_pauses_grow_while_nobody_answers_and_start_anew_then() -> None:
    heart = Heartbeat(Random(1))
    pauses = [heart.round_failed() for _ in range(60)]
    assert PAUSE_MIN * 0.5 <= pauses[0] <= PAUSE_MIN * 1.5
    assert all(PAUSE_MAX * 0.5 <= pause <= PAUSE_MAX * 1.5 for pause in pauses[10:])
    heart.answered(0.0, "a", 20.0)
    assert heart.round_failed() <= PAUSE_MIN * 1.5
