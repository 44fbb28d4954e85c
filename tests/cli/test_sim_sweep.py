"""`moot sim sweep`: tables and files, killed and taken up again, on real Dask workers of which one is killed."""

import contextlib
import csv
import importlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from moot.agent import cli
from tests.cli.running import MOOT, moot, until

GRID = ("--param", "suspicion_mult=2..4", "--watch", "20")


def require_library(name: str, extra: str) -> None:
    """Skips a test without an optional library, but fails it where MOOT_REQUIRE_PEERS=1 (as in CI)."""
    if importlib.util.find_spec(name) is None:
        reason = f"{name} is not installed: pip install 'moot[{extra}]'"
        if os.environ.get("MOOT_REQUIRE_PEERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


def rows_of(folder: Path) -> list[dict[str, str]]:
    """The rows of a sweep that are whole, by their point and seed."""
    path = folder / "results.csv"
    if not path.exists():
        return []
    text = path.read_text()
    rows = csv.DictReader(text[: text.rfind("\n") + 1].splitlines())
    return sorted(rows, key=lambda row: (row["suspicion_mult"], int(row["seed"])))


def test_a_sweep_has_a_table_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for library in ("pyarrow", "matplotlib"):
        require_library(library, "sim")
    words = ["sim", "sweep", *GRID, "--nodes", "4,6", "--jobs", "1", "--out", str(tmp_path)]
    assert cli.run([*words, "--seeds", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["nodes", "suspicion_mult"]
    assert [line.split()[:2] for line in lines[1:7]] == [[n, mult] for n in "46" for mult in "234"]
    assert cli.run([*words, "--seeds", "2", "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err.startswith("6 of 12 trials are there already")
    told = json.loads(captured.out)
    assert [(point["nodes"], point["trials"]) for point in told["points"]] == [(4, 2)] * 3 + [(6, 2)] * 3
    assert all(Path(path).stat().st_size > 100 for path in told["files"])
    table = importlib.import_module("pyarrow.parquet").read_table(tmp_path / "results.parquet").to_pylist()
    assert sorted(row["digest"] for row in table) == sorted(row["digest"] for row in rows_of(tmp_path))
    assert "suspicion_mult" in (tmp_path / "detect_s.svg").read_text()


def test_wrong_words_are_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--param", "speed=1..2"], ["--nodes", "2"], ["--param", "loss=0,1%", "--param", "loss=0"]):
        assert cli.run(["sim", "sweep", *words, "--out", str(tmp_path)]) == 2
        assert capsys.readouterr().err.startswith("moot: ")


@pytest.mark.live
def test_a_killed_sweep_goes_on_where_it_was(tmp_path: Path) -> None:
    words = ["sim", "sweep", *GRID, "--nodes", "8", "--seeds", "12", "--jobs", "2", "--json", "--out", str(tmp_path)]
    process = subprocess.Popen([*MOOT, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: len(rows_of(tmp_path)) >= 3, "some rows")
    process.kill()
    process.wait()
    before = rows_of(tmp_path)
    done = moot(*words)
    assert (done.returncode, done.stderr) == (0, f"{len(before)} of 36 trials are there already\n")
    after = rows_of(tmp_path)
    assert len(after) == len({(row["suspicion_mult"], row["seed"]) for row in after}) == 36
    assert all(row in after for row in before)


@contextlib.contextmanager
def started(log: Path, module: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of Dask's, ended by its pid."""
    with log.open("wb") as output:
        command = [sys.executable, "-m", f"distributed.cli.{module}", "--no-dashboard", *words]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.live
def test_no_result_is_lost_when_a_dask_worker_is_killed(tmp_path: Path) -> None:
    require_library("distributed", "dask")
    note, out, host = tmp_path / "scheduler.json", tmp_path / "out", ("--host", "127.88.0.1")
    worker = ("dask_worker", "--scheduler-file", str(note), *host, "--no-nanny", "--nthreads", "1")
    words = ["sim", "sweep", *GRID, "--nodes", "32", "--seeds", "12", "--json"]
    with (
        started(tmp_path / "s", "dask_scheduler", "--scheduler-file", str(note), *host, "--port", "0"),
        started(tmp_path / "1", *worker) as first,
        started(tmp_path / "2", *worker),
    ):
        until(lambda: all("Registered to" in (tmp_path / log).read_text() for log in "12"), "two workers")
        address = json.loads(note.read_text())["address"]
        process = subprocess.Popen(
            [*MOOT, *words, "--out", str(out), "--scheduler", address], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        until(lambda: len(rows_of(out)) >= 2, "some rows")
        first.kill()
        told, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, b"")
    assert [point["trials"] for point in json.loads(told)["points"]] == [12] * 3
    rows = rows_of(out)
    assert len(rows) == len({(row["suspicion_mult"], row["seed"]) for row in rows}) == 36
    here = moot(*words[:-3], "--seeds", "1", "--jobs", "1", "--json", "--out", str(tmp_path / "here"))
    assert here.returncode == 0
    assert [row["digest"] for row in rows_of(tmp_path / "here")] == [
        row["digest"] for row in rows if row["seed"] == "1"
    ]


def test_a_scheduler_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    require_library("distributed", "dask")
    assert cli.run(["sim", "sweep", "--seeds", "1", "--scheduler", "nonsense://x", "--out", str(tmp_path)]) == 1
    assert "no Dask scheduler answers at nonsense://x" in capsys.readouterr().err
