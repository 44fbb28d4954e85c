"""Events of the pool as log lines. Quiet: what happens all the time is debug, and repeats are held back."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import trio

from moot.agent.logs import Log
from moot.gossip.counters import Counters
from moot.gossip.net.feed import EventsLost, SnapshotNote
from moot.gossip.net.streams import StreamRefused
from moot.gossip.serf.events import (
    CommandDone,
    ConflictVoted,
    GivenUp,
    MemberChange,
    MemberEvent,
    MemberLeaving,
    QueryReceived,
    QueueDeep,
    UserEventReceived,
)
from moot.gossip.serf.members import MemberStatus
from moot.gossip.swim.events import (
    MemberSuspected,
    MergeRefused,
    NameConflict,
    ProbeFailed,
    Refuted,
    StreamPingOnly,
    SuspicionLifted,
    SyncFailed,
)

REPEAT_AFTER = 60.0
"""Seconds for which a warning about the same thing is not said again, and between reports of refused packets."""
DIFFERENT_MAX = 32
"""How many warnings of one kind are written in that time; their names come from the network. More are counted."""

_CHANGES = {
    MemberChange.JOIN: "member joined",
    MemberChange.LEAVE: "member left",
    MemberChange.FAILED: "member failed",
    MemberChange.UPDATE: "member updated",
    MemberChange.REAP: "member forgotten",
}


class EventLog:
    """Writes the events of one node. Call it with each; `report_refused` runs as a task.

    `own_name` is the node's name in the pool.
    """

    def __init__(self, log: Log, *, own_name: str) -> None:
        self._log = log
        self._own_name = own_name
        self._said: dict[str, dict[str, float]] = {}
        """By kind of warning, what it was about and when it was written, oldest first."""
        self._held_back: Counter[str] = Counter()
        self._on: Mapping[type, Callable[[Any], None]] = {
            MemberEvent: self._member,
            MemberLeaving: self._leaving,
            MemberSuspected: self._suspected,
            SuspicionLifted: self._lifted,
            Refuted: self._refuted,
            ProbeFailed: self._probe_failed,
            StreamPingOnly: self._stream_only,
            NameConflict: self._conflict,
            MergeRefused: self._merge_refused,
            SyncFailed: self._sync_failed,
            StreamRefused: self._stream_refused,
            CommandDone: self._command_done,
            UserEventReceived: self._user_event,
            QueryReceived: self._query,
            QueueDeep: self._queue_deep,
            EventsLost: self._lost,
            SnapshotNote: self._snapshot,
            GivenUp: self._given_up,
            ConflictVoted: self._conflict_voted,
        }

    def __call__(self, event: object) -> None:
        """Write what there is to say about an event; unknown kinds are silent."""
        write = self._on.get(type(event))
        if write is not None:
            write(event)

    async def report_refused(self, counters: Counters) -> None:
        """Once in a while, tell how much was refused since, and how many warnings held back. Runs until cancelled."""
        before: Counter[str] = Counter()
        while True:
            await trio.sleep(REPEAT_AFTER)
            now = counters.refused.copy()
            fresh = now - before
            before = now
            if fresh:
                self._log.warn("refused what peers sent", count=fresh.total(), kinds=_listed(fresh))
            if self._held_back:
                self._log.warn("more warnings than are written", kinds=_listed(self._held_back))
                self._held_back.clear()

    def _rarely(self, what: str, about: str) -> bool:
        """Whether to say this: not again too soon, and not when too much of the kind was said."""
        now = trio.current_time()
        said = self._said.setdefault(what, {})
        while said and now - (oldest := next(iter(said.items())))[1] >= REPEAT_AFTER:
            del said[oldest[0]]
        if about in said:
            return False
        if len(said) >= DIFFERENT_MAX:
            self._held_back[what] += 1
            return False
        said[about] = now
        return True

    def _member(self, event: MemberEvent) -> None:
        self._log.info(_CHANGES[event.change], name=event.member.name, address=event.member.address)

    def _leaving(self, event: MemberLeaving) -> None:
        leaving = event.member.status is MemberStatus.LEAVING
        self._log.debug("member is leaving" if leaving else "member stays after all", name=event.member.name)

    def _suspected(self, event: MemberSuspected) -> None:
        self._log.debug("member is suspected", name=event.member.name, accuser=event.accuser)

    def _lifted(self, event: SuspicionLifted) -> None:
        self._log.debug("suspicion is lifted", name=event.member.name)

    def _refuted(self, event: Refuted) -> None:
        if not self._rarely("refuted", event.accuser):
            return
        if event.accuser == self._own_name:
            # what is told in a push/pull, and an old claim of our own, name no accuser
            self._log.warn("heard by hearsay that we are dead or different, refuted", incarnation=event.incarnation)
        else:
            self._log.warn("a member took us for dead, refuted", accuser=event.accuser, incarnation=event.incarnation)

    def _probe_failed(self, event: ProbeFailed) -> None:
        self._log.debug("no answer to a probe", name=event.member.name, address=event.member.address)

    def _stream_only(self, event: StreamPingOnly) -> None:
        if self._rarely("stream only", event.member.name):
            self._log.warn(
                "member answers over TCP but not over UDP; is UDP blocked?",
                name=event.member.name,
                address=event.member.address,
            )

    def _conflict(self, event: NameConflict) -> None:
        if self._rarely("conflict", event.held.name):
            self._log.error(
                "two members have the same name; the first is kept",
                name=event.held.name,
                kept=event.held.address,
                refused=event.offered.address,
            )

    def _merge_refused(self, event: MergeRefused) -> None:
        if self._rarely("merge", event.reason):
            self._log.warn("refused to merge with a pool", peer=event.peer, reason=event.reason)

    def _sync_failed(self, event: SyncFailed) -> None:
        if self._rarely("sync", str(event.peer)):
            self._log.warn("could not exchange state", peer=event.peer, reason=event.reason)

    def _stream_refused(self, event: StreamRefused) -> None:
        self._log.warn("refused a stream: label or key differ from ours", peer=event.peer, reason=event.reason)

    def _command_done(self, event: CommandDone) -> None:
        if event.error is not None:
            self._log.warn("command failed", reason=event.error)

    def _user_event(self, event: UserEventReceived) -> None:
        self._log.debug("user event", name=event.event.name, ltime=event.event.ltime)

    def _query(self, event: QueryReceived) -> None:
        self._log.debug("query", name=event.query.name, ltime=event.query.ltime, sender=event.query.source_node)

    def _snapshot(self, event: SnapshotNote) -> None:
        self._log.warn(event.text)

    def _given_up(self, event: GivenUp) -> None:
        self._log.info("member of the snapshot not seen again, no longer looked for", name=event.name)

    def _conflict_voted(self, event: ConflictVoted) -> None:
        votes = {"matching": event.matching, "responses": event.responses}
        if event.stays:
            self._log.warn("another member has our name; the pool means us", **votes)
        else:
            self._log.error("another member has our name, and the pool means it; ending", **votes)

    def _queue_deep(self, event: QueueDeep) -> None:
        if self._rarely("queue", event.queue):
            dropped = {"dropped": event.dropped} if event.dropped else {}
            self._log.warn("much waits to be gossiped", queue=event.queue, depth=event.depth, **dropped)

    def _lost(self, event: EventsLost) -> None:
        self._log.warn("too many events at once, some are not in this log", count=event.count)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{kind} {number}" for kind, number in counts.most_common())
