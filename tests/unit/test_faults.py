"""Conditions: verdicts about who may talk to whom."""

from collections.abc import Callable
from random import Random

import pytest

from moot.gossip.errors import ConfigError
from moot.gossip.faults import Conditions, Fault

RNG = Random(1)


def lost_share(conditions: Conditions, source: str = "a", to: str = "b") -> float:
    rng = Random(7)
    return sum(not conditions.packet(source, to, rng) for _ in range(2000)) / 2000


def test_without_faults_everything_arrives_once_and_at_once() -> None:
    assert Conditions().packet("a", "b", RNG) == (0.0,)
    assert Conditions().stream("a", "b", RNG) == 0.0


def test_a_cut_works_one_way() -> None:
    conditions = Conditions()
    conditions.cut("a", "b")
    assert conditions.packet("a", "b", RNG) == ()
    assert conditions.stream("a", "b", RNG) is None
    assert conditions.packet("b", "a", RNG) == (0.0,)
    assert conditions.stream("b", "a", RNG) == 0.0


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
    assert conditions.packet("a", "b", RNG) == (0.0,)
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
    slow = [crossing for crossing in crossings if crossing]
    assert None not in crossings
    assert 40 < len(slow) < 80
    assert min(slow) >= 0.2


def test_duplicates_arrive_twice() -> None:
    conditions = Conditions()
    conditions.put("twice", Fault(duplicate=1.0, delay=0.25))
    assert conditions.packet("a", "b", RNG) == (0.25, 0.25)


def test_delay_and_jitter_hold_for_the_named_link_and_transport_only() -> None:
    conditions = Conditions()
    conditions.put(
        "slow", Fault(source=frozenset("a"), to=frozenset("b"), transport="packet", delay=0.1, jitter=0.05)
    )
    (delay,) = conditions.packet("a", "b", RNG)
    assert 0.1 <= delay <= 0.15
    assert conditions.packet("a", "c", RNG) == (0.0,)
    assert conditions.stream("a", "b", RNG) == 0.0


@pytest.mark.parametrize(
    ("field", "make"),
    [
        ("loss", lambda: Fault(loss=1.5)),
        ("loss", lambda: Fault(loss=float("nan"))),
        ("duplicate", lambda: Fault(duplicate=-0.1)),
        ("delay", lambda: Fault(delay=-1.0)),
        ("jitter", lambda: Fault(jitter=float("inf"))),
    ],
)
def test_impossible_faults_are_refused(field: str, make: Callable[[], Fault]) -> None:
    with pytest.raises(ConfigError, match=field):
        make()
