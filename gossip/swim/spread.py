"""Spread: how news travels: gossip rounds, and riding along on pings and acks."""

import math
from collections.abc import Callable

from moot.gossip.record import Address
from moot.gossip.swim.broadcast import BroadcastQueue
from moot.gossip.swim.effects import Timer
from moot.gossip.swim.member import Member, Status
from moot.gossip.swim.messages import Claim, PacketMessage
from moot.gossip.swim.state import State

COMPOUND_OVERHEAD = 2
"""Bytes that a compound packet spends per part (its length), and once for its own head."""
CRC_PROTOCOL_MIN = 5
"""From this memberlist protocol on a peer understands the CRC header."""


class Spread:
    """Gossip of queued claims and of what the layer above queued.

    The timer runs only while something is queued, on this node's own grid of `gossip_interval` with a
    random phase. An idle node is not woken for nothing.
    """

    __slots__ = ("_armed", "_phase", "_room", "_state", "queue")

    def __init__(self, state: State) -> None:
        self._state = state
        self._phase = state.rng.random() * state.config.gossip_interval
        self._armed = False
        self._room = state.config.packet_size_max - COMPOUND_OVERHEAD - state.config.packet_overhead
        """Bytes for messages in an otherwise empty gossip packet."""
        self.queue: BroadcastQueue[Claim] = BroadcastQueue(
            state.config.retransmit_mult, lambda: len(state.members), state.size_of
        )

    def announce(self, now: float, claim: Claim, about: str, done: Callable[[float], None] | None = None) -> None:
        """Queue a claim; an older one about the same member is dropped. `done(now)` when it was sent enough.

        Deviation: one that fits into no packet is not queued (push/pull brings it); the reference keeps it
        for ever.
        """
        if not self.fits(claim):
            self.queue.drop(now, about)
            if done is not None:
                done(now)
            return
        self.queue.queue(now, claim, about, done)
        self.wake(now)

    def fits(self, claim: Claim) -> bool:
        """Whether a claim has room in an otherwise empty gossip packet."""
        return COMPOUND_OVERHEAD + self._state.size_of(claim) <= self._room

    def withdraw(self, now: float, about: str) -> None:
        """Say no more about a member that was forgotten."""
        self.queue.drop(now, about)

    def wake(self, now: float) -> None:
        """Something is queued, here or above: see that a gossip round comes."""
        if self._armed:
            return
        self._armed = True
        interval = self._state.config.gossip_interval
        rounds = math.floor((now - self._phase) / interval) + 1
        after = self._phase + rounds * interval - now
        if after < 1e-6:
            # rounding: `now` is the grid point itself, and its round is over
            after += interval
        self._state.effects.set_timer(after, Timer.GOSSIP, 0)

    def on_tick(self, now: float) -> None:
        """One gossip round (memberlist state.go gossip). Stops the timer once there is nothing to say."""
        state = self._state
        self._armed = False
        state.counters.gossip_rounds += 1
        said = False
        for peer in state.members.choose(state.rng, state.config.gossip_nodes, self._hears_gossip(now)):
            messages = self.take(now, self._room)
            if not messages:
                break
            said = True
            state.effects.send_packet(peer.address, messages, peer.protocol_max >= CRC_PROTOCOL_MIN)
        if said:
            self.wake(now)

    def send(self, now: float, to: Address, message: PacketMessage) -> None:
        """Send one message at once, with as much queued news as fits beside it."""
        state = self._state
        messages: list[PacketMessage] = [message]
        messages += self.take(now, self._room - state.size_of(message))
        state.effects.send_packet(to, messages, False)

    def take(self, now: float, room: int) -> list[PacketMessage]:
        """News for one packet: claims first, then what the layer above has, within `room` bytes."""
        taken: list[PacketMessage] = list(self.queue.fetch(now, COMPOUND_OVERHEAD, room))
        room -= self.queue.fetched_bytes
        if room > COMPOUND_OVERHEAD + 1:
            taken += self._state.upper.broadcasts(now, COMPOUND_OVERHEAD, room)
        return taken

    def _hears_gossip(self, now: float) -> Callable[[Member], bool]:
        """Who is gossiped to: the living, and the dead for a while, so that one wrongly declared can refute."""
        me = self._state.name
        died_at = self._state.members.changed_at
        since = now - self._state.config.gossip_to_the_dead_time

        def accept(member: Member) -> bool:
            if member.name == me:
                return False
            if member.status <= Status.SUSPECT:
                return True
            return member.status is Status.DEAD and died_at[member.name] >= since

        return accept
