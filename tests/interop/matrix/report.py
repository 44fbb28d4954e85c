"""The matrix as a table: gathered from the tests' reports, printed at the end of a run, kept in `docs/interop.md`."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

import moot
from tests.interop.matrix.rows import ACTS, ODDITIES, ROWS, SEALS, WAYS, Row

PROPERTY = "interop matrix"
"""Name of the property by which a test's report says which cell it is: [row, way, seal]."""
PAGE = Path(__file__).parents[3] / "docs" / "interop.md"
COLUMNS = [(way, seal) for way in WAYS for seal in SEALS]
PASSED, FAILED, SKIPPED = "yes", "NO", "skipped"

HEAD = """\
# Interoperability with real serf

Can pools mix agents of moot with agents of real serf, and can either command drive either agent? Every cell of
these tables is a test of `tests/interop/matrix` with real processes, and a run of all of them writes this page.
Last run with {versions}.

`python -m pytest tests/interop/matrix -n 4` runs the matrix and prints it; serf must be on the `PATH`.
`python -m pytest tests/interop/matrix --matrix-reference` lets real serf play moot's part, too, to test the tests.

A cell says yes when both programs show, at the end, what the last column says: in the listings of all agents by
both commands (`serf members` and `moot serf members`), in what handlers are given, in what the other command prints.
Pools have agents of both kinds, `lan` timing, and, where it says encrypted, a gossip key. moot is run as
`moot serf agent`.
"""
"""How the page begins."""

Outcomes = dict[tuple[str, str, str], str]
"""Row, way and seal to how the cell ended."""


def serf_version() -> str:
    """The release of the installed package, else what the program says about itself; empty without it."""
    if shutil.which("serf") is None:
        return ""
    if shutil.which("dpkg-query"):
        query = ["dpkg-query", "--show", "--showformat", "${Version}", "serf"]
        done = subprocess.run(query, capture_output=True, text=True, check=False)
        if found := re.match(r"[\d.]*\d", done.stdout):
            return found[0]
    told = subprocess.run(["serf", "version"], capture_output=True, text=True, check=True)
    return told.stdout.splitlines()[0]


def table(outcomes: Outcomes, versions: str) -> list[str]:
    """The matrix for a terminal."""
    shown = [row for row in ROWS if any(ended(outcomes, row))]
    width = max(len(name) for name in [*ACTS, *(row.name for row in shown)])
    lines = [f"interop matrix: {versions}"]
    for group, acts in ACTS.items():
        if not any(row.group == group for row in shown):
            continue
        lines.append("")
        heads = [f"{acts[way].replace('`', ''):<30}" for way in WAYS]
        rows = [(group, heads), ("", [f"{seal:<14}" for _, seal in COLUMNS])]
        rows += [(row.name, [f"{text:<14}" for text in ended(outcomes, row)]) for row in shown if row.group == group]
        lines += [f"{name:<{width}}  {'  '.join(cells)}".rstrip() for name, cells in rows]
    return lines


def ended(outcomes: Outcomes, row: Row) -> list[str]:
    """How the cells of a row ended, by column; those that were not run are empty."""
    return [outcomes.get((row.name, *column), "") for column in COLUMNS]


def page(outcomes: Outcomes, versions: str) -> str:
    """The matrix as a document. The same outcomes make the same text, whenever they are."""
    parts = [HEAD.format(versions=versions)]
    for group, acts in ACTS.items():
        heads = [f"{acts[way]}, {seal}" for way, seal in COLUMNS]
        parts += [f"## {group}", ""]
        parts += [f"| {' | '.join(['', *heads, 'seen at the end'])} |", "| --- " * (len(heads) + 2) + "|"]
        parts += [
            f"| {' | '.join([row.name, *ended(outcomes, row), row.shows])} |" for row in ROWS if row.group == group
        ]
        parts.append("")
    parts += ["## What real serf does differently from what one expects", ""]
    parts += [f"- {oddity}" for oddity in ODDITIES]
    return "\n".join(parts) + "\n"


class MatrixReport:
    """Part of the pytest run that shows reports, where it is split over workers the one that runs no tests."""

    def __init__(self, *, reference: bool) -> None:
        self._reference = reference
        self._outcomes: Outcomes = {}
        self._begun: set[tuple[str, str, str]] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, value in report.user_properties:
            if name == PROPERTY and isinstance(value, Sequence):
                row, way, seal = map(str, value)
                self._take((row, way, seal), report)

    def _take(self, cell: tuple[str, str, str], report: pytest.TestReport) -> None:
        if report.when == "call":
            self._begun.add(cell)
        if report.failed:
            self._outcomes[cell] = FAILED
        elif report.skipped:
            self._outcomes[cell] = SKIPPED
        elif report.when == "call":
            self._outcomes[cell] = PASSED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        serf = serf_version()
        if not self._outcomes or not serf:
            return
        ours = f"serf {serf} in moot's part" if self._reference else f"moot {moot.__version__}"
        versions = f"{ours} and serf {serf}"
        terminalreporter.section("interop matrix")
        for line in table(self._outcomes, versions):
            terminalreporter.write_line(line)
        whole = {(row.name, *column) for row in ROWS for column in COLUMNS}
        if self._begun == whole and not self._reference:
            terminalreporter.write_line(keep(page(self._outcomes, versions)))


def keep(text: str) -> str:
    """Write the page if it changed; a line that says what was done."""
    if PAGE.exists() and PAGE.read_text() == text:
        return f"{PAGE} says so, too"
    try:
        PAGE.write_text(text)
    except OSError as error:
        return f"{PAGE} should say so, too, but cannot be written: {error}"
    return f"{PAGE} was written anew"
