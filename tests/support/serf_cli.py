"""Serf's command line in tests: the real `serf` and `moot serf`, and agents of either under the same flags."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.processes import GOSSIP_PORT, SERF_RPC_PORT, Net, Process, View, until

LISTING = ("members", "-format=json")


@dataclass(frozen=True)
class Tool:
    """A program with Serf's command line. `kind` is what it is called in tests: `moot` or `serf`."""

    kind: str
    program: tuple[str, ...]


MOOT = Tool("moot", (sys.executable, "-m", "moot", "serf"))


class SerfAgent(Process):
    """An agent that was started under Serf's flags, and is asked over the client RPC."""

    def __init__(self, tool: Tool, name: str, host: str, folder: Path, options: Sequence[str]) -> None:
        super().__init__(name, host, folder)
        self.tool = tool
        self.options = list(options)
        self.address = f"{host}:{GOSSIP_PORT}"

    @property
    def rpc(self) -> str:
        return f"{self.host}:{SERF_RPC_PORT}"

    def command(self) -> list[str]:
        fixed = [f"-node={self.name}", f"-bind={self.address}", f"-rpc-addr={self.rpc}"]
        return [*self.tool.program, "agent", *fixed, *self.options]

    def become(self, tool: Tool) -> None:
        """Start it again, as this kind and with a new log."""
        self.tool = tool
        self._log.unlink()
        self.start()

    def answers(self) -> bool:
        try:
            socket.create_connection((self.host, SERF_RPC_PORT), timeout=5).close()
        except OSError:
            return False
        return True

    def asked_by(self, tool: Tool, *words: str) -> subprocess.CompletedProcess[str]:
        """What a command says to this agent: `serf VERB -rpc-addr=… WORD…`."""
        verb, *rest = words
        command = [*tool.program, verb, f"-rpc-addr={self.rpc}", *rest]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def ask(self, *words: str) -> str:
        """What the agent's own kind of command prints; it must succeed."""
        return self.told(self.tool, *words)

    def told(self, tool: Tool, *words: str) -> str:
        """What a command prints; it must succeed."""
        done = self.asked_by(tool, *words)
        assert (done.returncode, done.stderr) == (0, ""), (self.name, words, done)
        return done.stdout

    def listing(self, tool: Tool) -> Mapping[str, Mapping[str, Any]]:
        """Every member as JSON, by name."""
        members: list[dict[str, Any]] = json.loads(self.told(tool, *LISTING))["members"] or []
        found = {str(member["name"]): member for member in members}
        assert len(found) == len(members), f"{self.name} lists a name twice: {members}"
        return found

    def view(self, tool: Tool) -> View:
        return {name: str(member["status"]) for name, member in self.listing(tool).items()}


class SerfPool:
    """Agents of both kinds on addresses of their own, all with the same options besides their own ones."""

    def __init__(self, tools: Sequence[Tool], folder: Path, options: Sequence[str] = ()) -> None:
        self.tools = {tool.kind: tool for tool in tools}
        self.folder = folder
        self._options = options
        self._net = Net()
        self._agents: list[SerfAgent] = []

    def host(self) -> str:
        """An address that nothing else in this pool has."""
        return self._net.host()

    def launch(self, kind: str, name: str, *options: str) -> SerfAgent:
        """An agent that is being started."""
        agent = SerfAgent(self.tools[kind], name, self.host(), self.folder, (*self._options, *options))
        self._agents.append(agent)
        agent.launch()
        return agent

    @property
    def running(self) -> list[SerfAgent]:
        return [agent for agent in self._agents if agent.process.poll() is None]

    def gather(self, first: SerfAgent, *others: SerfAgent) -> None:
        """Let agents that were launched join the first one, each by its own kind of command."""
        for agent in (first, *others):
            agent.wait()
        for agent in others:
            agent.ask("join", first.address)

    def settle(self, expected: View) -> None:
        """Wait until every running agent lists just these; then both commands must show the same of all of them."""
        serf = self.tools["serf"]
        running = self.running
        until(
            f"all of {[agent.name for agent in running]} see {expected}",
            lambda: all(agent.view(serf) == expected for agent in running),
            logs=running,
        )
        shown = {(agent.name, kind): agent.listing(tool) for agent in running for kind, tool in self.tools.items()}
        for listing in shown.values():
            assert listing == next(iter(shown.values())), shown

    def close(self) -> None:
        """End every process by its pid."""
        for agent in self.running:
            agent.kill()


@contextmanager
def following(agent: SerfAgent, tool: Tool, output: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command that streams from an agent to a file until it is ended."""
    verb, *rest = words
    with output.open("wb") as file:
        process = subprocess.Popen(
            [*tool.program, verb, f"-rpc-addr={agent.rpc}", *rest],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)
