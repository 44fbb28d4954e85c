"""memberlist's messages as bytes: the table of message types, and what each of them looks like.

A message is its type byte and a msgpack structure; a user message is its type byte and the layer above's
bytes. Layers around messages are in `packet` and `stream`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from moot.gossip.errors import LimitExceeded, WireError
from moot.gossip.pack import (
    Fields,
    as_fields,
    flag,
    octets,
    pack,
    raw_size,
    text,
    text_size,
    u8,
    u16,
    u32,
    uint_size,
    unpack,
)
from moot.gossip.record import Address
from moot.gossip.swim.member import Member, Status
from moot.gossip.swim.messages import (
    Ack,
    Alive,
    Dead,
    ErrorReply,
    IndirectPing,
    Message,
    Nack,
    PacketMessage,
    Ping,
    PushPull,
    Suspect,
    User,
)
from moot.gossip.wire.limits import ERROR_TEXT_MAX, META_MAX, NAME_MAX, VERSIONS_MAX
from moot.gossip.wire.serf_codec import decode_serf, encode_serf

PING: Final = 0
INDIRECT_PING: Final = 1
ACK: Final = 2
SUSPECT: Final = 3
ALIVE: Final = 4
DEAD: Final = 5
PUSH_PULL: Final = 6
COMPOUND: Final = 7
USER: Final = 8
COMPRESS: Final = 9
ENCRYPT: Final = 10
NACK: Final = 11
HAS_CRC: Final = 12
ERROR: Final = 13
HAS_LABEL: Final = 244


# ---- fields with a meaning


def _name(fields: Fields, key: bytes) -> str:
    """A member's name. Raises WireError above NAME_MAX."""
    value = fields.get(key)
    if type(value) is bytes and len(value) <= NAME_MAX:
        return value.decode("utf-8", "surrogateescape")
    name = text(fields, key)
    if name:
        raise LimitExceeded("name", f"a name of more than {NAME_MAX} bytes")
    return name


def _ip(fields: Fields, key: bytes) -> bytes:
    """A raw IP address, kept as it is; empty when absent. Raises WireError when its length is that of none."""
    value = octets(fields, key)
    if len(value) not in (4, 16, 0):
        raise WireError("address", f"an address of {len(value)} bytes")
    return value


def _source(fields: Fields) -> Address | None:
    """Where the answer shall go, if both parts are there."""
    ip = _ip(fields, b"SourceAddr")
    port = u16(fields, b"SourcePort")
    return Address(ip, port) if ip and port else None


def _member(fields: Fields, name_key: bytes, status: Status) -> Member:
    """The member that an alive message or a node of a push/pull describes.

    Deviation: one without a name is refused, and one with meta above 512 bytes, which newer peers refuse too
    and which nobody can gossip on.
    """
    name = _name(fields, name_key)
    if not name:
        raise WireError("name", "a member without a name")
    meta = octets(fields, b"Meta")
    versions = octets(fields, b"Vsn")
    if len(meta) > META_MAX:
        raise LimitExceeded("meta", f"meta of {len(meta)} bytes, more than {META_MAX}")
    if len(versions) > VERSIONS_MAX:
        raise LimitExceeded("versions", f"a version vector of {len(versions)} bytes")
    address = Address(_ip(fields, b"Addr"), u16(fields, b"Port"))
    return Member(name, address, u32(fields, b"Incarnation"), status, meta, versions)


def _write_source(into: dict[bytes, object], message: Ping | IndirectPing) -> None:
    """The three optional fields, left out when empty."""
    source = message.source
    if source is not None and source.ip:
        into[b"SourceAddr"] = source.ip
    if message.source_node:
        into[b"SourceNode"] = message.source_node
    if source is not None and source.port:
        into[b"SourcePort"] = source.port


def _source_size(message: Ping | IndirectPing) -> int:
    size = 0
    source = message.source
    if source is not None and source.ip:
        size += 11 + raw_size(len(source.ip))
    if message.source_node:
        size += 11 + raw_size(text_size(message.source_node))
    if source is not None and source.port:
        size += 11 + uint_size(source.port)
    return size


# ---- one group per message: read, write (keys sorted, as sent), size of type byte and body


def _read_ping(fields: Fields) -> Ping:
    return Ping(u32(fields, b"SeqNo"), _name(fields, b"Node"), _source(fields), _name(fields, b"SourceNode"))


def _write_ping(message: Ping) -> dict[bytes, object]:
    into: dict[bytes, object] = {b"Node": message.node, b"SeqNo": message.seq}
    _write_source(into, message)
    return into


def _size_ping(message: Ping) -> int:
    return 13 + raw_size(text_size(message.node)) + uint_size(message.seq) + _source_size(message)


def _read_indirect_ping(fields: Fields) -> IndirectPing:
    return IndirectPing(
        u32(fields, b"SeqNo"),
        Address(_ip(fields, b"Target"), u16(fields, b"Port")),
        _name(fields, b"Node"),
        flag(fields, b"Nack"),
        _source(fields),
        _name(fields, b"SourceNode"),
    )


def _write_indirect_ping(message: IndirectPing) -> dict[bytes, object]:
    into: dict[bytes, object] = {
        b"Nack": message.nack,
        b"Node": message.node,
        b"Port": message.target.port,
        b"SeqNo": message.seq,
    }
    _write_source(into, message)
    into[b"Target"] = message.target.ip or None
    return into


def _size_indirect_ping(message: IndirectPing) -> int:
    target = uint_size(message.target.port) + raw_size(len(message.target.ip))
    return 31 + target + raw_size(text_size(message.node)) + uint_size(message.seq) + _source_size(message)


def _read_ack(fields: Fields) -> Ack:
    return Ack(u32(fields, b"SeqNo"), octets(fields, b"Payload"))


def _write_ack(message: Ack) -> dict[bytes, object]:
    return {b"Payload": message.payload or None, b"SeqNo": message.seq}


def _size_ack(message: Ack) -> int:
    return 16 + raw_size(len(message.payload)) + uint_size(message.seq)


def _read_nack(fields: Fields) -> Nack:
    return Nack(u32(fields, b"SeqNo"))


def _write_nack(message: Nack) -> dict[bytes, object]:
    return {b"SeqNo": message.seq}


def _size_nack(message: Nack) -> int:
    return 8 + uint_size(message.seq)


def _read_suspect(fields: Fields) -> Suspect:
    return Suspect(u32(fields, b"Incarnation"), _name(fields, b"Node"), _name(fields, b"From"))


def _read_dead(fields: Fields) -> Dead:
    return Dead(u32(fields, b"Incarnation"), _name(fields, b"Node"), _name(fields, b"From"))


def _write_accusation(message: Suspect | Dead) -> dict[bytes, object]:
    return {b"From": message.accuser, b"Incarnation": message.incarnation, b"Node": message.node}


def _size_accusation(message: Suspect | Dead) -> int:
    names = raw_size(text_size(message.node)) + raw_size(text_size(message.accuser))
    return 24 + names + uint_size(message.incarnation)


def _read_alive(fields: Fields) -> Alive:
    return Alive(_member(fields, b"Node", Status.ALIVE))


def _write_alive(message: Alive) -> dict[bytes, object]:
    member = message.member
    return {
        b"Addr": member.address.ip or None,
        b"Incarnation": member.incarnation,
        b"Meta": member.meta or None,
        b"Node": member.name,
        b"Port": member.address.port,
        b"Vsn": member.versions or None,
    }


def _size_alive(message: Alive) -> int:
    member = message.member
    ip, port = member.address
    raws = raw_size(len(ip)) + raw_size(len(member.meta)) + raw_size(len(member.versions))
    return 38 + raws + raw_size(text_size(member.name)) + uint_size(member.incarnation) + uint_size(port)


def _read_error(fields: Fields) -> ErrorReply:
    return ErrorReply(text(fields, b"Error")[:ERROR_TEXT_MAX])


def _write_error(message: ErrorReply) -> dict[bytes, object]:
    return {b"Error": message.text}


def _size_error(message: ErrorReply) -> int:
    return 8 + raw_size(text_size(message.text))


# ---- the table


@dataclass(frozen=True, slots=True)
class Row:
    """A message type: its number, class, fields in declaration order, and its three functions."""

    kind: int
    cls: type
    keys: tuple[bytes, ...]
    read: Callable[[Fields], Any]
    write: Callable[[Any], dict[bytes, object]]
    size: Callable[[Any], int]


_SOURCE = (b"SourceAddr", b"SourcePort", b"SourceNode")
_ACCUSATION = (b"Incarnation", b"Node", b"From")

TABLE: Final = (
    Row(PING, Ping, (b"SeqNo", b"Node", *_SOURCE), _read_ping, _write_ping, _size_ping),
    Row(
        INDIRECT_PING,
        IndirectPing,
        (b"SeqNo", b"Target", b"Port", b"Node", b"Nack", *_SOURCE),
        _read_indirect_ping,
        _write_indirect_ping,
        _size_indirect_ping,
    ),
    Row(ACK, Ack, (b"SeqNo", b"Payload"), _read_ack, _write_ack, _size_ack),
    Row(NACK, Nack, (b"SeqNo",), _read_nack, _write_nack, _size_nack),
    Row(SUSPECT, Suspect, _ACCUSATION, _read_suspect, _write_accusation, _size_accusation),
    Row(
        ALIVE,
        Alive,
        (b"Incarnation", b"Node", b"Addr", b"Port", b"Meta", b"Vsn"),
        _read_alive,
        _write_alive,
        _size_alive,
    ),
    Row(DEAD, Dead, _ACCUSATION, _read_dead, _write_accusation, _size_accusation),
    Row(ERROR, ErrorReply, (b"Error",), _read_error, _write_error, _size_error),
)
_READ: Final = {row.kind: (row.read, row.keys) for row in TABLE}
_WRITE: Final = {row.cls: (bytes((row.kind,)), row.write) for row in TABLE}
_SIZE: Final = {row.cls: row.size for row in TABLE}


def encode(message: Message) -> bytes:
    """Type byte and body. A PushPull is given whole, as it stands on a plain stream."""
    row = _WRITE.get(type(message))
    if row is not None:
        return row[0] + pack(row[1](message))
    if type(message) is User:
        return b"\x08" + user_bytes(message)
    assert isinstance(message, PushPull), f"not a message: {message!r}"
    return encode_push_pull(message)


def decode(data: bytes) -> PacketMessage | ErrorReply:
    """The message that begins with its type byte; bytes after its structure are ignored. Raises WireError."""
    if not data:
        raise WireError("empty", "a message without bytes")
    kind = data[0]
    if kind == USER:
        return decode_user(data[1:])
    row = _READ.get(kind)
    if row is None:
        raise WireError("unsupported", f"message type {kind}")
    read, keys = row
    message: PacketMessage | ErrorReply = read(as_fields(unpack(data[1:]), keys))
    return message


def read_body(kind: int, body: object) -> PacketMessage | ErrorReply:
    """The message of a type in the table, from its decoded structure. Raises WireError."""
    read, keys = _READ[kind]
    message: PacketMessage | ErrorReply = read(as_fields(body, keys))
    return message


def size_of(message: Message) -> int:
    """len(encode(message)), mostly by arithmetic."""
    size = _SIZE.get(type(message))
    return size(message) if size is not None else len(encode(message))


# ---- user messages and push/pull


def user_bytes(message: User) -> bytes:
    """The payload of a user message: as it came, or encoded now. A body of bytes is sent as it is."""
    return message.raw or _upper_bytes(message.body)


def decode_user(raw: bytes) -> User:
    """A user message from the bytes after its type byte. Raises WireError, also for an empty one."""
    return User(decode_serf(raw), raw)


def _upper_bytes(body: object) -> bytes:
    return body if isinstance(body, bytes) else encode_serf(body)


HEADER_KEYS: Final = (b"Nodes", b"UserStateLen", b"Join")
NODE_KEYS: Final = (b"Name", b"Addr", b"Port", b"Meta", b"Incarnation", b"State", b"Vsn")


def encode_push_pull(message: PushPull) -> bytes:
    """Header, a structure per member, and the layer above's state as it is."""
    state = b"" if message.state is None else _upper_bytes(message.state)
    header = {b"Join": message.join, b"Nodes": len(message.members), b"UserStateLen": len(state)}
    nodes = [
        pack(
            {
                b"Addr": member.address.ip or None,
                b"Incarnation": member.incarnation,
                b"Meta": member.meta or None,
                b"Name": member.name,
                b"Port": member.address.port,
                b"State": int(member.status),
                b"Vsn": member.versions or None,
            }
        )
        for member in message.members
    ]
    return b"".join((b"\x06", pack(header), *nodes, state))


def decode_node(value: object) -> Member:
    """One member of a push/pull from its decoded structure. Raises WireError."""
    fields = as_fields(value, NODE_KEYS)
    state = u8(fields, b"State")
    if state > Status.LEFT:
        raise WireError("field", f"member state {state}")
    return _member(fields, b"Name", Status(state))
