"""Pages: rows in small immutable pages, so that tables which are nearly equal share nearly everything.

Ten thousand simulated views of ten thousand members differ in a few rows each. A copy costs a reference per page,
a change the page that it is in, and two copies are compared page by page.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Generic, TypeVar

T = TypeVar("T")

SHIFT = 6
PAGE = 1 << SHIFT
"""Rows per page: a change copies 0.5 KiB."""
MASK = PAGE - 1
_EMPTY: tuple[None, ...] = (None,) * PAGE


class Pages(Generic[T]):
    """Rows from 0 to `length`, each with an item or None. `pages` is for reading, by whoever reads much."""

    __slots__ = ("length", "pages")

    def __init__(self) -> None:
        self.pages: list[tuple[T | None, ...]] = []
        self.length = 0

    def __iter__(self) -> Iterator[T]:
        """The items, in the order of their rows."""
        return (item for item in chain.from_iterable(self.pages) if item is not None)

    def get(self, row: int) -> T | None:
        """The item in a row, None also beyond the last."""
        return self.pages[row >> SHIFT][row & MASK] if row < self.length else None

    def put(self, row: int, item: T | None) -> None:
        """Set the item in a row; rows are added if need be."""
        if row >= self.length:
            self.length = row + 1
            missing = (row >> SHIFT) + 1 - len(self.pages)
            if missing > 0:
                self.pages += [_EMPTY] * missing
        number, at = row >> SHIFT, row & MASK
        page = self.pages[number]
        self.pages[number] = (*page[:at], item, *page[at + 1 :])

    def fill(self, items: Sequence[T]) -> None:
        """Hold these, in rows from 0 on, and nothing else."""
        self.length = len(items)
        padded = [*items, *_EMPTY[: -len(items) % PAGE]]
        self.pages = [tuple(padded[start : start + PAGE]) for start in range(0, len(padded), PAGE)]

    def copy(self) -> "Pages[T]":
        """The same rows, to be changed apart from these."""
        other: Pages[T] = Pages()
        other.become(self)
        return other

    def become(self, other: "Pages[T]") -> None:
        """Hold the same rows as another."""
        self.pages = list(other.pages)
        self.length = other.length

    def unlike(self, other: "Pages[T]") -> Iterator[T]:
        """Our items of which the other does not hold the very same in the same row, as both are when asked."""
        theirs = other.pages
        for number, page in enumerate(self.pages):
            beside = theirs[number] if number < len(theirs) else _EMPTY
            if page is not beside:
                for item, its in zip(page, beside, strict=True):
                    if item is not None and item is not its:
                        yield item
