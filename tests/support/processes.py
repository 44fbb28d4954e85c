"""Real agents in one pool, ours and serf's: `moot agent`, asked over HTTP, and the real `serf agent`."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from moot.agent.rpc.client import RpcClient
from moot.http.client import ApiClient, ApiError
from tests.support.launching import GOSSIP_PORT, HTTP_PORT, Net, Process, View, until
from tests.support.serf_cli import SerfAgent


class Agent(Protocol):
    """A running agent of either kind, as the tests look at it."""

    name: str
    host: str
    process: subprocess.Popen[bytes]

    def members(self) -> list[dict[str, Any]]:
        """`name`, `addr` (ip:port), `status`, `tags`, `versions` (six numbers) of every member."""
        ...

    def view(self) -> View: ...
    def log_text(self) -> str: ...
    def kill(self) -> None: ...
    def join(self, other: "Agent") -> None: ...
    def leave(self) -> None: ...
    def force_leave(self, name: str, *, prune: bool = False) -> None: ...
    def start(self) -> None: ...


class Moot(Process):
    """`moot agent` in a pool of the serf personality."""

    def __init__(self, name: str, host: str, folder: Path, profile: str, options: Sequence[str]) -> None:
        super().__init__(name, host, folder)
        self._profile = profile
        self._options = options
        self.api = ApiClient(f"http://{host}:{HTTP_PORT}", timeout=30)

    def command(self) -> list[str]:
        fixed = ["--pool", "serf", "--profile", self._profile, "--serf-port", str(GOSSIP_PORT)]
        return [
            sys.executable,
            "-m",
            "moot",
            "agent",
            "--node",
            self.name,
            "--bind",
            self.host,
            *fixed,
            *self._options,
        ]

    def answers(self) -> bool:
        try:
            self.api.members()
        except ApiError:
            return False
        return True

    def members(self) -> list[dict[str, Any]]:
        six = ("ProtocolMin", "ProtocolMax", "ProtocolCur", "DelegateMin", "DelegateMax", "DelegateCur")
        return [
            {
                "name": member["Name"],
                "addr": f"{member['Addr']}:{member['Port']}",
                "status": member["Status"],
                "tags": member["Tags"],
                "versions": tuple(member[key] for key in six),
            }
            for member in self.api.members()["Members"]
        ]

    def view(self) -> View:
        return {member["name"]: member["status"] for member in self.members()}

    def join(self, other: Agent) -> None:
        joined, error = self.api.join([f"{other.host}:{GOSSIP_PORT}"])
        assert (joined, error) == (1, "")

    def leave(self) -> None:
        self.api.leave()
        assert self.process.wait(30) == 0

    def force_leave(self, name: str, *, prune: bool = False) -> None:
        self.api.force_leave(name, prune=prune)


class Serf(SerfAgent):
    """The real `serf agent`, asked with the real `serf` command."""

    def members(self) -> list[dict[str, Any]]:
        six = self._versions()
        return [
            {
                "name": name,
                "addr": member["addr"],
                "status": member["status"],
                "tags": member["tags"],
                "versions": six[name],
            }
            for name, member in self.listing().items()
            if name in six  # listed a moment later, so it may be new
        ]

    def _versions(self) -> dict[str, tuple[int, ...]]:
        """All six version numbers of each member, which only the RPC tells."""
        with RpcClient(self.rpc) as client:
            return {
                member.name: (
                    member.protocol_min,
                    member.protocol_max,
                    member.protocol_cur,
                    member.delegate_min,
                    member.delegate_max,
                    member.delegate_cur,
                )
                for member in client.members()
            }

    def join(self, other: Agent) -> None:
        self.tell("join", f"{other.host}:{GOSSIP_PORT}")

    def leave(self) -> None:
        self.tell("leave")
        self.process.wait(30)

    def force_leave(self, name: str, *, prune: bool = False) -> None:
        self.tell("force-leave", *(["-prune"] if prune else []), name)


class Lab:
    """Starts agents of both kinds and ends them all. `profile` is the timing of those started next."""

    def __init__(self, folder: Path, serf_binary: str | None = None) -> None:
        self.profile = "local"
        self._folder = folder
        self._serf = serf_binary
        self._net = Net()
        self.agents: list[Moot | Serf] = []

    def moot(self, name: str, *options: str) -> Moot:
        """A started agent of ours."""
        agent = Moot(name, self._net.host(), self._folder, self.profile, options)
        self.agents.append(agent)
        agent.start()
        return agent

    def serf(self, name: str, *options: str) -> Serf:
        """A started real agent."""
        assert self._serf is not None
        options = (f"-profile={self.profile}", *options)
        agent = Serf((self._serf,), name, self._net.host(), self._folder, options)
        self.agents.append(agent)
        agent.start()
        return agent

    def everybody_sees(self, expected: View, among: Sequence[Agent] | None = None) -> float:
        """Wait until all running agents hold exactly this view; the seconds it took."""
        watching = [agent for agent in among or self.agents if agent.process.poll() is None]
        return until(
            f"all of {[agent.name for agent in watching]} see {expected}",
            lambda: all(agent.view() == expected for agent in watching),
            logs=watching,
        )

    def close(self) -> None:
        """End every process by its pid."""
        for agent in self.agents:
            if agent.process.poll() is None:
                agent.kill()


@contextmanager
def lab(serf_binary: str | None = None) -> Iterator[Lab]:
    """A Lab that leaves nothing behind."""
    with tempfile.TemporaryDirectory(prefix="moot-test-") as folder:
        running = Lab(Path(folder), serf_binary)
        try:
            yield running
        finally:
            running.close()
