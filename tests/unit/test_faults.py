"""Conditions: verdicts about who may talk to whom."""

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moot.gossip.errors import ConfigError
from moot.gossip.faults import LINKS_MAX, TRUE_CLOCK, Arrival, Clock, Conditions, Fault, SkewedClock

RNG = Random(1)


def lost_share(conditions: Conditions, source: str = "a", to: str = "b") -> float:
    rng = Random(7)
    return sum(not conditions.packet(source, to, rng) for _ in range(2000)) / 2000


def test_without_faults_everything_arrives_once_and_at_once() -> None:
    assert Conditions().packet("a", "b", RNG) == (Arrival(0.0),)
    assert Conditions().stream("a", "b", RNG) == Arrival(0.0)


def test_a_cut_works_one_way() -> None:
    conditions = Conditions()
    conditions.cut("a", "b")
    assert conditions.packet("a", "b", RNG) == ()
    assert conditions.stream("a", "b", RNG) is None
    assert conditions.packet("b", "a", RNG) == (Arrival(0.0),)
    assert conditions.stream("b", "a", RNG) == Arrival(0.0)


def test_a_partition_parts_both_ways_and_the_unnamed_are_a_group() -> None:
    conditions = Conditions()
    conditions.partition({"a", "b"}, {"c"})
    arrives = {
        (source, to): bool(conditions.packet(source, to, RNG)) for source in "abcde" for to in "abcde" if source != to
    }
    assert {pair for pair, arrived in arrives.items() if arrived} == {("a", "b"), ("b", "a"), ("d", "e"), ("e", "d")}
    assert conditions.stream("a", "c", RNG) is None


def test_healing_lifts_everything_but_pauses() -> None:
    conditions = Conditions()
    conditions.partition({"a"})
    conditions.put("loss", Fault(loss=1.0))
    conditions.pause("a")
    conditions.heal()
    assert conditions.packet("a", "b", RNG) == (Arrival(0.0),)
    assert conditions.is_paused("a")
    conditions.resume("a")
    assert not conditions.is_paused("a")


def test_loss_takes_its_share_of_packets() -> None:
    conditions = Conditions()
    conditions.put("loss", Fault(loss=0.2))
    assert 0.17 < lost_share(conditions) < 0.23


def test_losses_of_several_faults_add_up() -> None:
    conditions = Conditions()
    conditions.put("one", Fault(loss=0.5))
    conditions.put("two", Fault(to=frozenset("b"), loss=0.5))
    assert 0.70 < lost_share(conditions) < 0.80
    conditions.lift("one")
    conditions.lift("never set")
    assert 0.45 < lost_share(conditions) < 0.55


def test_a_stream_survives_loss_but_takes_longer() -> None:
    conditions = Conditions()
    conditions.put("loss", Fault(loss=0.3))
    rng = Random(3)
    crossings = [conditions.stream("a", "b", rng) for _ in range(200)]
    assert None not in crossings
    slow = [crossing.delay for crossing in crossings if crossing is not None and crossing.delay]
    assert 40 < len(slow) < 80
    assert min(slow) >= 0.2


def test_duplicates_arrive_twice() -> None:
    conditions = Conditions()
    conditions.put("twice", Fault(duplicate=1.0, delay=0.25))
    assert conditions.packet("a", "b", RNG) == (Arrival(0.25), Arrival(0.25))


def test_delay_and_jitter_hold_for_the_named_link_and_transport_only() -> None:
    conditions = Conditions()
    conditions.put(
        "slow", Fault(source=frozenset("a"), to=frozenset("b"), transport="packet", delay=0.1, jitter=0.05)
    )
    (arrival,) = conditions.packet("a", "b", RNG)
    assert 0.1 <= arrival.delay <= 0.15
    assert conditions.packet("a", "c", RNG) == (Arrival(0.0),)
    assert conditions.stream("a", "b", RNG) == Arrival(0.0)


@pytest.mark.parametrize(
    ("field", "make"),
    [
        ("loss", lambda: Fault(loss=1.5)),
        ("loss", lambda: Fault(loss=float("nan"))),
        ("duplicate", lambda: Fault(duplicate=-0.1)),
        ("delay", lambda: Fault(delay=-1.0)),
        ("jitter", lambda: Fault(jitter=float("inf"))),
        ("corrupt", lambda: Fault(corrupt=1.1)),
        ("reorder_delay", lambda: Fault(reorder_delay=-1.0)),
        ("bandwidth", lambda: Fault(bandwidth=0.0)),
    ],
)
def test_impossible_faults_are_refused(field: str, make: Callable[[], Fault]) -> None:
    with pytest.raises(ConfigError, match=field):
        make()


def test_a_spoiled_packet_arrives_as_such_and_a_spoiled_stream_is_reset() -> None:
    conditions = Conditions()
    conditions.put("junk", Fault(corrupt=0.3, duplicate=1.0))
    rng = Random(5)
    copies = [copy for _ in range(1000) for copy in conditions.packet("a", "b", rng)]
    assert 540 < sum(copy.spoiled for copy in copies) < 660
    crossings = [conditions.stream("a", "b", rng) for _ in range(1000)]
    assert 250 < sum(crossing is not None and crossing.spoiled for crossing in crossings) < 350


def test_reordering_holds_some_packets_back_and_no_streams() -> None:
    conditions = Conditions()
    conditions.put("mix", Fault(reorder=0.25, reorder_delay=0.4))
    rng = Random(5)
    delays = [conditions.packet("a", "b", rng)[0].delay for _ in range(1000)]
    assert set(delays) == {0.0, 0.4}
    assert 200 < delays.count(0.4) < 300
    assert conditions.stream("a", "b", rng) == Arrival(0.0)


def test_a_narrow_link_sends_so_many_bytes_a_second_each_way_by_itself() -> None:
    conditions = Conditions()
    conditions.put("narrow", Fault(bandwidth=1000.0))
    assert conditions.needs_sizes
    assert [conditions.packet("a", "b", RNG, size=100, now=5.0)[0].delay for _ in range(3)] == pytest.approx(
        [0.1, 0.2, 0.3]
    )
    assert conditions.packet("b", "a", RNG, size=100, now=5.0)[0].delay == pytest.approx(0.1)
    assert conditions.packet("a", "b", RNG, size=100, now=6.0)[0].delay == pytest.approx(0.1)
    conditions.lift("narrow")
    assert not conditions.needs_sizes


def test_a_narrow_link_loses_packets_that_would_wait_long_and_keeps_streams() -> None:
    conditions = Conditions()
    conditions.put("narrow", Fault(bandwidth=1000.0))
    arrived = [conditions.packet("a", "b", RNG, size=400, now=0.0) for _ in range(5)]
    assert [len(copies) for copies in arrived] == [1, 1, 1, 0, 0]
    crossing = conditions.stream("a", "b", RNG, size=400, now=0.0)
    assert crossing is not None
    assert crossing.delay == pytest.approx(1.6)


def test_many_narrow_links_are_not_remembered_for_ever() -> None:
    conditions = Conditions()
    conditions.put("narrow", Fault(bandwidth=1e6))
    for number in range(3 * LINKS_MAX):
        conditions.packet("a", str(number), RNG, size=100, now=float(number))
    assert len(conditions._free_at) <= LINKS_MAX


def test_a_fault_of_both_ways_is_met_once_on_each() -> None:
    fault = Fault(source=frozenset("ab"), to=frozenset("bc"), both_ways=True, delay=1.0)
    conditions = Conditions()
    conditions.put("late", fault)
    assert conditions.packet("b", "a", RNG) == (Arrival(1.0),)
    assert conditions.packet("a", "b", RNG) == (Arrival(1.0),)
    assert conditions.packet("a", "d", RNG) == (Arrival(0.0),)


def test_what_ails_members_survives_healing_and_not_calm() -> None:
    conditions = Conditions()
    conditions.set_slow("a", 0.3)
    conditions.set_clock("a", Clock(offset=5.0))
    conditions.set_disk_full("a")
    conditions.heal()
    assert (conditions.slowness("a"), conditions.clock("a"), conditions.is_disk_full("a")) == (0.3, Clock(5.0), True)
    conditions.calm()
    assert (conditions.slowness("a"), conditions.clock("a"), conditions.is_disk_full("a")) == (0.0, TRUE_CLOCK, False)


@given(
    st.lists(
        st.tuples(st.floats(0, 100), st.floats(-50, 50), st.floats(-0.5, 5), st.booleans()), min_size=1, max_size=20
    )
)
def test_a_skewed_clock_never_goes_back_and_its_timers_are_never_early(
    changes: list[tuple[float, float, float, bool]],
) -> None:
    clock = SkewedClock()
    now = last = 0.0
    for wait, offset, drift, right in changes:
        now += wait
        state = TRUE_CLOCK if right else Clock(offset, drift)
        shown = clock.read(now, state)
        assert shown >= last
        last = shown
        due = shown + 1.0
        now += clock.until(now, state, due)
        last = clock.read(now, state)
        assert last >= due - 1e-6


def test_a_clock_that_is_put_right_goes_on_from_where_it_is() -> None:
    clock = SkewedClock()
    assert clock.read(10.0, TRUE_CLOCK) == 10.0
    assert clock.read(10.0, Clock(offset=5.0)) == 15.0
    assert clock.read(20.0, Clock(offset=5.0, drift=0.5)) == 25.0
    assert clock.read(22.0, Clock(offset=5.0, drift=0.5)) == 28.0
    assert clock.read(24.0, TRUE_CLOCK) == 31.0
    assert clock.read(25.0, TRUE_CLOCK) == 32.0
