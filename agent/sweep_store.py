"""Store: the rows of a sweep in a CSV file that survives whatever ends the sweep, and as Parquet at its end.

A row is written whole, at once and to the disk, when its trial is over. What a kill left half is cut off by whoever
goes on.
"""

import csv
import fcntl
import importlib
import importlib.util
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import IO

from moot.agent.sweep import Sweep, Task, point_of, row_of
from moot.gossip.errors import ConfigError
from moot.gossip.sim.trial import Measured

ROWS, ASKED, PARQUET = "results.csv", "sweep.json", "results.parquet"
MEASURES = tuple(field.name for field in fields(Measured))


class Store:
    """The folder of one sweep, for one writer at a time."""

    def __init__(self, folder: Path, sweep: Sweep, file: IO[bytes]) -> None:
        self.folder = folder
        self._axes = [axis.name for axis in sweep.axes]
        self._columns = [*self._axes, "seed", *MEASURES]
        self._file = file
        self.rows: list[dict[str, object]] = []
        """All that are there, in the order in which they were written."""
        self._load()

    def missing(self, tasks: Iterable[Task]) -> list[Task]:
        """Those of which there is no row yet."""
        done = {self._key(row) for row in self.rows}
        keys = ((task, {**point_of(task.setting, self._axes), "seed": task.seed}) for task in tasks)
        return [task for task, key in keys if self._key(key) not in done]

    def add(self, task: Task, measured: Measured) -> None:
        """Write the row of a trial; it is on the disk when this returns."""
        row = row_of(task, measured, self._axes)
        self._append([_cell(row[name]) for name in self._columns])
        self.rows.append(row)

    def _append(self, cells: Sequence[str]) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(cells)
        self._file.write(line.getvalue().encode())
        self._file.flush()
        os.fsync(self._file.fileno())

    def _load(self) -> None:
        data = self._file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._file.truncate(len(whole))
        self._file.seek(0, os.SEEK_END)
        if not whole:
            self._append(self._columns)
            return
        reader = csv.DictReader(io.StringIO(whole.decode()))
        if reader.fieldnames != self._columns:
            raise ConfigError(f"{self.folder / ROWS} has other columns; choose another --out")
        self.rows = [{name: _value(name, cell) for name, cell in row.items()} for row in reader]

    def _key(self, row: Mapping[str, object]) -> tuple[object, ...]:
        return tuple(row[name] for name in (*self._axes, "seed"))


@contextmanager
def opened(folder: Path, sweep: Sweep) -> Iterator[Store]:
    """The store in a folder, made if need be. Raises ConfigError when another sweep is in it, or under way there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(os.open(folder / ROWS, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644), "r+b")  # noqa: SIM115  # closed below
    except OSError as error:
        raise ConfigError(f"cannot write to {folder}: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(f"another sweep writes to {folder}; wait for it, or choose another --out") from None
        _check(folder / ASKED, sweep)
        yield Store(folder, sweep, file)


def write_parquet(store: Store) -> Path | None:
    """The rows as a Parquet file beside the CSV, whole or not at all; None when pyarrow is not installed."""
    if importlib.util.find_spec("pyarrow") is None:
        return None
    pyarrow = importlib.import_module("pyarrow")
    parquet = importlib.import_module("pyarrow.parquet")
    path = store.folder / PARQUET
    part = path.with_suffix(".part")
    parquet.write_table(pyarrow.Table.from_pylist(store.rows), part)
    part.replace(path)
    return path


def _check(path: Path, sweep: Sweep) -> None:
    asked = json.dumps(sweep.as_json(), indent=2)
    if not path.exists():
        part = path.with_suffix(".part")
        part.write_text(asked, encoding="utf-8")
        part.replace(path)
    elif path.read_text(encoding="utf-8") != asked:
        raise ConfigError(f"{path.parent} holds another sweep ({path.name}); choose another --out")


def _cell(value: object) -> str:
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else str(value)


def _value(name: str, cell: str) -> object:
    if name == "digest":
        return cell
    if not cell:
        return None
    return int(cell) if cell.isdecimal() else float(cell)
