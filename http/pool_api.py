"""`/v1/moot/…` beyond membership: events, queries, keys, tags, coordinates.

Everything here is kept from web pages of other sites, the keys also when they are only read.
"""

import functools
from contextlib import ExitStack

import trio

from moot.gossip.serf.asking import Question
from moot.gossip.serf.coordinate import distance
from moot.gossip.serf.events import QueryAcked
from moot.gossip.serf.messages import Coordinate
from moot.http.acl import Right
from moot.http.backend import Backend
from moot.http.exchange import JSON, LINES, HttpError, Reply, Send, Stream
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
    in_base64,
    payload_of,
    read_body,
    text_of,
)
from moot.http.routes import READ, WRITE, Call, Handler, Role, Route
from moot.http.schema import encode


class PoolApi:
    """The handlers."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def routes(self) -> list[Route]:
        """The table. All of it is about the pool, so that it needs an agent that is in one."""
        change = self.change_keys
        read, write = Right.NODE_READ, Right.AGENT_WRITE
        table: list[tuple[str, frozenset[str], Handler, Right | None]] = [
            ("event", WRITE, self.event, write),
            ("query", WRITE, self.query, write),
            ("keys", READ, self.keys, write),
            ("keys/install", WRITE, functools.partial(change, operation="install"), write),
            ("keys/use", WRITE, functools.partial(change, operation="use"), write),
            ("keys/remove", WRITE, functools.partial(change, operation="remove"), write),
            ("tags", READ | WRITE, self.tags, None),
            ("coordinates", READ, self.coordinates, read),
            ("rtt", READ, self.round_trip, read),
            ("flaps", READ, self.flaps, read),
        ]
        return [
            Route(f"/v1/moot/{path}", methods, handler, Role.SERVER, own_pages_only=True, right=right)
            for path, methods, handler, right in table
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
