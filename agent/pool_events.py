"""PoolEvents: what the node tells, as events for people, and what happened to each member last."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from moot.gossip.net.node import Node
from moot.gossip.serf.events import MemberChange, MemberEvent, MemberLeaving, QueryReceived, UserEventReceived
from moot.gossip.serf.members import MemberStatus, SerfMember
from moot.gossip.swim.events import MemberSuspected, NameConflict, Refuted, SuspicionLifted
from moot.gossip.swim.member import Member
from moot.http.event_ring import EventRing, Kind, MemberFacts, stamp
from moot.http.insight import ChangeView

_KINDS: Final[Mapping[MemberChange, Kind]] = {
    MemberChange.JOIN: "joined",
    MemberChange.LEAVE: "left",
    MemberChange.FAILED: "failed",
    MemberChange.UPDATE: "updated",
}


class PoolEvents:
    """Hears every event of a node, at once, so that none is lost; see `Node.listen`.

    `changes` has an entry per member that is listed and to which anything happened.
    """

    def __init__(self, node: Node, ring: EventRing, clock: Callable[[], float]) -> None:
        self.ring = ring
        self.changes: dict[str, ChangeView] = {}
        self._node = node
        self._clock = clock
        self._flaps: dict[str, int] = {}
        self._on: Mapping[type, Callable[[Any], None]] = {
            MemberEvent: self._member,
            MemberLeaving: self._leaving,
            MemberSuspected: self._suspected,
            SuspicionLifted: self._lifted,
            Refuted: self._refuted,
            NameConflict: self._conflict,
            UserEventReceived: self._user_event,
            QueryReceived: self._query,
        }

    def __call__(self, event: object) -> None:
        """Take an event; unknown kinds are nothing for people."""
        take = self._on.get(type(event))
        if take is not None:
            take(event)

    def _member(self, event: MemberEvent) -> None:
        member, change = event.member, event.change
        if change is MemberChange.REAP:
            self.changes.pop(member.name, None)
            self._flaps.pop(member.name, None)
            pruned = self._node.serf.was_pruned(member.name)
            self.ring.member("pruned" if pruned else "reaped", facts_of(member))
            return
        tagged = change in (MemberChange.JOIN, MemberChange.UPDATE)
        accuser = event.accuser if change is MemberChange.FAILED else ""
        self._happened(_KINDS[change], facts_of(member, tagged=tagged), accuser)
        flaps = self._node.flaps(member.name)
        if change is MemberChange.JOIN and flaps > self._flaps.get(member.name, 0):
            self._flaps[member.name] = flaps
            self.ring.member("flapped", facts_of(member), flaps=flaps)

    def _leaving(self, event: MemberLeaving) -> None:
        leaving = event.member.status is MemberStatus.LEAVING
        self._happened("leaving" if leaving else "staying", facts_of(event.member))

    def _suspected(self, event: MemberSuspected) -> None:
        self._happened("suspected", self._facts(event.member), event.accuser)

    def _lifted(self, event: SuspicionLifted) -> None:
        self._happened("refuted", self._facts(event.member))

    def _refuted(self, event: Refuted) -> None:
        """Somebody took us for dead; what is told in a push/pull names nobody but ourselves."""
        name = self._node.settings.name
        me = self._node.member(name)
        if me is not None:
            accuser = "" if event.accuser == name else event.accuser
            self._happened("refuted", facts_of(me, incarnation=event.incarnation), accuser)

    def _conflict(self, event: NameConflict) -> None:
        self.ring.member("conflict", self._facts(event.held), other=str(event.offered.address))

    def _user_event(self, received: UserEventReceived) -> None:
        event = received.event
        self.ring.message("user-event", event.name, event.payload, ltime=event.ltime)

    def _query(self, received: QueryReceived) -> None:
        query = received.query
        self.ring.message("query", query.name, query.payload, ltime=query.ltime, sender=query.source_node)

    def _happened(self, kind: Kind, facts: MemberFacts, accuser: str = "") -> None:
        if self._node.member(facts.name) is not None:  # else nothing would take it off again
            self.changes[facts.name] = ChangeView(kind, stamp(self._clock()), accuser)
        self.ring.member(kind, facts, accuser=accuser)

    def _facts(self, record: Member) -> MemberFacts:
        """Of a member as Swim knows it; Serf may list it otherwise, or not at all."""
        held = self._node.member(record.name)
        if held is None:
            return MemberFacts(record.name, str(record.address), MemberStatus.NONE.value, record.incarnation)
        return MemberFacts(record.name, str(record.address), held.status.value, record.incarnation, held.ltime)


def facts_of(member: SerfMember, *, tagged: bool = False, incarnation: int | None = None) -> MemberFacts:
    """A member as Serf lists it."""
    return MemberFacts(
        member.name,
        str(member.address),
        member.status.value,
        member.record.incarnation if incarnation is None else incarnation,
        member.ltime,
        dict(member.tags) if tagged else {},
    )
