"""Revival: a pruned member is said to be alive. Is it? We ask it.

A member that restarts begins at incarnation 1 and may be in nobody's table any more, so its claims look
exactly like stale hearsay. What tells them apart is that somebody of that name answers at that address.

Deviation: the reference asks nobody, for it has no memory of prunes that would hold a member off (`prune`).
"""

from moot.gossip.record import Ticket
from moot.gossip.serf.prune import PruneMemory
from moot.gossip.serf.state import State
from moot.gossip.swim.effects import Timer
from moot.gossip.swim.member import Member, Status
from moot.gossip.swim.messages import Ack, Alive, Ping, StreamMessage

SPREAD_COUNT = 1000
"""How many members may ask within one second: the more there are, the longer each may wait with it."""


class Revival:
    """At most one question at a time for each pruned name: a TCP ping, which only the one named answers.

    Besides the claim that is asked about, the latest one with another address is kept, and is next. Else a
    forged claim that nobody answers would keep the true one from being asked about, as often as it is made.
    """

    def __init__(self, state: State, memory: PruneMemory) -> None:
        self._state = state
        self._memory = memory
        self._asking: dict[str, Member] = {}
        self._next: dict[str, Member] = {}
        self._tickets: dict[Ticket, str] = {}

    def consider(self, claim: Member) -> None:
        """A claim was refused because its member was pruned: find out, soon, unless that is under way."""
        asking = self._asking.get(claim.name)
        if asking is None:
            self._ask_soon(claim)
        elif claim.address != asking.address:
            self._next[claim.name] = claim

    def _ask_soon(self, claim: Member) -> None:
        self._asking[claim.name] = claim
        after = self._state.rng.random() * max(1.0, len(self._state.swim.members) / SPREAD_COUNT)
        self._state.alarms.set(after, Timer.PRUNE, lambda now: self._ask(claim))

    def is_asking(self, name: str) -> bool:
        """Whether it is not yet known if that member is back."""
        return name in self._asking

    def owns(self, ticket: Ticket) -> bool:
        """Whether a stream is one of ours."""
        return ticket in self._tickets

    def on_stream_end(self, now: float, ticket: Ticket, reply: StreamMessage | None) -> None:
        """It answered, or nobody did; then it is asked at the other address, or when the next claim comes."""
        claim = self._asking.pop(self._tickets.pop(ticket))
        other = self._next.pop(claim.name, None)
        if isinstance(reply, Ack):
            self._memory.believe(claim.name)
            self._state.swim.on_packet(now, claim.address, (Alive(claim),))
        elif other is not None:
            self._ask_soon(other)

    def _ask(self, claim: Member) -> None:
        held = self._state.swim.members.get(claim.name)
        if held is not None and held.status <= Status.SUSPECT:
            del self._asking[claim.name]
            self._next.pop(claim.name, None)
            return
        ticket = self._state.swim.new_ticket()
        self._tickets[ticket] = claim.name
        timeout = self._state.swim_config.stream_timeout
        self._state.effects.open_stream(claim.address, Ping(ticket, claim.name), ticket, timeout)
