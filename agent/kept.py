"""Kept runs: scenarios by name or file, and histories that were written down, judged again."""

import re
from pathlib import Path

from moot.gossip.errors import ConfigError
from moot.gossip.sim import library
from moot.gossip.sim.history import History
from moot.gossip.sim.history import load as load_history
from moot.gossip.sim.lab import Result, judge
from moot.gossip.sim.scenario import Scenario
from moot.gossip.sim.scenario_file import load

NAME_MAX = 80
"""Most characters of a file's name without its suffix."""


def file_name(text: str) -> str:
    """What the files of a scenario, or of a run, are called without suffix: letters, digits, `-` and `_`."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text)[:NAME_MAX].strip("-") or "scenario"


def scenario_text(name: str) -> str:
    """The file of a scenario: one of the library, unless it is the path of a file. Raises ConfigError."""
    path = Path(name)
    if not path.suffix and not path.is_file():
        return library.text(name)
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}: {getattr(error, 'strerror', None) or error}") from None


def scenario(name: str) -> Scenario:
    """A scenario of the library, or that of a file. Raises ConfigError."""
    return load(scenario_text(name), name)


def history_of(file: Path) -> History:
    """The history of a file. Raises ConfigError."""
    try:
        with file.open(errors="replace") as lines:
            return load_history(line.rstrip("\n") for line in lines)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from None


def judged(file: Path, by: str | None = None) -> Result:
    """The run of a history's file, judged by a scenario: that of `by`, else the one that lies beside the file, else
    the one that the history names. Raises ConfigError."""
    history = history_of(file)
    beside = [file.with_suffix(".toml"), file.with_name(f"{file_name(history.scenario)}.toml")]
    found = by or next((str(path) for path in beside if path.is_file()), history.scenario)
    try:
        what = scenario(found)
    except ConfigError as error:
        raise ConfigError(f"{error}. Give the one to judge {file} by with --scenario") from None
    try:
        return Result(what, history, judge(what, history))
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None
