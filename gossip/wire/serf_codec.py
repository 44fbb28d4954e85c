"""Serf's messages as bytes: type byte and msgpack body. They travel in user messages and push/pull state."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from moot.gossip.errors import LimitExceeded, WireError
from moot.gossip.pack import (
    Cursor,
    Fields,
    as_fields,
    flag,
    i64,
    list_of,
    octets,
    octets_of,
    pack,
    text,
    text_of,
    u8,
    u16,
    u32,
    u64,
    unpack,
    unpack_first,
)
from moot.gossip.record import Address
from moot.gossip.serf.messages import (
    ConflictMember,
    ConflictResponse,
    EventSlot,
    Filter,
    JoinIntent,
    KeyRequest,
    KeyResponse,
    LeaveIntent,
    NodeFilter,
    Query,
    QueryResponse,
    Relay,
    SerfMessage,
    SerfPushPull,
    TagFilter,
    Unknown,
    UserEvent,
)
from moot.gossip.wire.coordinate_codec import decode_coordinate as decode_coordinate
from moot.gossip.wire.coordinate_codec import encode_coordinate as encode_coordinate
from moot.gossip.wire.limits import ENTRY_SIZE, EVENT_SLOT_MAX, EVENT_SLOTS_MAX, NAME_MAX, NODES_MAX
from moot.gossip.wire.slices import Slices, finished, portions

PUSH_PULL: Final = 2
"""The type byte of Serf's part of a push/pull."""


def encode_serf(message: object) -> bytes:
    """Type byte and body of a Serf message."""
    kind, write = _WRITE[type(message)]
    return kind + write(message)


def decode_serf(data: bytes, faults: list[WireError] | None = None) -> SerfMessage:
    """The Serf message that begins with its type byte. An unknown type gives Unknown. Raises WireError.

    Event slots of a push/pull that cannot be read are left out; the first such fault is added to `faults`.
    """
    if not data:
        raise WireError("empty", "a user message without bytes")
    if data[0] == PUSH_PULL:
        return finished(read_push_pull(data, [] if faults is None else faults))
    read = _READ.get(data[0])
    if read is None:
        return Unknown(data[0])
    message: SerfMessage = read(data[1:])
    return message


def _address(fields: Fields, ip_key: bytes) -> Address:
    """An address, its bytes as they came. Raises WireError when its length is that of none."""
    ip = octets(fields, ip_key)
    if len(ip) not in (0, 4, 16):
        raise WireError("address", f"an address of {len(ip)} bytes")
    return Address(ip, u16(fields, b"Port"))


def _name_of(value: object) -> str:
    if type(value) is bytes and len(value) > NAME_MAX:
        raise LimitExceeded("name", f"a name of more than {NAME_MAX} bytes")
    return text_of(value)


def _name(fields: Fields, key: bytes) -> str:
    return _name_of(fields.get(key))


# ---- intents and events


def _read_leave(body: bytes) -> LeaveIntent:
    fields = as_fields(unpack(body), (b"LTime", b"Node", b"Prune"))
    return LeaveIntent(u64(fields, b"LTime"), _name(fields, b"Node"), flag(fields, b"Prune"))


def _write_leave(message: LeaveIntent) -> bytes:
    return pack({b"LTime": message.ltime, b"Node": message.node, b"Prune": message.prune})


def _read_join(body: bytes) -> JoinIntent:
    fields = as_fields(unpack(body), (b"LTime", b"Node"))
    return JoinIntent(u64(fields, b"LTime"), _name(fields, b"Node"))


def _write_join(message: JoinIntent) -> bytes:
    return pack({b"LTime": message.ltime, b"Node": message.node})


def _read_user_event(body: bytes) -> UserEvent:
    fields = as_fields(unpack(body), (b"LTime", b"Name", b"Payload", b"CC"))
    return UserEvent(u64(fields, b"LTime"), text(fields, b"Name"), octets(fields, b"Payload"), flag(fields, b"CC"))


def _write_user_event(message: UserEvent) -> bytes:
    return pack(
        {
            b"CC": message.coalesce,
            b"LTime": message.ltime,
            b"Name": message.name,
            b"Payload": message.payload or None,
        }
    )


# ---- queries

_QUERY_KEYS: Final = (
    *(b"LTime", b"ID", b"Addr", b"Port", b"SourceNode", b"Filters"),
    *(b"Flags", b"RelayFactor", b"Timeout", b"Name", b"Payload"),
)


def _read_query(body: bytes) -> Query:
    fields = as_fields(unpack(body), _QUERY_KEYS)
    return Query(
        ltime=u64(fields, b"LTime"),
        id=u32(fields, b"ID"),
        source=_address(fields, b"Addr"),
        source_node=_name(fields, b"SourceNode"),
        filters=list_of(fields.get(b"Filters"), octets_of),
        flags=u32(fields, b"Flags"),
        relay_factor=u8(fields, b"RelayFactor"),
        timeout_ns=i64(fields, b"Timeout"),
        name=text(fields, b"Name"),
        payload=octets(fields, b"Payload"),
    )


def _write_query(message: Query) -> bytes:
    return pack(
        {
            b"Addr": message.source.ip or None,
            b"Filters": list(message.filters) or None,
            b"Flags": message.flags,
            b"ID": message.id,
            b"LTime": message.ltime,
            b"Name": message.name,
            b"Payload": message.payload or None,
            b"Port": message.source.port,
            b"RelayFactor": message.relay_factor,
            b"SourceNode": message.source_node,
            b"Timeout": message.timeout_ns,
        }
    )


def _read_query_response(body: bytes) -> QueryResponse:
    fields = as_fields(unpack(body), (b"LTime", b"ID", b"From", b"Flags", b"Payload"))
    return QueryResponse(
        u64(fields, b"LTime"),
        u32(fields, b"ID"),
        _name(fields, b"From"),
        u32(fields, b"Flags"),
        octets(fields, b"Payload"),
    )


def _write_query_response(message: QueryResponse) -> bytes:
    return pack(
        {
            b"Flags": message.flags,
            b"From": message.sender,
            b"ID": message.id,
            b"LTime": message.ltime,
            b"Payload": message.payload or None,
        }
    )


def _read_relay(body: bytes) -> Relay:
    head, inner = unpack_first(body)
    fields = as_fields(head, (b"DestAddr", b"DestName"))
    if not inner:
        raise WireError("empty", "a relay of nothing")
    address = as_fields(fields.get(b"DestAddr"), (b"IP", b"Port", b"Zone"))
    return Relay(_address(address, b"IP"), _name(fields, b"DestName"), inner)


def _write_relay(message: Relay) -> bytes:
    ip, port = message.destination
    address = {b"IP": ip or None, b"Port": port, b"Zone": ""}
    return pack({b"DestAddr": address, b"DestName": message.destination_name}) + message.inner


def encode_filter(wanted: Filter) -> bytes:
    """One element of Query.filters."""
    if isinstance(wanted, NodeFilter):
        return b"\x00" + pack(list(wanted.names))
    return b"\x01" + pack({b"Expr": wanted.expr, b"Tag": wanted.tag})


def decode_filter(data: bytes) -> Filter:
    """The filter in one element of Query.filters. Raises WireError: the query is not for us then."""
    if not data:
        raise WireError("empty", "a filter without bytes")
    if data[0] == 0:
        return NodeFilter(list_of(unpack(data[1:]), text_of))
    if data[0] == 1:
        fields = as_fields(unpack(data[1:]), (b"Tag", b"Expr"))
        return TagFilter(text(fields, b"Tag"), text(fields, b"Expr"))
    raise WireError("unsupported", f"filter type {data[0]}")


# ---- name conflicts and keys

_VERSION_KEYS: Final = (
    b"ProtocolMin",
    b"ProtocolMax",
    b"ProtocolCur",
    b"DelegateMin",
    b"DelegateMax",
    b"DelegateCur",
)
_CONFLICT_KEYS: Final = (b"Name", b"Addr", b"Port", b"Tags", b"Status", *_VERSION_KEYS)


def _tags(value: object) -> Mapping[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise WireError("field", "tags that are no map")
    return {text_of(key): text_of(item) for key, item in value.items()}


def _read_conflict(body: bytes) -> ConflictResponse:
    found = unpack(body)
    if found is None:
        return ConflictResponse(None)
    fields = as_fields(found, _CONFLICT_KEYS)
    return ConflictResponse(
        ConflictMember(
            name=_name(fields, b"Name"),
            address=_address(fields, b"Addr"),
            tags=_tags(fields.get(b"Tags")),
            status=u8(fields, b"Status"),
            versions=bytes(u8(fields, key) for key in _VERSION_KEYS),
        )
    )


def _write_conflict(message: ConflictResponse) -> bytes:
    member = message.member
    if member is None:
        return pack(None)
    fields: dict[bytes, object] = {
        b"Addr": member.address.ip or None,
        b"Name": member.name,
        b"Port": member.address.port,
        b"Status": member.status,
        b"Tags": dict(sorted(member.tags.items())),
        **dict(zip(_VERSION_KEYS, member.versions[:6].ljust(6, b"\0"), strict=True)),
    }
    return pack(dict(sorted(fields.items())))


def _read_key_request(body: bytes) -> KeyRequest:
    return KeyRequest(octets(as_fields(unpack(body), (b"Key",)), b"Key"))


def _write_key_request(message: KeyRequest) -> bytes:
    return pack({b"Key": message.key})


def _read_key_response(body: bytes) -> KeyResponse:
    fields = as_fields(unpack(body), (b"Result", b"Message", b"Keys", b"PrimaryKey"))
    return KeyResponse(
        flag(fields, b"Result"),
        text(fields, b"Message"),
        list_of(fields.get(b"Keys"), text_of),
        text(fields, b"PrimaryKey"),
    )


def _write_key_response(message: KeyResponse) -> bytes:
    return pack(
        {
            b"Keys": list(message.keys) or None,
            b"Message": message.text,
            b"PrimaryKey": message.primary,
            b"Result": message.result,
        }
    )


# ---- push/pull state

_STATE_KEYS: Final = (b"LTime", b"StatusLTimes", b"LeftMembers", b"EventLTime", b"Events", b"QueryLTime")


def _ltime_of(value: object) -> int:
    return u64({b"LTime": value}, b"LTime")


def _event_of(value: object) -> tuple[str, bytes]:
    fields = as_fields(value, (b"Name", b"Payload"))
    return text(fields, b"Name"), octets(fields, b"Payload")


def _slot_of(value: object) -> EventSlot | None:
    if value is None:
        return None
    fields = as_fields(value, (b"LTime", b"Events"))
    return EventSlot(u64(fields, b"LTime"), list_of(fields.get(b"Events"), _event_of))


_SLICE: Final = 512
"""Entries of a state that make a slice of work."""


def _read_slots(cursor: Cursor, faults: list[WireError]) -> Slices[list[EventSlot | None]]:
    """The event ring. Whoever gets one bad slot into it must not thereby silence the rest of the state."""
    slots: list[EventSlot | None] = []
    first: WireError | None = None
    taken = 0
    for _ in range(cursor.entries(EVENT_SLOTS_MAX, pairs=False)):
        raw = cursor.raw()
        try:
            if len(raw) > EVENT_SLOT_MAX:
                raise LimitExceeded("slot", f"an event slot of {len(raw)} bytes")
            slot = _slot_of(unpack(raw))
            slots.append(slot)
            taken += ENTRY_SIZE * (1 + len(slot.events)) if slot else ENTRY_SIZE
        except WireError as fault:
            first = first or fault
        taken += len(raw)
        if taken > _SLICE * ENTRY_SIZE:
            yield taken
            taken = 0
    if first is not None:
        faults.append(first)
    return slots


def read_push_pull(data: bytes, faults: list[WireError]) -> Slices[SerfPushPull]:
    """Serf's part of a push/pull from its type byte on, as `decode_serf` reads it, but in slices.

    It may have 20 MiB: it is read piece by piece, so that no length in it is believed.
    """
    cursor = Cursor(data, closed=True)
    cursor.take(1)
    clocks = {b"LTime": 0, b"EventLTime": 0, b"QueryLTime": 0}
    status_ltimes: dict[str, int] = {}
    left: list[str] = []
    events: list[EventSlot | None] = []
    for key in cursor.fields(_STATE_KEYS):
        if key in clocks:
            clocks[key] = _ltime_of(cursor.value())
        elif key == b"StatusLTimes":
            for some in portions(cursor.entries(NODES_MAX, pairs=True), _SLICE):
                status_ltimes |= {_name_of(cursor.value()): _ltime_of(cursor.value()) for _ in range(some)}
                yield some * ENTRY_SIZE
        elif key == b"LeftMembers":
            for some in portions(cursor.entries(NODES_MAX, pairs=False), _SLICE):
                left += [_name_of(cursor.value()) for _ in range(some)]
                yield some * ENTRY_SIZE
        elif key == b"Events":
            events = yield from _read_slots(cursor, faults)
        else:
            cursor.skip()
    return SerfPushPull(clocks[b"LTime"], status_ltimes, left, clocks[b"EventLTime"], events, clocks[b"QueryLTime"])


def _write_push_pull(message: SerfPushPull) -> bytes:
    events = [
        None
        if slot is None
        else {
            b"Events": [{b"Name": name, b"Payload": payload or None} for name, payload in slot.events],
            b"LTime": slot.ltime,
        }
        for slot in message.events
    ]
    return pack(
        {
            b"EventLTime": message.event_ltime,
            b"Events": events,
            b"LTime": message.ltime,
            b"LeftMembers": list(message.left_members),
            b"QueryLTime": message.query_ltime,
            b"StatusLTimes": dict(message.status_ltimes.items()),
        }
    )


# ---- the table

_TABLE: Final[tuple[tuple[int, type, Callable[[bytes], Any], Callable[[Any], bytes]], ...]] = (
    (0, LeaveIntent, _read_leave, _write_leave),
    (1, JoinIntent, _read_join, _write_join),
    (3, UserEvent, _read_user_event, _write_user_event),
    (4, Query, _read_query, _write_query),
    (5, QueryResponse, _read_query_response, _write_query_response),
    (6, ConflictResponse, _read_conflict, _write_conflict),
    (7, KeyRequest, _read_key_request, _write_key_request),
    (8, KeyResponse, _read_key_response, _write_key_response),
    (9, Relay, _read_relay, _write_relay),
)
_READ: Final = {kind: read for kind, _, read, _ in _TABLE}
_WRITE: Final[dict[type, tuple[bytes, Callable[[Any], bytes]]]] = {
    SerfPushPull: (bytes((PUSH_PULL,)), _write_push_pull),
    **{cls: (bytes((kind,)), write) for kind, cls, _, write in _TABLE},
}
