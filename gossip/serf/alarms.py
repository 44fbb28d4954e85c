"""Alarms: timers that happen once, with what is to be done then. A cancelled one fires into the void."""

from collections.abc import Callable
from typing import TypeAlias

from moot.gossip.swim.effects import Effects, Timer

Action: TypeAlias = Callable[[float], None]


class Alarms:
    """What is still to be done at some time, by timer token."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects
        self._token = 0
        self._actions: dict[int, Action] = {}

    def set(self, after: float, kind: Timer, action: Action) -> int:
        """Have `action(now)` called in `after` seconds or later; answers the token to cancel it by."""
        self._token += 1
        self._actions[self._token] = action
        self._effects.set_timer(after, kind, self._token)
        return self._token

    def cancel(self, token: int) -> bool:
        """Have it not done. False when it was done or cancelled before."""
        return self._actions.pop(token, None) is not None

    def fire(self, now: float, token: int) -> None:
        """The driver's timer is due; a stale one does nothing."""
        action = self._actions.pop(token, None)
        if action is not None:
            action(now)
