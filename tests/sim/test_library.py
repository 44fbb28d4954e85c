"""The library of scenarios: each comes out as it says, in the simulator, over several seeds."""

import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from moot.gossip.errors import ConfigError
from moot.gossip.sim import library
from moot.gossip.sim.checkers import CHECKERS
from moot.gossip.sim.lab import run
from moot.gossip.sim.scenario import ClusterSpec
from moot.gossip.sim.scenario_file import dump, load

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("name", library.names())
def test_a_scenario_comes_out_as_it_says(name: str, seed: int) -> None:
    result = run(library.scenario(name), seed)
    assert {
        expect.check: verdict for expect, verdict in result.verdicts if verdict.outcome.value != expect.verdict
    } == {}
    assert result.verdicts


@pytest.mark.parametrize("name", library.names())
def test_every_scenario_has_its_name_a_story_and_a_source_and_survives_being_written(name: str) -> None:
    scenario = library.scenario(name)
    assert scenario.name == name
    assert scenario.story
    assert scenario.source
    assert load(dump(scenario)) == scenario


def test_a_scenario_that_there_is_none_of_is_refused_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match="partition-heals"):
        library.text("../secrets")


def test_the_scenarios_are_packed_with_the_program() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["moot"]
    packed = {path.stem for pattern in patterns for path in (ROOT / "src" / "moot").glob(pattern)}
    assert set(library.names()) <= packed
    assert len(library.names()) >= 20


def test_the_page_about_scenarios_names_all_there_is() -> None:
    page = (ROOT / "docs" / "lab.md").read_text()
    for name, checker in CHECKERS.items():
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
        assert all(f"`{bound}` (" in row for bound in checker.bounds), name
    for scenario in library.names():
        assert f"\n| `{scenario}` | " in page, scenario
    for field in fields(ClusterSpec):
        assert f"`{field.name}`" in page or f"[cluster.{field.name}]" in page, field.name
