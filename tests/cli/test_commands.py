"""The commands that ask an agent, their output, errors and exit codes; and help of all."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from moot.agent import cli
from tests.cli.running import MOOT, RunningAgent, moot, pool, until

UNREACHABLE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def three() -> Iterator[list[RunningAgent]]:
    """A pool of three that the tests of this module only look at."""
    with pool(3, "--tag", "rack=7") as agents:
        yield agents


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for name in cli.COMMANDS:
        assert cli.run([name, "--help"]) == 0
        said = capsys.readouterr()
        # `moot serf` says it where Serf does
        assert f"Usage: moot {name}" in (said.err if name == "serf" else said.out)


def test_the_help_lists_all_commands_without_loading_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in cli.COMMANDS)


def test_asking_costs_neither_trio_nor_rich_nor_cryptography() -> None:
    code = (
        "import sys\nfrom moot.agent.cli import run\n"
        f"assert run(['members', '--json', '--address', {UNREACHABLE!r}]) == 1\n"
        "print([name for name in ('trio', 'rich', 'cryptography', 'structlog', 'msgspec') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["membrs"], "No such command 'membrs'. Did you mean members?"),
        (["zzzzz"], "No such command 'zzzzz'."),
        (["join"], "Missing argument 'ADDR...'"),
        (["members", "--status", "("], "is no regular expression"),
        (["members", "--tag", "x"], "'x' must be KEY=RE"),
        (["members", "--address", "ftp://x"], "is no address of an agent"),
        (["agent", "--zzz"], "No such option '--zzz'"),
        (["agent", "--tag", "x"], "'x' must be KEY=VALUE"),
        (["agent", "--profile", "zz"], "--profile: must be one of lan, wan, local"),
        (
            ["agent", "--client", "--join", "a"],
            "--join: an agent that is a client only joins no pool; name its servers",
        ),
        (["agent", "--servers", "a,b"], "--servers: only a client has servers to turn to; add --client"),
        (["agent", "--retry-interval", "0s"], "--retry-interval: must be at least 100ms"),
        (["agent", "--encrypt", "YWJj"], "--encrypt: Invalid encryption key: it has 3 bytes"),
        (["agent", "--node", "\udcff"], "--node: must be a text of whole characters"),
        (["agent", "--tag", "role=db"], "the tag role is the agent's own in a nomad pool"),
        (["agent", "--lifeline", "9999"], "9999 is no open file descriptor"),
        (["cluster", "up", "0"], "0 is not in the range"),
        (["completion", "tcsh"], "'tcsh' is not one of"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_points_to_help(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("moot: ")
    assert words in said
    assert "--help`" in said


def test_a_key_in_the_environment_is_blamed_on_its_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MOOT_ENCRYPT", "c2VjcmV0")
    assert cli.run(["agent"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("moot: MOOT_ENCRYPT: Invalid encryption key")
    assert "c2VjcmV0" not in said


@pytest.mark.parametrize(
    ("content", "words"), [("{", "cannot be read as JSON"), ('{"name": "\\ud800"}', "name: must be a text of whole")]
)
def test_a_mistake_in_a_configuration_file_is_exit_code_1(
    content: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.json"
    file.write_text(content)
    assert cli.run(["agent", "--config", str(file)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"moot: {file}: ")
    assert words in said


def test_the_help_of_the_agent_tells_exit_codes_and_the_variable(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["agent", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "2 for a mistake on the command line" in said
    assert "MOOT_ENCRYPT" in said


@pytest.mark.parametrize(
    "arguments", [["members"], ["join", "x"], ["leave"], ["force-leave", "x"], ["info"]], ids=lambda it: it[0]
)
def test_no_agent_is_exit_code_1_and_says_what_to_do(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([*arguments, "--address", UNREACHABLE]) == 1
    said = capsys.readouterr().err
    assert said.startswith(
        f"moot: no agent answers at {UNREACHABLE} (connection refused). Start one with `moot agent`"
    )


def test_the_address_comes_from_the_flag_then_moot_addr_then_nomad_addr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NOMAD_ADDR", "http://127.0.0.1:7")
    cli.run(["members"])
    assert "127.0.0.1:7" in capsys.readouterr().err
    monkeypatch.setenv("MOOT_ADDR", "http://127.0.0.1:8")
    cli.run(["members"])
    assert "127.0.0.1:8" in capsys.readouterr().err
    cli.run(["members", "--address", UNREACHABLE])
    assert "127.0.0.1:9" in capsys.readouterr().err


def test_keygen_makes_a_fresh_key_of_32_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    cli.run(["keygen"])
    cli.run(["keygen", "--json"])
    plain, as_json = capsys.readouterr().out.splitlines()
    assert len(base64.b64decode(plain, validate=True)) == 32
    assert json.loads(as_json)["key"] != plain


def test_version_is_told_in_three_ways(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--version"], ["version"], ["version", "--json"]):
        assert cli.run(arguments) == 0
    short, long, *_, as_json = capsys.readouterr().out.splitlines()
    assert short == "moot 0.1.0"
    assert long.startswith("moot 0.1.0 (Python 3.")
    assert json.loads(as_json)["version"] == "0.1.0"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_ask_moot_itself(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["completion", shell]) == 0
    assert f"_MOOT_COMPLETE={shell}_complete" in capsys.readouterr().out


def test_completion_offers_commands_and_flags() -> None:
    def offered(*words: str) -> list[str]:
        variables = {
            "COMP_WORDS": " ".join(words),
            "COMP_CWORD": str(len(words) - 1),
            "_MOOT_COMPLETE": "bash_complete",
        }
        return [line.partition(",")[2] for line in moot(**variables).stdout.splitlines()]

    assert offered("moot", "me") == ["members"]
    assert "--detailed" in offered("moot", "members", "--")
    assert offered("moot", "cluster", "d") == ["down"]


@pytest.mark.live
def test_members_name_the_observer_and_stay_readable_in_a_pipe(three: list[RunningAgent]) -> None:
    said = moot("members", "--address", three[1].url).stdout.splitlines()
    assert said[0] == f"n2 ({three[1].url}) sees 3 alive"
    assert said[1].split() == ["Name", "Address", "Status", "Build", "Datacenter", "Region"]
    assert [line.split()[0] for line in said[2:]] == ["n1.global", "n2.global", "n3.global"]
    assert said[2].split()[1:] == [three[0].started["gossip"], "alive", "0.1.0", "dc1", "global"]


@pytest.mark.live
def test_detailed_members_have_versions_and_tags(three: list[RunningAgent]) -> None:
    said = moot("members", "--detailed", "--address", three[0].url).stdout
    assert said.count("2 (1-5)   4 (2-5)   0      build=0.1.0,dc=dc1,id=") == 3


@pytest.mark.live
@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--name", "n[12].*"], ["n1.global", "n2.global"]),
        (["--name", "n1"], []),
        (["--status", "alive|failed"], ["n1.global", "n2.global", "n3.global"]),
        (["--status", "left"], []),
        (["--tag", "rack=7", "--tag", "role=no.*", "--name", "n3.*"], ["n3.global"]),
        (["--tag", "rack=8"], []),
        (["--tag", "missing=.+"], []),
    ],
)
def test_filters_match_whole_values(three: list[RunningAgent], options: list[str], names: list[str]) -> None:
    said = json.loads(moot("members", "--json", "--address", three[0].url, *options).stdout)
    assert [member["Name"] for member in said["members"]] == names
    assert said["observer"] == {
        "name": "n1",
        "region": "global",
        "datacenter": "dc1",
        "address": three[0].url,
    }


@pytest.mark.live
def test_info_shows_the_agent_and_its_figures(three: list[RunningAgent]) -> None:
    said = moot("info", "--address", three[0].url).stdout
    assert re.search(r"^agent\n(  .*\n)*  gossip_name = n1.global\n", said)
    assert "  members = 3\n" in said
    as_json = json.loads(moot("info", "--json", "--address", three[0].url).stdout)
    assert as_json["agent"]["pid"] == three[0].process.pid
    assert as_json["stats"]["serf"]["members"] == "3"


@pytest.mark.live
def test_join_tells_how_many_worked_and_fails_when_none_did(three: list[RunningAgent]) -> None:
    known = three[1].started["gossip"]
    done = moot("join", known, "127.0.0.1:9", "--address", three[0].url)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "joined 1 of 2 addresses")
    done = moot("join", "127.0.0.1:9", "--address", three[0].url)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "moot: nothing joined: Failed to join 127.0.0.1: dial tcp 127.0.0.1:9: connect: connection refused. Hint: "
    )
    done = moot("join", "--json", "127.0.0.1:9", "--address", three[0].url)
    assert json.loads(done.stdout)["num_joined"] == 0
    assert done.returncode == 1


@pytest.mark.live
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("n22.global", "n1 knows no member of that name; did you mean n2.global?"),
        ("zzz", "n1 knows no member of that name; `moot members` lists them"),
        ("n1.global", "n1.global is the agent you asked; use `moot leave`"),
        ("n1", "n1.global is the agent you asked; use `moot leave`"),
    ],
)
def test_force_leave_refuses_names_that_cannot_be_meant(three: list[RunningAgent], name: str, words: str) -> None:
    done = moot("force-leave", name, "--address", three[0].url)
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr


@pytest.mark.live
def test_force_leave_of_a_live_member_says_that_it_refutes(three: list[RunningAgent]) -> None:
    done = moot("force-leave", "n3", "--address", three[0].url)
    assert done.returncode == 1
    assert done.stdout == "n3.global: alive -> alive, as n1 sees it\n"
    assert "n3.global is alive and refutes; stop that agent first" in done.stderr


@pytest.mark.live
def test_force_leave_and_prune_of_a_failed_member_say_before_and_after() -> None:
    with pool(3) as (first, second, third):
        third.process.kill()
        third.process.wait()
        until(lambda: first.statuses().get("n3.global") == "failed", "failed")
        done = moot("force-leave", "n3.global", "--wait", "--address", first.url)
        assert done.returncode == 0
        assert done.stdout == "n3.global: failed -> left, as n1 sees it; 2 of 2 members that answered agree\n"
        until(lambda: second.statuses().get("n3.global") == "left", "left in the other's view")
        done = moot("force-leave", "n3.global", "--json", "--address", first.url)
        said = json.loads(done.stdout)
        assert said.pop("note").startswith("it had left already")
        assert said == {
            "name": "n3.global", "before": "left", "after": "left", "done": True, "observer": "n1", "pruned": False,
            "agreement": None,
        }  # fmt: skip
        done = moot("force-leave", "n3.global", "--prune", "--wait", "--address", first.url)
        assert done.returncode == 0
        assert done.stdout == "n3.global: left -> gone, as n1 sees it; 2 of 2 members that answered agree\n"
        until(lambda: "n3.global" not in second.statuses(), "gone in the other's view")


@pytest.mark.live
def test_leave_says_who_left_and_the_agent_ends() -> None:
    with pool(2) as (first, second):
        done = moot("leave", "--address", second.url)
        assert (done.returncode, done.stdout) == (0, "n2.global left the pool and ends\n")
        assert second.process.wait(30) == 0
        until(lambda: first.statuses()["n2.global"] == "left", "left in the other's view")


@pytest.mark.live
def test_watch_prints_a_line_per_change_until_ctrl_c() -> None:
    with pool(2) as (first, second):
        watch = subprocess.Popen(
            [*MOOT, "members", "--watch", "--address", first.url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert watch.stdout is not None
        try:
            begin = {watch.stdout.readline().split(" ", 1)[1] for _ in range(2)}
            assert begin == {"n1.global: alive\n", "n2.global: alive\n"}
            second.client.leave()
            changes = [watch.stdout.readline().split(" ", 1)[1]]
            while not changes[-1].endswith("-> left\n"):
                changes.append(watch.stdout.readline().split(" ", 1)[1])
            assert changes[-1].startswith("n2.global: ")
            watch.send_signal(signal.SIGINT)
            _, errors = watch.communicate(timeout=30)
            assert (watch.returncode, errors.strip()) == (130, "")
        finally:
            watch.kill()
            watch.communicate()


@pytest.mark.live
def test_a_reader_that_went_away_is_no_traceback(three: list[RunningAgent]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as nobody:
        command = [*MOOT, "members", "--address", three[0].url]
        done = subprocess.run(command, stdout=nobody, stderr=subprocess.PIPE, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, b"")
