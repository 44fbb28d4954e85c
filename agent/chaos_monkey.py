"""Monkey: breaks a running cluster by chance for a while, and mends it. One seed always draws the same."""

import time
from collections.abc import Callable, Sequence

from moot.agent.chaos import Chaos
from moot.agent.interrupts import Interrupts
from moot.gossip.actions import Action, Calm, Process
from moot.gossip.sim.history import History
from moot.gossip.sim.player import Player
from moot.gossip.sim.scenario import Chance, Goal, Scenario


class Monkey:
    """A stage for a Player: a cluster that somebody else started. `tell` hears when what is done, and why not."""

    def __init__(self, chaos: Chaos, interrupts: Interrupts, tell: Callable[[float, str], None]) -> None:
        self.history = History()
        self._chaos = chaos
        self._interrupts = interrupts
        self._tell = tell
        self._began = time.monotonic()
        self._killed: dict[str, None] = {}
        """Whom it has to start again."""

    def play(self, chance: Chance, seed: int) -> None:
        """Draw, break and mend; however it ends, nothing stays broken. Raises GossipError, Interrupted."""
        scenario = Scenario(name="monkey", steps=(chance,))
        try:
            Player(scenario, seed, self, lambda words: self._tell(self.now, words)).play()
        finally:
            self._mend()

    def _mend(self) -> None:
        self._chaos.do(Calm())
        dead = [node.name for node in self._chaos.state().nodes if node.name in self._killed]
        dead = [name for name in dead if not self._running(name)]
        if dead:
            self._tell(self.now, f"start {','.join(dead)}")
            self._chaos.do(Process("start", ",".join(dead)))

    def _running(self, name: str) -> bool:
        return any(node.name == name and node.process.alive() for node in self._chaos.state().nodes)

    @property
    def now(self) -> float:
        return time.monotonic() - self._began

    @property
    def names(self) -> Sequence[str]:
        return [node.name for node in self._chaos.state().nodes]

    @property
    def busy(self) -> bool:
        return False

    def pass_time(self, until: float) -> None:
        with self._interrupts.allowed():
            time.sleep(max(0.0, until - self.now))

    def do(self, action: Action) -> None:
        outcome = self._chaos.do(action)
        if isinstance(action, Process) and action.verb in ("kill", "leave"):
            self._killed.update(dict.fromkeys(outcome.members))

    def is_reached(self, goal: Goal) -> bool:
        """There is nothing to wait for."""
        return True
