"""The calendar: time order, ties, rounding."""

from hypothesis import given
from hypothesis import strategies as st

from moot.gossip.sim.calendar import TICKS_PER_SECOND, Calendar

INSTANTS = st.floats(min_value=0.0, max_value=1000.0)


@given(st.lists(INSTANTS, max_size=50))
def test_calls_come_in_the_order_of_time_and_never_early(instants: list[float]) -> None:
    calendar = Calendar()
    seen: list[tuple[float, float]] = []
    for when in instants:
        calendar.at(when, lambda when=when: seen.append((calendar.now, when)))
    calendar.run_until(1001.0)
    assert len(seen) == len(instants) == calendar.event_count
    assert all(when <= now < when + 2 / TICKS_PER_SECOND for now, when in seen)
    assert [now for now, _ in seen] == sorted(now for now, _ in seen)


def test_ties_break_by_the_order_of_insertion() -> None:
    calendar = Calendar()
    seen: list[str] = []
    for word in ("first", "second", "third"):
        calendar.at(0.5, seen.append, word)
    calendar.run_until(1.0)
    assert seen == ["first", "second", "third"]


def test_a_call_for_now_comes_after_those_that_are_due_already() -> None:
    calendar = Calendar()
    seen: list[str] = []
    calendar.at(0.5, lambda: calendar.after(0.0, seen.append, "added"))
    calendar.at(0.5, seen.append, "was there")
    calendar.run_until(0.5)
    assert seen == ["was there", "added"]


def test_a_delay_too_small_for_the_clock_does_not_hold_it_up() -> None:
    calendar = Calendar()
    count = 0

    def again() -> None:
        nonlocal count
        count += 1
        if count < 10:
            calendar.at(calendar.now + 1e-12, again)

    calendar.at(0.3, again)
    calendar.run_until(0.3 + 20 / TICKS_PER_SECOND)
    assert count == 10


def test_the_clock_stands_at_the_end_that_was_asked_for() -> None:
    calendar = Calendar()
    calendar.run_until(1.23456789)
    assert calendar.now == 1.23456789
    calendar.run_until(1.0)
    assert calendar.now == 1.23456789


def test_the_past_is_now() -> None:
    calendar = Calendar()
    calendar.run_until(5.0)
    seen: list[float] = []
    calendar.at(1.0, lambda: seen.append(calendar.now))
    calendar.run_until(6.0)
    assert seen == [5.0]
