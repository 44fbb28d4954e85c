"""SerfMember and its status: what Serf holds of a member, on top of Swim's record."""

import enum
from collections.abc import ItemsView, Iterable, Iterator, Mapping, Sequence

from moot.gossip.pack import text_size
from moot.gossip.record import Address, message
from moot.gossip.serf.tags import decode_tags
from moot.gossip.swim.member import Member
from moot.gossip.swim.pages import Pages
from moot.gossip.swim.table import Roster


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


class LamportTimes(Mapping[str, int]):
    """Everybody's last Lamport time as it was at one moment: what a push/pull tells, and no copy of the table."""

    __slots__ = ("_length", "_roster", "rows")

    def __init__(self, rows: Pages[SerfMember], length: int, roster: Roster) -> None:
        self.rows = rows
        self._length = length
        self._roster = roster

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[str]:
        return (member.name for member in self.rows)

    def __getitem__(self, name: str) -> int:
        row = self._roster.row(name)
        held = self.rows.get(row) if row is not None else None
        if held is None or held.name != name:
            # it may have been dropped since, and its row be another's
            held = next((member for member in self.rows if member.name == name), None)
        if held is None:
            raise KeyError(name)
        return held.ltime

    def __repr__(self) -> str:
        return repr(dict(self.items()))

    def items(self) -> "_Items":
        return _Items(self)


class _Items(ItemsView[str, int]):
    """Without a look for each name."""

    _mapping: LamportTimes

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return ((member.name, member.ltime) for member in self._mapping.rows)


class SerfTable:
    """Everybody Serf knows, ourselves included, whatever their status; failed and left ones also listed apart.

    Nothing here decides; it keeps the lists and counts consistent with the members. Rows are as in Swim's table,
    of a roster of their own: members are listed here for longer.
    """

    def __init__(self, roster: Roster | None = None) -> None:
        self._roster = roster or Roster()
        self._rows: Pages[SerfMember] = Pages()
        self._length = 0
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
        return self._length

    def __iter__(self) -> Iterator[SerfMember]:
        return iter(self._rows)

    def get(self, name: str) -> SerfMember | None:
        """The member of that name, None when Serf knows none."""
        row = self._roster.row(name)
        return self._rows.get(row) if row is not None else None

    def ltimes(self) -> LamportTimes:
        """Everybody's last Lamport time, as of now."""
        return LamportTimes(self._rows.copy(), self._length, self._roster)

    def news(self, told: Mapping[str, int]) -> Iterable[tuple[str, int]]:
        """Of what a peer tells of its members, what may be newer than what we hold."""
        if isinstance(told, LamportTimes):
            return ((member.name, member.ltime) for member in told.rows.unlike(self._rows))
        return told.items()

    def lend_to(self, others: Sequence["SerfTable"]) -> None:
        """Let other tables of the same roster hold what this one does, instead of what they held so far.

        All are ALIVE here. The pages are shared until they change.
        """
        assert self.alive_count == self._length
        for other in others:
            for member in other:
                self._roster.release(member.name)
            other._rows.become(self._rows)
            other._length, other.alive_count = self._length, self.alive_count
            other.size, other.live_size = self.size, self.live_size
            other.version += 1
        for member in self:
            self._roster.acquire(member.name, len(others))

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
        row = self._roster.row(member.name)
        held = self._rows.get(row) if row is not None else None
        if held is None:
            row = self._roster.acquire(member.name)
            self._length += 1
        if held is None or held.status is not member.status:
            if held is not None:
                self._unlist(held)
            self._list(member)
        assert row is not None
        self._rows.put(row, member)
        self.version += 1

    def remove(self, name: str) -> SerfMember:
        """Drop a member that is held; answers it as it stood."""
        row = self._roster.row(name)
        held = self._rows.get(row) if row is not None else None
        assert row is not None, name
        assert held is not None, name
        self._rows.put(row, None)
        self._roster.release(name)
        self._length -= 1
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
