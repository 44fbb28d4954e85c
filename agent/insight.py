"""NodeInsight: what a node knows of its pool beyond the list of members, as the API shows it."""

import secrets
import time
from collections.abc import Callable

import trio

from moot.agent.join_hints import hint
from moot.agent.pool_events import PoolEvents
from moot.gossip.errors import CommandError
from moot.gossip.net.node import Node
from moot.gossip.serf.coordinate import distance
from moot.gossip.serf.members import SerfMember
from moot.gossip.swim.contacts import Contact
from moot.http.backend import BackendError
from moot.http.event_ring import EventRing, stamp
from moot.http.insight import MemberView, Opinions, Reach, RoundTrip, SuspicionView, Versions

Told = Callable[[float], str]
"""An instant of the node's clock as people read it."""


class NodeInsight:
    """Implements `http.insight.Insight`. To be made before the node runs, so that no event is missed."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.events = EventRing(secrets.token_hex(4))
        self._pool_events = PoolEvents(node, self.events, time.time)
        node.listen(self._pool_events)

    @property
    def table_version(self) -> int:
        return self._node.serf.swim.members.version

    @property
    def contact_version(self) -> int:
        return self._node.contacts.version

    def clocks(self) -> tuple[int, int, int]:
        return self._node.serf.clocks

    @property
    def health_score(self) -> int:
        return self._node.serf.swim.health_score

    def looking(self) -> Callable[[SerfMember], MemberView]:
        away = time.time() - trio.current_time()
        own = self._node.coordinate()

        def told(at: float) -> str:
            return stamp(at + away)

        def look(member: SerfMember) -> MemberView:
            name = member.name
            record = self._node.serf.swim.members.get(name) or member.record
            contact = self._node.contacts.packet(name)
            theirs = None if name == self._node.settings.name else self._node.coordinate(name)
            return MemberView(
                name=name,
                address=str(record.address),
                status=member.status.value,
                incarnation=record.incarnation,
                ltime=member.ltime,
                suspicion=self._suspicion(name, told),
                change=self._pool_events.changes.get(name),
                udp=self._reach(name, contact, told),
                tcp=self._reach(name, self._node.contacts.stream(name), told),
                rtt=RoundTrip(
                    measured=contact.rtt if contact is not None else None,
                    estimated=distance(own, theirs) if own is not None and theirs is not None else None,
                ),
                versions=_versions(member),
                flaps=self._node.flaps(name),
            )

        return look

    async def opinions(self, name: str, within: float) -> Opinions:
        try:
            heard = await self._node.opinions(name, within)
        except CommandError as error:
            raise BackendError(str(error)) from error
        answers = {each: "gone" if held is None else held.value for each, held in heard.answers.items()}
        return Opinions(asked=heard.asked, answers=answers)

    def advice(self, cause: str) -> str:
        return hint(cause)

    def _suspicion(self, name: str, told: Told) -> SuspicionView | None:
        held = self._node.serf.swim.suspicion(name)
        if held is None:
            return None
        return SuspicionView(
            accusers=list(held.accusers),
            since=told(held.started),
            until=told(held.due),
            confirmations=held.confirmed,
            confirmations_wanted=held.wanted,
        )

    def _reach(self, name: str, contact: Contact | None, told: Told) -> Reach:
        if name == self._node.settings.name:
            return Reach("self")
        if contact is None:
            return Reach("unknown")
        return Reach(
            "answers" if contact.answered else "silent",
            told(contact.tried_at),
            None if contact.answered_at is None else told(contact.answered_at),
            contact.reason,
        )


def _versions(member: SerfMember) -> Versions:
    low, high, now, delegate_low, delegate_high, delegate_now = member.versions
    return Versions(now, low, high, delegate_now, delegate_low, delegate_high)
