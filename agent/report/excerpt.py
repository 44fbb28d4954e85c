"""Excerpts: what was told around a violation: the agents' own logs where there are any, else the history."""

import datetime
import re
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from moot.agent.report.describe import EvidenceShape, PropertyShape
from moot.agent.text import printable
from moot.gossip.sim.history import (
    Command,
    Ended,
    EventDelivered,
    EventSent,
    FaultBegan,
    FaultEnded,
    History,
    KeyState,
    Life,
    Record,
    Refuted,
    Seen,
    Waited,
)
from moot.gossip.sim.verdicts import took

PIECES_MAX: Final = 3
"""Pieces of evidence of one property that get an excerpt."""
BEFORE_MAX, AFTER_MAX = 16, 14
"""Lines before and after the instant of a piece of evidence."""
LOGS_MAX: Final = 4
"""Agents whose logs are looked at for a piece of evidence."""
LOG_WITHIN: Final = 15.0
"""Log lines that are further away are not shown; seconds."""
LINE_MAX: Final = 400
_OURS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
_SERFS = re.compile(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d")
Line = tuple[float, str, bool]
"""When, what, and whether it is after the instant."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Lines around an instant, and where they are from."""

    at: float
    text: str
    lines: list[Line]
    origin: str


def excerpts(each: PropertyShape, history: History, began: float, logs: Mapping[str, Path]) -> list[Excerpt]:
    """For the first pieces of evidence of a property that is violated: `began` is the run's begin for the logs."""
    found = []
    for piece in each.evidence[:PIECES_MAX] if each.outcome == "violated" else ():
        lines = _log_excerpt(piece, began, logs)
        origin = "logs of the agents" if lines else "history of the run"
        found.append(Excerpt(piece.at, piece.text, lines or _record_lines(history.records, piece), origin))
    return found


def _log_excerpt(piece: EvidenceShape, began: float, logs: Mapping[str, Path]) -> list[Line]:
    """Lines of those whom it is about, and what some others said of them."""
    about = [name for name in piece.members if name in logs]
    others = [name for name in logs if name not in about][: max(0, LOGS_MAX - len(about))]
    lines: list[Line] = []
    for name in about[:LOGS_MAX]:
        lines += _log_lines(name, logs[name], began, piece.at, ())
    for name in others:
        lines += _log_lines(name, logs[name], began, piece.at, piece.members)
    lines.sort(key=lambda line: line[0])
    before, after = ([line for line in lines if line[2] is later] for later in (False, True))
    return [*before[-BEFORE_MAX:], *after[:AFTER_MAX]]


def _record_lines(records: Sequence[Record], piece: EvidenceShape) -> list[Line]:
    members = set(piece.members)
    place = bisect_right(records, piece.at, key=lambda record: record.at)
    before = list(_first(BEFORE_MAX, _about(reversed(records[:place]), members)))
    after = list(_first(AFTER_MAX, _about(records[place:], members)))
    return [
        *((record.at, words(record), False) for record in reversed(before)),
        *((record.at, words(record), True) for record in after),
    ]


def _first(most: int, found: Iterable[T]) -> Iterator[T]:
    yield from (each for _, each in zip(range(most), found, strict=False))


def _about(records: Iterable[Record], members: set[str]) -> Iterator[Record]:
    """What is of these members, or of all."""
    for record in records:
        match record:
            case Seen(observer=observer, subject=subject):
                both = len(members) > 1
                if (observer in members and subject in members) if both else members & {observer, subject}:
                    yield record
            case EventDelivered(agent=agent) | Refuted(agent=agent) | KeyState(agent=agent):
                if not members or agent in members:
                    yield record
            case Life() | FaultBegan() | FaultEnded() | Command() | Waited() | EventSent() | Ended():
                yield record


def words(record: Record) -> str:
    """A record as a line for people."""
    match record:
        case Seen():
            accused = f", accused by {record.accuser}" if record.accuser else ""
            confirmed = f", confirmed by {record.confirmed}" if record.confirmed else ""
            more = f"incarnation {record.incarnation}, Lamport time {record.ltime}{accused}{confirmed}"
            return f"{record.observer}: {record.subject} {record.before} → {record.status} ({more})"
        case Life():
            return f"{record.agent} {record.what}{f' as {record.member}' if record.member else ''}"
        case FaultBegan():
            return f"fault begins: {record.words}"
        case FaultEnded():
            return f"fault ends: {record.words}"
        case Command():
            end = f"failed: {record.error}" if record.error else f"done in {took(record.seconds)}"
            return f"{record.agent or 'lab'} was told: {record.words}, {end}"
        case Waited():
            return f"waited for {record.words}, {'' if record.reached else 'in vain, '}{took(record.seconds)}"
        case EventSent():
            return f"{record.agent} sent event {record.name}"
        case EventDelivered():
            return f"{record.agent} got event {record.name}"
        case Refuted():
            by = f" what {record.accuser} said" if record.accuser else ""
            return f"{record.agent} refuted{by}, incarnation {record.incarnation}"
        case KeyState():
            return f"{record.agent} has keys {', '.join(record.keys)}"
        case _:
            return "the run ended"


def _log_lines(name: str, path: Path, began: float, at: float, naming: Sequence[str]) -> list[Line]:
    """The lines of a log that are nearest to an instant of the run, and name one of `naming`, if there are any."""
    before: deque[Line] = deque(maxlen=BEFORE_MAX)
    after: list[Line] = []
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                told = _told_at(line)
                if told is None or abs(told - began - at) > LOG_WITHIN:
                    continue
                if naming and not any(each in line for each in naming):
                    continue
                text = f"{name}  {printable(line.rstrip())[:LINE_MAX]}"
                if told - began <= at:
                    before.append((told - began, text, False))
                elif len(after) < AFTER_MAX:
                    after.append((told - began, text, True))
    except OSError as error:
        return [(at, f"the log of {name} cannot be read: {error.strerror}", False)]
    return [*before, *after]


def _told_at(line: str) -> float | None:
    """The Unix time at which a line was written, by what it begins with."""
    try:
        if found := _OURS.match(line):
            return datetime.datetime.fromisoformat(found[0]).timestamp()
        if found := _SERFS.match(line):
            return datetime.datetime.strptime(found[0], "%Y/%m/%d %H:%M:%S").timestamp()
    except ValueError:
        return None
    return None
