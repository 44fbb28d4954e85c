"""Verdict: what a checker has to say about a run. Three-valued: who could not look does not say that all is well."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite

from moot.gossip.amounts import seconds_text

EVIDENCE_MAX = 20


class Outcome(enum.Enum):
    """What is known about a property; UNKNOWN is neither."""

    HOLDS = "holds"
    VIOLATED = "violated"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing that was seen, at that time, and whom it is about."""

    at: float
    text: str
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer of a checker: a sentence, what it rests on, and what was measured (seconds, counts, by name)."""

    outcome: Outcome
    summary: str
    evidence: tuple[Evidence, ...] = ()
    figures: dict[str, float] = field(default_factory=dict)
    evidence_count: int = 0
    """How many pieces there are; `evidence` holds the first of them."""


def holds(summary: str, **figures: float) -> Verdict:
    """All that was asked was looked at, and is so."""
    return Verdict(Outcome.HOLDS, summary, figures=figures)


def unknown(summary: str, **figures: float) -> Verdict:
    """It could not be looked at, or not for long enough."""
    return Verdict(Outcome.UNKNOWN, summary, figures=figures)


def violated(summary: str, evidence: Sequence[Evidence], **figures: float) -> Verdict:
    """It is not so, and this is why."""
    first = tuple(sorted(evidence, key=lambda each: each.at)[:EVIDENCE_MAX])
    return Verdict(Outcome.VIOLATED, summary, first, figures, len(evidence))


def took(seconds: float) -> str:
    """A duration in words, to a millisecond."""
    return seconds_text(round(seconds, 3)) if isfinite(seconds) else "for ever"


def count(number: int, thing: str) -> str:
    """`1 view`, `2 views`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"
