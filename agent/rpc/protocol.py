"""Every structure of the RPC: requests, answers and records, and Serf's words for what goes wrong. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from moot.agent.rpc.layout import (
    COUNT_MAP,
    FLAG,
    I64,
    OCTETS,
    REAL,
    REALS,
    TEXT,
    TEXT_MAP,
    TEXTS,
    U8,
    U16,
    U64,
    Layout,
    list_of,
    one_of,
    text_map_of,
)
from moot.gossip.pack import Fields, text_of
from moot.gossip.record import Address, message

VERSION: Final = 1
"""The one version of the protocol there is."""

HANDSHAKE_REQUIRED: Final = "Handshake required"
HANDSHAKE_DONE: Final = "Handshake already performed"
UNSUPPORTED_VERSION: Final = "Unsupported IPC version"
AUTH_REQUIRED: Final = "Authentication required"
AUTH_INVALID: Final = "Invalid authentication token"
UNSUPPORTED_COMMAND: Final = "Unsupported command"
MONITOR_EXISTS: Final = "Monitor already exists"
STREAM_EXISTS: Final = "Stream with given sequence exists"
INVALID_FILTER: Final = "Invalid event filter"
NO_PENDING_QUERY: Final = "No pending queries matching ID"
UNKNOWN_LEVEL: Final = "Unknown log level: {}"


# ---- headers


@message
class RequestHeader:
    """Precedes every request. `seq` is the client's own number for it; the answer repeats it."""

    command: str
    seq: int


@message
class AnswerHeader:
    """Precedes every answer and every record; `error` is empty on success."""

    seq: int
    error: str = ""


REQUEST_HEADER: Final = Layout(RequestHeader, command=("Command", TEXT), seq=("Seq", U64))
ANSWER_HEADER: Final = Layout(AnswerHeader, seq=("Seq", U64), error=("Error", TEXT))


# ---- bodies of requests


@message
class Handshake:
    version: int = VERSION


@message
class Auth:
    key: str


@message
class Event:
    name: str
    payload: bytes = b""
    coalesce: bool = False


@message
class ForceLeave:
    node: str
    prune: bool = False


@message
class Join:
    """`replay`: take the events that happened before the join, too."""

    addresses: Sequence[str]
    replay: bool = False


@message
class MembersFiltered:
    """Regular expressions (RE2), anchored at both ends by the agent; empty ones let all pass."""

    tags: Mapping[str, str] | None
    status: str = ""
    name: str = ""


@message
class Stream:
    filters: str = "*"


@message
class Monitor:
    level: str


@message
class Stop:
    """`stop` is the seq of the stream or monitor to end."""

    stop: int


@message
class Key:
    """A gossip key in base64."""

    key: str


@message
class Tags:
    """What to set, and the names of what to remove."""

    tags: Mapping[str, str] | None
    delete: Sequence[str] = ()


@message
class Query:
    """`timeout` is in nanoseconds, 0 for the default; tags are regular expressions (RE2), searched."""

    name: str
    payload: bytes = b""
    nodes: Sequence[str] = ()
    tags: Mapping[str, str] | None = None
    ack: bool = False
    relay_factor: int = 0
    timeout: int = 0


@message
class Respond:
    """An answer to a query that was streamed under this id on the same connection."""

    id: int
    payload: bytes = b""


@message
class GetCoordinate:
    node: str


Body: TypeAlias = (
    Handshake
    | Auth
    | Event
    | ForceLeave
    | Join
    | MembersFiltered
    | Stream
    | Monitor
    | Stop
    | Key
    | Tags
    | Query
    | Respond
    | GetCoordinate
)

BODIES: Final[dict[str, Layout[Body] | None]] = {
    "handshake": Layout[Body](Handshake, version=("Version", I64)),
    "auth": Layout[Body](Auth, key=("AuthKey", TEXT)),
    "event": Layout[Body](Event, name=("Name", TEXT), payload=("Payload", OCTETS), coalesce=("Coalesce", FLAG)),
    "force-leave": Layout[Body](ForceLeave, node=("Node", TEXT), prune=("Prune", FLAG)),
    "join": Layout[Body](Join, addresses=("Existing", TEXTS), replay=("Replay", FLAG)),
    "members": None,
    "members-filtered": Layout[Body](
        MembersFiltered, tags=("Tags", TEXT_MAP), status=("Status", TEXT), name=("Name", TEXT)
    ),
    "stream": Layout[Body](Stream, filters=("Type", TEXT)),
    "monitor": Layout[Body](Monitor, level=("LogLevel", TEXT)),
    "stop": Layout[Body](Stop, stop=("Stop", U64)),
    "leave": None,
    "install-key": Layout[Body](Key, key=("Key", TEXT)),
    "use-key": Layout[Body](Key, key=("Key", TEXT)),
    "remove-key": Layout[Body](Key, key=("Key", TEXT)),
    "list-keys": None,
    "tags": Layout[Body](Tags, tags=("Tags", TEXT_MAP), delete=("DeleteTags", TEXTS)),
    "query": Layout[Body](
        Query,
        nodes=("FilterNodes", TEXTS),
        tags=("FilterTags", TEXT_MAP),
        ack=("RequestAck", FLAG),
        relay_factor=("RelayFactor", U8),
        timeout=("Timeout", I64),
        name=("Name", TEXT),
        payload=("Payload", OCTETS),
    ),
    "respond": Layout[Body](Respond, id=("ID", U64), payload=("Payload", OCTETS)),
    "stats": None,
    "get-coordinate": Layout[Body](GetCoordinate, node=("Node", TEXT)),
}
"""Every command and the body of its request."""


def encode_request(command: str, seq: int, body: Body | None = None) -> bytes:
    """A request whole. `body` is None exactly for the commands that have none."""
    header = REQUEST_HEADER.encode(RequestHeader(command, seq))
    layout = BODIES[command]
    if layout is None:
        return header
    assert body is not None, f"{command} has a body"
    return header + layout.encode(body)


# ---- bodies of answers


@message
class Member:
    """A member as the agent sees it. `ip` has 4 or 16 bytes; `status` is none, alive, leaving, left or failed."""

    name: str
    ip: bytes
    port: int
    tags: Mapping[str, str]
    status: str
    protocol_min: int
    protocol_max: int
    protocol_cur: int
    delegate_min: int
    delegate_max: int
    delegate_cur: int

    @property
    def address(self) -> Address:
        """Where it listens; `str()` of it is `ip:port`."""
        return Address(self.ip, self.port)


MEMBER: Final = Layout(
    Member,
    name=("Name", TEXT),
    ip=("Addr", OCTETS),
    port=("Port", U16),
    tags=("Tags", TEXT_MAP),
    status=("Status", TEXT),
    protocol_min=("ProtocolMin", U8),
    protocol_max=("ProtocolMax", U8),
    protocol_cur=("ProtocolCur", U8),
    delegate_min=("DelegateMin", U8),
    delegate_max=("DelegateMax", U8),
    delegate_cur=("DelegateCur", U8),
)


@message
class Members:
    members: Sequence[Member]


@message
class Joined:
    """How many agents were contacted."""

    count: int


@message
class KeyResponse:
    """What the members said to a key operation.

    `messages`: member → text, of those that have something to say; `keys`: key in base64 → how many members hold
    it, None for other operations than list-keys; `node_count` members were asked, `response_count` answered,
    `error_count` of these refused.
    """

    messages: Mapping[str, str]
    keys: Mapping[str, int] | None
    node_count: int
    error_count: int
    response_count: int


@message
class Coordinate:
    """A network coordinate; seconds."""

    vec: Sequence[float]
    error: float
    adjustment: float
    height: float


@message
class CoordinateAnswer:
    """`coordinate` is all zeros and `ok` False for a node without one."""

    coordinate: Coordinate
    ok: bool


MEMBERS: Final = Layout(Members, members=("Members", list_of(MEMBER)))
JOINED: Final = Layout(Joined, count=("Num", I64))
KEY_RESPONSE: Final = Layout(
    KeyResponse,
    messages=("Messages", TEXT_MAP),
    keys=("Keys", COUNT_MAP),
    node_count=("NumNodes", I64),
    error_count=("NumErr", I64),
    response_count=("NumResp", I64),
)
COORDINATE: Final = Layout(
    Coordinate, vec=("Vec", REALS), error=("Error", REAL), adjustment=("Adjustment", REAL), height=("Height", REAL)
)
COORDINATE_ANSWER: Final = Layout(CoordinateAnswer, coordinate=("Coord", one_of(COORDINATE)), ok=("Ok", FLAG))


# ---- records of streams


@message
class MemberRecord:
    """`event` is member-join, member-leave, member-failed, member-update or member-reap."""

    event: str
    members: Sequence[Member]


@message
class UserRecord:
    event: str
    ltime: int
    name: str
    payload: bytes
    coalesce: bool


@message
class QueryRecord:
    """A query that may be answered with `respond` under this id, on the connection it came over."""

    event: str
    id: int
    ltime: int
    name: str
    payload: bytes


@message
class LogRecord:
    """A line of the agent's log, without its end."""

    line: str


@message
class AnswerRecord:
    """To a query: `type` is ack (no payload), response, or done, which is the last and comes from nobody."""

    type: str
    sender: str = ""
    payload: bytes = b""


EventRecord: TypeAlias = MemberRecord | UserRecord | QueryRecord
Record: TypeAlias = EventRecord | LogRecord | AnswerRecord

ACK: Final = "ack"
RESPONSE: Final = "response"
DONE: Final = "done"

MEMBER_RECORD: Final = Layout(MemberRecord, event=("Event", TEXT), members=("Members", list_of(MEMBER)))
USER_RECORD: Final = Layout(
    UserRecord,
    event=("Event", TEXT),
    ltime=("LTime", U64),
    name=("Name", TEXT),
    payload=("Payload", OCTETS),
    coalesce=("Coalesce", FLAG),
)
QUERY_RECORD: Final = Layout(
    QueryRecord,
    event=("Event", TEXT),
    id=("ID", U64),
    ltime=("LTime", U64),
    name=("Name", TEXT),
    payload=("Payload", OCTETS),
)
LOG_RECORD: Final = Layout(LogRecord, line=("Log", TEXT))
ANSWER_RECORD: Final = Layout(AnswerRecord, type=("Type", TEXT), sender=("From", TEXT), payload=("Payload", OCTETS))


def read_event(fields: Fields) -> EventRecord:
    """A record of a stream; what it is says its field Event. Raises WireError."""
    kind = fields.get(b"Event")
    if kind == b"user":
        return USER_RECORD.read(fields)
    return QUERY_RECORD.read(fields) if kind == b"query" else MEMBER_RECORD.read(fields)


def read_stats(sections: Fields) -> dict[str, dict[str, str]]:
    """The answer to `stats`: sections of names and texts. Raises WireError."""
    return {text_of(title): text_map_of(section) for title, section in sections.items()}
