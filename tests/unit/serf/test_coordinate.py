"""Coordinates: what moves us, what is refused, what a liar can do."""

import math
from random import Random

import pytest

from moot.gossip.serf.coordinate import (
    DURATION_MAX,
    HEIGHT_MIN,
    ORIGIN,
    SOUND_MAX,
    Vivaldi,
    distance,
)
from moot.gossip.serf.messages import Coordinate

INF, NAN = math.inf, math.nan


def at(x: float = 0.0, *, error: float = 0.5, adjustment: float = 0.0, height: float = HEIGHT_MIN) -> Coordinate:
    """A point on the first axis."""
    return Coordinate((x, *[0.0] * 7), error, adjustment, height)


def vivaldi(seed: int = 1) -> Vivaldi:
    return Vivaldi(Random(seed))


def test_everybody_begins_at_the_origin_with_no_confidence() -> None:
    assert vivaldi().coordinate == Coordinate((0.0,) * 8, 1.5, 0.0, 1e-5)


def test_distance_is_the_way_and_both_heights_in_whole_nanoseconds() -> None:
    assert distance(at(0.1, height=0.002), at(0.3, height=0.001)) == pytest.approx(0.203, abs=2e-9)
    assert distance(at(1e-10), at(0.0)) == pytest.approx(2e-5, abs=2e-9)
    assert distance(at(1 / 3, height=0.0), at(0.0, height=0.0)) == 0.333333333


def test_distance_is_adjusted_unless_nothing_would_be_left() -> None:
    assert distance(at(0.1, adjustment=0.01), at(adjustment=0.02)) == pytest.approx(0.13002, abs=2e-9)
    assert distance(at(0.1, adjustment=-0.2), at()) == pytest.approx(0.10002, abs=2e-9)


@pytest.mark.parametrize("far", [1e19, 1e300, 1.7e308])
def test_the_distance_of_absurd_points_is_the_longest_duration(far: float) -> None:
    assert distance(at(far), at(-far)) == DURATION_MAX
    assert distance(at(height=far), at(height=far)) == DURATION_MAX


def test_probes_of_two_members_find_their_distance() -> None:
    ours, theirs = vivaldi(1), vivaldi(2)
    for _ in range(200):
        assert ours.update("theirs", theirs.coordinate, 0.05)
        assert theirs.update("ours", ours.coordinate, 0.05)
    assert distance(ours.coordinate, theirs.coordinate) == pytest.approx(0.05, rel=0.02)
    assert ours.coordinate.error < 0.1


def test_a_line_of_five_members_is_found_from_the_times_between_neighbours_and_others() -> None:
    nodes = [vivaldi(seed) for seed in range(5)]
    pick = Random(7)
    for _ in range(3000):
        here, there = pick.sample(range(5), 2)
        nodes[here].update(str(there), nodes[there].coordinate, abs(here - there) * 0.01)
    found = [distance(nodes[0].coordinate, nodes[there].coordinate) for there in range(1, 5)]
    assert found == pytest.approx([0.01, 0.02, 0.03, 0.04], rel=0.15)


def test_one_slow_answer_of_three_does_not_count() -> None:
    calm, disturbed = vivaldi(), vivaldi()
    for rtts, node in (((0.01, 0.01, 0.01), calm), ((0.01, 0.01, 9.0), disturbed)):
        for rtt in rtts:
            node.update("b", at(0.02), rtt)
    assert calm.coordinate == disturbed.coordinate


def test_the_second_of_two_samples_counts_when_it_is_larger() -> None:
    # the element in the middle of two is the larger one, as in the reference
    small, large = vivaldi(), vivaldi()
    for rtts, node in (((0.01, 0.01), small), ((0.01, 0.03), large)):
        for rtt in rtts:
            node.update("b", at(0.02), rtt)
    assert small.coordinate != large.coordinate


def test_a_round_trip_that_took_no_time_is_accepted() -> None:
    node = vivaldi()
    assert node.update("b", at(0.02), 0.0)
    assert node.coordinate.error == 1.5
    # the spring feels a microsecond at least, the adjustment what was measured
    moved, here = vivaldi(), Coordinate(at(0.02).vec, 0.0, 0.0, 0.0)
    assert moved.update("b", here, 0.0)
    now_at = Coordinate(moved.coordinate.vec, 0.0, 0.0, moved.coordinate.height)
    assert moved.coordinate.adjustment * 40 == pytest.approx(-distance(now_at, here), abs=5e-8)


REFUSED = [
    at(NAN),
    at(INF),
    at(-INF),
    at(error=NAN),
    at(error=INF),
    at(adjustment=NAN),
    at(adjustment=-INF),
    at(height=NAN),
    at(height=INF),
    at(1e308),
    at(-1e308),
    at(error=1e308),
    at(error=-0.1),
    at(adjustment=1e308),
    at(height=1e308),
    at(height=-1.0),
    Coordinate((0.0,) * 7, 1.5, 0.0, HEIGHT_MIN),
    Coordinate((0.0,) * 9, 1.5, 0.0, HEIGHT_MIN),
    Coordinate((), 1.5, 0.0, HEIGHT_MIN),
]


@pytest.mark.parametrize("claimed", REFUSED, ids=repr)
def test_a_coordinate_that_nobody_can_have_is_refused_and_counted(claimed: Coordinate) -> None:
    node = vivaldi()
    node.update("b", at(0.02), 0.01)
    before = node.coordinate
    assert not node.update("b", claimed, 0.01)
    assert node.coordinate is before
    assert node.cached("b") == at(0.02)
    assert (node.refused, node.resets) == (1, 0)


@pytest.mark.parametrize("rtt", [-1e-9, 10.000000001, NAN, INF, -INF, 1e308])
def test_a_time_that_no_probe_takes_is_refused_and_counted(rtt: float) -> None:
    node = vivaldi()
    assert not node.update("b", at(0.02), rtt)
    assert node.coordinate is ORIGIN
    assert node.cached("b") is None
    assert node.refused == 1


def test_what_is_kept_of_a_member_is_forgotten_with_it() -> None:
    node = vivaldi()
    for rtt in (9.0, 9.0, 9.0):
        node.update("b", at(0.02), rtt)
    node.forget("b")
    node.forget("never heard of")
    assert node.cached("b") is None
    fresh = vivaldi()
    fresh.coordinate = node.coordinate
    fresh.update("b", at(0.02), 0.01)
    error = node.coordinate.error
    node.update("b", at(0.02), 0.01)
    assert node.coordinate.error == fresh.coordinate.error != error


def test_a_coordinate_thrown_off_the_map_is_reset_and_the_next_probes_are_none_the_worse() -> None:
    node = vivaldi()
    # so close, and so high, that being pushed off becomes a leap
    assert node.update("liar", at(2e-6, height=SOUND_MAX, adjustment=-SOUND_MAX), 10.0)
    assert node.resets == 1
    assert node.coordinate is ORIGIN
    fresh = vivaldi()
    fresh._index = 1
    for _ in range(40):
        assert node.update("b", at(0.02), 0.021)
        assert fresh.update("b", at(0.02), 0.021)
    assert node.coordinate == fresh.coordinate
    assert node.resets == 1


def test_after_a_flood_of_lies_honest_probes_find_the_way_back() -> None:
    node, pick = vivaldi(), Random(3)
    for _ in range(500):
        vec = tuple(pick.uniform(-300, 300) for _ in range(8))
        assert node.update("liar", Coordinate(vec, 0.0, 0.0, pick.uniform(0, 100)), pick.uniform(0, 10))
    node.forget("liar")
    peers = [at(x, error=0.1) for x in (-0.02, 0.0, 0.03)]
    for step in range(600):
        peer = step % 3
        node.update(f"honest{peer}", peers[peer], (0.02, 0.01, 0.04)[peer])
    assert distance(node.coordinate, peers[1]) < 0.05
