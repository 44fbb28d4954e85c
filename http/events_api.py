"""`GET /v1/moot/events`: what happens in the pool as it happens, as Server-Sent Events.

A stream has no buffer of its own: it is a position in the agent's ring (`event_ring`), read as fast as the client
reads. Between events, and when all of them were filtered out, a comment comes now and then, with the id that
the client may resume from.
"""

import functools
import re
import time
from dataclasses import dataclass
from typing import Annotated, Final, Literal, get_args

import msgspec
import trio

from moot.http.acl import Right
from moot.http.backend import Backend
from moot.http.describe import Answer, Doc, Failure, Parameter, Truth
from moot.http.durations import Duration, read_duration
from moot.http.event_ring import EventRing, Gap, Kept, Kind, PoolEvent
from moot.http.exchange import HttpError, Reply, Send, Stream
from moot.http.routes import READ, Call, Role, Route, read_bool

EVENT_STREAM: Final = b"text/event-stream"
HEARTBEAT: Final = 10.0
"""Seconds of silence after which a comment says that the agent is still there."""
BATCH: Final = 0.05
"""Seconds for which events are gathered before they are sent together: a large pool tells thousands at once."""
AT_ONCE: Final = 64
"""Most events that are looked at in one go."""
SEND_BYTES: Final = 16 * 1024
"""After so much a client is given what was gathered: each such piece has the server's write timeout."""
RETRY_MS: Final = 2000
"""After how many milliseconds a browser connects again."""
FILTERS_MAX: Final = 256
"""Most members that one stream may ask for."""
KINDS: Final = get_args(Kind)
START: Final = "start"
ID_PATTERN: Final = r"[0-9a-f]{1,32}\.[0-9]{1,15}"

EVENTS: Final = Doc(
    "Follow what happens in the pool.",
    "Server-Sent Events without end, until the client hangs up: each has an `id` and a line of JSON as `data`, and"
    " no `event`, so that a browser's `onmessage` gets them all. Comments come while nothing happens. Who comes back"
    " with the last id it has seen misses nothing of the last 4,096 events (or 4 MiB); what it does miss, or reads"
    " too slowly for, is told by an event of the kind `gap`.",
    parameters=(
        Parameter("kind", f"Only these: {', '.join(KINDS)}. Repeatable; a comma between several will do.", list[str]),
        Parameter("member", "Only what is about these members, by full name. Repeatable.", list[str]),
        Parameter(
            "after",
            "The id of the last event seen, or `start` for all that is kept. Without it, only what is new.",
            Annotated[str, msgspec.Meta(pattern=rf"^({START}|{ID_PATTERN})?$")],
        ),
        Parameter("since", "Begin with what happened within this time, such as 5m.", Duration),
        Parameter("follow", "false ends the answer with the newest event.", Literal["", Truth]),
        Parameter("Last-Event-ID", "As `after`, which it precedes; browsers send it.", str, place="header"),
    ),
    answers=(
        Answer(PoolEvent, "What happened,", content_type=EVENT_STREAM, streamed=True),
        Answer(Gap, "or that events are missing.", content_type=EVENT_STREAM, streamed=True),
    ),
    failures=(
        Failure(400, "there is no kind …; the kinds are …"),
        Failure(400, "more than … members"),
        Failure(400, "after must be the id of an event, or start"),
        Failure(400, "since must be a duration such as 5m"),
        Failure(400, "give either after or since, not both"),
        Failure(400, "follow must be true or false"),
    ),
)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request asks for. Empty sets are no filter."""

    kinds: frozenset[str]
    members: frozenset[str]
    follow: bool

    def wants(self, event: Kept) -> bool:
        return (not self.kinds or event.kind in self.kinds) and (not self.members or event.member in self.members)


class EventsApi:
    """The handler."""

    def __init__(self, backend: Backend, *, heartbeat: float = HEARTBEAT) -> None:
        self._backend = backend
        self._heartbeat = heartbeat

    def routes(self) -> list[Route]:
        """The table."""
        right = Right.NODE_READ
        return [
            Route("/v1/moot/events", READ, self.events, Role.SERVER, own_pages_only=True, right=right, docs=(EVENTS,))
        ]

    async def events(self, call: Call) -> Reply:
        """Follow the ring from where the client wants to."""
        wish = read_wish(call)
        ring = self._backend.operations.insight.events
        begin = read_position(call, ring)
        write = functools.partial(write_events, ring, begin, wish, self._heartbeat)
        return Reply.streamed(Stream(write, _nothing), EVENT_STREAM)


def _nothing() -> None:
    """A stream holds nothing that would have to be freed."""


def read_wish(call: Call) -> Wish:
    """Raises HttpError 400."""
    query = call.query
    kinds = frozenset(kind for given in query.all("kind") for kind in given.split(",") if kind)
    unknown = sorted(kinds.difference(KINDS))
    if unknown:
        raise HttpError(400, f"there is no kind {unknown[0]}; the kinds are {', '.join(KINDS)}")
    members = frozenset(filter(None, query.all("member")))
    if len(members) > FILTERS_MAX:
        raise HttpError(400, f"more than {FILTERS_MAX} members")
    text = query.first("follow")
    follow = read_bool(text) if text else True
    if follow is None:
        raise HttpError(400, "follow must be true or false")
    return Wish(kinds, members, follow)


@dataclass(frozen=True, slots=True)
class Begin:
    """From where a reader goes on: after that number, having missed something if `gap`."""

    number: int
    restarted: bool = False


def read_position(call: Call, ring: EventRing) -> Begin:
    """Where to begin; with what is new unless the client says otherwise. Raises HttpError 400.

    A header that is no id of ours comes from a browser that was connected to something else: that is a gap.
    """
    after, since = call.query.first("after"), call.query.first("since")
    if after and since:
        raise HttpError(400, "give either after or since, not both")
    if after not in ("", START) and not re.fullmatch(ID_PATTERN, after):
        raise HttpError(400, "after must be the id of an event, or start")
    header = call.request.header(b"last-event-id")
    if header:
        return _resumed(header, ring)
    if since:
        seconds = read_duration(since)
        if seconds is None:
            raise HttpError(400, "since must be a duration such as 5m")
        return Begin(ring.since(time.time() - seconds))
    if after == START:
        return Begin(0)
    return _resumed(after, ring) if after else Begin(ring.last)


def _resumed(text: str, ring: EventRing) -> Begin:
    run, _, number = text.partition(".")
    if run == ring.run and re.fullmatch(ID_PATTERN, text) and int(number) <= ring.last:
        return Begin(int(number))
    return Begin(0, restarted=True)


async def write_events(ring: EventRing, begin: Begin, wish: Wish, heartbeat: float, send: Send) -> None:
    """Everything from there on that is asked for, and how much was missed."""
    at = begin.number
    head = b"retry: %d\nid: %b.%d\n\n" % (RETRY_MS, ring.run.encode(), at)
    if begin.restarted:
        # whatever happened before this run is lost, whatever is lost of it so far comes on top
        at = ring.first - 1
        head += block(ring, at, ring.gap(at, "restart", None))
    await send(head)
    told = at
    """Up to where the client knows, by the ids that it was sent."""
    while True:
        if ring.last <= at:
            if not wish.follow:
                return
            with trio.move_on_after(heartbeat) as patience:
                await ring.wait_beyond(at)
            if patience.cancelled_caught:
                await send(heartbeat_of(ring, at if at != told else None))
                told = at
                continue
            await trio.sleep(BATCH)
        out = b""
        if at < ring.first - 1:
            lost, at = ring.first - 1 - at, ring.first - 1
            out += block(ring, at, ring.gap(at, "overrun", lost))
            told = at
        for event in ring.after(at, AT_ONCE):
            at = event.number
            if wish.wants(event):
                out += block(ring, at, event.data)
                told = at
                if len(out) >= SEND_BYTES:
                    break
        if out:
            await send(out)
        else:
            await trio.lowlevel.checkpoint()


def block(ring: EventRing, number: int, data: bytes) -> bytes:
    """One event on the wire."""
    return b"id: %b.%d\ndata: %b\n\n" % (ring.run.encode(), number, data)


def heartbeat_of(ring: EventRing, number: int | None) -> bytes:
    """A comment; with an id, to which the client moves without being shown an event."""
    moved = b"" if number is None else b"id: %b.%d\n" % (ring.run.encode(), number)
    return b": still here\n%b\n" % moved
