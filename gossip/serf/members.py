"""SerfMember and its status: what Serf holds of a member, on top of Swim's record."""

import enum
from collections.abc import Mapping

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
