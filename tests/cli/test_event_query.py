"""`moot event`, `query` and `reachability` against real agents: what they print, refuse and exit with."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from moot.agent import cli
from moot.agent.commands.query import answer_lines
from tests.cli.running import MOOT, PATIENCE, RunningAgent, moot, pool

pytestmark = pytest.mark.live
NAMES = ["n1.global", "n2.global", "n3.global"]


@pytest.fixture(scope="module")
def three() -> Iterator[list[RunningAgent]]:
    """A pool of three that the tests of this module only talk to."""
    with pool(3, "--tag", "rack=7", "--log-level", "debug") as agents:
        yield agents


def objects(said: str) -> list[dict[str, object]]:
    """JSON, one object per line."""
    return [json.loads(line) for line in said.splitlines()]


# events


def test_an_event_reaches_every_agent(three: list[RunningAgent]) -> None:
    done = moot("event", "deploy", "v1.2", "--address", three[0].url)
    assert (done.returncode, done.stdout) == (0, "event deploy sent with 4 bytes\n")
    for agent in three:
        assert agent.wait_for("user event")["name"] == "deploy"


def test_an_event_takes_bytes_from_standard_input(three: list[RunningAgent]) -> None:
    command = [*MOOT, "event", "bytes", "-", "--coalesce", "--json", "--address", three[0].url]
    done = subprocess.run(command, input=b"\x00\xff", capture_output=True, timeout=PATIENCE, check=True)
    assert json.loads(done.stdout) == {"name": "bytes", "size": 2, "coalesce": True}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["event", "big", "x" * 600], "user event exceeds configured limit of 512 bytes before encoding; send less"),
        (["query", "big", "x" * 1100], "query exceeds limit of 1024 bytes; send less"),
        (["query", "_serf_keys"], "Queries cannot contain the '_serf_' prefix"),
        (["query", "x", "--tag", "role=("], "tag role: no regular expression: missing )"),
        (["query", "x", "--node", "n22"], "n1 knows no member of that name; did you mean n2.global?"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_the_reason(
    three: list[RunningAgent], arguments: list[str], words: str
) -> None:
    done = moot(*arguments, "--address", three[0].url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("moot: ")
    assert words in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["query"], "Missing argument 'NAME'"),
        (["query", "x", "--tag", "y"], "'y' must be KEY=VALUE"),
        (["query", "x", "--timeout", "0"], "--timeout"),
        (["query", "x", "--relay-factor", "256"], "--relay-factor"),
        (["event"], "Missing argument 'NAME'"),
        (["event", ""], "an event needs a name"),
        (["query", ""], "a query needs a name"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(arguments) == 2
    assert words in capsys.readouterr().err


# queries


def test_a_query_is_confirmed_by_everybody_and_ends_with_a_count(three: list[RunningAgent]) -> None:
    done = moot("query", "load", "--timeout", "1", "--relay-factor", "1", "--address", three[0].url)
    lines = done.stdout.splitlines()
    assert (done.returncode, lines[0], lines[-1]) == (0, "asked; answers are waited for 1 s", "3 acks, 0 answers")
    assert sorted(lines[1:-1]) == [f"{name} got it" for name in NAMES]


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (["--node", "n2"], ["n2.global"]),
        (["--node", "n1.global", "--node", "n3"], ["n1.global", "n3.global"]),
        (["--tag", "rack=7"], NAMES),
        (["--tag", "rack=^7$", "--tag", "role=oma", "--node", "n2"], ["n2.global"]),
        (["--tag", "rack=8"], []),
    ],
)
def test_filters_say_who_is_asked(three: list[RunningAgent], filters: list[str], names: list[str]) -> None:
    done = moot("query", "load", "?", "--json", "--timeout", "0.7", *filters, "--address", three[0].url)
    first, *middle, last = objects(done.stdout)
    assert (first["type"], first["timeout"]) == ("asked", 0.7)
    assert sorted(str(line["from"]) for line in middle) == names
    assert last == {"type": "done", "acks": len(names), "responses": 0}


def test_acks_can_be_left_out(three: list[RunningAgent]) -> None:
    done = moot("query", "load", "--no-ack", "--timeout", "0.3", "--address", three[0].url)
    assert done.stdout.splitlines()[1:] == ["0 answers"]


def test_ctrl_c_ends_a_query_without_a_word(three: list[RunningAgent]) -> None:
    query = subprocess.Popen(
        [*MOOT, "query", "load", "--timeout", "60", "--address", three[1].url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert query.stdout is not None
    try:
        assert query.stdout.readline().startswith("asked")
        query.send_signal(signal.SIGINT)
        _, errors = query.communicate(timeout=PATIENCE)
        assert (query.returncode, errors.strip()) == (130, "")
    finally:
        query.kill()
        query.communicate()


def test_an_agent_that_ends_breaks_a_query_off_with_exit_code_1() -> None:
    with pool(1) as (agent,):
        query = subprocess.Popen(
            [*MOOT, "query", "load", "--timeout", "60", "--address", agent.url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert query.stdout is not None
        try:
            assert query.stdout.readline().startswith("asked")
            agent.signal(signal.SIGTERM)
            _, errors = query.communicate(timeout=PATIENCE)
        finally:
            query.kill()
            query.communicate()
        assert query.returncode == 1
        assert "its answer broke off" in errors or "the agent stopped before the time was up" in errors


def test_answers_are_shown_as_lines_and_never_as_escapes() -> None:
    def shown(payload: str, text: str | None) -> list[str]:
        return answer_lines("n1", {"payload": payload} | ({} if text is None else {"text": text}))

    assert shown("", "0.5\n") == ["n1: 0.5"]
    assert shown("", "") == ["n1:"]
    assert shown("", "a\n\x1b[31mb\n") == ["n1:", "  a", "  \\x1b[31mb"]
    assert shown("/w==", None) == ["n1: 1 byte, no text (--json shows it)"]


# reachability


def test_everybody_is_reached_and_named_when_asked(three: list[RunningAgent]) -> None:
    done = moot("reachability", "--verbose", "--address", three[2].url)
    *answers, total = done.stdout.splitlines()
    assert done.returncode == 0
    assert sorted(line.split()[0] for line in answers) == NAMES
    assert total.startswith("3 of 3 alive members reached from n3, the slowest after ")
    found = json.loads(moot("reachability", "--json", "--address", three[2].url).stdout)
    assert (found["alive"], found["reached"], found["missing"], found["unexpected"]) == (3, 3, [], [])
    assert sorted(found["seconds"]) == NAMES


def test_a_member_that_does_not_answer_is_named_with_what_to_do() -> None:
    with pool(2) as (first, second):
        os.kill(second.process.pid, signal.SIGSTOP)  # alive in the other's view for a while
        try:
            done = moot("reachability", "--timeout", "0.3", "--address", first.url)
            assert done.returncode == 1
            assert done.stdout.startswith("1 of 2 alive members reached from n1")
            assert done.stderr.startswith("moot: no answer from n2.global\n  - run it again")
        finally:
            os.kill(second.process.pid, signal.SIGCONT)


# completion


def test_names_of_members_are_completed(three: list[RunningAgent]) -> None:
    def offered(*words: str, address: str = three[0].url) -> list[str]:
        variables = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
        said = moot(**variables, _MOOT_COMPLETE="bash_complete", MOOT_ADDR=address).stdout
        return [line.partition(",")[2] for line in said.splitlines() if line]

    assert offered("moot", "rtt", "n") == NAMES
    assert offered("moot", "query", "load", "--node", "n2") == ["n2.global"]
    assert offered("moot", "force-leave", "n3") == ["n3.global"]
    assert offered("moot", "rtt", "n", address="http://127.0.0.1:9") == []
    assert offered("moot", "keys", "ro") == ["rotate"]
