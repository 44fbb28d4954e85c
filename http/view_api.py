"""`GET /v1/moot/view`: all that this agent knows of each member, for people who ask why.

A pool of 10,000 makes an answer of megabytes, and probes change it every second. So that nobody who polls it holds
up the failure detector, it is made in slices, by one request at a time, and kept: until a member changes, or, when
only probes went on, for a second.
"""

import time
from operator import attrgetter
from typing import Final

import msgspec
import trio

from moot.http.acl import Right
from moot.http.backend import Backend
from moot.http.describe import Answer, Doc
from moot.http.event_ring import stamp
from moot.http.exchange import JSON, Reply
from moot.http.insight import MemberView
from moot.http.routes import READ, Call, Role, Route
from moot.http.schema import encode

SLICE: Final = 128
"""Members in one go, some milliseconds."""
FRESH: Final = 1.0
"""Seconds for which an answer is kept while no member changes."""
SMALL: Final = SLICE
"""Up to so many members it is made anew for every request."""


class Clocks(msgspec.Struct):
    """Lamport clocks."""

    member: int
    event: int
    query: int


class ViewAnswer(msgspec.Struct):
    """GET /v1/moot/view."""

    name: str
    """Whose view it is."""
    time: str
    """When it was made, in UTC."""
    health_score: int
    """0 is healthy; more means that the agent itself is slow, and takes longer to suspect others."""
    clocks: Clocks
    members: list[MemberView]
    """By name, whatever their status."""


VIEW: Final = Doc(
    "Show all that this agent knows of each member.",
    "Incarnations, Lamport times, suspicions, the last change, whether the agent itself reaches the member over UDP"
    " and over TCP, round trips, versions. Other agents may see it differently, and reach others. Of more than 128"
    " members an answer may be up to a second old while none of them changes.",
    answers=(Answer(ViewAnswer, "The table."),),
)


class ViewApi:
    """The handler, and the answer it keeps."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._turn = trio.Lock()
        self._kept: dict[bool, Reply] = {}
        self._made_of: tuple[int, int] | None = None
        self._contacts = 0
        self._count = 0
        self._made_at = 0.0

    def routes(self) -> list[Route]:
        """The table."""
        right = Right.NODE_READ
        return [Route("/v1/moot/view", READ, self.view, Role.SERVER, own_pages_only=True, right=right, docs=(VIEW,))]

    async def view(self, call: Call) -> Reply:
        """The table, as kept or anew."""
        async with self._turn:
            if not self._holds():
                self._kept.clear()
            kept = self._kept.get(call.pretty)
            if kept is None:
                plain = self._kept.get(False) or await self._make()
                kept = plain
                if call.pretty:
                    body = await trio.to_thread.run_sync(lambda: msgspec.json.format(plain.body, indent=4) + b"\n")
                    kept = Reply(body, JSON)
                self._kept = {**self._kept, False: plain, call.pretty: kept}
            return kept

    def _holds(self) -> bool:
        """Whether what is kept may still be shown."""
        insight = self._backend.operations.insight
        if self._made_of != (self._backend.members_version, insight.table_version):
            return False
        if self._contacts == insight.contact_version:
            return True
        return self._count > SMALL and trio.current_time() - self._made_at < FRESH

    async def _make(self) -> Reply:
        backend = self._backend
        insight = backend.operations.insight
        self._made_of = (backend.members_version, insight.table_version)
        self._contacts, self._made_at = insight.contact_version, trio.current_time()
        members = sorted(backend.members(), key=attrgetter("name"))
        self._count = len(members)
        head = ViewAnswer(
            backend.identity.gossip_name, stamp(time.time()), insight.health_score, Clocks(*insight.clocks()), []
        )
        rows: list[bytes] = []
        for begin in range(0, len(members), SLICE):
            look = insight.looking()
            rows += [encode(look(member)) for member in members[begin : begin + SLICE]]
            await trio.lowlevel.checkpoint()
        empty = encode(head)
        mark = b'"members":[]'
        at = empty.rindex(mark) + len(mark) - 1
        return Reply(empty[:at] + b",".join(rows) + empty[at:], JSON)
