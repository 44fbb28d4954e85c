"""Alarms: timers that happen once, with what is to be done then. A cancelled one fires into the void."""

from collections.abc import Callable
from typing import TypeAlias

from moot.gossip.swim.effects import Effects, Timer

Action: TypeAlias = Callable[[float], None]

STEP = 60.0
"""Seconds that the driver is asked to wait at most: so soon it is rid of the timer of an alarm that was cancelled."""


class Alarms:
    """What is still to be done at some time, by timer token."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects
        self._token = 0
        self._actions: dict[int, tuple[float, Timer, Action]] = {}
        """And what is left to wait after the driver's timer."""

    def set(self, after: float, kind: Timer, action: Action) -> int:
        """Have `action(now)` called in `after` seconds or later; answers the token to cancel it by."""
        self._token += 1
        self._wait(self._token, after, kind, action)
        return self._token

    def cancel(self, token: int) -> bool:
        """Have it not done. False when it was done or cancelled before."""
        return self._actions.pop(token, None) is not None

    def fire(self, now: float, token: int) -> None:
        """The driver's timer is due; a stale one does nothing."""
        found = self._actions.pop(token, None)
        if found is not None:
            rest, kind, action = found
            if rest > 0:
                self._wait(token, rest, kind, action)
            else:
                action(now)

    def _wait(self, token: int, after: float, kind: Timer, action: Action) -> None:
        step = min(after, STEP)
        self._actions[token] = (after - step, kind, action)
        self._effects.set_timer(step, kind, token)
