"""The Lamport clock, and what it does about values that no honest pool reaches."""

import pytest

from moot.gossip.serf.lamport import LEAP, LTIME_MAX, LamportClock


def test_it_starts_at_one() -> None:
    assert LamportClock().time == 1


def test_increment_answers_the_new_time() -> None:
    clock = LamportClock()
    assert clock.increment() == 2
    assert clock.time == 2


@pytest.mark.parametrize(("heard", "after"), [(0, 5), (4, 5), (5, 6), (6, 7), (1000, 1001)])
def test_witness_moves_ahead_of_what_is_not_older(heard: int, after: int) -> None:
    clock = LamportClock()
    clock.time = 5
    clock.witness(heard)
    assert clock.time == after


def test_a_new_clock_believes_that_of_any_old_pool() -> None:
    clock = LamportClock()
    assert clock.believes(2**63 + LEAP)
    assert not clock.believes(2**63 + LEAP + 1)


def test_the_largest_value_of_the_wire_is_not_believed_and_changes_nothing() -> None:
    clock = LamportClock()
    clock.witness(LTIME_MAX)
    assert clock.time == 1


def test_a_pool_that_was_driven_high_goes_on_believing_itself() -> None:
    driven, other = LamportClock(), LamportClock()
    for clock in (driven, other):
        clock.witness(2**63 + LEAP)
    for _ in range(3):
        driven.increment()
    assert other.believes(driven.time)
    other.witness(driven.time)
    assert other.time == driven.time + 1


def test_a_clock_catches_up_with_a_time_it_would_not_believe_and_never_goes_back() -> None:
    clock = LamportClock()
    clock.catch_up(2**63 + 2 * LEAP)
    assert clock.time == 2**63 + 2 * LEAP
    clock.catch_up(5)
    assert clock.time == 2**63 + 2 * LEAP
    clock.catch_up(LTIME_MAX + 1)
    assert clock.time == LTIME_MAX


def test_it_stands_still_at_the_end_instead_of_wrapping() -> None:
    clock = LamportClock()
    clock.time = LTIME_MAX
    assert clock.increment() == LTIME_MAX
    clock.witness(LTIME_MAX)
    assert clock.time == LTIME_MAX
