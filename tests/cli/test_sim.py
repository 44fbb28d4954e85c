"""`moot sim`: runs with a digest, exploration that shrinks, traces and differences. Nothing here waits."""

import json
import re
import signal
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from moot.agent import cli
from moot.gossip.serf.membership import Membership
from moot.gossip.sim import library
from moot.gossip.sim.lab import run
from moot.gossip.sim.scenario_file import load
from moot.gossip.swim.core import Swim
from tests.cli.running import MOOT, until

HASTY = """
name = "hasty"
settle = "30s"
[cluster]
size = 6
snapshots = true
[[step]]
at = "2s"
do = ["loss 5%", "event deploy"]
[[step]]
after = "3s"
do = "slow 2 100ms"
for = "5s"
[[step]]
after = "1s"
do = "kill 5"
[[step]]
after = "20s"
do = "calm"
[[expect]]
check = "detection"
last = "100ms"
"""
"""Nobody can see a crash as soon as that."""


@pytest.fixture
def hasty(tmp_path: Path) -> Path:
    path = tmp_path / "hasty.toml"
    path.write_text(HASTY)
    return path


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """A command's exit code, and what it prints."""
    code = cli.run(["sim", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_run_has_verdicts_and_a_digest(capsys: pytest.CaptureFixture[str]) -> None:
    digest = run(library.scenario("dead-seed"), 5).digest
    code, out, _ = said(capsys, "run", "dead-seed", "--seed", "5")
    assert code == 0
    assert f"digest  {digest}" in out
    assert "holds  reached" in out
    assert "replay" not in out
    code, out, _ = said(capsys, "run", "dead-seed", "--seed", "4", "--repeat", "2", "--wire", "--json")
    assert code == 0
    assert [each["seed"] for each in json.loads(out)["runs"]] == [4, 5]
    assert json.loads(out)["runs"][1]["digest"] == digest


def test_what_fails_prints_what_replays_it(hasty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "run", str(hasty), "--seed", "3")
    assert code == 1
    command = next(line for line in out.splitlines() if line.strip().startswith("replay")).split("moot sim ")[1]
    code, again, _ = said(capsys, *command.split())
    assert code == 1
    assert re.sub(r"in [\d.]+ s\b", "", again) == re.sub(r"in [\d.]+ s\b", "", out)
    hasty.write_text(HASTY.partition("[[expect]]")[0])
    assert said(capsys, "run", str(hasty))[0] == 2


def test_a_bug_of_the_engine_is_a_failure_that_can_be_replayed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Swim, *_: object) -> None:
        raise AssertionError("planted")

    monkeypatch.setattr(Swim, "on_packet", broken)
    code, out, err = said(capsys, "run", "dead-seed")
    assert code == 1
    assert "the engine itself failed" in out
    assert "moot sim run dead-seed --seed 1" in out
    assert "planted" in err
    code, out, _ = said(capsys, "explore", "dead-seed", "--seeds", "3", "--jobs", "1", "--shrink-runs", "0")
    assert code == 1
    assert "crash: AssertionError in test_sim.py, broken (seed 1)" in out


def test_a_report_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = said(capsys, "run", "dead-seed", "--report", str(tmp_path / "report"))
    assert code == 0
    assert Path(err.partition("report: ")[2].strip()).is_file()


@pytest.mark.parametrize("part", ["run", "explore", "trace"])
def test_a_scenario_that_there_is_none_of_is_named(part: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = said(capsys, part, "nonsense")
    assert code == 2
    assert "there is no scenario nonsense" in err


def test_exploring_shrinks_the_first_violation_whatever_the_number_of_processes(
    hasty: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for jobs in ("1", "2"):
        arguments = [
            "explore",
            str(hasty),
            "--seeds",
            "9",
            "--from",
            "4",
            "--jobs",
            jobs,
            "--out",
            str(tmp_path / jobs),
        ]
        code, out, _ = said(capsys, *arguments, "--json")
        assert code == 1
        found.append(json.loads(out))
    assert found[0]["scenarios"] == found[1]["scenarios"]
    (violation,) = found[0]["scenarios"][0]["violations"]
    assert (violation["seed"], violation["check"]) == (4, "detection")
    (one,), (other,) = (each["smallest"] for each in found)
    assert Path(one["file"]).read_text() == Path(other["file"]).read_text()
    smallest = load(Path(one["file"]).read_text())
    assert one["complete"]
    assert (smallest.cluster.size, len(smallest.steps), smallest.cluster.snapshots) == (2, 1, False)
    assert [str(action) for step in smallest.steps for action in getattr(step, "do", ())] in (["kill 1"], ["kill 2"])
    code, out, _ = said(capsys, *one["command"].split()[2:])
    assert code == 1
    assert "violated  detection" in out or "violated (expected: holds)  detection" in out
    assert said(capsys, *violation["command"].split()[2:], "--shrink-runs", "0")[0] == 1


def test_exploring_on_finds_all_seeds_and_one_smallest_run_of_each_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Membership, "lost_one", lambda self: None)
    arguments = ["explore", "partition-heals", "--seeds", "3", "--jobs", "1", "--keep-going", "--as-is"]
    code, out, _ = said(capsys, *arguments, "--shrink-runs", "30", "--out", str(tmp_path))
    assert code == 1
    assert "(seed 1, 2, 3)" in out
    assert "more runs may make it smaller" in out
    assert {path.stem for path in tmp_path.iterdir()} == {
        f"partition-heals-{kind}-1" for kind in ("convergence", "reached")
    }
    assert "moot sim explore partition-heals --from 1 --seeds 1 --as-is" in out


def test_exploring_what_is_sound_finds_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "explore", "dead-seed", "--seeds", "4", "--jobs", "1", "--faults", "kill,loss")
    assert code == 0
    assert "4 runs, 0 violations" in out
    assert said(capsys, "explore", "dead-seed", "--faults", "earthquake")[0] == 2


@pytest.mark.live
def test_exploring_ends_with_its_processes_when_it_is_interrupted() -> None:
    child = subprocess.Popen(
        [*MOOT, "sim", "explore", "monkey", "--seeds", "100000", "--jobs", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with child:
        until(lambda: len(workers_of(child.pid)) >= 2, "two workers")
        workers = workers_of(child.pid)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "Traceback" not in err
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), "no worker is left")


@pytest.mark.live
def test_workers_end_when_whoever_started_them_is_killed() -> None:
    child = subprocess.Popen(
        [*MOOT, "sim", "explore", "monkey", "--seeds", "100000", "--jobs", "2"], stderr=subprocess.DEVNULL
    )
    with child:
        until(lambda: len(workers_of(child.pid)) >= 2, "two workers")
        workers = workers_of(child.pid)
        child.kill()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), "no worker is left")


def workers_of(pid: int) -> list[int]:
    """The processes that play runs for one."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(each) for each in children if b"spawn_main" in Path(f"/proc/{each}/cmdline").read_bytes()]


def test_a_trace_shows_messages_between_members(capsys: pytest.CaptureFixture[str]) -> None:
    window = ["trace", "zombie-after-prune", "--from", "14s", "--to", "14.3s"]
    code, out, _ = said(capsys, *window)
    assert code == 0
    head, *rows = out.splitlines()
    assert head.split()[:3] == ["moot-1", "moot-2", "moot-3"]
    assert any("●" in row and "▶" in row and "Ping" in row for row in rows)
    assert any("✗" in row and "lost" in row for row in rows)
    assert any("◆" in row and "→" in row for row in rows)
    code, out, _ = said(capsys, *window, "--member", "2", "--json")
    messages = json.loads(out)["messages"]
    assert messages
    assert all("moot-2" in (each["from"], each["to"]) and 14.0 <= each["at"] <= 14.3 for each in messages)
    assert said(capsys, *window, "--member", "99")[0] == 2
    assert said(capsys, "trace", "dead-seed", "--from", "soon")[0] == 2


def test_a_trace_is_drawn_as_svg_and_as_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    svg, page = tmp_path / "trace.svg", tmp_path / "trace.html"
    window = ["trace", "zombie-after-prune", "--from", "14s", "--to", "14.3s", "--svg", str(svg), "--html", str(page)]
    code, out, err = said(capsys, *window)
    assert (code, out) == (0, "")
    assert f"{svg}: " in err
    root = ET.fromstring(svg.read_text())
    assert any(element.get("marker-end") for element in root.iter())
    assert any("Ping" in (element.text or "") for element in root.iter())
    assert "<svg" in page.read_text()


def test_too_many_messages_are_said_to_be_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, "trace", "monkey")
    assert code == 0
    assert len(out.splitlines()) < 3000
    assert "more are not: narrow it with --from, --to or --member" in err


def test_two_seeds_part_somewhere_and_one_does_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "diff", "monkey@3", "3")[:1] == (0,)
    code, out, _ = said(capsys, "diff", "monkey@3", "4", "--context", "2")
    assert code == 1
    assert out.startswith("records part after ")
    assert "went otherwise" in out
    code, out, _ = said(capsys, "diff", "dead-seed@1", "dead-seed@2", "--messages", "--json")
    found = json.loads(out)
    assert (code, found["same"]) == (1, False)
    assert found["messages"]["a"] != found["messages"]["b"]
    kept = tmp_path / "kept.jsonl"
    kept.write_text("".join(f"{line}\n" for line in run(library.scenario("dead-seed"), 6).history.dump()))
    assert said(capsys, "diff", str(kept), "dead-seed@6")[0] == 0
    assert said(capsys, "diff", "dead-seed@7", str(kept))[0] == 1


def test_a_difference_needs_a_scenario(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "NAME@SEED" in said(capsys, "diff", "1", "2")[2]
    assert said(capsys, "diff", str(tmp_path / "none.jsonl"), "dead-seed")[0] == 2
