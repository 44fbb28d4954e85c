"""Rejoin: who was in the pool before we restarted, and how we find back to them."""

from collections.abc import Iterable, Mapping

from moot.gossip.record import Address, Ticket
from moot.gossip.serf.events import GivenUp
from moot.gossip.serf.members import SerfTable
from moot.gossip.serf.state import State


class Rejoin:
    """Members known from a snapshot. Those that we have not seen since are looked for, until it is too long ago.

    Deviation: the reference tries those that were alive once, at start, and remembers none that had failed; an
    agent that restarts during an outage then waits for somebody to find it.
    """

    def __init__(self, state: State, table: SerfTable) -> None:
        self._state = state
        self._table = table
        self._sought: dict[str, Address] = {}
        self._until = 0.0
        self._untried: list[Address] = []
        self._ticket: Ticket | None = None

    def begin(self, now: float, alive: Mapping[str, Address], failed: Mapping[str, Address]) -> None:
        """Try those that were alive, some at a time, then those that had failed, until one of them lets us in."""
        self._sought = {name: address for name, address in {**failed, **alive}.items() if name != self._state.name}
        self._until = now + self._state.config.reconnect_timeout
        self._untried = [*self._shuffled(alive), *self._shuffled(failed.keys() - alive.keys())]
        self._try_more(now)

    def on_join_finished(self, now: float, ticket: Ticket, *, enough: bool) -> bool:
        """An attempt is over; True when it was one of ours. Unless that is `enough`, the next ones are tried."""
        if ticket != self._ticket:
            return False
        self._ticket = None
        if enough:
            self._untried.clear()
        else:
            self._try_more(now)
        return True

    def look(self, now: float, alone: bool) -> None:
        """Now and then: try somebody who has not shown up again, or when we are alone several of them."""
        sought = self._sought
        if now > self._until:
            for name in sought:
                self._state.effects.notify(GivenUp(name))
            sought.clear()
        for name in [name for name in sought if self._table.get(name) is not None]:
            del sought[name]
        elsewhere = self._elsewhere(sought)
        if elsewhere and self._ticket is None:
            most = self._state.swim_config.join_parallel_max if alone else 1
            addresses = self._state.rng.sample(elsewhere, min(most, len(elsewhere)))
            self._ticket = self._state.swim.join(now, addresses)

    def _elsewhere(self, names: Iterable[str]) -> list[Address]:
        """Where those are. Under another name we may have been where we are now: we would let ourselves in."""
        here = self._state.swim.me.address
        found = (self._sought[name] for name in names if name in self._sought)
        return [address for address in found if address != here]

    def _shuffled(self, names: Iterable[str]) -> list[Address]:
        found = self._elsewhere(sorted(names))
        self._state.rng.shuffle(found)
        return found

    def _try_more(self, now: float) -> None:
        count = self._state.swim_config.join_parallel_max
        batch, self._untried = self._untried[:count], self._untried[count:]
        if batch:
            self._ticket = self._state.swim.join(now, batch)
