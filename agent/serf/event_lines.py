"""The pool's events as lines of Serf's log.

Member events, suspicions, failures, refutations, user events and queries are told in Serf's words, with its levels
and modules, because programs look for them. Of everything else `moot.agent.event_log` says what there is to say.
"""

from collections.abc import Callable, Mapping
from typing import Any

import trio

from moot.agent.delivery import Deliverable, kind_and_name
from moot.agent.event_log import EventLog
from moot.agent.serf.journal import Journal
from moot.gossip.config import SerfConfig
from moot.gossip.net.node import Node
from moot.gossip.serf.events import (
    ConflictVoted,
    MemberChange,
    MemberEvent,
    MemberLeaving,
    QueryReceived,
    QueueDeep,
    UserEventReceived,
)
from moot.gossip.serf.members import MemberStatus, SerfMember
from moot.gossip.swim.events import MemberSuspected, NameConflict, ProbeFailed, Refuted, SuspicionExpired


class EventLines:
    """Call it with each event of a node."""

    def __init__(self, journal: Journal, node: Node, config: SerfConfig) -> None:
        self._journal = journal
        self._config = config
        self._failed: set[str] = set()
        """Who failed and has not left: if they leave, they were forced to."""
        self.others = EventLog(journal.logger("serf"), own_name=node.settings.name)
        self._on: Mapping[type, Callable[[Any], None]] = {
            MemberEvent: self._member,
            MemberLeaving: self._leaving,
            MemberSuspected: lambda event: None,  # the line about the failed probe says it, where it was ours
            ProbeFailed: self._probe_failed,
            SuspicionExpired: self._expired,
            Refuted: self._refuted,
            NameConflict: self._conflict,
            ConflictVoted: self._voted,
            UserEventReceived: self._user_event,
            QueryReceived: self._query,
            QueueDeep: self._queue_deep,
        }

    def __call__(self, event: object) -> None:
        self._on.get(type(event), self.others)(event)

    def received(self, event: Deliverable) -> None:
        """An event that handlers and streams get, coalesced."""
        kind, name = kind_and_name(event)
        if kind == "user":
            kind = "user-event"
        self._journal.write("INFO", "agent", f"Received event: {kind}" + (f": {name}" if name else ""))

    def _member(self, event: MemberEvent) -> None:
        member = event.member
        about = f"{member.name} {member.address.host}"
        match event.change:
            case MemberChange.JOIN:
                self._failed.discard(member.name)
                text = f"EventMemberJoin: {about}"
            case MemberChange.FAILED:
                self._failed.add(member.name)
                text = f"EventMemberFailed: {about}"
            case MemberChange.LEAVE:
                forced = " (forced)" if member.name in self._failed else ""
                self._failed.discard(member.name)
                text = f"EventMemberLeave{forced}: {about}"
            case MemberChange.UPDATE:
                text = f"EventMemberUpdate: {member.name}"
            case MemberChange.REAP:
                self._failed.discard(member.name)
                text = (
                    f"EventMemberReap: {member.name}" if self._due(member) else f"EventMemberReap (forced): {about}"
                )
        self._journal.write("INFO", "serf", text)

    def _due(self, member: SerfMember) -> bool:
        """Whether a member that was forgotten had been gone for long enough, so that nobody had to ask for it."""
        config = self._config
        patience = config.reconnect_timeout if member.status is MemberStatus.FAILED else config.tombstone_timeout
        return member.status in (MemberStatus.FAILED, MemberStatus.LEFT) and (
            trio.current_time() - member.gone_at > patience
        )

    def _leaving(self, event: MemberLeaving) -> None:
        kind = "Leave" if event.member.status is MemberStatus.LEAVING else "Join"
        self._journal.write("DEBUG", "serf", f"message{kind}Type: {event.member.name}")

    def _probe_failed(self, event: ProbeFailed) -> None:
        self._journal.write("INFO", "memberlist", f"Suspect {event.member.name} has failed, no acks received")

    def _expired(self, event: SuspicionExpired) -> None:
        text = (
            f"Marking {event.member.name} as failed, suspect timeout reached ({event.confirmed} peer confirmations)"
        )
        self._journal.write("INFO", "memberlist", text)

    def _refuted(self, event: Refuted) -> None:
        self._journal.write("WARN", "memberlist", f"Refuting a suspect message (from: {event.accuser})")

    def _conflict(self, event: NameConflict) -> None:
        held, offered = event.held, event.offered
        text = f"Name conflict for '{held.name}' both {held.address} and {offered.address} are claiming"
        self._journal.write("WARN", "serf", text)

    def _voted(self, event: ConflictVoted) -> None:
        count = f"[{event.matching} / {event.responses}]"
        if event.stays:
            self._journal.write("INFO", "serf", f"majority in name conflict resolution {count}")
        else:
            self._journal.write("WARN", "serf", f"minority in name conflict resolution, quitting {count}")

    def _user_event(self, event: UserEventReceived) -> None:
        self._journal.write("DEBUG", "serf", f"messageUserEventType: {event.event.name}")

    def _query(self, event: QueryReceived) -> None:
        self._journal.write("DEBUG", "serf", f"messageQueryType: {event.query.name}")

    def _queue_deep(self, event: QueueDeep) -> None:
        """As often as Serf says it: each time that it looks."""
        self._journal.write("WARN", "serf", f"{event.queue.capitalize()} queue depth: {event.depth}")
        if event.dropped:
            limit = f"exceeds limit ({self._config.queue_depth_max}), dropping messages!"
            self._journal.write("WARN", "serf", f"{event.queue.capitalize()} queue depth ({event.depth}) {limit}")
