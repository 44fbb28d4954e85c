"""Which subcommand a command line means; the answers are those of Serf's."""

import importlib
import subprocess
import sys

import click
import pytest
from click.shell_completion import ShellComplete

from moot.agent.cli import cli
from moot.agent.cli import run as run_moot
from moot.agent.serf.line import COMMANDS, Command, find, overview, run
from moot.agent.serf.ui import Ui


def outcome(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = run(words)
    printed = capfd.readouterr()
    return code, printed.out, printed.err


@pytest.mark.parametrize(
    "words", [(), ("bogus",), ("help",), ("-version",), ("--", "members"), ("",), ("-h", "bogus")]
)
def test_no_known_subcommand_is_127_and_the_list_of_them(
    capfd: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert outcome(capfd, *words) == (127, "", overview() + "\n")


@pytest.mark.parametrize("word", ["-h", "-help", "--help"])
def test_help_goes_to_stderr(capfd: pytest.CaptureFixture[str], word: str) -> None:
    assert outcome(capfd, word) == (0, "", overview() + "\n")
    text = find("members").help_text + "\n"
    for words in (
        ["members", word],
        [word, "members"],
        ["members", "-bogus", "x", word],
        ["-bogus", "members", word],
    ):
        assert outcome(capfd, *words) == (0, "", text)


def test_a_word_after_the_terminator_asks_for_no_help(capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = outcome(capfd, "event", "--", "a", "-h", "x")
    assert (code, err) == (1, "")
    assert out.startswith("Too many command line arguments.")


@pytest.mark.parametrize("word", ["-v", "--version"])
def test_the_version_is_shown_wherever_it_is_asked_for(capfd: pytest.CaptureFixture[str], word: str) -> None:
    for words in ([word], ["members", word], ["event", "--", word], ["version"], ["version", "x"]):
        code, out, err = outcome(capfd, *words)
        assert (code, err) == (0, "")
        assert out.endswith("Agent Protocol: 5 (Understands back to: 2)\n")


def test_flags_before_the_subcommand_are_refused(capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = outcome(capfd, "-bogus", "members")
    assert (code, out) == (1, "")
    assert err.endswith(find("members").help_text + "\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_subcommand_has_a_help_that_names_its_flags(name: str) -> None:
    command = find(name)
    assert command.help_text.startswith(f"Usage: moot serf {name}")
    assert all(len(line) <= 118 for line in command.help_text.splitlines())
    for flag in command.flags():
        assert f"  -{flag}" in command.help_text, flag


def test_wrong_flags_are_told_on_stderr_and_the_help_on_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    text = find("members").help_text + "\n"
    assert outcome(capfd, "members", "-bogus") == (1, text, "flag provided but not defined: -bogus\n")
    assert outcome(capfd, "members", "-h=x") == (1, text, "")
    agent = "==> " + find("agent").help_text + "\n"
    assert outcome(capfd, "agent", "-bogus") == (1, agent, "flag provided but not defined: -bogus\n")


def test_a_key_is_made_whatever_the_words(capfd: pytest.CaptureFixture[str]) -> None:
    keys = {outcome(capfd, "keygen", *words)[1] for words in ([], ["x"], ["-x"])}
    assert len(keys) == 3
    assert {len(key) for key in keys} == {45}


def test_click_sees_none_of_the_words(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_moot(["serf", "--help"]) == 0
    assert capfd.readouterr().err == overview() + "\n"
    assert run_moot(["serf", "keygen", "--bogus", "-x=1", "--"]) == 0
    assert run_moot(["serf", "members", "--bogus"]) == 1
    assert run_moot(["serf"]) == 127


@pytest.mark.parametrize(
    ("typed", "incomplete", "names"),
    [
        (["serf"], "re", ["reachability"]),
        (["serf"], "k", ["keygen", "keys"]),
        (["serf", "join"], "k", []),
    ],
)
def test_the_shell_completes_subcommands(typed: list[str], incomplete: str, names: list[str]) -> None:
    completion = ShellComplete(cli, {}, "moot", "_MOOT_COMPLETE")
    assert [item.value for item in completion.get_completions(typed, incomplete)] == names


def test_click_gets_the_command_as_one_of_its_own() -> None:
    assert isinstance(importlib.import_module("moot.agent.commands.serf").command, click.Command)
    assert isinstance(find("members"), Command)


def test_asking_an_agent_loads_neither_trio_nor_the_engine() -> None:
    code = (
        "import sys; from moot.agent.serf.line import run; run(['members', '-rpc-addr=127.255.0.1:1']);"
        "print([name for name in ('trio', 'cryptography', 'structlog', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


class Terminal:
    """A stream that says it is one."""

    def __init__(self) -> None:
        self.written = b""
        self.buffer = self

    def isatty(self) -> bool:
        return True

    def write(self, data: bytes) -> None:
        self.written += data

    def flush(self) -> None:
        """Nothing is held back."""


def test_control_characters_are_shown_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    text = "a\x1b[2J\x07\x9b\tb\ncé\udcff"
    Ui().out(text)
    assert capfdbinary.readouterr().out == b"a\x1b[2J\x07\xc2\x9b\tb\nc\xc3\xa9\xff\n"
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    Ui().out(text)
    assert terminal.written == b"a\\x1b[2J\\x07\\x9b\tb\nc\xc3\xa9\xff\n"
