"""Verdicts of a run for people and for machines, and the exit code that they mean."""

import sys
from math import inf
from typing import Any, Final

import click

from moot.agent import text
from moot.gossip.sim.lab import Result
from moot.gossip.sim.scenario import Expect
from moot.gossip.sim.verdicts import Outcome, Verdict

COULD_NOT_TELL: Final = 2
EVIDENCE_SHOWN: Final = 5
COLOURS: Final = {Outcome.HOLDS: "green", Outcome.VIOLATED: "red", Outcome.UNKNOWN: "yellow"}


def show(title: str, result: Result) -> None:
    """Lines about one run: a heading, and a line per expectation, with evidence where it is not as expected."""
    click.echo(f"{text.printable(title)}, {result.history.source}: {_whether(result)}")
    for expect, verdict in result.verdicts:
        wanted = result.expected(expect)
        note = "" if wanted in ("", verdict.outcome.value) else f" (expected: {wanted})"
        if wanted == verdict.outcome.value == "violated":
            note = " (as expected)"
        show_line(f"{verdict.outcome.value}{note}", verdict.outcome, f"{expect.check}: {verdict.summary}")
        if verdict.outcome.value != wanted:
            _show_evidence(verdict)
    sys.stdout.flush()


def show_line(word: str, outcome: Outcome, words: str) -> None:
    """One line: a word in the colour of the outcome, and what it is about."""
    styled = click.style(f"{word:>9}", fg=COLOURS[outcome])
    click.echo(f"  {styled}  {text.printable(words)}")


def exit_code(result: Result | None) -> int:
    """0 when all came out as expected, 1 when something did not, 2 when it could not be told or nothing was asked."""
    if result is None or not result.verdicts:
        return COULD_NOT_TELL
    if result.as_expected:
        return 0
    wrong = (
        verdict.outcome
        for expect, verdict in result.verdicts
        if result.expected(expect) not in ("", verdict.outcome.value)
    )
    return COULD_NOT_TELL if all(outcome is Outcome.UNKNOWN for outcome in wrong) else 1


def worst(codes: list[int]) -> int:
    """The exit code of several runs."""
    return max(codes, key=(0, COULD_NOT_TELL, 1).index)


def as_json(result: Result) -> dict[str, Any]:
    """What came of a run, for JSON."""
    return {
        "driver": result.history.source,
        "digest": result.digest,
        "outcome": result.outcome.value,
        "as_expected": result.as_expected,
        "seconds": round(max((record.at for record in result.history.records), default=0.0), 3),
        "properties": [_property(result, *each) for each in result.verdicts],
    }


def _whether(result: Result) -> str:
    return "as expected" if result.as_expected else f"not as expected ({result.outcome.value})"


def _show_evidence(verdict: Verdict) -> None:
    for each in verdict.evidence[:EVIDENCE_SHOWN]:
        click.echo(f"             at {each.at:.1f}s: {text.printable(each.text)}")
    more = max(verdict.evidence_count, len(verdict.evidence)) - EVIDENCE_SHOWN
    if more > 0:
        click.echo(f"             and {more} more")


def _property(result: Result, expect: Expect, verdict: Verdict) -> dict[str, Any]:
    return {
        "check": expect.check,
        "bounds": dict(expect.bounds),
        "expected": result.expected(expect),
        "outcome": verdict.outcome.value,
        "summary": verdict.summary,
        "figures": {key: value if value < inf else None for key, value in verdict.figures.items()},
        "evidence": [{"at": each.at, "text": each.text, "members": each.members} for each in verdict.evidence],
    }
