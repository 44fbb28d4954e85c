"""Intents: what a member says it is about to do, or what an operator says about it.

The weigh functions decide what an intent does to the member it names; RecentIntents keeps those about
members that we have not met yet, because gossip may bring the intent before the member.
"""

import enum

from moot.gossip.record import message
from moot.gossip.serf.members import MemberStatus, SerfMember
from moot.gossip.serf.messages import JoinIntent, LeaveIntent

NAME_MAX = 512
"""Intents about longer names are not kept; Serf's own check of names allows 128."""
RECENT_MAX = 8192
"""Most names that intents are kept for: 4 MiB of names at worst."""


class Verdict(enum.Enum):
    """What to do with an intent about a member that we know."""

    STALE = enum.auto()
    """Not newer than what was applied last: no effect, not passed on."""
    REFUTE = enum.auto()
    """It says that we leave, and we do not."""
    NOTE = enum.auto()
    """Keep its Lamport time; the status stays."""
    LEAVING = enum.auto()
    """The member is about to leave."""
    FORCED = enum.auto()
    """A failed member is declared to have left."""
    BACK = enum.auto()
    """A member that was leaving stays after all."""


def weigh_leave(held: SerfMember, heard: LeaveIntent, stays: bool) -> Verdict:
    """What a LeaveIntent does (serf.go handleNodeLeaveIntent). `stays`: it is about us, and we are not leaving."""
    if heard.ltime <= held.ltime:
        return Verdict.STALE
    if stays:
        return Verdict.REFUTE
    if held.status is MemberStatus.ALIVE:
        return Verdict.LEAVING
    return Verdict.FORCED if held.status is MemberStatus.FAILED else Verdict.NOTE


def weigh_join(held: SerfMember, heard: JoinIntent) -> Verdict:
    """What a JoinIntent does (serf.go handleNodeJoinIntent). It brings nobody back who failed or left."""
    if heard.ltime <= held.ltime:
        return Verdict.STALE
    return Verdict.BACK if held.status is MemberStatus.LEAVING else Verdict.NOTE


@message
class RecentIntent:
    """The newest intent about a name that is no member yet. `at` is when we heard it, in seconds."""

    leave: bool
    ltime: int
    at: float


class RecentIntents:
    """Intents about names that are no members (yet), the newest per name, for a while.

    Deviation: bounded, the reference's is not. A full buffer takes no new name. It must not make room by
    dropping old ones: what was dropped would be news again when it is next heard, and be passed on again,
    so that a flood of made-up names would go round for ever.
    """

    def __init__(self) -> None:
        self._by_name: dict[str, RecentIntent] = {}

    def __len__(self) -> int:
        return len(self._by_name)

    def keep(self, now: float, name: str, leave: bool, ltime: int) -> bool:
        """Keep an intent if it is the newest about that name. True when it was kept: then it is passed on."""
        held = self._by_name.get(name)
        if held is not None:
            if ltime <= held.ltime:
                return False
        elif len(self._by_name) >= RECENT_MAX or len(name) > NAME_MAX:
            return False
        self._by_name[name] = RecentIntent(leave, ltime, now)
        return True

    def pop(self, name: str) -> RecentIntent | None:
        """The intent about a name that is a member now; it is not needed any longer."""
        return self._by_name.pop(name, None)

    def expire(self, before: float) -> None:
        """Drop what was heard before that instant."""
        for name in [name for name, intent in self._by_name.items() if intent.at < before]:
            del self._by_name[name]
