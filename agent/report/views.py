"""Views over time: who saw whom as what at each stop of a slider, and how a member looked to the others.

What is drawn is bounded: so many members, so many stops, so many changes. Steps are as fine as these allow.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from moot.gossip.sim.timeline import Timeline

STATUSES: Final = ("none", "alive", "suspect", "leaving", "left", "failed")
CODES: Final = {status: code for code, status in enumerate(STATUSES)}
DOWN, RUNNING, STOPPED = range(3)
MEMBERS_MAX: Final = 200
STOPS_MAX: Final = 300
CHANGES_MAX: Final = 150_000
"""Most changes of cells in a page, about a megabyte."""
STEPS: Final = tuple(digit * 10.0**power for power in range(-2, 6) for digit in (1, 2, 5))
"""Seconds that one stop may stand for."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a member looked from a stop on: how many running others held it for what."""

    stop: int
    counts: tuple[tuple[str, int], ...]


@dataclass(slots=True)
class Matrix:
    """The matrix at each stop as what changed since the one before.

    A change in `cells` is `(observer * subjects + subject) * 8 + status`, one in `rows` is `observer * 4 + state`.
    """

    observers: list[str]
    subjects: list[str]
    left_out: int
    """How many agents are not drawn."""
    step: float
    """Changes that are less than so many seconds apart may be drawn as one."""
    stops: list[float] = field(default_factory=list)
    cells: list[list[int]] = field(default_factory=list)
    rows: list[list[int]] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)
    """How many different views running agents had, at each stop."""
    looks: dict[str, list[Look]] = field(default_factory=dict)
    """By subject."""


Change = tuple[float, int, int, int]
"""When, whose row, which column (-1: the row itself), what it became."""


def matrix(run: Timeline, first: Sequence[str] = ()) -> Matrix:
    """The views of a run. When there are too many members, those of `first` are drawn before others."""
    agents = agents_of(run)
    observers = choose(agents, [*first, *_touched(run)], MEMBERS_MAX)
    members = dict.fromkeys(observers)
    members.update((subject, None) for observer, subject in run.views if observer in members)
    subjects = choose(_in_order(run, members), [*observers, *first], MEMBERS_MAX)
    changes = sorted(_changes(run, observers, subjects), key=lambda change: change[0])
    step = _step(changes)
    found = Matrix(observers, subjects, len(agents) - len(observers), step)
    _Replay(run, found).play(changes)
    return found


def agents_of(run: Timeline) -> list[str]:
    """All agents that ever ran, in the order in which the run names them."""
    return _in_order(run, run.lives) or list(run.history.names)


def _in_order(run: Timeline, names: Iterable[str]) -> list[str]:
    places = {name: place for place, name in enumerate(run.history.names)}
    return sorted(names, key=lambda name: places.get(name, len(places)))


def choose(names: Sequence[str], first: Sequence[str], most: int) -> list[str]:
    """So many of some names, in their order; those of `first` are taken before others."""
    if len(names) <= most:
        return list(names)
    ranks = {name: rank for rank, name in reversed(list(enumerate(first)))}
    taken = set(sorted(names, key=lambda name: ranks.get(name, len(first)))[:most])
    return [name for name in names if name in taken]


def _touched(run: Timeline) -> list[str]:
    """To whose processes anything was done."""
    return [up.agent for up in run.all_lives() if up.how or len(run.lives[up.agent]) > 1]


def _changes(run: Timeline, observers: Sequence[str], subjects: Sequence[str]) -> Iterator[Change]:
    rows = {name: number for number, name in enumerate(observers)}
    columns = {name: number for number, name in enumerate(subjects)}
    for (observer, subject), views in run.views.items():
        if observer in rows and subject in columns:
            for seen in views:
                yield seen.at, rows[observer], columns[subject], CODES.get(seen.status, 0)
    for observer, row in rows.items():
        for up in run.lives.get(observer, ()):
            yield up.span.began, row, -1, RUNNING
            if up.how:
                yield up.span.ended, row, -1, DOWN
        for span in run.stops_of(observer):
            yield span.began, row, -1, STOPPED
            life = run.life_at(observer, span.ended)
            if life is not None:
                yield span.ended, row, -1, RUNNING


def _step(changes: Sequence[Change]) -> float:
    """The finest step with which there are few enough stops and changes."""
    for step in STEPS:
        if len({int(at / step) for at, *_ in changes}) > STOPS_MAX:
            continue
        if len({(int(at / step), row, column) for at, row, column, _ in changes}) <= CHANGES_MAX:
            return step
    return STEPS[-1]


class _Replay:
    """Plays changes once, and writes down what the matrix is at each stop."""

    def __init__(self, run: Timeline, matrix: Matrix) -> None:
        self._matrix = matrix
        self._width = len(matrix.subjects)
        self._table = [bytearray(self._width) for _ in matrix.observers]
        self._states = [DOWN] * len(matrix.observers)
        self._own = [{up.member for up in run.lives.get(observer, ())} or {observer} for observer in matrix.observers]

    def play(self, changes: Sequence[Change]) -> None:
        """All of them, in the order of time."""
        place = 0
        while place < len(changes):
            stop = int(changes[place][0] / self._matrix.step)
            cells: dict[tuple[int, int], int] = {}
            rows: dict[int, int] = {}
            at = 0.0
            while place < len(changes) and int(changes[place][0] / self._matrix.step) == stop:
                at, row, column, became = changes[place]
                if column < 0:
                    rows[row] = became
                else:
                    cells[row, column] = became
                place += 1
            self._stop(at, cells, rows)

    def _stop(self, at: float, cells: dict[tuple[int, int], int], rows: dict[int, int]) -> None:
        changed = {pair: code for pair, code in cells.items() if self._table[pair[0]][pair[1]] != code}
        turned = {row: state for row, state in rows.items() if self._states[row] != state}
        if not changed and not turned:
            return
        for (row, column), code in changed.items():
            self._table[row][column] = code
        for row, state in turned.items():
            self._states[row] = state
        found = self._matrix
        found.stops.append(round(at, 3))
        found.cells.append([(row * self._width + column) * 8 + code for (row, column), code in changed.items()])
        found.rows.append([row * 4 + state for row, state in turned.items()])
        running = [row for row, state in enumerate(self._states) if state == RUNNING]
        found.kinds.append(len({bytes(self._table[row]) for row in running}))
        subjects = range(self._width) if turned else {column for _, column in changed}
        for column in subjects:
            self._look(column, running)

    def _look(self, column: int, running: Sequence[int]) -> None:
        subject = self._matrix.subjects[column]
        held = Counter(self._table[row][column] for row in running if subject not in self._own[row])
        counts = tuple((STATUSES[code], held[code]) for code in sorted(held))
        looks = self._matrix.looks.setdefault(subject, [])
        if not looks or looks[-1].counts != counts:
            looks.append(Look(len(self._matrix.stops) - 1, counts))


def nearest(stops: Sequence[float], at: float) -> int:
    """The last stop that is not after an instant."""
    return max(0, sum(stop <= at + 1e-9 for stop in stops) - 1) if math.isfinite(at) else max(0, len(stops) - 1)
