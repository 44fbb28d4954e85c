"""Writes a report into a folder: a page per run, one over all when there are several, JSON, JUnit XML, histories."""

import importlib.util
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from moot.agent.kept import file_name
from moot.agent.report import describe
from moot.agent.report.describe import FilesShape, RunShape
from moot.agent.report.junit import junit
from moot.agent.report.measures import Measures, measure
from moot.gossip.errors import ConfigError
from moot.gossip.sim import library
from moot.gossip.sim.lab import Result
from moot.gossip.sim.scenario import Scenario
from moot.gossip.sim.scenario_file import dump
from moot.gossip.sim.timeline import Timeline

LIBRARIES = ("matplotlib", "jinja2")


@dataclass(frozen=True, slots=True)
class RunLogs:
    """The logs of a run's agents: by agent its file, and the time of day (Unix seconds) at which the run began."""

    began: float
    files: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReportPaths:
    """What was written. `page` is the one to open: over all runs, or that of the only one."""

    page: Path
    json: Path
    junit: Path
    runs: tuple[Path, ...]
    """A page per run, in their order."""


def require_libraries() -> None:
    """Raises ConfigError that says what to install; ask before a long run."""
    missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"a report needs {' and '.join(missing)}: pip install 'moot[lab]'")


def write_report(
    results: Sequence[Result], directory: Path, *, command: str = "", logs: Sequence[RunLogs] = ()
) -> ReportPaths:
    """Write the report of some runs, and make the folder for it; files of the same names are replaced.

    `command` is what replays it all, and is made from scenario and seed when it is not given. `logs` are those of
    each run, in their order. Raises ConfigError when there is no run, a library is missing, or a file cannot be
    written.
    """
    require_libraries()
    if not results:
        raise ConfigError("there is no run to report; give at least one")
    try:
        return _write_all(results, directory, command, logs)
    except OSError as error:
        place = error.filename or directory
        raise ConfigError(f"the report cannot be written: {place}: {error.strerror}; give another folder") from None


def _write_all(results: Sequence[Result], directory: Path, command: str, logs: Sequence[RunLogs]) -> ReportPaths:
    from moot.agent.report import page  # loads Jinja and matplotlib: half a second that others need not wait

    directory.mkdir(parents=True, exist_ok=True)
    stems = _stems(results)
    runs, pages, measured = [], [], []
    held: dict[str, Scenario] = {}
    for number, (result, stem) in enumerate(zip(results, stems, strict=True)):
        timeline = Timeline(result.history)
        measures = measure(timeline)
        slug = file_name(result.scenario.name)
        own = stem if held.setdefault(slug, result.scenario) != result.scenario else slug
        files = FilesShape(f"{stem}.html", f"{stem}.jsonl", f"{own}.toml")
        run = describe.run_of(result, measures, command or _replay(result, directory / files.scenario), files)
        _keep(result, directory, files)
        text = page.run_page(run, result.scenario, timeline, measures, logs[number] if number < len(logs) else None)
        pages.append(_write(directory / files.page, text))
        runs.append(run)
        measured.append(measures)
    return _finish(directory, runs, measured, pages)


def _finish(
    directory: Path, runs: Sequence[RunShape], measured: Sequence[Measures], pages: Sequence[Path]
) -> ReportPaths:
    from moot.agent.report import page  # as above

    report = describe.report_of(runs)
    first = pages[0]
    if len(pages) > 1:
        first = _write(directory / "index.html", page.index_page(report, measured))
    json = directory / "report.json"
    json.write_bytes(describe.encode(report))
    xml = directory / "junit.xml"
    xml.write_bytes(junit(runs))
    return ReportPaths(first, json, xml, tuple(pages))


def _keep(result: Result, directory: Path, files: FilesShape) -> None:
    """The history and the scenario, from which `moot lab report` makes the same again."""
    with (directory / files.history).open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in result.history.dump())
    _write(directory / files.scenario, dump(result.scenario))


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", errors="backslashreplace")
    return path


def _stems(results: Sequence[Result]) -> list[str]:
    """Names for the files of each run, each of its own."""
    found: list[str] = []
    for result in results:
        slug = file_name(f"{file_name(result.scenario.name)}-{result.history.source}-{result.history.seed}")
        twins = sum(other == slug or other.startswith(f"{slug}-again-") for other in found)
        found.append(f"{slug}-again-{twins}" if twins else slug)
    return found


def _replay(result: Result, file: Path) -> str:
    """The command line that plays the same again: by name if it is of the library, else by the file written here."""
    what = result.scenario.name if _in_library(result.scenario) else shlex.quote(str(file))
    group = "sim" if result.history.source == "simulator" else "lab"
    return f"moot {group} run {what} --seed {result.history.seed}"


def _in_library(scenario: Scenario) -> bool:
    return scenario.name in library.names() and library.scenario(scenario.name) == scenario
