"""The cases of tests/vectors/http/cli_start.json: how an agent starts, fails to, and ends.

Flags have two dashes here, and the configuration is written as JSON. `DIFFERENT` has what this agent does otherwise
on purpose; the test holds that it does just that.
"""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.api.contract import CASES
from tests.api.live_situations import PATIENCE, Agent, Stage, staged
from tests.support.launching import Net, until

pytestmark = pytest.mark.live

START = {name: case for name, case in CASES.items() if name.startswith("cli_start/")}

CONFIGURATIONS: dict[str, object] = {
    "server-without-data-dir": {
        "bind_addr": "127.0.0.30",
        "advertise": {"http": "127.0.0.30", "rpc": "127.0.0.30", "serf": "127.0.0.30"},
        "server": {"enabled": True},
    },
    "unknown-config-key": {"bogus_key": 1},
    "broken-hcl": "{",
    "no-role": {"server": {"enabled": False}},
}
"""What the cases have as HCL, or as nothing: an agent that is told nothing is a server here."""

USAGE = "a mistake on the command line ends every command with 2"
DIFFERENT: dict[str, tuple[int | None, str]] = {
    "relative-data-dir": (2, USAGE),
    "unknown-flag": (2, USAGE),
    "bad-key": (2, USAGE),
    "bad-log-level": (2, USAGE),
    "loopback-without-advertise": (None, "pools on loopback are what this agent is often used for; it warns"),
    "server-without-data-dir": (None, "there is nothing that a server must keep"),
}
"""Exit status instead (None: it runs), and why."""

RUNNING = "moot agent started!"


@pytest.mark.parametrize("name", [name for name, case in START.items() if "signal" not in case])
def test_a_start_ends_as_the_contract_has_it(name: str, tmp_path: Path) -> None:
    case, net = START[name], Net()
    wanted, _ = DIFFERENT.get(case["id"], (case["exit"], ""))
    host, nobody = net.host(), net.host()
    output = tmp_path / "output"
    with output.open("wb") as file:
        command = [sys.executable, "-m", "moot", "agent", *arguments(case, tmp_path, host, nobody)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)
    try:
        until("it ended, or runs", lambda: process.poll() is not None or RUNNING in output.read_text(), PATIENCE)
        if wanted is None:
            assert process.poll() is None
        else:
            assert process.wait(PATIENCE) == wanted
    finally:
        process.kill()
        process.wait()
    said = output.read_text()
    assert wanted is None or case.get("output_contains", "").replace("127.0.0.33", nobody) in said, said


def arguments(case: dict[str, Any], folder: Path, host: str, nobody: str) -> list[str]:
    """The case's command line, with addresses and a folder of this test's."""
    given = [word for word in case.get("args", []) if word not in ("server as above", "-bootstrap-expect=1")]
    replaced = {"DD": str(folder / "data"), "DD/none.hcl": str(folder / "none.hcl"), "127.0.0.33": nobody}
    words = [replaced.get(word, word).replace("127.0.0.8", host) for word in given]
    words = [f"-{word}" if word.startswith("-") else word for word in words]
    if case["id"] in CONFIGURATIONS:
        file = folder / "agent.json"
        content = CONFIGURATIONS[case["id"]]
        text = content if isinstance(content, str) else json.dumps(content)
        file.write_text(text.replace("127.0.0.30", host))
        words += ["--config", str(file)]
    if not any("-bind" in word for word in words) and "127.0.0.30" not in str(CONFIGURATIONS.get(case["id"])):
        words += ["--bind", host]
    return words


def test_an_interrupt_without_leave_just_stops_it(tmp_path: Path) -> None:
    with staged(tmp_path, alone) as stage:
        assert end_by(stage.agents[0], signal.SIGINT) == START["cli_start/sigint-no-leave"]["exit"]


def test_an_interrupt_with_leave_is_told_to_the_pool(tmp_path: Path) -> None:
    case = START["cli_start/sigint-leave"]
    with staged(tmp_path, two) as stage:
        watching, leaving = stage.agents
        seen: list[str] = []

        def is_gone() -> bool:
            status = watching.statuses()["n2.global"]
            if status not in seen:
                seen.append(status)
            return bool(status == case["peers_see"][-1])

        leaving.process.send_signal(signal.SIGINT)
        stage.wait(is_gone)
        assert leaving.process.wait(PATIENCE) == case["exit"]
        assert set(seen) <= {"alive", *case["peers_see"]}


def test_a_hangup_does_not_end_it(tmp_path: Path) -> None:
    assert START["cli_start/sighup"]["exit"] is None
    with staged(tmp_path, alone) as stage:
        agent = stage.agents[0]
        agent.process.send_signal(signal.SIGHUP)
        stage.wait(lambda: "configuration reloaded" in agent.log_text())
        assert agent.process.poll() is None
        assert agent.answers()


def test_every_case_of_a_start_is_here() -> None:
    ids = {case["id"] for case in START.values()}
    assert set(CONFIGURATIONS) | set(DIFFERENT) <= ids
    assert {case["id"] for case in START.values() if "signal" in case} == {
        "sigint-no-leave",
        "sigint-leave",
        "sighup",
    }


def alone(stage: Stage) -> None:
    stage.start("n1", 1, "--dev")


def two(stage: Stage) -> None:
    stage.start("n1", 1)
    stage.start("n2", 2, settings={"leave_on_interrupt": True})
    stage.join()


def end_by(agent: Agent, number: signal.Signals) -> int:
    """Send a signal; the exit status."""
    agent.process.send_signal(number)
    return agent.process.wait(PATIENCE)
