"""Trace: every message between simulated members in a stretch of time, in words."""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from math import inf
from typing import Final

from moot.gossip.amounts import seconds_text
from moot.gossip.faults import Transport
from moot.gossip.record import Address
from moot.gossip.serf.messages import SerfPushPull
from moot.gossip.swim.messages import Ack, Alive, Message, PushPull, User

CROSSINGS_MAX: Final = 200_000
_CARRIED: Final = {"packet": "udp", "stream": "tcp"}
_QUIET: Final = ("source", "source_node", "filters", "flags", "relay_factor", "timeout_ns", "coalesce", "inner")
"""Fields that say little to people."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """A packet, or one message of a stream, on its way. Times are seconds since the run began.

    `to` is who is or was last at that address, or the address if nobody ever was. `delays` are when its copies arrive
    after it was sent; when there are none `fate` says why: `lost`, `spoiled`, `reset`, `refused`, `unreadable` or
    `nobody there`.
    """

    at: float
    source: str
    to: str
    transport: str
    texts: tuple[str, ...]
    delays: tuple[float, ...]
    fate: str

    @property
    def what(self) -> str:
        """The messages in words."""
        return "; ".join(self.texts)

    @property
    def end(self) -> str:
        """What became of it, in words."""
        if not self.delays:
            return self.fate
        copies = f", {len(self.delays)} copies" if len(self.delays) > 1 else ""
        return f"{seconds_text(round(min(self.delays), 6))}{copies}"

    def __str__(self) -> str:
        return f"{self.source} > {self.to} {self.transport}: {self.what} ({self.end})"


class Tracer:
    """A tap on a network: keeps what is sent from `since` to `until` by or to one of `members`, if any are given.

    Of more than CROSSINGS_MAX it keeps the first, and counts the others in `missed`.
    """

    def __init__(
        self,
        now: Callable[[], float],
        *,
        since: float = 0.0,
        until: float = inf,
        members: AbstractSet[str] = frozenset(),
    ) -> None:
        self.crossings: list[Crossing] = []
        self.missed = 0
        self._now = now
        self._since = since
        self._until = until
        self._members = members

    def __call__(
        self,
        source: str,
        to: str,
        transport: Transport,
        messages: Sequence[Message],
        delays: Sequence[float],
        fate: str,
        /,
    ) -> None:
        now = self._now()
        if not self._since <= now <= self._until:
            return
        if self._members and source not in self._members and to not in self._members:
            return
        if len(self.crossings) >= CROSSINGS_MAX:
            self.missed += 1
            return
        texts = tuple(words(message) for message in messages)
        kept = tuple(sorted(delays))
        self.crossings.append(Crossing(now, source, to, _CARRIED[transport], texts, kept, "" if kept else fate))


def words(message: Message) -> str:
    """A message for people: its kind, and what it says."""
    match message:
        case Alive(member=member):
            return f"Alive {member.name} incarnation {member.incarnation}"
        case Ack(seq=seq):
            return f"Ack {seq}"  # its payload is a coordinate
        case PushPull(join=join, members=members, state=state):
            more = f", clock {state.ltime}" if isinstance(state, SerfPushPull) else ""
            return f"PushPull {len(members)} members{' to join' if join else ''}{more}"
        case User(body=body):
            return _plain(body)
        case _:
            return _plain(message)


def _plain(message: object) -> str:
    """Its kind and the fields that hold anything; all messages are dataclasses."""
    found = [type(message).__name__]
    for key in getattr(message, "__dataclass_fields__", ()):
        value = getattr(message, key)
        if key in _QUIET or (not value and not isinstance(value, int)) or value is False:
            continue
        match value:
            case True:
                found.append(key)
            case bytes():
                found.append(f"{key} of {len(value)} bytes")
            case str() if key in ("node", "name"):
                found.append(value)
            case int() if key == "seq":
                found.append(str(value))
            case int() | str() | Address():
                found.append(f"{key} {value}")
            case _:
                found.append(f"{key} {type(value).__name__}")
    return " ".join(found)
