"""Lanes: the timeline of a run as blocks with places in per cent of its time: faults, deeds, and a row per member."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from typing import Final

from moot.agent.report.views import Matrix, agents_of, choose
from moot.gossip.actions import Flood, parse
from moot.gossip.afflict import afflict
from moot.gossip.errors import ConfigError
from moot.gossip.faults import Conditions
from moot.gossip.selectors import select
from moot.gossip.sim.history import Command, EventSent, Waited
from moot.gossip.sim.timeline import Span, Timeline
from moot.gossip.sim.verdicts import took

ROWS_MAX: Final = 100
LANES_MAX: Final = 12
MARKS_MAX: Final = 200
SIDES: Final = "ABCDEFGH"
SEGMENTS_MAX: Final = 8_000
"""Most blocks of all members' rows."""


@dataclass(frozen=True, slots=True)
class Block:
    """Something from one place to another, both in per cent. `kind` is how it looks, `letter` what stands in it."""

    left: float
    width: float
    kind: str
    title: str
    letter: str = ""
    parts: tuple[tuple[str, float], ...] = ()
    """Of a block of views: statuses and their shares in per cent."""


@dataclass(frozen=True, slots=True)
class Row:
    """A member: how others saw it, what was done to its links and itself, and when it ran."""

    name: str
    seen: list[Block]
    faults: list[Block]
    life: list[Block]


@dataclass(frozen=True, slots=True)
class Lanes:
    """The whole timeline."""

    ticks: list[tuple[float, str]]
    troubles: list[list[Block]]
    """Faults, in as many lanes as they need; those that are named on all links are also `bands`."""
    bands: list[Block]
    marks: list[Block]
    rows: list[Row]
    left_out: int
    troubles_left_out: int
    marks_left_out: int
    crowded: bool
    """Whether changes were joined, as there were too many."""


def lanes(run: Timeline, matrix: Matrix, first: Sequence[str] = ()) -> Lanes:
    """The timeline of a run. When there are too many members, those of `first` are drawn before others."""
    end = run.end or 1.0
    names = agents_of(run)
    drawn = choose(names, [*first, *matrix.observers], ROWS_MAX)
    members = list(dict.fromkeys([*run.history.names, *names]))
    troubles, left_out = _packed(run, end)
    most = max(20, SEGMENTS_MAX // max(1, len(drawn)))
    rows = [_row(run, matrix, name, members, end, most) for name in drawn]
    marks = list(_marks(run, end))
    return Lanes(
        ticks=list(_ticks(end)),
        troubles=troubles,
        bands=[_block(span.began, span.ended, end, "band", words) for span, words in run.troubles][:MARKS_MAX],
        marks=marks[:MARKS_MAX],
        rows=rows,
        left_out=len(names) - len(drawn),
        troubles_left_out=left_out,
        marks_left_out=max(0, len(marks) - MARKS_MAX),
        crowded=any(len(looks) > most for looks in matrix.looks.values()),
    )


def tick_step(end: float, most: int = 10) -> float:
    """A round number of seconds, so that there are at most so many ticks."""
    for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600):
        if end / step <= most:
            return float(step)
    return end / most


def _ticks(end: float) -> Iterator[tuple[float, str]]:
    step = tick_step(end)
    for number in range(int(end / step) + 1):
        yield 100 * number * step / end, f"{number * step:g}"


def _block(began: float, ended: float, end: float, kind: str, title: str, letter: str = "") -> Block:
    left = max(0.0, min(100.0, 100 * began / end))
    right = max(left, min(100.0, 100 * ended / end))
    until = "the end" if ended == inf else f"{ended:.1f} s"
    return Block(round(left, 2), round(right - left, 2), kind, f"{title}: {began:.1f} s to {until}", letter)


def _packed(run: Timeline, end: float) -> tuple[list[list[Block]], int]:
    """Faults in lanes in which none is over another, and how many found no place."""
    found: list[list[Block]] = []
    free_at: list[float] = []
    left_out = 0
    joined: dict[tuple[Span, str], list[str]] = {}
    for span, words in run.troubles:
        joined.setdefault((span, words.split()[0]), []).append(words)
    for (span, _), several in joined.items():
        words = "; ".join(several)
        lane = next((number for number, free in enumerate(free_at) if free <= span.began), len(free_at))
        if lane == LANES_MAX:
            left_out += len(several)
            continue
        if lane == len(free_at):
            free_at.append(0.0)
            found.append([])
        free_at[lane] = span.ended
        found[lane].append(_block(span.began, span.ended, end, "trouble", words, words))
    return found, left_out


def _marks(run: Timeline, end: float) -> Iterator[Block]:
    """What was told and waited for, at its instant."""
    for record in run.history.records:
        match record:
            case Command():
                how = f": {record.error}" if record.error else ""
                by = f" by {record.agent}" if record.agent and " by " not in record.words else ""
                text = f"{record.at:.1f} s: {record.words}{by}{how}"
                yield Block(round(100 * record.at / end, 2), 0.0, "wrong" if record.error else "command", text)
            case EventSent():
                text = f"{record.at:.1f} s: event {record.name} by {record.agent}"
                yield Block(round(100 * record.at / end, 2), 0.0, "command", text)
            case Waited():
                done = "after" if record.reached else "not within"
                text = f"{record.at:.1f} s: {record.words}, {done} {took(record.seconds)}"
                yield Block(round(100 * record.at / end, 2), 0.0, "wait" if record.reached else "wrong", text)


def _row(run: Timeline, matrix: Matrix, name: str, members: Sequence[str], end: float, most: int) -> Row:
    lives = run.lives.get(name, [])
    member = lives[-1].member if lives else name
    return Row(name, _seen(matrix, member, end, most), list(_faults(run, name, members, end)), _life(run, name, end))


def _seen(matrix: Matrix, member: str, end: float, most: int) -> list[Block]:
    """How the others saw it; beyond so many changes, only those that are the longest after the one before."""
    looks = matrix.looks.get(member, [])
    if len(looks) > most:
        gaps = {look.stop: matrix.stops[look.stop] - matrix.stops[before.stop] for before, look in pairwise(looks)}
        kept = set(sorted(gaps, key=lambda stop: -gaps[stop])[: most - 1])
        looks = [look for place, look in enumerate(looks) if place == 0 or look.stop in kept]
    found = []
    for place, look in enumerate(looks):
        total = sum(count for _, count in look.counts)
        if not total:
            continue
        began = matrix.stops[look.stop]
        ended = matrix.stops[looks[place + 1].stop] if place + 1 < len(looks) else end
        told = ", ".join(f"{status} to {count}" for status, count in look.counts)
        whole = _block(began, ended, end, "seen", told)
        parts = tuple((status, round(100 * count / total, 1)) for status, count in look.counts)
        found.append(Block(whole.left, whole.width, "seen", whole.title, parts=parts))
    return found


def _faults(run: Timeline, name: str, members: Sequence[str], end: float) -> Iterator[Block]:
    """The faults that name this member, with a letter each: the side of a partition, or what ails it."""
    for span, words in run.troubles:
        for kind, letter in _marked(words, name, members):
            yield _block(span.began, span.ended, end, kind, words, letter)


def _marked(words: str, name: str, members: Sequence[str]) -> Iterator[tuple[str, str]]:
    try:
        action = parse(words)
        if isinstance(action, Flood):
            if name in select(action.members, members):
                yield "ailing", "F"
            return
        conditions = Conditions()
        afflict(conditions, action, members)
    except ConfigError:
        return  # words of somebody else's program, or of members that are not here
    if conditions.groups:
        side = next(
            (number for number, group in enumerate(conditions.groups) if name in group), len(conditions.groups)
        )
        yield f"side-{side % 4}", SIDES[side % len(SIDES)]
    for label, fault in conditions.faults.items():
        if any(ends is not None and name in ends for ends in (fault.source, fault.to)):
            yield "link", label[0].upper()
    ailing = {"S": conditions.slow, "K": conditions.clocks, "D": conditions.disk_full}
    yield from (("ailing", letter) for letter, names in ailing.items() if name in names)


def _life(run: Timeline, name: str, end: float) -> list[Block]:
    found = []
    for up in run.lives.get(name, ()):
        ended = min(up.span.ended, up.leaving_at)
        found.append(_block(up.span.began, ended, end, "runs", "runs"))
        if up.leaving_at < inf:
            found.append(_block(up.leaving_at, up.span.ended, end, "leaves", "is leaving"))
    found += [_block(span.began, span.ended, end, "stopped", "stopped") for span in run.stops_of(name)]
    return found
