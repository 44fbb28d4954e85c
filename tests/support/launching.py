"""Processes on loopback addresses of their own: how tests start them, wait for them and end them."""

import os
import random
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

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


class Process:
    """What both kinds share: the process, its log, its end."""

    def __init__(self, name: str, host: str, folder: Path) -> None:
        self.name = name
        self.host = host
        self.log = folder / f"{name}.log"
        self.process: subprocess.Popen[bytes]

    def command(self) -> list[str]:
        """How it is started."""
        raise AssertionError("each kind says so itself")

    def answers(self) -> bool:
        """Whether it can be asked."""
        raise AssertionError("each kind says so itself")

    def launch(self) -> None:
        """Start it, again too, without waiting for it."""
        with self.log.open("ab") as log:
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
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """kill -9: no goodbye."""
        self.process.kill()
        self.process.wait(10)
