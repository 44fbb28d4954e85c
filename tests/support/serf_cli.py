"""Serf's command line in tests: the real `serf` and `moot serf`, and agents of either under the same flags."""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.launching import GOSSIP_PORT, SERF_RPC_PORT, Net, Process, View, until

Program = tuple[str, ...]
"""The beginning of a command line, which a subcommand follows."""
MOOT: Program = (sys.executable, "-m", "moot", "serf")
UP = "Log data will now stream in"
"""What an agent says once it is up and has joined whom it was told to join."""


@dataclass(frozen=True)
class Outcome:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str


def run(program: Program, *words: str, within: float = 60, environment: Mapping[str, str] | None = None) -> Outcome:
    """Run one command to its end, with hardly any environment."""
    done = subprocess.run(
        [*program, *words],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=within,
        check=False,
        env={"PATH": "/usr/bin:/bin", **(environment or {})},
    )
    return Outcome(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))


def in_one_order(text: str) -> str:
    """Lines sorted, and the tags in each, which Serf shows in any order; no blanks at their ends."""
    lines = [
        re.sub(r"\S+=\S*,\S+", lambda found: ",".join(sorted(found[0].split(","))), line).rstrip()
        for line in text.split("\n")
    ]
    return "\n".join(sorted(lines))


def of_somebody(text: str) -> str:
    """What a query printed, without the acks and answers of nobody that a real agent may report at its deadline."""
    for kind in ("Ack", "Response"):
        text, phantoms = re.subn(rf"^{kind} from '':? ?\n", "", text, flags=re.MULTILINE)
        total = re.search(rf"^Total {kind}s: (\d+)$", text, re.MULTILINE)
        if total is not None:
            text = text.replace(total[0], f"Total {kind}s: {int(total[1]) - phantoms}")
    return text


class SerfAgent(Process):
    """An agent of either program that was started under Serf's flags, and is asked over the client RPC."""

    def __init__(self, program: Program, name: str, host: str, folder: Path, options: Sequence[str]) -> None:
        super().__init__(name, host, folder)
        self.program = program
        self.options = list(options)
        self.address = f"{host}:{GOSSIP_PORT}"
        self.rpc = f"{host}:{SERF_RPC_PORT}"
        self._logged_before = 0

    @property
    def is_real(self) -> bool:
        """Whether it is serf's own agent."""
        return self.program != MOOT

    def command(self) -> list[str]:
        fixed = [f"-node={self.name}", f"-bind={self.address}", f"-rpc-addr={self.rpc}"]
        return [*self.program, "agent", *fixed, *self.options]

    def launch(self) -> None:
        self._logged_before = self.log.stat().st_size if self.log.exists() else 0
        super().launch()

    def restart_as(self, program: Program, *options: str) -> None:
        """Start it again, as this program and with a new log. Options, when there are some, replace its own."""
        self.program = program
        self.options = list(options) or self.options
        self.log.unlink(missing_ok=True)
        self.start()

    def answers(self) -> bool:
        return UP.encode() in self.log.read_bytes()[self._logged_before :]

    def wait_for(self, text: str) -> None:
        """Until this stands in the log; the agent may have ended then."""
        until(f"{self.name} says {text!r}", lambda: text in self.log_text() or self.process.poll() is not None)
        assert text in self.log_text(), self.log_text()

    def ask(self, *words: str, program: Program = (), auth: str = "") -> Outcome:
        """Give the agent a command, its own program's unless told otherwise. Where it is says the environment."""
        extra = {"SERF_RPC_AUTH": auth} if auth else {}
        return run(program or self.program, *words, environment={"SERF_RPC_ADDR": self.rpc, **extra})

    def tell(self, *words: str, program: Program = ()) -> str:
        """What a command prints that must succeed."""
        done = self.ask(*words, program=program)
        assert (done.code, done.err) == (0, ""), (self.name, words, done)
        return done.out

    def listing(self, program: Program = ()) -> dict[str, dict[str, Any]]:
        """Every member as in the JSON of `members`, by name."""
        members: list[dict[str, Any]] = json.loads(self.tell("members", "-format=json", program=program))["members"]
        found = {str(member["name"]): member for member in members or []}
        assert len(found) == len(members or []), f"{self.name} lists a name twice: {members}"
        return found

    def view(self, program: Program = ()) -> View:
        """Member name to status; empty while it cannot be asked."""
        done = self.ask("members", "-format=json", program=program)
        if done.code:
            return {}
        return {str(member["name"]): str(member["status"]) for member in json.loads(done.out)["members"] or []}


class SerfPool:
    """Starts agents, each on an address of its own, and ends them all. They share the pool's options."""

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        self.folder = folder
        self._options = options
        self._net = Net()
        self._agents: list[SerfAgent] = []

    def host(self) -> str:
        """An address that nothing else in this pool has."""
        return self._net.host()

    def launch(self, program: Program, name: str, *options: str) -> SerfAgent:
        """An agent that is being started, and may not come up."""
        agent = SerfAgent(program, name, self.host(), self.folder, (*self._options, *options))
        self._agents.append(agent)
        agent.launch()
        return agent

    def start(self, program: Program, name: str, *options: str) -> SerfAgent:
        """An agent that is up."""
        agent = self.launch(program, name, *options)
        agent.wait()
        return agent

    @property
    def running(self) -> list[SerfAgent]:
        return [agent for agent in self._agents if agent.process.poll() is None]

    def close(self) -> None:
        """End every process by its pid."""
        for agent in self.running:
            agent.kill()


@contextmanager
def serf_pool(*options: str) -> Iterator[SerfPool]:
    """Agents that leave nothing behind."""
    with tempfile.TemporaryDirectory(prefix="moot-test-") as folder, closing(SerfPool(Path(folder), options)) as pool:
        yield pool


@contextmanager
def following(
    agent: SerfAgent, output: Path, *words: str, program: Program = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """A command that streams from an agent to a file until it is ended."""
    verb, *rest = words
    with output.open("wb") as file:
        process = subprocess.Popen(
            [*(program or agent.program), verb, f"-rpc-addr={agent.rpc}", *rest],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)
