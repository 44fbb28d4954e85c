"""The trace of the real coordinate client, to the last bit."""

import json
from pathlib import Path
from random import Random
from typing import Any

from moot.gossip.serf.coordinate import NANO, Vivaldi, distance
from moot.gossip.serf.messages import Coordinate

TRACE = Path(__file__).parent.parent / "vectors" / "vivaldi.json"
FLOAT_ERROR = 1e-12
"""Far below a nanosecond: a distance is whole nanoseconds, however the float that carries it is rounded."""


def coordinate_of(found: dict[str, Any]) -> Coordinate:
    vec = tuple(float(part) for part in found["vec"])
    return Coordinate(vec, found["error"], float(found["adjustment"]), found["height"])


def test_forty_updates_give_the_coordinates_of_the_real_client_bit_for_bit() -> None:
    vivaldi = Vivaldi(Random(1))
    done: list[str] = []
    for step in json.loads(TRACE.read_text())["operations"]:
        before = vivaldi.coordinate
        match step["op"]:
            case "set":
                vivaldi.coordinate = coordinate_of(step["coord"])
            case "update":
                other = coordinate_of(step["other"])
                assert abs(distance(before, other) - step["distance_before_ns"] / NANO) < FLOAT_ERROR
                assert vivaldi.update(step["node"], other, step["rtt_ns"] / NANO)
                assert vivaldi.coordinate == coordinate_of(step["result"]), len(done)
                assert vivaldi.resets == step["resets"]
                assert vivaldi.cached(step["node"]) is other
            case "update_rejected":
                assert not vivaldi.update("n1", before, step["rtt_ns"] / NANO)
                assert vivaldi.coordinate is before
            case "update_rejected_dimension":
                flat = Coordinate((0.0,) * 7, before.error, before.adjustment, before.height)
                assert not vivaldi.update("n1", flat, 0.01)
                assert vivaldi.coordinate is before
        done.append(step["op"])
    assert done == ["set", *["update"] * 40, *["update_rejected"] * 2, "update_rejected_dimension"]
    assert vivaldi.refused == 3
