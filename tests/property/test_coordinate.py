"""Whatever the peers claim, our coordinate stays one that others can use."""

import math
from random import Random

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from moot.gossip.serf.coordinate import (
    DURATION_MAX,
    HEIGHT_MIN,
    NANO,
    ORIGIN,
    SOUND_MAX,
    Vivaldi,
    distance,
)
from moot.gossip.serf.messages import Coordinate

wild = st.floats() | st.sampled_from((0.0, -0.0, 1e308, -1e308, 5e-324, SOUND_MAX, -SOUND_MAX))
tame = st.floats(-350.0, 350.0) | st.sampled_from((0.0, 1e-6, 1.1e-6, 2e-6))


def coordinates(parts: st.SearchStrategy[float], dimensions: st.SearchStrategy[int]) -> st.SearchStrategy[Coordinate]:
    vec = dimensions.flatmap(lambda count: st.tuples(*[parts] * count))
    return st.builds(Coordinate, vec, parts.map(abs), parts, parts.map(abs))


claims = coordinates(tame, st.just(8)) | coordinates(wild, st.sampled_from((8, 8, 7, 9, 0)))
finite = coordinates(wild.filter(math.isfinite), st.just(8))
updates = st.lists(st.tuples(st.sampled_from("abc"), claims, st.floats(0, 10) | wild), max_size=60)


@given(updates, st.integers(0, 3))
@settings(deadline=None)
def test_our_own_coordinate_is_always_finite_and_within_bounds(
    heard: list[tuple[str, Coordinate, float]], seed: int
) -> None:
    vivaldi = Vivaldi(Random(seed))
    refused = 0
    for name, claim, rtt in heard:
        before = vivaldi.coordinate
        if not vivaldi.update(name, claim, rtt):
            refused += 1
            assert vivaldi.coordinate is before
        ours = vivaldi.coordinate
        assert len(ours.vec) == 8
        assert math.hypot(*ours.vec) <= SOUND_MAX * 1.001
        assert 0.0 <= ours.error <= 1.5
        assert abs(ours.adjustment) <= SOUND_MAX
        assert HEIGHT_MIN <= ours.height <= SOUND_MAX
        held = vivaldi.cached(name)
        assert held is None or 0.0 <= distance(ours, held) <= DURATION_MAX
    assert vivaldi.refused == refused


@given(updates)
@settings(deadline=None)
def test_a_peer_with_the_same_rules_never_refuses_our_coordinate(heard: list[tuple[str, Coordinate, float]]) -> None:
    ours, peer = Vivaldi(Random(1)), Vivaldi(Random(2))
    for name, claim, rtt in heard:
        ours.update(name, claim, rtt)
        assert peer.update("us", ours.coordinate, 0.01)


@given(coordinates(tame, st.just(8)), coordinates(tame, st.just(8)))
def test_distance_is_the_same_both_ways(a: Coordinate, b: Coordinate) -> None:
    # adding up in another order may cost a nanosecond, and the sign where nothing is left after the adjustments
    left = math.dist(a.vec, b.vec) + a.height + b.height + a.adjustment + b.adjustment
    assume(abs(left) > 1 / NANO)
    assert math.isclose(distance(a, b), distance(b, a), abs_tol=1.5 / NANO)


@given(finite, finite)
def test_distance_is_a_duration_whatever_the_points(a: Coordinate, b: Coordinate) -> None:
    assert 0.0 <= distance(a, b) <= DURATION_MAX


@given(updates, updates)
@settings(deadline=None)
def test_the_same_probes_give_the_same_coordinate(
    heard: list[tuple[str, Coordinate, float]], others: list[tuple[str, Coordinate, float]]
) -> None:
    first, second = Vivaldi(Random(9)), Vivaldi(Random(9))
    for name, claim, rtt in (*heard, *others):
        first.update(name, claim, rtt)
        second.update(name, claim, rtt)
    assert first.coordinate == second.coordinate


def test_the_origin_is_sound() -> None:
    assert Vivaldi(Random(1)).update("b", ORIGIN, 0.1)
