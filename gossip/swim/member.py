"""Member: one row of the membership table."""

import enum

from moot.gossip.record import Address, message


class Status(enum.IntEnum):
    """What memberlist holds of a member. The numbers are those of the push/pull wire."""

    ALIVE = 0
    SUSPECT = 1
    DEAD = 2
    LEFT = 3


VERSIONS = bytes((1, 5, 2, 2, 5, 5))
"""What a stock agent announces: protocol min, max, current, then delegate min, max, current."""


@message
class Member:
    """One member as one view has it. Immutable: a change replaces it, so views can share it.

    `name` is the wire's bytes as UTF-8 with surrogateescape, so that any name survives the round trip.
    `meta` is at most 512 bytes (Serf keeps encoded tags there). `versions` is the six bytes of Vsn;
    other lengths can arrive and are kept as received.
    """

    name: str
    address: Address
    incarnation: int
    status: Status
    meta: bytes = b""
    versions: bytes = VERSIONS

    @property
    def protocol_max(self) -> int:
        """Highest memberlist protocol it understands; 0 when it announced no versions.

        At least 3 understands TCP pings, 4 sends nacks, 5 understands CRC headers.
        """
        return self.versions[1] if len(self.versions) > 1 else 0

    def became(self, status: Status, incarnation: int) -> "Member":
        """The same member with another status and incarnation."""
        return Member(self.name, self.address, incarnation, status, self.meta, self.versions)
