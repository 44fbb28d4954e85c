"""Heartbeat: when a client agent says something to its server, and how patient it is. Pure.

It speaks after half to three quarters of the time to live (TTL) that the last answer gave it. What is left of the
TTL is for servers that do not answer: each may take a tenth of it, so that two silent ones in a row cost the client
nothing. Those that refuse or hang up cost no time at all.
"""

from random import Random
from typing import Final

EARLIEST: Final = 0.45
LATEST: Final = 0.75
"""When the next heartbeat is due, as parts of the TTL. Between them at random, for servers drew the TTL but once."""
PATIENCE: Final = 0.1
"""How long a server may take to answer, and how late a client may return to one that hung up: a part of the TTL."""
PATIENCE_MIN: Final = 0.25
PATIENCE_MAX: Final = 10.0
PATIENCE_FIRST: Final = 5.0
"""Seconds, before a TTL is known."""
TTL_MIN: Final = 0.1
TTL_MAX: Final = 24 * 3600.0
"""What a server may ask for, in seconds; anything else is taken as the nearest of these."""
PAUSE_MIN: Final = 0.25
PAUSE_MAX: Final = 15.0
"""Seconds before servers are tried once more of which none answered. Doubles from one to the other."""


class Heartbeat:
    """The client's side of its registration. Instants are those of the caller's clock."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._failures = 0
        self.home = ""
        """The server that holds the registration, empty for none."""
        self.ttl = 0.0
        self.due_at = 0.0
        self.heard_at: float | None = None
        """When a server answered last."""

    def answered(self, now: float, server: str, ttl: float) -> None:
        """A registration or heartbeat was taken."""
        self._failures = 0
        self.home = server
        self.ttl = min(max(ttl, TTL_MIN), TTL_MAX)
        self.heard_at = now
        self.due_at = now + self.ttl * self._random.uniform(EARLIEST, LATEST)

    def unknown(self) -> None:
        """The server holds no registration of ours (any more)."""
        self.home = ""

    def hung_up(self, now: float) -> None:
        """The connection ended while nothing was asked: look what is the matter, but not all clients at once."""
        self.due_at = min(self.due_at, now + self.ttl * PATIENCE * self._random.random())

    def round_failed(self) -> float:
        """No server took us; seconds to wait before they are tried again."""
        pause = min(PAUSE_MIN * 2.0 ** min(self._failures, 16), PAUSE_MAX)
        self._failures += 1
        return pause * self._random.uniform(0.5, 1.5)

    @property
    def patience(self) -> float:
        """Seconds that a server may take for an answer, or for a connection."""
        if not self.ttl:
            return PATIENCE_FIRST
        return min(max(self.ttl * PATIENCE, PATIENCE_MIN), PATIENCE_MAX)
