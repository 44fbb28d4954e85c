"""`moot sim tune` and `moot sim converge`."""

import json
import tomllib
from pathlib import Path

import pytest

from moot.agent import cli
from tests.cli.test_sim_sweep import require_library


def test_tuning_proposes_lines_for_the_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    require_library("matplotlib", "sim")
    chart = tmp_path / "curve.svg"
    words = ["sim", "tune", "--nodes", "4", "--seeds", "1", "--watch", "10", "--jobs", "1"]
    assert cli.run([*words, "--detect-within", "2.5s", "--false-failures-below", "9", "--chart", str(chart)]) == 0
    out = capsys.readouterr().out
    assert sum(line.startswith("→") for line in out.splitlines()) == 1
    timing = tomllib.loads(out[out.index("[moot.timing]") : out.index("it may be")])["moot"]["timing"]
    assert set(timing) == {"probe_interval", "probe_timeout", "suspicion_mult"}
    assert "probe_interval" not in chart.read_text()
    assert "proposed" in chart.read_text()
    assert cli.run([*words, "--detect-within", "600ms", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["proposal"] is None
    assert cli.run([*words, "--detect-within", "100ms"]) == 1
    assert capsys.readouterr().err.startswith("moot: no setting can detect within 0.1 s")


def test_convergence_has_a_formula_and_runs_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    require_library("matplotlib", "sim")
    chart = tmp_path / "spread.svg"
    words = ["sim", "converge", "--nodes", "16", "--fanout", "2", "--seeds", "2", "--jobs", "1"]
    assert cli.run([*words, "--chart", str(chart)]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["50%", "formula", "simulated"]
    assert "simulated" in chart.read_text()
    assert cli.run([*words, "--interval", "1s", "--json"]) == 0
    slower = json.loads(capsys.readouterr().out)
    assert slower["formula"]["0.5"] > 0.5
    assert cli.run(["sim", "converge", "--interval", "0s"]) == 2
