"""Long work cut into slices of a millisecond or two, so that whoever runs it can do something else in between."""

from collections.abc import Generator, Iterator
from typing import TypeAlias, TypeVar

T = TypeVar("T")
Slices: TypeAlias = Generator[int, None, T]
"""Yields after each slice, each time how many bytes of memory it has taken since the last; returns the result."""


def finished(work: Slices[T]) -> T:
    """The result of all slices, done in one go."""
    while True:
        try:
            next(work)
        except StopIteration as stop:
            result: T = stop.value
            return result


def portions(count: int, most: int) -> Iterator[int]:
    """`count` in pieces of at most `most`."""
    for start in range(0, count, most):
        yield min(most, count - start)
