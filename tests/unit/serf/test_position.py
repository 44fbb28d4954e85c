"""Our coordinate as it is told with acks and moved by them."""

from random import Random

from moot.gossip.counters import Counters
from moot.gossip.serf.coordinate import ORIGIN
from moot.gossip.serf.messages import Coordinate
from moot.gossip.serf.position import Position
from moot.gossip.wire import serf_codec
from moot.gossip.wire.serf_codec import decode_coordinate, encode_coordinate

THERE = Coordinate((0.1,) + (0.0,) * 7, 0.5, 0.0, 0.001)


def position(counters: Counters | None = None, *, enabled: bool = True) -> Position:
    return Position(enabled, Random(1), serf_codec, counters or Counters())


def test_what_is_told_follows_every_probe() -> None:
    ours = position()
    assert decode_coordinate(ours.payload()) == Coordinate([0.0] * 8, 1.5, 0.0, 1e-5)
    for _ in range(3):
        before = ours.payload()
        assert ours.payload() is before
        ours.observe("b", 0.05, encode_coordinate(THERE))
        own, told = ours.own(), decode_coordinate(ours.payload())
        assert own is not None
        assert told is not None
        assert tuple(told.vec) == tuple(own.vec)
        assert ours.payload() != before


def test_what_a_member_told_last_is_kept_until_it_is_forgotten() -> None:
    ours = position()
    assert ours.of("b") is None
    ours.observe("b", 0.05, encode_coordinate(THERE))
    known = ours.of("b")
    assert known is not None
    assert tuple(known.vec) == THERE.vec
    ours.forget("b")
    assert ours.of("b") is None


def test_a_payload_that_is_no_coordinate_is_counted_and_none_at_all_is_nothing() -> None:
    counters = Counters()
    ours = position(counters)
    ours.observe("b", 0.05, b"")
    assert counters.refused["coordinate"] == 0
    for bad in (b"\x02\x80", b"junk", b"\x01\xc1", encode_coordinate(Coordinate((0.0,) * 7, 1.5, 0.0, 1e-5))):
        ours.observe("b", 0.05, bad)
    ours.observe("b", 11.0, encode_coordinate(THERE))
    assert counters.refused["coordinate"] == 5
    assert ours.of("b") is None
    assert ours.own() == ORIGIN


def test_without_coordinates_none_is_told_kept_or_counted() -> None:
    counters = Counters()
    none = position(counters, enabled=False)
    none.observe("b", 0.05, encode_coordinate(THERE))
    none.forget("b")
    assert (none.payload(), none.own(), none.of("b"), none.resets) == (b"", None, None, None)
    assert not counters.refused
