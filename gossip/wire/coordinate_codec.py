"""Bytes of network coordinates, as ack payloads carry them.

Every probe brings one, so the form that all members send is read and written by its fixed layout; whatever else is
legal goes by msgpack, which is also what the fixed layout is tested against.
"""

import struct
from math import isfinite
from typing import Final

from moot.gossip.errors import WireError
from moot.gossip.pack import as_fields, list_of, pack, real, real_of, unpack
from moot.gossip.serf.messages import Coordinate

COORDINATE_VERSION: Final = 1
COORDINATE_DIMENSIONS: Final = 8

_PLAIN: Final = struct.Struct(">14sd7sd8sd5s" + "Bd" * COORDINATE_DIMENSIONS)
"""What every member sends: its keys in their order, each value as a float of 64 bits."""
_WORDS: Final = (
    bytes((COORDINATE_VERSION,)) + b"\x84\xaaAdjustment\xcb",
    b"\xa5Error\xcb",
    b"\xa6Height\xcb",
    b"\xa3Vec\x98",
)
_DOUBLE: Final = 0xCB
_MARKS: Final = (_DOUBLE,) * COORDINATE_DIMENSIONS


def encode_coordinate(coordinate: Coordinate) -> bytes:
    """The ack payload: a version byte and the coordinate."""
    if len(coordinate.vec) == COORDINATE_DIMENSIONS:
        a, b, c, d, e, f, g, h = coordinate.vec
        first, second, third, last = _WORDS
        mark = _DOUBLE
        return _PLAIN.pack(
            *(first, coordinate.adjustment, second, coordinate.error, third, coordinate.height, last),
            *(mark, a, mark, b, mark, c, mark, d, mark, e, mark, f, mark, g, mark, h),
        )
    return encode_any_coordinate(coordinate)


def decode_coordinate(payload: bytes) -> Coordinate | None:
    """The coordinate in an ack payload; None when it is of another version or shape, or cannot be read."""
    if len(payload) == _PLAIN.size:
        found = _PLAIN.unpack(payload)
        if found[0:7:2] == _WORDS and found[7::2] == _MARKS:
            vec = list(found[8::2])
            adjustment, error, height = found[1:6:2]
            if isfinite(adjustment + error + height + sum(vec)):
                return Coordinate(vec, error, adjustment, height)
    return decode_any_coordinate(payload)


def encode_any_coordinate(coordinate: Coordinate) -> bytes:
    """The same by msgpack."""
    return bytes((COORDINATE_VERSION,)) + pack(
        {
            b"Adjustment": float(coordinate.adjustment),
            b"Error": float(coordinate.error),
            b"Height": float(coordinate.height),
            b"Vec": [float(part) for part in coordinate.vec],
        }
    )


def decode_any_coordinate(payload: bytes) -> Coordinate | None:
    """The same by msgpack, in whatever order and form."""
    if payload[:1] != bytes((COORDINATE_VERSION,)):
        return None
    try:
        fields = as_fields(unpack(payload[1:]), (b"Vec", b"Error", b"Adjustment", b"Height"))
        vec = list_of(fields.get(b"Vec"), real_of)
        if len(vec) != COORDINATE_DIMENSIONS:
            return None
        return Coordinate(vec, real(fields, b"Error"), real(fields, b"Adjustment"), real(fields, b"Height"))
    except WireError:
        return None
