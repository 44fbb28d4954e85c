"""Queries as they are received: seen once, passed on once."""

from moot.gossip.serf.lamport import LamportClock
from moot.gossip.serf.messages import QUERY_NO_BROADCAST, Query
from moot.gossip.serf.ring import Ring

BUDGET_BYTES = 1024 * 1024
"""Most that the ring keeps: 16,384 queries within one window of 512 Lamport times."""
COST_BYTES = 64
"""What a remembered query takes, about."""
INTERNAL_PREFIX = "_serf_"
"""Queries with such names are between agents; the embedding program is never shown them."""


class Queries:
    """The query clock and the ring of recent queries."""

    def __init__(self, size: int) -> None:
        # nobody is ever sent this ring, so one slot of it may take it all
        self._ring: Ring[int] = Ring(size, BUDGET_BYTES, BUDGET_BYTES // COST_BYTES, BUDGET_BYTES)

    @property
    def clock(self) -> LamportClock:
        return self._ring.clock

    def take(self, query: Query) -> bool:
        """Witness and record a query. True when it was not seen before."""
        return self._ring.take(query.ltime, query.id, COST_BYTES)


def is_passed_on(query: Query) -> bool:
    """Whether a new query is re-gossiped, which does not depend on its filters."""
    return not query.flags & QUERY_NO_BROADCAST


def is_internal(query: Query) -> bool:
    """Whether a query is between agents."""
    return query.name.startswith(INTERNAL_PREFIX)
