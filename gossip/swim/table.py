"""MemberTable: who we know, and Roster: which row a name has.

The table holds references to immutable members, in pages that simulated views share until they change.
"""

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import heappop, heappush
from random import Random
from typing import overload

from moot.gossip.swim.member import VERSIONS, Member, Status
from moot.gossip.swim.pages import MASK, SHIFT, Pages

MEMBERS_MAX = 1 << 20
"""As many members as a push/pull may carry."""
TABLE_BYTES_MAX = 12 * 1024 * 1024
"""No table takes more members than this, in bytes that they need in a push/pull.

Deviation: the reference has no bound, so made-up members fill its memory, and its own push/pull outgrows
the 20 MiB that newer peers read. The rest of those is for the layer above. 80,000 ordinary members fit.
"""
_ENTRY_BYTES = 72
"""What a member needs in a push/pull beside its address, name and meta."""
SPARSE = 4
"""A table with more than this many rows per member is packed anew."""


def entry_bytes(member: Member) -> int:
    """At most so many bytes of a push/pull are a member's."""
    name_bytes = len(member.name) if member.name.isascii() else 4 * len(member.name)
    return _ENTRY_BYTES + len(member.address.ip) + name_bytes + len(member.meta)


class Roster:
    """Which row belongs to which name. A simulation shares one between all its tables (`shared`).

    Rows are given back when no table holds the name any more, the lowest are used first.
    """

    def __init__(self, *, shared: bool = False) -> None:
        self.shared = shared
        self._rows: dict[str, int] = {}
        self._holders: list[int] = []
        self._free: list[int] = []

    def row(self, name: str) -> int | None:
        """The row of a name that some table holds."""
        return self._rows.get(name)

    def acquire(self, name: str, times: int = 1) -> int:
        """The row of a name, made if need be; to be released by `release` as many times."""
        row = self._rows.get(name)
        if row is None:
            if self._free:
                row = heappop(self._free)
            else:
                row = len(self._holders)
                self._holders.append(0)
            self._rows[name] = row
        self._holders[row] += times
        return row

    def release(self, name: str) -> None:
        """The table that acquired it no longer holds the name."""
        row = self._rows[name]
        self._holders[row] -= 1
        if not self._holders[row]:
            del self._rows[name]
            heappush(self._free, row)

    def renumber(self, names: list[str]) -> None:
        """Give these names, which are all that one table holds, the rows 0, 1, 2 and so on."""
        assert not self.shared
        self._rows = {name: row for row, name in enumerate(names)}
        self._holders = [1] * len(names)
        self._free = []


def is_versioned(member: Member) -> bool:
    """Whether a push/pull is about it: it has a whole version vector.

    Deviation: the reference lists all, and a missing version counts as 0 and fails the merge: one datagram
    that announces a member without versions then ends all push/pulls of a pool. Here such a member is
    neither sent nor taken over by push/pull.
    """
    return len(member.versions) >= len(VERSIONS)


class Roll(Sequence[Member]):
    """The members of a table that a push/pull is about, as they were at one moment."""

    __slots__ = ("_length", "kinds", "rows")

    def __init__(self, rows: Pages[Member], kinds: Mapping[tuple[bytes, bool], int]) -> None:
        self.rows = rows
        self.kinds = {kind: count for kind, count in kinds.items() if len(kind[0]) >= len(VERSIONS)}
        """How many have these versions, and are ALIVE or not."""
        self._length = sum(self.kinds.values())

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Member]:
        return filter(is_versioned, self.rows)

    def __eq__(self, other: object) -> bool:
        """By content, so that who encodes a roll sees that it is the same as the last one."""
        if not isinstance(other, Roll):
            return NotImplemented
        return self.kinds == other.kinds and all(map(operator.eq, self, other))

    def __hash__(self) -> int:
        return hash(self._length)

    @overload
    def __getitem__(self, index: int) -> Member: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Member]: ...

    def __getitem__(self, index: int | slice) -> Member | Sequence[Member]:
        return list(self)[index]


class MemberTable:
    """The members of one view, ourselves included, whatever their status.

    `changed_at` holds when a member died or left (seconds), for those alone.
    """

    __slots__ = ("_kinds", "_length", "_roster", "_rows", "changed_at", "live_count", "version", "wire_bytes")

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._rows: Pages[Member] = Pages()
        self._length = 0
        self._kinds: dict[tuple[bytes, bool], int] = {}
        """How many have these versions, and are ALIVE or not."""
        self.live_count = 0
        """How many are ALIVE or SUSPECT."""
        self.wire_bytes = 0
        """What all of them need in a push/pull, at most."""
        self.changed_at: dict[str, float] = {}
        self.version = 0
        """Grows whenever a record is put, replaced or dropped."""

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Member]:
        return iter(self._rows)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def get(self, name: str) -> Member | None:
        """The member of that name, in whatever state."""
        row = self._roster.row(name)
        return self._rows.get(row) if row is not None else None

    @property
    def row_count(self) -> int:
        """Rows in use or empty; `at(row)` is defined below this."""
        return self._rows.length

    def at(self, row: int) -> Member | None:
        """The member in a row, None if that row is empty."""
        return self._rows.get(row)

    def put(self, now: float, member: Member) -> None:
        """Add a member or replace the one of that name."""
        held = self.get(member.name)
        if held is None:
            row = self._roster.acquire(member.name)
            self._length += 1
        else:
            row = self._row_of(member.name)
            self.live_count -= held.status <= Status.SUSPECT
            self.wire_bytes -= entry_bytes(held)
            self._count(held, -1)
        self._rows.put(row, member)
        self._count(member, 1)
        self.version += 1
        self.wire_bytes += entry_bytes(member)
        if member.status <= Status.SUSPECT:
            self.live_count += 1
            self.changed_at.pop(member.name, None)
        elif held is None or held.status != member.status:
            self.changed_at[member.name] = now

    def drop(self, name: str) -> None:
        """Forget a member that is held."""
        row = self._row_of(name)
        held = self._rows.get(row)
        assert held is not None
        self.live_count -= held.status <= Status.SUSPECT
        self.wire_bytes -= entry_bytes(held)
        self._count(held, -1)
        self._rows.put(row, None)
        self.version += 1
        self._length -= 1
        self.changed_at.pop(name, None)
        self._roster.release(name)

    def has_room_for(self, member: Member) -> bool:
        """Whether this member, new or in place of the one of its name, stays within TABLE_BYTES_MAX."""
        held = self.get(member.name)
        before = 0 if held is None else entry_bytes(held)
        return self.wire_bytes - before + entry_bytes(member) <= TABLE_BYTES_MAX

    def pack(self) -> bool:
        """Close the gaps that many forgotten members left; True when rows have changed their numbers.

        Choosing and probing cost time per row, so that a flood of made-up names would be felt for ever.
        A shared roster is left alone.
        """
        if self._roster.shared or self._rows.length <= SPARSE * self._length + 64:
            return False
        members = list(self)
        self._roster.renumber([member.name for member in members])
        self._rows = Pages()
        self._rows.fill(members)
        return True

    def lend_to(self, others: Sequence["MemberTable"]) -> None:
        """Let other tables of the same roster hold what this one does, instead of what they held so far.

        All are ALIVE here. The pages are shared until they change.
        """
        assert all(alive for _, alive in self._kinds)
        for other in others:
            for member in other:
                self._roster.release(member.name)
            other._rows.become(self._rows)
            other._length, other.live_count, other.wire_bytes = self._length, self.live_count, self.wire_bytes
            other._kinds = dict(self._kinds)
            other.changed_at.clear()
            other.version += 1
        for member in self:
            self._roster.acquire(member.name, len(others))

    def roll(self) -> "Roll":
        """Those that a push/pull is about, as they are now."""
        return Roll(self._rows.copy(), self._kinds)

    def unlike(self, members: Sequence[Member]) -> Sequence[Member]:
        """Of members that a peer told, those of which we do not hold the very record, in their order.

        Records that are not ALIVE are made by each table for itself, so they are always among them.
        """
        if isinstance(members, Roll):
            members = list(members.rows.unlike(self._rows))
        return [member for member in members if is_versioned(member)]

    def choose(self, rng: Random, most: int, accept: Callable[[Member], bool]) -> list[Member]:
        """Up to `most` different members that `accept` likes, at random (memberlist kRandomNodes).

        In a small table all are looked at, so that the only eligible one is never missed; in a large one
        3 draws per row are tried.
        """
        pages = self._rows.pages
        size = self._rows.length
        if self._length <= 3 * most + 8:
            eligible = [member for member in self._rows if accept(member)]
            return rng.sample(eligible, min(most, len(eligible)))
        chosen: list[Member] = []
        tried: set[int] = set()
        random = rng.random
        for _ in range(3 * size):
            row = int(random() * size)
            if row in tried:
                continue
            tried.add(row)
            member = pages[row >> SHIFT][row & MASK]
            if member is not None and accept(member):
                chosen.append(member)
                if len(chosen) == most:
                    break
        return chosen

    def _count(self, member: Member, change: int) -> None:
        kind = (member.versions, member.status is Status.ALIVE)
        count = self._kinds.get(kind, 0) + change
        if count:
            self._kinds[kind] = count
        else:
            del self._kinds[kind]

    def _row_of(self, name: str) -> int:
        row = self._roster.row(name)
        assert row is not None, name
        return row


class ProbeOrder:
    """Row numbers in random order, each once per round, without keeping a list.

    A Fisher-Yates shuffle of which only the displaced entries are stored: a round that is never finished
    costs as much as was used of it. Rows added during a round are still met in it.
    """

    __slots__ = ("_at", "_moved")

    def __init__(self) -> None:
        self._at = 0
        self._moved: dict[int, int] = {}

    def restart(self) -> None:
        """Begin a new round; the rows may have other numbers now."""
        self._at = 0
        self._moved.clear()

    def next(self, rng: Random, row_count: int) -> int | None:
        """The next row, or None at the end of a round; then a new round begins."""
        at = self._at
        if at >= row_count:
            self.restart()
            return None
        pick = at + int(rng.random() * (row_count - at))
        row = self._moved.get(pick, pick)
        here = self._moved.pop(at, at)
        if pick != at:
            self._moved[pick] = here
        self._at = at + 1
        return row
