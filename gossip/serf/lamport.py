"""LamportClock: the order of things that happened at different members. Serf runs three of them.

Lamport times are uint64 on the wire, and a peer may send any of them. The reference takes every value and
wraps: one message with 2**64 - 1 sets its clock to 0, and from then on all real news looks old.

Deviation: a value is refused, with the message that carries it, when it is more than LEAP above both
2**63 and our own clock. Honest clocks never come near 2**63 (that takes 292 years at a thousand million
steps a second), yet a pool that was driven there goes on working, because whatever lies a little above
such a clock is good again; pushing it from there to the end takes 2**39 hostile messages. A plain ceiling
would be a cliff: one message that is just below it would silence the whole pool.

Two such messages, however, put a pool beyond what a new member believes. So a member that joins takes over
the clocks of the pool that it asked to let it in, whatever they show (`catch_up`).

What remains. Whoever answers a join decides where the clocks of the one joining stand, up to the end of
uint64; the pool then does not believe that member, nor those who join through it, until they restart. And
who neither joined nor heard of the leaps (it was cut off meanwhile, or was itself joined by a member of the
pool) goes on without the pool's intents: it lists those who leave as failed, until it joins or restarts.
Catching up by every push/pull would spare it that, but then a single hostile one would do to the whole pool
what now takes 2**39 messages.
"""

LTIME_MAX = 2**64 - 1
"""No clock ever shows more."""
LEAP = 2**24
"""The largest step beyond 2**63 that one message may make."""


class LamportClock:
    """A counter that is always ahead of everything it has witnessed. Starts at 1, as the reference's do."""

    __slots__ = ("time",)

    def __init__(self) -> None:
        self.time = 1

    def believes(self, heard: int) -> bool:
        """Whether a value from a peer is one that an honest pool can have reached."""
        return 0 <= heard <= min(max(2**63, self.time) + LEAP, LTIME_MAX)

    def increment(self) -> int:
        """One step on; answers the new time. Stands still at the end of uint64 instead of wrapping."""
        self.time = min(self.time + 1, LTIME_MAX)
        return self.time

    def catch_up(self, heard: int) -> None:
        """Be no earlier than the pool that we join, even if its time is not one we would believe."""
        self.time = max(self.time, min(heard, LTIME_MAX))

    def witness(self, heard: int) -> None:
        """Move ahead of a value that was heard; one that is not believed changes nothing."""
        if heard >= self.time and self.believes(heard):
            self.time = min(heard + 1, LTIME_MAX)
