"""MemberTable: who we know, and Roster: which row a name has.

The table is a list of references to immutable members. Ten thousand simulated views of ten thousand
members then cost 8 bytes an entry, and two equal tables compare in C.
"""

from collections.abc import Callable, Iterator
from random import Random

from moot.gossip.swim.member import Member, Status

MEMBERS_MAX = 1 << 20
"""No table grows beyond this: as many nodes as a push/pull may carry."""


class Roster:
    """Which row belongs to which name. A simulation shares one between all its tables.

    Rows are given back when no table holds the name any more, so that a peer that makes up names
    cannot make it grow for ever.
    """

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}
        self._holders: list[int] = []
        self._free: list[int] = []

    def row(self, name: str) -> int | None:
        """The row of a name that some table holds."""
        return self._rows.get(name)

    def acquire(self, name: str) -> int:
        """The row of a name, made if need be; to be released by `release`."""
        row = self._rows.get(name)
        if row is None:
            if self._free:
                row = self._free.pop()
            else:
                row = len(self._holders)
                self._holders.append(0)
            self._rows[name] = row
        self._holders[row] += 1
        return row

    def release(self, name: str) -> None:
        """The table that acquired it no longer holds the name."""
        row = self._rows[name]
        self._holders[row] -= 1
        if not self._holders[row]:
            del self._rows[name]
            self._free.append(row)


class MemberTable:
    """The members of one view, ourselves included, whatever their status.

    `changed_at` holds when a member died or left (seconds), for those alone.
    """

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._rows: list[Member | None] = []
        self._length = 0
        self.live_count = 0
        """How many are ALIVE or SUSPECT."""
        self.changed_at: dict[str, float] = {}

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Member]:
        return (member for member in self._rows if member is not None)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def get(self, name: str) -> Member | None:
        """The member of that name, in whatever state."""
        row = self._roster.row(name)
        return self._rows[row] if row is not None and row < len(self._rows) else None

    @property
    def row_count(self) -> int:
        """Rows in use or empty; `at(row)` is defined below this."""
        return len(self._rows)

    def at(self, row: int) -> Member | None:
        """The member in a row, None if that row is empty."""
        return self._rows[row]

    def put(self, now: float, member: Member) -> None:
        """Add a member or replace the one of that name."""
        held = self.get(member.name)
        if held is None:
            row = self._roster.acquire(member.name)
            if row >= len(self._rows):
                self._rows.extend([None] * (row + 1 - len(self._rows)))
            self._length += 1
        else:
            row = self._row_of(member.name)
            self.live_count -= held.status <= Status.SUSPECT
        self._rows[row] = member
        if member.status <= Status.SUSPECT:
            self.live_count += 1
            self.changed_at.pop(member.name, None)
        elif held is None or held.status != member.status:
            self.changed_at[member.name] = now

    def drop(self, name: str) -> None:
        """Forget a member that is held."""
        row = self._row_of(name)
        held = self._rows[row]
        assert held is not None
        self.live_count -= held.status <= Status.SUSPECT
        self._rows[row] = None
        self._length -= 1
        self.changed_at.pop(name, None)
        self._roster.release(name)

    def choose(self, rng: Random, most: int, accept: Callable[[Member], bool]) -> list[Member]:
        """Up to `most` different members that `accept` likes, at random (memberlist kRandomNodes).

        In a small table all are looked at, so that the only eligible one is never missed; in a large one
        3 draws per row are tried.
        """
        rows = self._rows
        size = len(rows)
        if self._length <= 3 * most + 8:
            eligible = [member for member in rows if member is not None and accept(member)]
            return rng.sample(eligible, min(most, len(eligible)))
        chosen: list[Member] = []
        tried: set[int] = set()
        random = rng.random
        for _ in range(3 * size):
            row = int(random() * size)
            if row in tried:
                continue
            tried.add(row)
            member = rows[row]
            if member is not None and accept(member):
                chosen.append(member)
                if len(chosen) == most:
                    break
        return chosen

    def _row_of(self, name: str) -> int:
        row = self._roster.row(name)
        assert row is not None, name
        return row


class ProbeOrder:
    """Row numbers in random order, each once per round, without keeping a list.

    A Fisher-Yates shuffle of which only the displaced entries are stored: a round that is never finished
    costs as much as was used of it. Rows added during a round are still met in it.
    """

    def __init__(self) -> None:
        self._at = 0
        self._moved: dict[int, int] = {}

    def next(self, rng: Random, row_count: int) -> int | None:
        """The next row, or None at the end of a round; then a new round begins."""
        at = self._at
        if at >= row_count:
            self._at = 0
            self._moved.clear()
            return None
        pick = at + int(rng.random() * (row_count - at))
        row = self._moved.get(pick, pick)
        here = self._moved.pop(at, at)
        if pick != at:
            self._moved[pick] = here
        self._at = at + 1
        return row
