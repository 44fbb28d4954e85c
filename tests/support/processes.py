"""Real agents as processes, ours and serf's, on loopback addresses of their own."""

import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import msgpack

from moot.http.client import ApiClient, ApiError

DEADLINE = 90.0
"""Seconds until a condition that should hold soon counts as never coming true."""
GOSSIP_PORT = 7946
HTTP_PORT = 4646
SERF_RPC_PORT = 7373

View = dict[str, str]
"""Member name to status, as one agent has it."""


class Net:
    """A /24 of loopback that nobody else in this run uses: 127.x.y.0, with a free port for gossip."""

    def __init__(self) -> None:
        rng = random.Random(os.urandom(8))
        while True:
            self._prefix = f"127.{rng.randrange(16, 240)}.{rng.randrange(256)}"
            if all(self._free(f"{self._prefix}.1", port) for port in (GOSSIP_PORT, HTTP_PORT, SERF_RPC_PORT)):
                break
        self._last = 0

    def host(self) -> str:
        """The next address."""
        self._last += 1
        return f"{self._prefix}.{self._last}"

    @staticmethod
    def _free(host: str, port: int) -> bool:
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError:
                return False
        return True


def until(what: str, holds: Callable[[], bool], deadline: float = DEADLINE, logs: Sequence["Logged"] = ()) -> float:
    """Wait for a condition; the seconds it took. Fails with the agents' logs when it does not come true."""
    begun = time.monotonic()
    while not holds():
        if time.monotonic() - begun > deadline:
            told = "\n".join(f"--- {agent.name} ---\n{agent.log_text()[-3000:]}" for agent in logs)
            raise AssertionError(f"not within {deadline:g} s: {what}\n{told}")
        time.sleep(0.05)
    return time.monotonic() - begun


class Logged(Protocol):
    """Something with a name and a log."""

    name: str

    def log_text(self) -> str: ...


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


class Process:
    """What both kinds share: the process, its log, its end."""

    def __init__(self, name: str, host: str, folder: Path) -> None:
        self.name = name
        self.host = host
        self._log = folder / f"{name}.log"
        self.process: subprocess.Popen[bytes]

    def command(self) -> list[str]:
        """How it is started."""
        raise AssertionError("each kind says so itself")

    def answers(self) -> bool:
        """Whether it can be asked."""
        raise AssertionError("each kind says so itself")

    def launch(self) -> None:
        """Start it, again too, without waiting for it."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )

    def wait(self) -> None:
        """Until it answers."""
        until(f"{self.name} answers", self._answers_or_died)

    def start(self) -> None:
        """Start it, again too, and wait until it answers."""
        self.launch()
        self.wait()

    def _answers_or_died(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self.process.returncode}:\n{self.log_text()[-3000:]}")
        return self.answers()

    def log_text(self) -> str:
        return self._log.read_text(errors="replace")

    def kill(self) -> None:
        """kill -9: no goodbye."""
        self.process.kill()
        self.process.wait(10)


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


class Serf(Process):
    """The real `serf agent`, asked with the real `serf` command."""

    def __init__(self, binary: str, name: str, host: str, folder: Path, profile: str, options: Sequence[str]) -> None:
        super().__init__(name, host, folder)
        self._binary = binary
        self._profile = profile
        self._options = options

    def command(self) -> list[str]:
        rpc = f"-rpc-addr={self.host}:{SERF_RPC_PORT}"
        bind = f"-bind={self.host}:{GOSSIP_PORT}"
        return [self._binary, "agent", f"-node={self.name}", bind, rpc, f"-profile={self._profile}", *self._options]

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`serf WORD… -rpc-addr=…`."""
        verb, *rest = words
        command = [self._binary, verb, f"-rpc-addr={self.host}:{SERF_RPC_PORT}", *rest]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def answers(self) -> bool:
        return self.call("members").returncode == 0

    def members(self) -> list[dict[str, Any]]:
        done = self.call("members", "-format=json", "-detailed")
        assert done.returncode == 0, done.stderr
        six = self._versions()
        return [
            {
                "name": member["name"],
                "addr": member["addr"],
                "status": member["status"],
                "tags": member["tags"] or {},
                "versions": six[member["name"]],
            }
            for member in json.loads(done.stdout)["members"]
            if member["name"] in six  # listed a moment later, so it may be new
        ]

    def _versions(self) -> dict[str, tuple[int, ...]]:
        """All six version numbers of each member, which only the RPC tells."""
        unpacker = msgpack.Unpacker(raw=False, unicode_errors="replace")
        with socket.create_connection((self.host, SERF_RPC_PORT), timeout=30) as link:

            def receive() -> dict[str, Any]:
                while True:
                    for answer in unpacker:
                        return dict(answer)
                    unpacker.feed(link.recv(65536))

            def ask(seq: int, command: str, *body: dict[str, Any]) -> None:
                for part in ({"Command": command, "Seq": seq}, *body):
                    link.sendall(msgpack.packb(part, use_bin_type=False))
                assert receive() == {"Error": "", "Seq": seq}

            ask(0, "handshake", {"Version": 1})
            ask(1, "members")
            members = receive()["Members"]
        six = ("ProtocolMin", "ProtocolMax", "ProtocolCur", "DelegateMin", "DelegateMax", "DelegateCur")
        return {member["Name"]: tuple(member[key] for key in six) for member in members}

    def view(self) -> View:
        done = self.call("members", "-format=json")
        assert done.returncode == 0, done.stderr
        return {member["name"]: member["status"] for member in json.loads(done.stdout)["members"]}

    def join(self, other: Agent) -> None:
        done = self.call("join", f"{other.host}:{GOSSIP_PORT}")
        assert done.returncode == 0, done.stderr

    def leave(self) -> None:
        done = self.call("leave")
        assert done.returncode == 0, done.stderr
        self.process.wait(30)

    def force_leave(self, name: str, *, prune: bool = False) -> None:
        done = self.call("force-leave", *(["-prune"] if prune else []), name)
        assert done.returncode == 0, done.stderr


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
        agent = Serf(self._serf, name, self._net.host(), self._folder, self.profile, options)
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
