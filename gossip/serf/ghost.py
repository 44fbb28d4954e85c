"""Ghost: a member that is there, while peers do not list it any more, for it was pruned. It notices, and comes back.

In the reference a prune of a live member takes effect even when the member contradicts: Swim goes on finding it
alive, Serf has forgotten it, and only the news that it died and came back would list it again. Nobody brings that
news before it restarts. So it makes the news itself: it tells a peer that forgot it that it left, and tells all, a
moment later, that it is here under a new incarnation. Both are ordinary claims, so any peer understands them.

Deviation: the reference's member stays a ghost. A peer that did not take part in the prune sees it go and come.
"""

from math import inf

from moot.gossip.serf.announcer import Announcer, SerfState
from moot.gossip.serf.membership import Membership
from moot.gossip.serf.messages import JoinIntent, SerfPushPull
from moot.gossip.serf.state import State
from moot.gossip.swim.effects import Timer
from moot.gossip.swim.member import Member, Status
from moot.gossip.swim.messages import Dead, PushPull, StreamMessage, User

PAUSE = 0.2
"""Seconds between the two claims. A peer may take an alive claim before a dead one that came with it."""
AGAIN = 10.0
"""So long we wait before we do it once more."""


class Ghost:
    """Looks at what peers answer to our push/pulls."""

    def __init__(self, state: State, membership: Membership, announcer: Announcer) -> None:
        self._state = state
        self._membership = membership
        self._announcer = announcer
        self._done_at = -inf

    def look(self, now: float, peer: Member | None, reply: StreamMessage) -> None:
        """What a peer answered, None if it is not that of a push/pull with a member."""
        if peer is None or now - self._done_at < AGAIN or not self._forgotten(reply):
            return
        self._done_at = now
        state = self._state
        me = state.swim.me
        # first of all, so that what it still holds of our leave does not count when it lists us
        intent = JoinIntent(self._membership.clock.time, state.name)
        self._announcer.say_here(now)
        gone = Dead(me.incarnation, state.name, state.name)
        state.effects.send_packet(peer.address, (User(intent), gone), False)
        state.alarms.set(PAUSE, Timer.PRUNE, self._come_back)

    def _forgotten(self, reply: StreamMessage) -> bool:
        """Whether its Swim has us alive, and its Serf does not list us."""
        name = self._state.name
        return (
            self._announcer.state is SerfState.ALIVE
            and isinstance(reply, PushPull)
            and isinstance(reply.state, SerfPushPull)
            and name not in reply.state.status_ltimes
            and any(member.name == name and member.status <= Status.SUSPECT for member in reply.members)
        )

    def _come_back(self, now: float) -> None:
        if self._announcer.state is SerfState.ALIVE:
            self._state.swim.announce_anew(now)
