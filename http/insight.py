"""Insight: what an agent knows of its pool beyond the list of members. The agent implements it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import msgspec

from moot.gossip.serf.members import SerfMember
from moot.http.event_ring import EventRing

ReachState = Literal["answers", "silent", "unknown", "self"]


class Reach(msgspec.Struct):
    """How this agent itself reaches a member by one transport."""

    state: ReachState
    """Whether the last attempt was answered; `unknown` when there was none yet, `self` for the agent's own row."""
    tried: str | None = None
    """When the last attempt ended."""
    answered: str | None = None
    """When one was answered last."""
    reason: str = ""
    """Why the last attempt came to nothing, where that is known."""


class SuspicionView(msgspec.Struct):
    """A member did not answer somebody, and has not contradicted yet."""

    accusers: list[str]
    """Who said so, the first one first. Not more than count."""
    since: str
    until: str
    """When it is declared dead unless it contradicts; sooner when more members accuse it."""
    confirmations: int
    """How many accused it beyond the first."""
    confirmations_wanted: int
    """With so many the time is shortest."""


class ChangeView(msgspec.Struct):
    """What happened to a member last, as this agent saw it."""

    kind: str
    """A kind of event, as in /v1/moot/events."""
    time: str
    accuser: str = ""
    """Who suspected it or declared it dead, where that is known."""


class RoundTrip(msgspec.Struct):
    """Seconds; None where nothing is known."""

    measured: float | None
    """By the last ping that was answered directly."""
    estimated: float | None
    """By network coordinates."""


class Versions(msgspec.Struct):
    """What a member speaks, and what it understands."""

    protocol: int
    protocol_min: int
    protocol_max: int
    delegate: int
    delegate_min: int
    delegate_max: int


class MemberView(msgspec.Struct):
    """One row of the agent's table."""

    name: str
    address: str
    """`ip:port` of its gossip."""
    status: str
    """As in the list of members; a suspected one is still alive."""
    incarnation: int
    """Which only the member itself raises, by contradicting."""
    ltime: int
    """Lamport time of the last intent to join or leave that was applied to it."""
    suspicion: SuspicionView | None
    change: ChangeView | None
    """None for what did not happen in the life of this agent."""
    udp: Reach
    """By pings; one that was answered by way of others does not count."""
    tcp: Reach
    """By push/pulls, and by the TCP pings of probes that were not answered over UDP."""
    rtt: RoundTrip
    versions: Versions
    flaps: int
    """How often it came back soon after it had failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinions:
    """What other members hold of one. `asked` are names; an answer is a status, or `gone` for nothing."""

    asked: Sequence[str]
    answers: Mapping[str, str]


class Insight(Protocol):
    """Asked for only on an agent that is in the pool."""

    @property
    def events(self) -> EventRing:
        """What happened lately."""
        ...

    @property
    def table_version(self) -> int:
        """Changes with every record in the table below the list of members: incarnations, suspicions."""
        ...

    @property
    def contact_version(self) -> int:
        """Changes with every attempt to reach somebody, about once a second."""
        ...

    def clocks(self) -> tuple[int, int, int]:
        """The Lamport clocks of members, events and queries."""
        ...

    @property
    def health_score(self) -> int: ...

    def looking(self) -> Callable[[SerfMember], MemberView]:
        """What makes a row of a member as of now."""
        ...

    async def opinions(self, name: str, within: float) -> Opinions:
        """Ask everybody what they hold of a member; at most so many seconds. Raises BackendError."""
        ...

    def advice(self, cause: str) -> str:
        """What to do about a join that failed for this cause; empty when nothing is known to help."""
        ...
