"""SerfMember and its status: what Serf holds of a member, on top of Swim's record."""

import enum
from collections.abc import Iterator, Mapping

from moot.gossip.pack import text_size
from moot.gossip.record import Address, message
from moot.gossip.serf.tags import decode_tags
from moot.gossip.swim.member import Member


class MemberStatus(enum.Enum):
    """Serf's five states. A suspect member still counts as alive here."""

    NONE = "none"
    ALIVE = "alive"
    LEAVING = "leaving"
    LEFT = "left"
    FAILED = "failed"


@message
class SerfMember:
    """One member as Serf sees it. Immutable: a change replaces it.

    `ltime` is the Lamport time of the last intent applied to it, `gone_at` the instant (driver's clock)
    at which it left or failed, 0 while it is there.
    """

    record: Member
    status: MemberStatus
    ltime: int = 0
    gone_at: float = 0.0

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def address(self) -> Address:
        return self.record.address

    @property
    def tags(self) -> Mapping[str, str]:
        """Decoded from the meta bytes; empty when they cannot be read."""
        return decode_tags(self.record.meta)

    @property
    def versions(self) -> tuple[int, int, int, int, int, int]:
        """Protocol min, max, current, delegate min, max, current; missing ones are 0."""
        six = tuple(self.record.versions[:6].ljust(6, b"\0"))
        return (six[0], six[1], six[2], six[3], six[4], six[5])

    def became(
        self, status: MemberStatus, *, ltime: int | None = None, gone_at: float = 0.0, record: Member | None = None
    ) -> "SerfMember":
        """The same member with another status; what is not given stays."""
        return SerfMember(record or self.record, status, self.ltime if ltime is None else ltime, gone_at)


ENTRY_BYTES = 16
"""What a push/pull takes for a name besides the name: its own length and the member's Lamport time."""
_GONE = (MemberStatus.FAILED, MemberStatus.LEFT)


def entry_size(name: str) -> int:
    """At most so many bytes of a push/pull are due to a name that is listed once."""
    return ENTRY_BYTES + text_size(name)


class SerfTable:
    """Everybody Serf knows, ourselves included, whatever their status; failed and left ones also listed apart.

    Nothing here decides; it keeps the lists and counts consistent with the members.
    """

    def __init__(self) -> None:
        self._by_name: dict[str, SerfMember] = {}
        self._failed: dict[str, None] = {}
        self._left: dict[str, None] = {}
        self.leaving: dict[str, None] = {}
        """Names of those that are about to leave."""
        self.alive_count = 0
        """How many have the status ALIVE; a leaving one has not."""
        self.size = 0
        """Bytes that a push/pull takes for all of them at most. Those that are gone count twice: a failed one
        may be declared to have left at any time, and who left is named in two places."""
        self.live_size = 0
        """How many of these bytes are of those who are ALIVE or LEAVING."""
        self.version = 0
        """Grows with every change."""

    def __len__(self) -> int:
        return len(self._by_name)

    def __iter__(self) -> Iterator[SerfMember]:
        return iter(self._by_name.values())

    def get(self, name: str) -> SerfMember | None:
        """The member of that name, None when Serf knows none."""
        return self._by_name.get(name)

    @property
    def failed(self) -> list[str]:
        """Names of the failed ones, longest failed first."""
        return list(self._failed)

    @property
    def left(self) -> list[str]:
        """Names of those that left, longest gone first."""
        return list(self._left)

    @property
    def failed_count(self) -> int:
        return len(self._failed)

    @property
    def left_count(self) -> int:
        return len(self._left)

    def longest_gone(self) -> str | None:
        """Who left longest ago, or if nobody did, who failed longest ago."""
        return next(iter(self._left), next(iter(self._failed), None))

    def put(self, member: SerfMember) -> None:
        """Add a member, or replace the one of that name."""
        held = self._by_name.get(member.name)
        if held is None or held.status is not member.status:
            if held is not None:
                self._unlist(held)
            self._list(member)
        self._by_name[member.name] = member
        self.version += 1

    def remove(self, name: str) -> SerfMember:
        """Drop a member that is held; answers it as it stood."""
        held = self._by_name.pop(name)
        self._unlist(held)
        self.version += 1
        return held

    def _list(self, member: SerfMember) -> None:
        self._weigh(member, 1)
        if member.status is MemberStatus.ALIVE:
            self.alive_count += 1
        elif member.status is MemberStatus.FAILED:
            self._failed[member.name] = None
        elif member.status is MemberStatus.LEFT:
            self._left[member.name] = None
        elif member.status is MemberStatus.LEAVING:
            self.leaving[member.name] = None

    def _unlist(self, member: SerfMember) -> None:
        self._weigh(member, -1)
        if member.status is MemberStatus.ALIVE:
            self.alive_count -= 1
        self._failed.pop(member.name, None)
        self._left.pop(member.name, None)
        self.leaving.pop(member.name, None)

    def _weigh(self, member: SerfMember, sign: int) -> None:
        size = sign * entry_size(member.name)
        if member.status in _GONE:
            self.size += 2 * size
        else:
            self.size += size
            self.live_size += size
