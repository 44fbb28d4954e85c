"""`moot lab` without processes: the library, files, histories, exit codes. Real agents in `test_lab_live`."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from moot.agent import cli, lab
from moot.agent.cluster_places import AGENTS_MAX
from moot.agent.lab import wish_of
from moot.gossip.errors import ConfigError
from moot.gossip.sim import library
from moot.gossip.sim.lab import run
from moot.gossip.sim.scenario_file import load

SOUND = """
name = "sound"
[cluster]
size = 3
[[step]]
until = "agreed"
[[expect]]
check = "reached"
verdict = "{verdict}"
"""


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """A scenario whose only expectation holds."""
    path = tmp_path / "sound.toml"
    path.write_text(SOUND.format(verdict="holds"))
    return path


def kept(path: Path, seed: int = 1) -> Path:
    """The history of a simulated run, as it is kept."""
    history = run(load(path.read_text()), seed).history
    found = path.with_suffix(".jsonl")
    found.write_text("".join(f"{line}\n" for line in history.dump()))
    return found


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """A command's exit code, and what it prints."""
    code = cli.run(["lab", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_library_is_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "list")
    assert code == 0
    assert all(name in out for name in library.names())
    rows = json.loads(said(capsys, "list", "--json")[1])
    assert [row["name"] for row in rows] == library.names()
    assert next(row for row in rows if row["name"] == "prune-live-ghost")["serf_differs"]
    assert said(capsys, "show", "tcp-cut")[1] == library.text("tcp-cut")
    assert json.loads(said(capsys, "show", "tcp-cut", "--json")[1])["members"] == 6


def test_a_file_is_checked_and_what_is_wrong_is_told_with_line_and_key(
    sound: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, "check", str(sound)) == (0, f"{sound}: sound, 3 members, 1 step, 1 expectation\n", "")
    bad = sound.with_name("bad.toml")
    bad.write_text(sound.read_text().replace('"agreed"', '"happy"'))
    code, out, err = said(capsys, "check", str(sound), str(bad), str(bad.with_name("missing.toml")))
    assert code == 1
    assert "sound.toml: sound" in out
    assert f"{bad}:6: step.1.until: " in err
    assert "missing.toml: No such file" in err
    assert [bool(each["error"]) for each in json.loads(said(capsys, "check", str(bad), "--json")[1])] == [True]


def test_a_run_that_comes_out_as_expected_ends_with_0(sound: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "run", str(sound), "--sim", "--repeat", "2", "--seed", "3")
    assert code == 0
    assert "sound (seed 3), simulator: as expected" in out
    assert "sound (seed 4), simulator: as expected" in out
    assert "2 of 2 runs as expected" in out
    answer = json.loads(said(capsys, "run", str(sound), "--sim", "--json")[1])
    assert answer["as_expected"]
    assert answer["runs"][0]["properties"][0]["outcome"] == "holds"
    assert answer["runs"][0]["digest"]


def test_what_comes_out_otherwise_ends_with_1_and_what_cannot_be_told_with_2(
    sound: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound.write_text(SOUND.format(verdict="violated"))
    code, out, _ = said(capsys, "run", str(sound), "--sim")
    assert code == 1
    assert "holds (expected: violated)  reached" in out
    sound.write_text(SOUND.format(verdict="holds") + '[[expect]]\ncheck = "completeness"\n')
    code, out, _ = said(capsys, "run", str(sound), "--sim")
    assert code == 2
    assert "unknown (expected: holds)  completeness: nobody crashed that others watched" in out
    sound.write_text('name = "idle"\n')
    assert said(capsys, "run", str(sound), "--sim")[0] == 2


def test_side_by_side_each_run_is_a_process(sound: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "run", str(sound), "--sim", "--repeat", "2", "--jobs", "2", "--json")
    assert code == 0
    assert sorted(each["seed"] for each in json.loads(out)["runs"]) == [1, 2]


def test_a_history_that_was_kept_is_judged_anew(sound: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history = kept(sound)
    code, out, _ = said(capsys, "judge", str(history))
    assert code == 0
    assert "sound (seed 1), simulator: as expected" in out
    strict = sound.with_name("strict.toml")
    strict.write_text(SOUND.format(verdict="violated"))
    assert said(capsys, "judge", str(history), "--scenario", str(strict))[0] == 1
    sound.unlink()
    code, _, err = said(capsys, "judge", str(history))
    assert code == 2
    assert "--scenario" in err
    history.write_text("nonsense\n")
    assert "line 1: no JSON" in said(capsys, "judge", str(history))[2]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "give a scenario's name or file"),
        (["nowhere"], "there is no scenario nowhere"),
        (["nowhere.toml"], "nowhere.toml: No such file"),
        (["tcp-cut", "--keep", "--repeat", "2"], "only a single run"),
        (["tcp-cut", "--sim", "--serf", "2"], "no real serf agents among simulated members"),
        (["tcp-cut", "--sim", "--in-process"], "in one process anyway"),
    ],
)
def test_what_cannot_be_run_is_wrong_usage(
    arguments: Sequence[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = said(capsys, "run", *arguments)
    assert code == 2
    assert told in err


@pytest.mark.parametrize(
    "cluster",
    [
        f"size = {AGENTS_MAX + 1}",
        'pool = "nomad"\nserf = 1',
        'serf = 1\nislands = ["1-2"]\nlabels = ["east"]',
    ],
)
def test_what_real_agents_cannot_be_is_refused_before_any_starts(cluster: str) -> None:
    with pytest.raises(ConfigError):
        lab.check(load(f'name = "x"\n[cluster]\n{cluster}\n'))


def test_the_agents_of_a_run_are_called_as_simulated_members_are() -> None:
    wish = wish_of(load('name = "a b/c"\n[cluster]\nsize = 5\nserf = 2\nkeys = ["one"]\n'))
    assert (wish.name, wish.prefix, wish.alike) == ("lab-a-b-c", "moot", True)
    assert (wish.count, wish.serf_count, len(wish.key)) == (3, 2, 44)


def test_each_library_scenario_can_be_run_by_processes() -> None:
    for name in library.names():
        lab.check(library.scenario(name))
