"""Joining: how an agent finds its pool when it starts, and goes on trying."""

from collections.abc import Awaitable, Callable, Sequence

import trio

from moot.agent.join_hints import hint, hints
from moot.agent.logs import Log
from moot.agent.text import printable
from moot.gossip.errors import ConfigError
from moot.gossip.net.node import Node
from moot.gossip.net.targets import JoinOutcome

RETRY_FIRST = 1.0
"""Seconds before the second attempt of a retried join; doubles up to the retry interval."""


async def persist(attempt: Callable[[], Awaitable[bool]], log: Log, *, retry_max: int, retry_interval: float) -> bool:
    """Until an attempt succeeds; False when `retry_max` more after the first did not (0 is for ever).

    The pause grows from a second to the retry interval, in seconds.
    """
    pause = min(RETRY_FIRST, retry_interval)
    count = 0
    while not await attempt():
        count += 1
        if retry_max and count > retry_max:
            log.error("max join retry exhausted, exiting", attempts=count)
            return False
        log.warn("join failed, trying again", attempt=count, retry_in=f"{pause:g}s")
        await trio.sleep(pause)
        pause = min(2 * pause, retry_interval)
    return True


class Joining:
    """The joins of one node. With `replay` they bring the pool's past user events."""

    def __init__(self, node: Node, log: Log, *, replay: bool) -> None:
        self._node = node
        self._log = log
        self._replay = replay
        self._advised: set[str] = set()
        """Failures that were told with advice."""

    async def at_start(self, targets: Sequence[str]) -> None:
        """Once. Raises ConfigError when nobody could be joined."""
        outcomes = await self._join(targets)
        joined = sum(outcome.error is None for outcome in outcomes)
        if not joined:
            reasons = "; ".join(printable(str(outcome.error)) for outcome in outcomes)
            raise ConfigError(f"nobody joined: {reasons}{hints(str(outcome.error) for outcome in outcomes)}")
        self._log.info("join completed", agents=joined)

    async def attempt(self, targets: Sequence[str]) -> bool:
        """Once; whether somebody was joined. Raises CommandError when a leave began meanwhile, or the end."""
        joined = sum(outcome.error is None for outcome in await self._join(targets))
        if joined:
            self._log.info("join completed", agents=joined)
        return bool(joined)

    async def _join(self, targets: Sequence[str]) -> list[JoinOutcome]:
        """One attempt at all targets at once; every result goes to the log."""
        outcomes = await self._node.join(targets, ignore_old=not self._replay)
        for outcome in outcomes:
            if outcome.error is None:
                self._log.info("joined", target=outcome.target, address=outcome.address)
            else:
                advice = "" if outcome.error in self._advised else hint(outcome.error)
                more = {"hint": advice} if advice else {}
                self._log.warn("not joined", target=outcome.target, reason=outcome.error, **more)
        self._advised = {outcome.error for outcome in outcomes if outcome.error is not None}
        return outcomes
