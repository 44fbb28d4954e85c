"""Tenants: agents that share a process, their house, as everybody else sees them: like processes of their own.

A house (`house`) notes beside its control socket what becomes of each of its tenants, and does to them by order
what signals do to a process.
"""

import contextlib
import json
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from moot.agent import control_client
from moot.agent.control_client import ControlError
from moot.agent.processes import Process

ORDERS: Final = {
    signal.SIGKILL: "kill",
    signal.SIGTERM: "end",
    signal.SIGSTOP: "stop",
    signal.SIGCONT: "cont",
}
RUNNING, STOPPED, ENDED = "running", "stopped", "ended"
"""What a note says of a tenant."""


def note_of(directory: Path, name: str) -> Path:
    """The file that says what has become of a tenant: the number of its life, and one of the three words."""
    return directory / f"{name}.life"


def house_name(number: int) -> str:
    """What a house is called, counted from 1."""
    return f"house-{number}"


def socket_of(directory: Path, house: str) -> Path:
    """The socket by which a house takes orders."""
    return directory / f"{house}.sock"


@dataclass(frozen=True, slots=True)
class Tenant(Process):
    """One agent from its start to its end; `pid` and `started` are those of its house."""

    directory: str
    house: str
    name: str
    life: int
    """Counts the starts of agents in this house, so that a restarted one is not taken for the one before."""

    def alive(self) -> bool:
        return self._said() in (RUNNING, STOPPED) and Process.alive(self)

    def stopped(self) -> bool:
        return self._said() == STOPPED and Process.alive(self)

    def kill(self, number: signal.Signals) -> bool:
        """Give the order that the signal stands for. False when the agent is gone. Raises ControlError."""
        if not self.alive():
            return False
        order = self._order(ORDERS[number])
        return bool(control_client.ask(socket_of(Path(self.directory), self.house), order)["there"])

    @contextmanager
    def handle(self) -> Iterator[int | None]:
        """A connection that the house closes when the agent has ended."""
        with contextlib.ExitStack() as stack:
            watched = control_client.held(socket_of(Path(self.directory), self.house), self._order("watch"))
            try:
                found = stack.enter_context(watched) if self.alive() else None
            except ControlError:
                if Process.alive(self):
                    raise
                found = None
            yield found.fileno() if found is not None else None

    def _order(self, verb: str) -> dict[str, object]:
        return {"do": verb, "name": self.name, "life": self.life}

    def _said(self) -> str:
        try:
            note = json.loads(note_of(Path(self.directory), self.name).read_bytes())
        except (OSError, ValueError):
            return ENDED
        return str(note["is"]) if note["life"] == self.life else ENDED


def read_process(held: Mapping[str, Any]) -> Process:
    """The process, or the tenant, that `dataclasses.asdict` told. Raises TypeError."""
    return Tenant(**held) if "life" in held else Process(**held)
