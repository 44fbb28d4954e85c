"""`moot keys` against real agents: what is listed, refused, and how a rotation goes and stops."""

import base64
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from moot.agent import cli
from moot.agent.keys import key_id
from tests.cli.running import MOOT, PATIENCE, RunningAgent, moot, pool, until

OLD, NEW = (base64.b64encode(bytes(range(start, start + 32))).decode() for start in (0, 100))
OLD_ID, NEW_ID = (key_id(base64.b64decode(key)) for key in (OLD, NEW))
NAMES = ["n1.global", "n2.global", "n3.global"]


@contextmanager
def sealed(count: int = 3) -> Iterator[list[RunningAgent]]:
    """A pool with the old key."""
    with pool(count, "--encrypt", OLD) as agents:
        yield agents


def keys(agent: RunningAgent, *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
    """`moot keys …`, with something on standard input."""
    command = [*MOOT, "keys", *arguments, "--address", agent.url]
    return subprocess.run(command, input=said, capture_output=True, text=True, timeout=2 * PATIENCE, check=False)


def held(agent: RunningAgent) -> dict[str, list[str]]:
    """Name to ids, the primary one first."""
    listing: dict[str, Any] = json.loads(keys(agent, "list", "--json").stdout)
    return {it["name"]: it["keys"] for it in listing["members"]}


def stop(agents: Sequence[RunningAgent], victim: RunningAgent, name: str) -> None:
    """Kill an agent, and wait until the others see it failed."""
    victim.process.kill()
    victim.process.wait()
    until(lambda: all(agent.statuses().get(name) == "failed" for agent in agents if agent is not victim), "failed")


@pytest.mark.live
def test_keys_are_listed_without_being_shown_unless_asked() -> None:
    with sealed() as (first, *_):
        done = keys(first, "list")
        assert (done.returncode, done.stderr) == (0, "")
        lines = done.stdout.splitlines()
        assert lines[0] == "3 of 3 members listed their keys"
        assert [line.split() for line in lines[1:]] == [["Id", "Held", "by", "Primary", "of"], [OLD_ID, "3", "3"]]
        assert OLD not in done.stdout
        assert keys(first, "list", "--show").stdout.split()[-1] == OLD


@pytest.mark.live
def test_keys_change_step_by_step_and_come_from_anywhere_but_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(NEW + "\n")
    with sealed() as (first, second, third):
        done = keys(first, "install", "--key-file", str(file))
        assert (done.returncode, done.stdout) == (0, f"key {NEW_ID} installed on 3 of 3 members\n")
        done = keys(second, "use", "-", said=NEW + "\n")
        assert (done.returncode, done.stdout) == (0, f"key {NEW_ID} used on 3 of 3 members\n")
        done = keys(third, "remove", OLD_ID, "--json")
        assert json.loads(done.stdout) == {
            "operation": "remove",
            "id": OLD_ID,
            "asked": 3,
            "done": NAMES,
            "failed": {},
            "silent": [],
            "unreachable": [],
        }
        assert held(first) == {name: [NEW_ID] for name in NAMES}


@pytest.mark.live
def test_what_would_cut_a_member_off_is_refused_by_name_until_forced() -> None:
    with sealed() as (first, second, third):
        done = keys(first, "remove", OLD_ID)
        assert done.returncode == 1
        assert done.stderr.startswith(
            f"moot: key {OLD_ID} not removed: it is the primary key of n1.global, n2.global"
        )
        keys(first, "install", NEW)
        stop((first, second, third), third, "n3.global")
        done = keys(first, "use", NEW_ID)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.splitlines() == [
            f"moot: key {NEW_ID} not used, it could cut off 1 of 3 members: n3.global failed, its keys are unknown",
            "  - bring n3.global back first, or let it go for good: moot force-leave n3.global",
            "  - or go on without them with --force; whoever lacks the key is cut off then",
        ]
        refused = keys(first, "use", NEW_ID, "--json")
        assert [it["name"] for it in json.loads(refused.stdout)["blockers"]] == ["n3.global"]
        listed = keys(second, "list")
        assert (listed.returncode, listed.stderr) == (0, "")
        assert listed.stdout.splitlines()[-1] == "n3.global failed, so nobody knows which keys it has"
        stopped = keys(first, "rotate")
        assert stopped.returncode == 1
        assert stopped.stderr.startswith(
            "moot: nothing was changed: n3.global failed, so nobody can give it the key\n"
        )
        assert moot("force-leave", "n3", "--wait", "--address", first.url).returncode == 0
        assert keys(first, "use", NEW_ID).returncode == 0


@pytest.mark.live
def test_a_rotation_shows_its_steps_and_leaves_one_fresh_key() -> None:
    with sealed() as agents:
        done = keys(agents[0], "rotate")
        assert (done.returncode, done.stderr) == (0, "")
        assert [line.split()[0] for line in done.stdout.splitlines()] == [
            "check",
            "install",
            "use",
            "remove",
            "rotated",
        ]
        ring = held(agents[0])
        assert list(ring) == NAMES
        (fresh,) = {tuple(ids) for ids in ring.values()}
        assert len(fresh) == 1
        assert fresh[0] not in (OLD_ID, NEW_ID)
        shown = keys(agents[1], "list", "--show", "--json").stdout
        assert json.loads(shown)["keys"][0]["key"] not in done.stdout
        assert all(agent.statuses() == dict.fromkeys(NAMES, "alive") for agent in agents)


@pytest.mark.live
def test_a_rotation_to_a_given_key_can_keep_the_old_one_and_be_finished_later() -> None:
    with sealed(2) as (first, second):
        done = keys(first, "rotate", "--new", "-", "--keep-old", "--json", said=NEW)
        told = json.loads(done.stdout)
        assert (told["id"], told["old"], told["done"]) == (NEW_ID, [OLD_ID], True)
        assert [step["step"] for step in told["steps"]] == ["check", "install", "use"]
        assert held(second) == {name: [NEW_ID, OLD_ID] for name in NAMES[:2]}
        assert keys(second, "rotate", "--new", NEW_ID).returncode == 0
        assert held(first) == {name: [NEW_ID] for name in NAMES[:2]}


@pytest.mark.live
def test_a_pool_without_encryption_is_told_so() -> None:
    with pool(1) as (agent,):
        for arguments in (["list"], ["install", NEW], ["rotate"]):
            done = keys(agent, *arguments)
            assert done.returncode == 1
            assert "this pool is not encrypted, so it has no keys; encryption cannot be turned on" in done.stderr
            assert done.stderr.endswith("or a file (HTTP 400)\n"), "and nothing is said of trying again"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["install"], "give a key: its id, its base64 text, - for standard input, or --key-file FILE"),
        (["use", "x", "--key-file", "y"], "give a key: its id"),
        (["rotate", "--new", "x", "--new-file", "y"], "give a key: its id"),
        (["turn"], "No such command 'turn'"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["keys", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_file_that_holds_no_key_is_refused_without_being_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "key"
    for content in ("", "two words", "ü"):
        file.write_text(content)
        assert cli.run(["keys", "install", "--key-file", str(file)]) == 1
        said = capsys.readouterr().err
        assert said == f"moot: {file}: expected one key in base64 and nothing else\n"
    assert cli.run(["keys", "install", "--key-file", os.fspath(tmp_path / "missing")]) == 1
    assert "No such file or directory" in capsys.readouterr().err
