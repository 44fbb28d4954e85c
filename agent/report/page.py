"""Pages of a report, by Jinja: each one file that asks nobody for anything, light and dark, and without surprises.

All that comes from a run is escaped; its policy lets a page run its own script and nothing else.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

import jinja2
from markupsafe import Markup

from moot.agent.report import charts
from moot.agent.report.describe import PropertyShape, ReportShape, RunShape
from moot.agent.report.excerpt import Excerpt, excerpts
from moot.agent.report.lanes import lanes
from moot.agent.report.measures import Measures
from moot.agent.report.views import MEMBERS_MAX, STATUSES, Matrix, matrix
from moot.agent.text import count, printable
from moot.gossip.sim import library
from moot.gossip.sim.scenario import Scenario
from moot.gossip.sim.scenario_file import dump
from moot.gossip.sim.timeline import Timeline
from moot.gossip.sim.verdicts import took

if TYPE_CHECKING:
    from moot.agent.report.write import RunLogs

SYMBOLS: Final = {"alive": "+", "suspect": "s", "leaving": "<", "left": "-", "failed": "x", "none": "."}
"""As `moot cluster views` has them; `s` and the colours are in every legend."""
MARKS: Final = {"holds": "✓", "violated": "✗", "unknown": "?"}
ROWS_MAX: Final = 200
"""Most rows of a table."""
EVIDENCE_SHOWN: Final = 6
"""Pieces of evidence that are shown at once; more are behind a click."""
SCENARIOS_MAX: Final = 12
"""Most scenarios of which a page over several runs has charts."""


def run_page(
    run: RunShape, scenario: Scenario, timeline: Timeline, measures: Measures, logs: "RunLogs | None"
) -> str:
    """The page of one run."""
    concerned = _concerned(run)
    views = matrix(timeline, concerned)
    found: dict[str, Any] = {
        "title": f"{run.scenario}: {run.outcome}",
        "run": run,
        "properties": _properties(run.properties, timeline, logs),
        "evidence_shown": EVIDENCE_SHOWN,
        "lanes": lanes(timeline, views, concerned),
        "views": views,
        "members_max": MEMBERS_MAX,
        "data": _data(views, timeline),
        "charts": _drawn(charts.charts(timeline, views, measures)),
        "measures": measures,
        "spreads": _spreads(measures),
        "scenario_text": dump(scenario),
        "library": scenario.name in library.names(),
    }
    return _render("run.html", found, script=True)


def index_page(report: ReportShape, measured: Sequence[Measures]) -> str:
    """The page over several runs, which leads to theirs."""
    checks = list(dict.fromkeys(each.check for run in report.runs for each in run.properties))
    rows = []
    for run, measures in zip(report.runs, measured, strict=True):
        of = {check: [each for each in run.properties if each.check == check] for check in checks}
        rows.append((run, of, measures))
    scenarios = []
    for number, name in enumerate(dict.fromkeys(run.scenario for run in report.runs)):
        of_it = [measures for run, measures in zip(report.runs, measured, strict=True) if run.scenario == name]
        drawn = charts.overview(of_it, f"{number} ") if len(of_it) > 1 and number < SCENARIOS_MAX else []
        scenarios.append((name, len(of_it), _drawn(drawn)))
    wrong_first = sorted(rows, key=lambda row: row[0].as_expected)
    found: dict[str, Any] = {
        "title": f"{count(len(report.runs), 'run')}: {report.outcome}",
        "report": report,
        "checks": checks,
        "rows": wrong_first,
        "scenarios": scenarios[:SCENARIOS_MAX],
        "left_out": len(scenarios) - SCENARIOS_MAX,
    }
    return _render("index.html", found, script=False)


def _concerned(run: RunShape) -> list[str]:
    """Members that evidence is about: of violations first."""
    ordered = sorted(run.properties, key=lambda each: each.outcome != "violated")
    return list(dict.fromkeys(name for each in ordered for piece in each.evidence for name in piece.members))


def _properties(
    properties: Sequence[PropertyShape], timeline: Timeline, logs: "RunLogs | None"
) -> list[tuple[PropertyShape, list[Excerpt]]]:
    """Each with its excerpts; those that are not as expected first."""
    began, held = (logs.began, logs.files) if logs else (0.0, {})
    ordered = sorted(properties, key=lambda each: each.as_expected)
    return [(each, excerpts(each, timeline.history, began, held)) for each in ordered]


def _spreads(measures: Measures) -> list[tuple[str, Any]]:
    """The rows of the table of latencies."""
    rows: list[tuple[str, Any]] = [
        ("crash detected", measures.detection),
        ("news spread, after the first", measures.dissemination),
        ("views agreed, after trouble", measures.convergence),
    ]
    if len(measures.crashes) > 1:
        rows[1:1] = [(f"crash of {each.member} at {each.at:.1f} s", each.spread) for each in measures.crashes]
    return [(name, spread) for name, spread in rows if spread.count or spread.missed]


def _data(views: Matrix, timeline: Timeline) -> dict[str, Any]:
    """What the script draws the matrix from."""
    faults = [
        (round(span.began, 3), round(span.ended, 3) if isfinite(span.ended) else None, printable(words))
        for span, words in timeline.troubles[:ROWS_MAX]
    ]
    return {
        "observers": [printable(name) for name in views.observers],
        "subjects": [printable(name) for name in views.subjects],
        "statuses": STATUSES,
        "symbols": [SYMBOLS[status] for status in STATUSES],
        "stops": views.stops,
        "cells": views.cells,
        "rows": views.rows,
        "faults": faults,
    }


def _drawn(found: Iterable[charts.Chart]) -> list[tuple[str, str, Markup]]:
    return [(chart.heading, chart.text, Markup(chart.svg)) for chart in found]


def _render(name: str, found: dict[str, Any], *, script: bool) -> str:
    environment = _environment()
    code = _file("report.js") if script else ""
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    return environment.get_template(name).render(
        **found,
        style=Markup(_file("report.css")),
        script=Markup(code),
        script_policy=f"'sha256-{digest}'" if script else "'none'",
    )


def _file(name: str) -> str:
    return (files("moot.agent.report") / "templates" / name).read_text(encoding="utf-8")


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("moot.agent.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(say=printable, took=_took, number=_number, amount=count, lines=_lines)
    environment.globals.update(marks=MARKS, symbols=SYMBOLS, rows_max=ROWS_MAX)
    return environment


def _took(seconds: float | None) -> str:
    return "-" if seconds is None else took(seconds)


def _number(value: float | bool | None) -> str:
    """A figure, as short as it can be."""
    if value is None:
        return "for ever"
    return str(value).lower() if isinstance(value, bool) else f"{value:.6g}"


def _lines(text: str) -> str:
    """Text of several lines, each made harmless."""
    return "\n".join(printable(line) for line in text.splitlines())
