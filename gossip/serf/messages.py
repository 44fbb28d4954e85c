"""Serf's messages as data: what travels inside memberlist's user messages and push/pull state."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from moot.gossip.record import Address, message


@message
class LeaveIntent:
    """`node` is about to leave, or an operator says it is gone for good (force-leave)."""

    ltime: int
    node: str
    prune: bool = False


@message
class JoinIntent:
    """`node` joined, or answers a leave intent that was not its own."""

    ltime: int
    node: str


@message
class UserEvent:
    """An application's event. `coalesce` allows receivers to deliver only the newest of a name."""

    ltime: int
    name: str
    payload: bytes = b""
    coalesce: bool = False


@message
class EventSlot:
    """One used slot of the event ring: all (name, payload) with this Lamport time."""

    ltime: int
    events: Sequence[tuple[str, bytes]]


@message
class SerfPushPull:
    """Serf's part of a push/pull.

    `status_ltimes` holds every known member, `left_members` those that left. `events` are the used slots
    of the sender's ring; None stands for an unused slot (a real agent sends all 512).
    """

    ltime: int
    status_ltimes: Mapping[str, int]
    left_members: Sequence[str]
    event_ltime: int
    events: Sequence[EventSlot | None]
    query_ltime: int


@message
class NodeFilter:
    """A query is for these names only."""

    names: Sequence[str]


@message
class TagFilter:
    """A query is for members whose tag matches: an RE2 expression, searched and not anchored."""

    tag: str
    expr: str


Filter: TypeAlias = NodeFilter | TagFilter

QUERY_ACK = 1
QUERY_NO_BROADCAST = 2
RESPONSE_ACK = 1


@message
class Query:
    """A question to all members that pass the filters; answers go by UDP to `source`.

    `filters` are kept encoded, as the wire has them: one that cannot be read means that the query is not
    for us, and must not make the message unreadable. `timeout_ns` is in nanoseconds.
    """

    ltime: int
    id: int
    source: Address
    source_node: str
    filters: Sequence[bytes]
    flags: int
    relay_factor: int
    timeout_ns: int
    name: str
    payload: bytes = b""


@message
class QueryResponse:
    """An answer to a query, or with flag 1 the mere acknowledgement that it arrived."""

    ltime: int
    id: int
    sender: str
    flags: int = 0
    payload: bytes = b""


@message
class ConflictMember:
    """A member as Serf describes it in a conflict vote. `status`: 0 none, 1 alive, 2 leaving, 3 left, 4 failed."""

    name: str
    address: Address
    tags: Mapping[str, str]
    status: int
    versions: bytes


@message
class ConflictResponse:
    """What the responder knows of the name in question; None when it knows nothing."""

    member: ConflictMember | None


@message
class KeyRequest:
    """A key to install, use or remove; empty to list."""

    key: bytes = b""


@message
class KeyResponse:
    """How a key operation went on one member. `keys` and `primary` are base64 text, for list only."""

    result: bool
    text: str = ""
    keys: Sequence[str] = ()
    primary: str = ""


@message
class Relay:
    """Please forward `inner` (a whole encoded Serf message, type byte included) to `destination`, unchanged."""

    destination: Address
    destination_name: str
    inner: bytes


@message
class Coordinate:
    """A Vivaldi network coordinate as it travels in ack payloads; seconds. Eight dimensions in `vec`."""

    vec: Sequence[float]
    error: float
    adjustment: float
    height: float


@message
class Unknown:
    """A Serf message of a type that we do not know. Counted, not passed on."""

    kind: int


SerfMessage: TypeAlias = (
    LeaveIntent
    | JoinIntent
    | SerfPushPull
    | UserEvent
    | Query
    | QueryResponse
    | ConflictResponse
    | KeyRequest
    | KeyResponse
    | Relay
    | Unknown
)
