"""Scanner: whole objects out of bytes that come in pieces, and limits before anything is kept."""

import struct
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moot.agent.rpc.scanner import DEPTH_MAX, OBJECT_MAX, VALUES_MAX, Scanner
from moot.gossip.errors import LimitExceeded, WireError

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=300)
    | st.binary(max_size=300)
)


def nested(depth: int) -> st.SearchStrategy[Any]:
    """Values that nest so deep at most."""
    if not depth:
        return SCALARS
    inner = nested(depth - 1)
    return SCALARS | st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=5), inner, max_size=20)


@given(st.lists(st.tuples(nested(2), st.booleans()), max_size=5), st.lists(st.integers(1, 500), max_size=8))
def test_objects_come_out_as_they_went_in_however_the_bytes_are_cut(
    values: list[tuple[Any, bool]], cuts: list[int]
) -> None:
    objects = [msgpack.packb(value, use_bin_type=modern) for value, modern in values]
    data = b"".join(objects)
    scanner, taken = Scanner(), []
    while data:
        size = cuts.pop() if cuts else len(data)
        scanner.feed(data[:size])
        data = data[size:]
        while (found := scanner.take()) is not None:
            taken.append(found)
    assert taken == objects
    assert scanner.held == 0


@pytest.mark.parametrize("first", [0xC1, *range(0xC7, 0xCA), *range(0xD4, 0xD9)])
def test_extensions_and_the_byte_that_means_nothing_are_refused(first: int) -> None:
    scanner = Scanner()
    scanner.feed(bytes([first]))
    with pytest.raises(WireError):
        scanner.take()


@pytest.mark.parametrize("first", [0xC6, 0xDB])
def test_a_length_is_refused_before_its_bytes_come(first: int) -> None:
    scanner = Scanner()
    scanner.feed(struct.pack(">BI", first, OBJECT_MAX))
    with pytest.raises(LimitExceeded):
        scanner.take()


@pytest.mark.parametrize(("first", "each"), [(0xDD, 1), (0xDF, 2)])
def test_a_count_is_refused_before_its_values_come(first: int, each: int) -> None:
    scanner = Scanner()
    scanner.feed(struct.pack(">BI", first, VALUES_MAX // each))
    with pytest.raises(LimitExceeded):
        scanner.take()


def test_values_are_counted_over_all_levels() -> None:
    scanner = Scanner()
    scanner.feed(msgpack.packb([[0] * 1000] * 5))
    with pytest.raises(LimitExceeded):
        scanner.take()


def test_objects_nest_only_so_deep() -> None:
    scanner = Scanner()
    scanner.feed(b"\x91" * DEPTH_MAX + b"\x01")
    assert scanner.take() is not None
    scanner.feed(b"\x91" * (DEPTH_MAX + 1))
    with pytest.raises(LimitExceeded):
        scanner.take()


def test_the_largest_object_passes() -> None:
    largest = struct.pack(">BI", 0xC6, OBJECT_MAX - 5) + bytes(OBJECT_MAX - 5)
    scanner = Scanner()
    scanner.feed(largest[:-1])
    assert scanner.take() is None
    scanner.feed(largest[-1:])
    assert scanner.take() == largest


def test_an_object_of_many_small_texts_is_refused_by_its_size() -> None:
    scanner = Scanner()
    scanner.feed(b"\xdc\x04\x00" + (b"\xda\x01\x00" + b"x" * 256) * 1024)
    with pytest.raises(LimitExceeded):
        scanner.take()
