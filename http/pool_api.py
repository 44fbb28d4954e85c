"""`/v1/moot/…` beyond membership: events, queries, keys, tags, coordinates.

Everything here is kept from web pages of other sites, the keys also when they are only read.
"""

import functools
from contextlib import ExitStack
from typing import Final

import trio

from moot.gossip.serf.asking import Question
from moot.gossip.serf.coordinate import distance
from moot.gossip.serf.events import QueryAcked
from moot.gossip.serf.messages import Coordinate
from moot.http.acl import Right
from moot.http.backend import Backend
from moot.http.describe import BAD_BODY, Answer, Body, Doc, Failure, Name, Parameter
from moot.http.exchange import JSON, LINES, HttpError, Reply, Send, Stream
from moot.http.payloads import in_base64, text_of
from moot.http.pool import Answers, KeyOperation, KeysRefused
from moot.http.pool_schema import (
    Acked,
    Asked,
    BlockerAnswer,
    Broken,
    CoordinateAnswer,
    CoordinatesAnswer,
    Done,
    EventAnswer,
    EventRequest,
    FlapsAnswer,
    KeyChangeAnswer,
    KeyRequest,
    KeysAnswer,
    QueryLine,
    QueryRequest,
    RefusalAnswer,
    Responded,
    RoundTripAnswer,
    TagsAnswer,
    TagsRequest,
    payload_of,
    read_body,
)
from moot.http.routes import READ, WRITE, Call, Handler, Role, Route
from moot.http.schema import encode

NO_PAYLOAD: Final = (
    Failure(400, "give either payload (base64) or text, not both"),
    Failure(400, "payload must be base64; what is text can be given as text instead"),
)
EVENT: Final = Doc(
    "Send a user event to the pool.",
    body=Body(shape=EventRequest, example={"name": "deploy", "text": "v7"}),
    answers=(Answer(EventAnswer, "It is on its way."),),
    failures=(
        BAD_BODY,
        *NO_PAYLOAD,
        Failure(400, "… exceeds configured limit of … bytes …; send less, or where to find the rest"),
    ),
)
QUERY: Final = Doc(
    "Ask the pool.",
    "The answer begins with a line of type `asked`, has one of type `ack` or `response` for every reply as it"
    " comes, and ends"
    " with `done` when the time is up, or `error` when the agent stops before.",
    body=Body(shape=QueryRequest, example={"name": "uptime", "timeout": 1}),
    answers=(Answer(Asked | Acked | Responded | Done | Broken, "A line of JSON for every reply.", 200, LINES, True),),
    failures=(
        BAD_BODY,
        *NO_PAYLOAD,
        Failure(400, "a query can have at most … filters"),
        Failure(400, "tag …: no regular expression: …"),
        Failure(400, "Queries cannot contain the '_serf_' prefix"),
        Failure(400, "… queries are open already; wait until some of them are over"),
        Failure(400, "relay factor must be from 0 to 255"),
        Failure(400, "query timeout must be from 0 to 24 hours"),
        Failure(400, "query exceeds limit of … bytes; send less, or where to find the rest"),
    ),
)
NO_KEYS: Final = (
    Failure(400, "this pool is not encrypted, so it has no keys…"),
    Failure(500, "the node has stopped", "the agent is going"),
)
KEYS: Final = Doc(
    "Tell who holds which key.",
    "Keys go by their id, eight hexadecimal digits of their SHA-256. Who is alive and says nothing is asked again.",
    parameters=(Parameter("show", "In any form but `show=0`: with the keys themselves."),),
    answers=(Answer(KeysAnswer, "Keys and members."),),
    failures=NO_KEYS,
)
REFUSED: Final = Answer(RefusalAnswer, "Nothing was done: members that have not left could be cut off.", 409)


def _change(summary: str, text: str, *more: Answer, key: str = "HS5lJ+XuTlYKWaeGYyG+/A==") -> Doc:
    return Doc(
        summary,
        text,
        body=Body(shape=KeyRequest, example={"key": key}),
        answers=(Answer(KeyChangeAnswer, "Who did it, who did not, who said nothing."), *more),
        failures=(
            BAD_BODY,
            *NO_KEYS,
            Failure(400, "nobody holds a key with the id …; `moot keys list` shows those that are held"),
            Failure(400, "…; a key that is installed can be given by its id, 8 of 0-9 and a-f", "it is no key"),
        ),
    )


UNLESS_FORCED: Final = (
    "Refused when a member that has not left could be cut off, failed and silent ones included; `force` goes on."
)
INSTALL: Final = _change(
    "Give all members a key.", "They take it to open what they hear, and go on sealing with the primary one."
)
USE: Final = _change("Make a key the primary one.", UNLESS_FORCED, REFUSED)
REMOVE: Final = _change("Take a key from all members.", UNLESS_FORCED, REFUSED, key="cGVlbGVkIG9yYW5nZXMhIQ==")
TAGS: Final = (
    Doc(
        "Show the agent's own tags.",
        methods=READ,
        right=Right.NODE_READ,
        answers=(Answer(TagsAnswer, "All of them."),),
    ),
    Doc(
        "Change the agent's own tags.",
        methods=WRITE,
        right=Right.AGENT_WRITE,
        body=Body(shape=TagsRequest, example={"set": {"rack": "r1"}}),
        answers=(Answer(TagsAnswer, "All of them, after the change."),),
        failures=(
            BAD_BODY,
            Failure(400, "the tag … is the agent's own in a nomad pool; take another name"),
            Failure(400, "…", "they are too large"),
            Failure(500, "Serf can't change tags after Leave or Shutdown"),
        ),
    ),
)
COORDINATES: Final = Doc(
    "Show the network coordinates of all members.",
    answers=(Answer(CoordinatesAnswer, "Of those that have one."),),
)
ROUND_TRIP: Final = Doc(
    "Estimate the round trip between two members.",
    parameters=(
        Parameter("from", "The name of a member.", Name, required=True, example="moot-1.global"),
        Parameter("to", "The name of another; this agent unless given."),
    ),
    answers=(Answer(RoundTripAnswer, "Seconds."),),
    failures=(
        Failure(400, "missing from, the name of a member"),
        Failure(404, "no member is called …"),
        Failure(404, "no coordinate of … is known yet; it comes with a probe of it that is answered"),
    ),
)
FLAPS: Final = Doc(
    "Show who flaps.",
    "Members that came back soon after they had failed, and how often.",
    answers=(Answer(FlapsAnswer, "Those that did at all."),),
)


class PoolApi:
    """The handlers."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def routes(self) -> list[Route]:
        """The table. All of it is about the pool, so that it needs an agent that is in one."""
        change = self.change_keys
        read, write = Right.NODE_READ, Right.AGENT_WRITE
        table: list[tuple[str, frozenset[str], Handler, Right | None, *tuple[Doc, ...]]] = [
            ("event", WRITE, self.event, write, EVENT),
            ("query", WRITE, self.query, write, QUERY),
            ("keys", READ, self.keys, write, KEYS),
            ("keys/install", WRITE, functools.partial(change, operation="install"), write, INSTALL),
            ("keys/use", WRITE, functools.partial(change, operation="use"), write, USE),
            ("keys/remove", WRITE, functools.partial(change, operation="remove"), write, REMOVE),
            ("tags", READ | WRITE, self.tags, None, *TAGS),
            ("coordinates", READ, self.coordinates, read, COORDINATES),
            ("rtt", READ, self.round_trip, read, ROUND_TRIP),
            ("flaps", READ, self.flaps, read, FLAPS),
        ]
        return [
            Route(f"/v1/moot/{path}", methods, handler, Role.SERVER, own_pages_only=True, right=right, docs=docs)
            for path, methods, handler, right, *docs in table
        ]

    async def event(self, call: Call) -> Reply:
        """Send a user event; answers once it is on its way."""
        wish = read_body(call.request.body, EventRequest)
        payload = payload_of(wish)
        self._backend.operations.user_event(wish.name, payload, coalesce=wish.coalesce)
        return call.json(EventAnswer(name=wish.name, size=len(payload), coalesce=wish.coalesce))

    async def query(self, call: Call) -> Reply:
        """Ask the pool; every reply is a line of the answer as it comes, `done` the last one."""
        wish = read_body(call.request.body, QueryRequest)
        question = Question(
            name=wish.name,
            payload=payload_of(wish),
            nodes=wish.nodes,
            tags=wish.tags,
            ack=wish.ack,
            relay_factor=wish.relay_factor,
            timeout=wish.timeout,
        )
        with ExitStack() as stack:
            answers = stack.enter_context(self._backend.operations.query(question))
            write = functools.partial(write_answers, answers)
            return Reply.streamed(Stream(write, stack.pop_all().close), LINES)

    async def keys(self, call: Call) -> Reply:
        """Who holds which key; the keys themselves only with `show`."""
        listing = await self._backend.operations.list_keys()
        return call.json(KeysAnswer.of(listing, show=call.has_flag("show")))

    async def change_keys(self, call: Call, operation: KeyOperation) -> Reply:
        """Install, use or remove a key everywhere; 409 when that would cut members off."""
        wish = read_body(call.request.body, KeyRequest)
        try:
            change = await self._backend.operations.change_keys(operation, wish.key, force=wish.force)
        except KeysRefused as refusal:
            blockers = [BlockerAnswer(it.name, it.status, it.reason) for it in refusal.blockers]
            answer = RefusalAnswer(error=str(refusal), blockers=blockers, hints=list(refusal.hints))
            return Reply(encode(answer, pretty=call.pretty), JSON, 409)
        return call.json(KeyChangeAnswer.of(change))

    async def tags(self, call: Call) -> Reply:
        """The agent's own tags; PUT changes some of them and answers with all."""
        operations = self._backend.operations
        if call.request.method == "GET":
            call.require(Right.NODE_READ)
            tags = operations.tags()
        else:
            call.require(Right.AGENT_WRITE)
            wish = read_body(call.request.body, TagsRequest)
            tags = await operations.change_tags(wish.set, wish.delete)
        return call.json(TagsAnswer(name=self._backend.identity.gossip_name, tags=dict(tags)))

    async def coordinates(self, call: Call) -> Reply:
        """The network coordinates of all members that have one."""
        backend = self._backend
        found = ((it.name, backend.operations.coordinate(it.name)) for it in backend.members())
        known = {name: CoordinateAnswer.of(it) for name, it in found if it is not None}
        return call.json(CoordinatesAnswer(name=backend.identity.gossip_name, coordinates=known))

    async def round_trip(self, call: Call) -> Reply:
        """The estimated round trip time between two members; `to` is this agent unless given."""
        start, end = call.query.first("from"), call.query.first("to") or self._backend.identity.gossip_name
        if not start:
            raise HttpError(400, "missing from, the name of a member")
        seconds = distance(self._coordinate(start), self._coordinate(end))
        return call.json(RoundTripAnswer(start=start, end=end, seconds=seconds))

    def _coordinate(self, name: str) -> Coordinate:
        """Raises HttpError 404."""
        found = self._backend.operations.coordinate(name)
        if found is not None:
            return found
        if all(member.name != name for member in self._backend.members()):
            raise HttpError(404, f"no member is called {name}")
        raise HttpError(404, f"no coordinate of {name} is known yet; it comes with a probe of it that is answered")

    async def flaps(self, call: Call) -> Reply:
        """Who came back soon after it had failed, and how often."""
        backend = self._backend
        counted = {member.name: backend.operations.flaps(member.name) for member in backend.members()}
        return call.json(FlapsAnswer({name: number for name, number in counted.items() if number}))


async def write_answers(answers: Answers, send: Send) -> None:
    """Every reply to a query as a line of JSON."""

    async def line(shape: QueryLine) -> None:
        await send(encode(shape) + b"\n")

    query = answers.query
    await line(Asked(id=query.id, ltime=query.ltime, timeout=query.timeout_ns / 1e9))
    acks = responses = 0
    async for answer in answers:
        if isinstance(answer, QueryAcked):
            acks += 1
            await line(Acked(answer.sender))
        else:
            responses += 1
            await line(Responded(answer.sender, in_base64(answer.payload), text_of(answer.payload)))
    if trio.current_time() < answers.deadline:
        await line(Broken("the agent stopped before the time was up"))
    else:
        await line(Done(acks=acks, responses=responses))
