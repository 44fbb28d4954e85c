"""Insight that plays any situation: the ring is real, views and opinions are made up."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import trio

from moot.gossip.serf.members import SerfMember
from moot.http.backend import BackendError
from moot.http.event_ring import EventRing, Kind, MemberFacts
from moot.http.insight import MemberView, Opinions, Reach, RoundTrip, Versions

RUN = "0badcafe"


@dataclass
class ScriptedInsight:
    """What an agent knows, as the test says. `looked` counts rows that were made."""

    events: EventRing = field(default_factory=lambda: EventRing(RUN))
    table_version: int = 0
    contact_version: int = 0
    health_score: int = 0
    looked: int = 0
    rounds: list[Mapping[str, str]] = field(default_factory=list)
    """What is answered when others are asked, one after the other; the last one stays."""
    asked: list[str] = field(default_factory=list)
    observers: tuple[str, ...] = ("s1.global", "s2.global")
    refusal: str = ""

    def clocks(self) -> tuple[int, int, int]:
        return 7, 8, 9

    def looking(self) -> Callable[[SerfMember], MemberView]:
        def look(member: SerfMember) -> MemberView:
            self.looked += 1
            return MemberView(
                name=member.name,
                address=str(member.address),
                status=member.status.value,
                incarnation=member.record.incarnation,
                ltime=member.ltime,
                suspicion=None,
                change=None,
                udp=Reach("unknown"),
                tcp=Reach("unknown"),
                rtt=RoundTrip(None, None),
                versions=Versions(*member.versions),
                flaps=0,
            )

        return look

    async def opinions(self, name: str, within: float) -> Opinions:
        await trio.lowlevel.checkpoint()
        if self.refusal:
            raise BackendError(self.refusal)
        self.asked.append(name)
        answers = self.rounds[0] if self.rounds else {}
        if len(self.rounds) > 1:
            del self.rounds[0]
        return Opinions(asked=self.observers, answers=answers)

    def advice(self, cause: str) -> str:
        return "start them first" if "refused" in cause else ""

    def happen(self, kind: Kind, name: str = "s2.global", **more: Any) -> None:
        """Something happened to a member."""
        self.events.member(kind, MemberFacts(name, "127.0.0.2:4648", "alive", 1), **more)
