"""Compare: where two runs part, record by record, and whose views went otherwise."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Generic, TypeVar

from moot.gossip.sim.history import History, Seen, line_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parting(Generic[T]):
    """The first `count` entries are the same: `before` are the last of them, then each goes its way."""

    count: int
    before: tuple[T, ...]
    first: tuple[T, ...]
    second: tuple[T, ...]


@dataclass(frozen=True, slots=True)
class Detour:
    """A view that went otherwise: what the observer saw of the subject in both runs, from `at` on, when they part."""

    at: float
    observer: str
    subject: str
    first: tuple[str, ...]
    second: tuple[str, ...]


def parting(
    first: Sequence[T], second: Sequence[T], lines: tuple[Sequence[str], Sequence[str]], context: int
) -> Parting[T] | None:
    """Where two sequences part by their `lines`, with so many entries before and after; None when they do not."""
    at = _fork(*lines)
    if at is None:
        return None
    begin = max(0, at - context)
    return Parting(at, tuple(first[begin:at]), tuple(first[at : at + context]), tuple(second[at : at + context]))


def _fork(first: Sequence[str], second: Sequence[str]) -> int | None:
    pairs = enumerate(zip_longest(first, second))
    return next((number for number, (one, other) in pairs if one != other), None)


def lines_of(history: History) -> list[str]:
    """The records as they are compared: what a file of it says."""
    return [line_of(record) for record in history.records]


def detours(first: History, second: History) -> list[Detour]:
    """The views whose statuses were others, or came in another order, by when they part. Times do not matter."""
    views = (_views(first), _views(second))
    found = []
    for pair in dict.fromkeys([*views[0], *views[1]]):
        ways = (views[0].get(pair, []), views[1].get(pair, []))
        one, other = (tuple(seen.status for seen in way) for way in ways)
        at = _fork(one, other)
        if at is not None:
            when = min(way[at].at for way in ways if at < len(way))
            found.append(Detour(when, *pair, one[at:], other[at:]))
    return sorted(found, key=lambda detour: (detour.at, detour.observer, detour.subject))


def _views(history: History) -> dict[tuple[str, str], list[Seen]]:
    """The changes of status in each view; a newer incarnation alone is none."""
    found: dict[tuple[str, str], list[Seen]] = {}
    for seen in history.of(Seen):
        way = found.setdefault((seen.observer, seen.subject), [])
        if not way or way[-1].status != seen.status:
            way.append(seen)
    return found
