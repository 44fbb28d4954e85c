"""Agents under Serf's command line as processes: the real `serf agent`, and `moot serf agent`."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import GOSSIP_PORT, SERF_RPC_PORT, Net, until

MOOT = (sys.executable, "-m", "moot", "serf")


@dataclass(frozen=True)
class Outcome:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str


def in_one_order(text: str) -> str:
    """Lines sorted, and the tags in each, which Serf shows in any order; no blanks at their ends."""
    lines = [
        re.sub(r"\S+=\S*,\S+", lambda found: ",".join(sorted(found[0].split(","))), line).rstrip()
        for line in text.split("\n")
    ]
    return "\n".join(sorted(lines))


def run(
    program: Sequence[str], *words: str, within: float = 60, environment: Mapping[str, str] | None = None
) -> Outcome:
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


class SerfAgentProcess:
    """One agent of either program."""

    def __init__(self, program: Sequence[str], name: str, host: str, folder: Path, options: Sequence[str]) -> None:
        self.name = name
        self.host = host
        self.rpc = f"{host}:{SERF_RPC_PORT}"
        self.address = f"{host}:{GOSSIP_PORT}"
        self.log = folder / f"{name}-{host}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*program, "agent", f"-node={name}", f"-bind={self.address}", f"-rpc-addr={self.rpc}", *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, text: str) -> None:
        """Until this stands in the log."""
        until(f"{self.name} says {text!r}", lambda: text in self.text() or self.process.poll() is not None)
        assert text in self.text(), self.text()

    def ask(self, *words: str, program: Sequence[str] = MOOT, auth: str = "") -> Outcome:
        """A command to this agent; the address is told by the environment."""
        extra = {"SERF_RPC_AUTH": auth} if auth else {}
        return run(program, *words, environment={"SERF_RPC_ADDR": self.rpc, **extra})

    def statuses(self) -> dict[str, str]:
        """Member name to status. For names without blanks."""
        lines = self.ask("members").out.splitlines()
        return {cells[0]: cells[2] for line in lines if len(cells := line.split()) >= 3}


class Pools:
    """Starts agents, each on an address of its own, and ends them all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.net = Net()
        self._agents: list[SerfAgentProcess] = []

    def start(self, program: Sequence[str], name: str, *options: str, profile: str = "local") -> SerfAgentProcess:
        """A started agent that answers."""
        agent = self.launch(program, name, f"-profile={profile}", *options)
        agent.wait_for("Log data will now stream in")
        return agent

    def launch(self, program: Sequence[str], name: str, *options: str) -> SerfAgentProcess:
        """An agent that may not come up."""
        agent = SerfAgentProcess(program, name, self.net.host(), self.folder, options)
        self._agents.append(agent)
        return agent

    def close(self) -> None:
        for agent in self._agents:
            if agent.process.poll() is None:
                agent.process.kill()
            agent.process.wait(10)


@contextmanager
def pools() -> Iterator[Pools]:
    """Agents that leave nothing behind."""
    with tempfile.TemporaryDirectory(prefix="moot-serf-") as folder:
        running = Pools(Path(folder))
        try:
            yield running
        finally:
            running.close()
