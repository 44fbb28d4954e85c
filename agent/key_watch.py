"""KeyWatch: notices members that were away while the pool's key was changed, and are back with an old one.

Such a member counts as failed, and everything it sends is thrown away: nothing else tells its operator, or us,
why it does not come back.
"""

from collections.abc import Callable, Sequence

import trio

from moot.gossip.net.refusals import PeerUnreadable
from moot.gossip.net.streams import StreamRefused
from moot.gossip.serf.members import MemberStatus, SerfMember

RECENT = 300.0
"""Seconds for which a member counts as back after it was last heard of. It is heard of at most once a minute."""


class KeyWatch:
    """Give it the node's events by `hear`."""

    def __init__(self, members: Callable[[], Sequence[SerfMember]]) -> None:
        self._members = members
        self._heard: dict[str, float] = {}
        """Member to the time of the last that came from it; failed members only, so it stays small."""

    def hear(self, event: object) -> list[SerfMember]:
        """The failed members that this event may be about. A connection of its own tells its host only."""
        if isinstance(event, PeerUnreadable):
            found = [it for it in self._failed() if it.address.host == event.peer.host]
            found = [it for it in found if it.address.port == event.peer.port]
        elif isinstance(event, StreamRefused):
            found = [it for it in self._failed() if it.address.host == event.peer.host]
        else:
            return []
        now = trio.current_time()
        self._heard = {name: at for name, at in self._heard.items() if now - at < RECENT}
        self._heard |= {it.name: now for it in found}
        return found

    def locked_out(self, member: SerfMember) -> bool:
        """Whether a failed member was heard of of late."""
        at = self._heard.get(member.name)
        return at is not None and trio.current_time() - at < RECENT

    def _failed(self) -> list[SerfMember]:
        return [member for member in self._members() if member.status is MemberStatus.FAILED]
