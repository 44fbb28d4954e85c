"""Shapes of what goes to and from the pool's endpoints, and how payloads travel in JSON.

A payload is any bytes, so it travels as base64 in `payload`. Where it is UTF-8 it is also given as `text`, and
`text` is taken in place of `payload`.
"""

import binascii
from base64 import b64decode
from typing import TypeVar

import msgspec

from moot.gossip.serf.messages import Coordinate
from moot.http.describe import Name
from moot.http.exchange import HttpError
from moot.http.pool import KeyChange, KeyHolder, KeyListing

T = TypeVar("T", bound=msgspec.Struct)
FAULT_CHARS_MAX = 200
"""How much is told of what is wrong with a body: it may repeat a key of any length."""


class EventRequest(msgspec.Struct, forbid_unknown_fields=True):
    """PUT /v1/moot/event."""

    name: Name
    payload: str = ""
    text: str = ""
    coalesce: bool = False


class EventAnswer(msgspec.Struct):
    """The event was sent."""

    name: str
    size: int
    """Bytes of the payload."""
    coalesce: bool


class QueryRequest(msgspec.Struct, forbid_unknown_fields=True):
    """PUT /v1/moot/query."""

    name: Name
    payload: str = ""
    text: str = ""
    nodes: list[str] = []
    tags: dict[str, str] = {}
    """Tag to an RE2 expression that is searched in its value."""
    ack: bool = True
    relay_factor: int = 0
    timeout: float = 0.0
    """Seconds; 0 is the default."""


class QueryLine(msgspec.Struct, omit_defaults=True, tag_field="type"):
    """One line of the answer to a query."""


class Asked(QueryLine, tag="asked", omit_defaults=False):
    """The first line. `timeout` is how many seconds answers are waited for."""

    id: int
    ltime: int
    timeout: float


class Acked(QueryLine, tag="ack", rename={"sender": "from"}):
    """A member confirms that the query reached it."""

    sender: str


class Responded(QueryLine, tag="response", rename={"sender": "from"}):
    """A member answers."""

    sender: str
    payload: str
    text: str | None = None
    """Left out when the payload is no UTF-8."""


class Done(QueryLine, tag="done", omit_defaults=False):
    """The last line: the time is up."""

    acks: int
    responses: int


class Broken(QueryLine, tag="error"):
    """The last line when the agent stops before the time is up."""

    error: str


class HolderAnswer(msgspec.Struct):
    """A member and its keys, by id."""

    name: str
    status: str
    state: str
    keys: list[str]
    primary: str
    text: str
    locked_out: bool

    @classmethod
    def of(cls, holder: KeyHolder) -> "HolderAnswer":
        return cls(
            name=holder.name,
            status=holder.status,
            state=holder.state,
            keys=list(holder.keys),
            primary=holder.primary,
            text=holder.text,
            locked_out=holder.locked_out,
        )


class KeyAnswer(msgspec.Struct, omit_defaults=True):
    """One key and who has it. `unknown` are those of whom nobody can tell."""

    id: str
    holders: list[str]
    lacking: list[str]
    unknown: list[str]
    primary_of: list[str]
    key: str = ""
    """Base64, only for who asks with `show`."""


class KeysAnswer(msgspec.Struct):
    """GET /v1/moot/keys."""

    asked: int
    keys: list[KeyAnswer]
    members: list[HolderAnswer]

    @classmethod
    def of(cls, listing: KeyListing, *, show: bool) -> "KeysAnswer":
        holders = listing.holders
        keys = []
        for key, text in listing.keys.items():
            having = [it.name for it in holders if key in it.keys]
            lacking = [it.name for it in holders if it.lacks(key)]
            keys.append(
                KeyAnswer(
                    id=key,
                    holders=having,
                    lacking=lacking,
                    unknown=[it.name for it in holders if it.name not in having and it.name not in lacking],
                    primary_of=[it.name for it in holders if it.primary == key],
                    key=text if show else "",
                )
            )
        return cls(listing.asked, keys, [HolderAnswer.of(it) for it in holders])


class KeyRequest(msgspec.Struct, forbid_unknown_fields=True):
    """PUT /v1/moot/keys/{install,use,remove}."""

    key: str
    """Base64, or the id of a key that is installed."""
    force: bool = False


class KeyChangeAnswer(msgspec.Struct):
    """What became of a key operation."""

    operation: str
    id: str
    asked: int
    done: list[str]
    failed: dict[str, str]
    silent: list[str]
    unreachable: list[str]

    @classmethod
    def of(cls, change: KeyChange) -> "KeyChangeAnswer":
        return cls(
            operation=change.operation,
            id=change.id,
            asked=change.asked,
            done=list(change.done),
            failed=dict(change.failed),
            silent=list(change.silent),
            unreachable=list(change.unreachable),
        )


class BlockerAnswer(msgspec.Struct):
    """A member on whose account a key operation is refused."""

    name: str
    status: str
    reason: str


class RefusalAnswer(msgspec.Struct):
    """Status 409: nothing was done, because it would cut these members off."""

    error: str
    blockers: list[BlockerAnswer]
    hints: list[str]


class TagsRequest(msgspec.Struct, forbid_unknown_fields=True):
    """PUT /v1/moot/tags."""

    set: dict[str, str] = {}
    delete: list[str] = []


class TagsAnswer(msgspec.Struct):
    """The agent's own tags as announced."""

    name: str
    tags: dict[str, str]


class CoordinateAnswer(msgspec.Struct):
    """A network coordinate; all values are seconds."""

    vec: list[float]
    error: float
    adjustment: float
    height: float

    @classmethod
    def of(cls, coordinate: Coordinate) -> "CoordinateAnswer":
        return cls(list(coordinate.vec), coordinate.error, coordinate.adjustment, coordinate.height)


class CoordinatesAnswer(msgspec.Struct):
    """GET /v1/moot/coordinates: of every member that has been heard of by a probe."""

    name: str
    coordinates: dict[str, CoordinateAnswer]


class RoundTripAnswer(msgspec.Struct, rename={"start": "from", "end": "to"}):
    """GET /v1/moot/rtt."""

    start: str
    end: str
    seconds: float


class FlapsAnswer(msgspec.Struct):
    """GET /v1/moot/flaps: of members that flapped at all."""

    flaps: dict[str, int]


def read_body(body: bytes, shape: type[T]) -> T:
    """A request's JSON object. Raises HttpError 400, whose text names the fault but repeats no value."""
    try:
        found = msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        keys = ", ".join(field.encode_name for field in msgspec.structs.fields(shape))
        raise HttpError(400, f"the body must be a JSON object with {keys}: {str(error)[:FAULT_CHARS_MAX]}") from None
    return found


def payload_of(request: EventRequest | QueryRequest) -> bytes:
    """The payload in either form. Raises HttpError 400."""
    if request.payload and request.text:
        raise HttpError(400, "give either payload (base64) or text, not both")
    if request.text:
        return request.text.encode()
    try:
        return b64decode(request.payload, validate=True)
    except (binascii.Error, ValueError):
        raise HttpError(400, "payload must be base64; what is text can be given as text instead") from None
