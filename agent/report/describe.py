"""What a report says to machines: `report.json`, and its JSON Schema."""

from collections.abc import Sequence
from math import isfinite
from typing import Any, Final

import msgspec

from moot import __version__
from moot.agent.report.measures import Measures, Spread
from moot.gossip.sim.checkers import CHECKERS
from moot.gossip.sim.history import FaultBegan, FaultEnded, History
from moot.gossip.sim.lab import Result
from moot.gossip.sim.scenario import Expect
from moot.gossip.sim.verdicts import Outcome, Verdict

FORMAT: Final = 1
WORDS: Final = ("holds", "violated", "unknown")


class EvidenceShape(msgspec.Struct):
    """One thing that was seen: when (seconds since the run began), and whom it is about."""

    at: float
    text: str
    members: tuple[str, ...]


class PropertyShape(msgspec.Struct):
    """An expectation and what came of it. `expected` is the outcome that the scenario tells, empty for any."""

    check: str
    asks: str
    bounds: dict[str, float | bool]
    expected: str
    outcome: str
    summary: str
    figures: dict[str, float | None]
    """What was measured; null is for ever."""
    evidence: list[EvidenceShape]
    evidence_count: int
    """How many pieces there are; `evidence` has the first of them."""

    @property
    def as_expected(self) -> bool:
        return self.expected in ("", self.outcome)


class FaultShape(msgspec.Struct):
    """Something was wrong on purpose; `ended` is null when it was so to the end."""

    words: str
    began: float
    ended: float | None


class SpreadShape(msgspec.Struct):
    """A distribution of latencies in seconds; all null but the counts when there are none. `missed` never came."""

    count: int
    missed: int
    first: float | None
    median: float | None
    p99: float | None
    last: float | None


class MeasuresShape(msgspec.Struct):
    """What was measured: latencies, and what an agent sent in a second, on the average (null: not measured)."""

    detection: SpreadShape
    dissemination: SpreadShape
    convergence: SpreadShape
    bytes_per_second: float | None
    messages_per_second: float | None
    worst_health: int | None


class FilesShape(msgspec.Struct):
    """Files beside this one: the page, the history, the scenario."""

    page: str
    history: str
    scenario: str


class RunShape(msgspec.Struct):
    """One run of a scenario. `digest` is of its whole history, in the simulator."""

    scenario: str
    story: str
    source: tuple[str, ...]
    driver: str
    """`simulator` or `processes`."""
    seed: int
    digest: str
    seconds: float
    members: list[str]
    command: str
    """What replays it."""
    outcome: str
    as_expected: bool
    properties: list[PropertyShape]
    faults: list[FaultShape]
    measures: MeasuresShape
    files: FilesShape


class ReportShape(msgspec.Struct):
    """All runs of a report. `outcome` is the worst of theirs."""

    format: int
    moot: str
    """The version that made it."""
    outcome: str
    as_expected: bool
    runs: list[RunShape]


def schema() -> dict[str, Any]:
    """The JSON Schema of `report.json`."""
    found: dict[str, Any] = msgspec.json.schema(ReportShape)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "moot report", **found}


def encode(report: ReportShape) -> bytes:
    """The file."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def report_of(runs: Sequence[RunShape]) -> ReportShape:
    """The report of some runs."""
    worst = next((word for word in ("violated", "unknown") if any(run.outcome == word for run in runs)), "holds")
    return ReportShape(FORMAT, __version__, worst, all(run.as_expected for run in runs), list(runs))


def run_of(result: Result, measures: Measures, command: str, files: FilesShape) -> RunShape:
    """What one run says."""
    scenario, history = result.scenario, result.history
    return RunShape(
        scenario=scenario.name,
        story=scenario.story,
        source=scenario.source,
        driver=history.source,
        seed=history.seed,
        digest=result.digest,
        seconds=round(measures.seconds, 6),
        members=history.names,
        command=command,
        outcome=outcome_of(result).value,
        as_expected=result.as_expected,
        properties=[property_of(result, expect, verdict) for expect, verdict in result.verdicts],
        faults=faults_of(history),
        measures=_measures(measures),
        files=files,
    )


def outcome_of(result: Result) -> Outcome:
    """The worst of a run's outcomes; UNKNOWN when nothing was asked."""
    return result.outcome if result.verdicts else Outcome.UNKNOWN


def property_of(result: Result, expect: Expect, verdict: Verdict) -> PropertyShape:
    """An expectation of a run and its verdict."""
    return PropertyShape(
        check=expect.check,
        asks=CHECKERS[expect.check].text,
        bounds=dict(expect.bounds),
        expected=result.expected(expect),
        outcome=verdict.outcome.value,
        summary=verdict.summary,
        figures={key: _finite(value) for key, value in verdict.figures.items()},
        evidence=[EvidenceShape(round(each.at, 6), each.text, each.members) for each in verdict.evidence],
        evidence_count=max(verdict.evidence_count, len(verdict.evidence)),
    )


def faults_of(history: History) -> list[FaultShape]:
    """Every fault of a run, by its begin."""
    found: list[FaultShape] = []
    active: dict[str, FaultShape] = {}
    for record in history.records:
        if isinstance(record, FaultBegan):
            active[record.words] = FaultShape(record.words, round(record.at, 6), None)
            found.append(active[record.words])
        elif isinstance(record, FaultEnded) and record.words in active:
            active.pop(record.words).ended = round(record.at, 6)
    return found


def _measures(measures: Measures) -> MeasuresShape:
    return MeasuresShape(
        detection=_spread(measures.detection),
        dissemination=_spread(measures.dissemination),
        convergence=_spread(measures.convergence),
        bytes_per_second=_finite(measures.bytes_per_second),
        messages_per_second=_finite(measures.messages_per_second),
        worst_health=measures.worst_health,
    )


def _spread(spread: Spread) -> SpreadShape:
    marks = (_finite(value) for value in (spread.first, spread.median, spread.p99, spread.last))
    return SpreadShape(spread.count, spread.missed, *marks)


def _finite(value: float | None) -> float | None:
    return round(value, 6) if value is not None and isfinite(value) else None
