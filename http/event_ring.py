"""EventRing: what happened in the pool lately, each event with an id, for readers that come and go.

There is one ring for all readers. A reader is nothing but a position in it, so that one who reads slowly costs
no memory and holds nobody up: what it did not read in time is overwritten, and it is told how much that was.

An id is `RUN.NUMBER`. The run is drawn anew when the agent starts, so that nobody takes the numbers of another
run for those of this one.
"""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple

import msgspec
import trio

from moot.http.payloads import in_base64, text_of
from moot.http.schema import encode

EVENTS_MAX: Final = 4096
"""Most events that are kept."""
BYTES_MAX: Final = 4 * 1024 * 1024
"""Most bytes of them as JSON."""

Kind = Literal[
    "joined",
    "suspected",
    "refuted",
    "failed",
    "leaving",
    "staying",
    "left",
    "updated",
    "flapped",
    "conflict",
    "reaped",
    "pruned",
    "user-event",
    "query",
]
"""What can happen."""


class MemberFacts(msgspec.Struct, omit_defaults=True):
    """A member as it stands after the event."""

    name: str
    address: str
    """`ip:port` of its gossip."""
    status: str
    """As in the list of members: a suspected one is still alive."""
    incarnation: int
    """Which only the member itself raises."""
    ltime: int = 0
    """Lamport time of the last intent to join or leave that was applied to it; left out for 0."""
    tags: dict[str, str] = {}
    """With `joined` and `updated` alone."""


class PoolEvent(msgspec.Struct, omit_defaults=True):
    """Something happened, as this agent saw it. What an event does not have is left out."""

    id: str
    """`RUN.NUMBER`: numbers go up by one, a run is as long as the agent lives."""
    kind: Kind
    time: str
    """When it was seen, in UTC."""
    member: MemberFacts | None = None
    accuser: str = ""
    """Who suspected a member or declared it dead, where that is known. With `refuted` of this agent itself: who
    took it for dead."""
    other: str = ""
    """With `conflict`: the address of the other member of that name."""
    flaps: int = 0
    """With `flapped`: how often it has come back soon after it had failed."""
    name: str = ""
    """Of a user event or a query."""
    ltime: int = 0
    """Of a user event or a query."""
    sender: str = ""
    """Who asks a query. User events do not tell."""
    payload: str = ""
    """Of a user event or a query, as base64."""
    text: str = ""
    """The payload, where it is text."""


class Gap(msgspec.Struct, tag_field="kind", tag="gap"):
    """Events are missing here. Told whatever kinds and members were asked for."""

    id: str
    time: str
    reason: Literal["overrun", "restart"]
    """`overrun`: more happened than is kept. `restart`: the id that was given is not of this run of the agent."""
    lost: int | None
    """How many, None when nobody can know."""


class Kept(NamedTuple):
    """One event in the ring."""

    number: int
    kind: str
    member: str
    """Whom it is about, or who asks; empty for a user event."""
    at: float
    """Seconds since the epoch."""
    data: bytes
    """As JSON."""


class EventRing:
    """The ring. `run` names this run of the agent."""

    def __init__(
        self,
        run: str,
        *,
        events_max: int = EVENTS_MAX,
        bytes_max: int = BYTES_MAX,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.run = run
        self.last = 0
        """Number of the newest event, 0 before the first."""
        self._events_max = events_max
        self._bytes_max = bytes_max
        self._clock = clock
        self._kept: dict[int, Kept] = {}
        self._bytes = 0
        self._readers = trio.lowlevel.ParkingLot()

    @property
    def first(self) -> int:
        """Number of the oldest event that is kept; one more than `last` when there is none."""
        return self.last + 1 - len(self._kept)

    @property
    def size(self) -> int:
        """Bytes of all that is kept, as JSON."""
        return self._bytes

    def member(self, kind: Kind, member: MemberFacts, *, accuser: str = "", other: str = "", flaps: int = 0) -> None:
        """Something happened to a member; see PoolEvent. Never waits."""
        self._add(kind, member.name, member=member, accuser=accuser, other=other, flaps=flaps)

    def message(self, kind: Kind, name: str, payload: bytes, *, ltime: int, sender: str = "") -> None:
        """A user event or a query came; see PoolEvent. Never waits."""
        text = text_of(payload) or ""
        self._add(kind, sender, name=name, ltime=ltime, sender=sender, payload=in_base64(payload), text=text)

    def _add(self, kind: Kind, about: str, **more: Any) -> None:
        """`more` are fields of PoolEvent."""
        self.last += 1
        now = self._clock()
        event = PoolEvent(f"{self.run}.{self.last}", kind, stamp(now), **more)
        data = encode(event)
        self._kept[self.last] = Kept(self.last, kind, about, now, data)
        self._bytes += len(data)
        while len(self._kept) > self._events_max or self._bytes > self._bytes_max:
            self._bytes -= len(self._kept.pop(next(iter(self._kept))).data)
        self._readers.unpark_all()

    def after(self, number: int, most: int) -> Sequence[Kept]:
        """Up to `most` of the events that are kept and newer than that one, oldest first."""
        begin = max(number + 1, self.first)
        return [self._kept[each] for each in range(begin, min(begin + most, self.last + 1))]

    def since(self, at: float) -> int:
        """The number after which all is newer than that instant (seconds since the epoch), as far as is kept."""
        return next((it.number - 1 for it in self._kept.values() if it.at >= at), self.last)

    def gap(self, number: int, reason: Literal["overrun", "restart"], lost: int | None) -> bytes:
        """An event that tells of others that are missing up to that number."""
        return encode(Gap(f"{self.run}.{number}", stamp(self._clock()), reason, lost))

    async def wait_beyond(self, number: int) -> None:
        """Until there is a newer event than that one."""
        while self.last <= number:
            await self._readers.park()


def stamp(at: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
