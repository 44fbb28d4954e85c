"""Real agents and real command lines for the tests of this folder."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from moot.agent.processes import started_at
from moot.http.client import ApiClient, ApiError
from tests.support import launching

PATIENCE = 30.0
"""Seconds after which a live test gives up; generous, the machine may be busy."""
MOOT = [sys.executable, "-m", "moot"]


def moot(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one command line to its end."""
    return subprocess.run(
        [*MOOT, *arguments],
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        env=os.environ | environment,
        check=False,
    )


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait for a condition; fails the test with `what` when it does not come."""
    launching.until(what, holds, PATIENCE)


def running(pid: int) -> bool:
    """The process is there and no zombie."""
    return started_at(pid) is not None


class RunningAgent:
    """One `moot agent` with JSON logs. `started` is its machine-readable line."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self.process = process
        self._output = output
        self.started: dict[str, Any] = {}

    @property
    def client(self) -> ApiClient:
        return ApiClient(f"http://{self.started['http']}", timeout=PATIENCE)

    @property
    def url(self) -> str:
        return f"http://{self.started['http']}"

    def text(self) -> str:
        """All it has written, errors too."""
        return self._output.read_text(errors="replace")

    def lines(self, message: str) -> list[dict[str, Any]]:
        """The log lines with this text."""
        logged = [
            json.loads(line) for line in self.text().splitlines() if line.startswith("{") and line.endswith("}")
        ]
        return [line for line in logged if line["@message"] == message]

    def wait_for(self, message: str, number: int = 1) -> dict[str, Any]:
        """The log line with this text, once it is there `number` times."""
        until(lambda: len(self.lines(message)) >= number, f"{message!r} in the log of the agent:\n{self.text()}")
        return self.lines(message)[number - 1]

    def signal(self, *numbers: signal.Signals) -> int:
        """Send signals; the exit code."""
        for number in numbers:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def statuses(self) -> dict[str, str]:
        """Member name to status, as it answers over HTTP; empty when it does not."""
        try:
            return {member["Name"]: member["Status"] for member in self.client.members()["Members"]}
        except ApiError:
            return {}


@contextlib.contextmanager
def launched(*arguments: str, ready: bool = True) -> Iterator[RunningAgent]:
    """An agent on any free ports of 127.0.0.1, ended after the block. With `ready` it serves HTTP already."""
    with tempfile.NamedTemporaryFile() as output:
        ports = ["--http-port", "0", "--rpc-port", "0", "--serf-port", "0"]
        command = [*MOOT, "agent", "--log-json", *ports, *arguments]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        agent = RunningAgent(process, Path(output.name))
        try:
            if ready:
                agent.started = agent.wait_for("agent started")
            yield agent
        finally:
            process.kill()
            process.wait()


@contextlib.contextmanager
def pool(count: int, *arguments: str) -> Iterator[list[RunningAgent]]:
    """Agents `n1`, `n2` … with the local profile that all see each other alive."""
    with contextlib.ExitStack() as stack:
        agents: list[RunningAgent] = []
        for number in range(1, count + 1):
            seed = ["--join", agents[0].started["gossip"]] if agents else []
            given = ["--node", f"n{number}", "--profile", "local", *seed, *arguments]
            agents.append(stack.enter_context(launched(*given)))
        until(lambda: all(agrees(agent, "alive", count) for agent in agents), "a pool that is whole")
        yield agents


def agrees(agent: RunningAgent, status: str, count: int) -> bool:
    """The agent sees so many members with that status."""
    return list(agent.statuses().values()).count(status) == count


def all_see(agents: Sequence[RunningAgent], name: str, status: str) -> bool:
    """Every agent sees the member with that status."""
    return all(agent.statuses().get(name) == status for agent in agents)
