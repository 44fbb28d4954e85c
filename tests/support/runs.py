"""Histories written by hand, for tests of checkers."""

from collections.abc import Iterable, Sequence
from typing import Any

from moot.gossip.sim.checkers import Bound, check
from moot.gossip.sim.history import Command, Ended, FaultBegan, FaultEnded, History, Life, Record, Seen
from moot.gossip.sim.verdicts import Outcome, Verdict

NAMES = ("a", "b", "c")


def pool(names: Sequence[str] = NAMES) -> list[Record]:
    """All start at 0, and see each other at 1."""
    records: list[Record] = [Life(0.0, name, "started") for name in names]
    records += [saw(1.0, observer, subject, "alive", "none") for observer in names for subject in names]
    return records


def saw(at: float, observer: str, subject: str, status: str, before: str = "alive", **more: Any) -> Seen:
    """A view changed."""
    given: dict[str, Any] = {"incarnation": 1, "ltime": 1, "address": f"{subject}:1", **more}
    return Seen(at, observer, subject, before, status, **given)


def fault(began: float, ended: float, words: str) -> list[Record]:
    """Something is wrong for some time."""
    return [FaultBegan(began, words), FaultEnded(ended, words)]


def crash(at: float, name: str) -> Record:
    """An agent dies."""
    return Life(at, name, "killed")


def prune(at: float, name: str) -> Record:
    """A member is pruned."""
    return Command(at, f"prune {name}", "a")


def history(*parts: Record | Iterable[Record], end: float = 100.0, names: Sequence[str] = NAMES) -> History:
    """A run of a pool in which this happened besides, in the order of time."""
    records = pool(names)
    for part in parts:
        records += part if isinstance(part, Iterable) else [part]
    records.sort(key=lambda record: record.at)
    return History(list(names), "by hand", records=[*records, Ended(end)])


def outcome(run: History, checker: str, **bounds: Bound) -> Outcome:
    """What a checker says in a word."""
    return check(run, checker, **bounds).outcome


def verdict(run: History, checker: str, **bounds: Bound) -> Verdict:
    """What a checker says."""
    return check(run, checker, **bounds)
