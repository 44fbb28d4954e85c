"""What Nomad's methods take and answer, as MessagePack maps with Go's field names. Pure.

Both sides are here: `decode_*` reads what a peer sent and raises WireError, `encode_*` writes. Keys that we do not
know are ignored, those that a peer left out are zero. Durations are seconds here and nanoseconds on the wire.
"""

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from moot.agent.nomad.errors import Refused
from moot.agent.nomad.registry import NodeEntry, NodeFacts
from moot.gossip import pack
from moot.gossip.errors import WireError
from moot.gossip.record import Address, message
from moot.gossip.serf.members import SerfMember
from moot.http.schema import MemberAnswer, MembersAnswer

NANOSECONDS: Final = 1_000_000_000
TEXT_MAX: Final = 255
"""Characters of each text in which a node describes itself."""
MEMBERS_MAX: Final = 65_536
NODES_MAX: Final = 65_536
ENTRY_MAX: Final = 64 * 1024
"""Bytes of one member or node in an answer."""

_VERSION_KEYS: Final = (
    *(b"ProtocolMin", b"ProtocolMax", b"ProtocolCur"),
    *(b"DelegateMin", b"DelegateMax", b"DelegateCur"),
)
_MEMBER_KEYS: Final = (b"Name", b"Addr", b"Port", b"Tags", b"Status", *_VERSION_KEYS)
_MEMBERS_KEYS: Final = (b"ServerName", b"ServerRegion", b"ServerDC", b"Members")
_NODES_KEYS: Final = (b"Nodes",)


@message
class Options:
    """What all arguments may have: whom the call is for, and who calls."""

    region: str = ""
    stale: bool = False
    forwarded: bool = False
    """It came through another server, and is not passed on again."""
    token: str = ""


@message
class Beat:
    """A heartbeat, or the word that a node moved."""

    node_id: str
    secret: str
    status: str


@message
class Granted:
    """The answer to a registration or a heartbeat."""

    ttl: float
    servers: Sequence[tuple[str, str]] = ()
    """Address and datacenter of each server to turn to from now on; none means that this is not known."""
    node_count: int = 0
    leader: str = ""
    index: int = 0


# ---- arguments


def fields_of(body: bytes) -> pack.Fields:
    """An argument by its keys; one that is no map has none, as Go's empty structures."""
    value = pack.unpack(body)
    return value if isinstance(value, dict) else {}


def decode_options(fields: pack.Fields) -> Options:
    return Options(
        region=pack.text(fields, b"Region"),
        stale=pack.flag(fields, b"AllowStale"),
        forwarded=pack.flag(fields, b"Forwarded"),
        token=pack.text(fields, b"AuthToken"),
    )


def encode_options(options: Options) -> bytes:
    return pack.pack(_options(options))


def _options(options: Options) -> dict[str, object]:
    return {
        "AllowStale": options.stale,
        "AuthToken": options.token,
        "Forwarded": options.forwarded,
        "Region": options.region,
    }


def encode_forwarded(body: bytes) -> bytes:
    """The same argument, marked as passed on. Raises WireError."""
    fields = {**fields_of(body), b"Forwarded": True}
    try:
        return pack.pack(dict(sorted(fields.items())))
    except (TypeError, ValueError, OverflowError) as error:  # keys of several kinds, or an extension type
        raise WireError("field", f"an argument that cannot be passed on: {error}") from error


def encode_register(facts: NodeFacts, region: str, http_address: str) -> bytes:
    """The argument of Node.Register. `http_address` is `ip:port`."""
    node = {
        "Attributes": {
            "kernel.name": "linux",
            "nomad.version": facts.version,
            "unique.hostname": facts.name,
            "unique.network.ip-address": facts.address,
        },
        "Datacenter": facts.datacenter,
        "HTTPAddr": http_address,
        "ID": facts.node_id,
        "Name": facts.name,
        "NodeClass": facts.node_class,
        "SchedulingEligibility": "ineligible",
        "SecretID": facts.secret,
        "Status": facts.status,
    }
    return pack.pack({**_options(Options(region=region, token=facts.secret)), "Node": node})


def decode_register(fields: pack.Fields) -> NodeFacts:
    """Raises WireError, and Refused in Nomad's words when something is missing."""
    node = pack.as_fields(fields.get(b"Node"), ())
    if not node:
        raise Refused("missing node for client registration")
    attributes = pack.as_fields(node.get(b"Attributes"), ())
    facts = NodeFacts(
        node_id=_node_id(node, b"ID", "registration"),
        secret=_short(node, b"SecretID"),
        name=_short(node, b"Name"),
        datacenter=_short(node, b"Datacenter"),
        address=_host(_short(node, b"HTTPAddr")),
        version=_short(attributes, b"nomad.version"),
        node_class=_short(node, b"NodeClass"),
        status=_short(node, b"Status") or "initializing",
    )
    for what, value in (
        ("datacenter", facts.datacenter),
        ("node name", facts.name),
        ("node secret ID", facts.secret),
    ):
        if not value:
            raise Refused(f"missing {what} for client registration")
    return facts


def encode_beat(beat: Beat, region: str) -> bytes:
    """The argument of Node.UpdateStatus, and of Moot.Release."""
    options = _options(Options(region=region, token=beat.secret))
    return pack.pack({**options, "NodeID": beat.node_id, "Status": beat.status})


def decode_beat(fields: pack.Fields) -> Beat:
    """Raises WireError, and Refused when the node is missing."""
    return Beat(
        _node_id(fields, b"NodeID", "status update"), pack.text(fields, b"AuthToken"), _short(fields, b"Status")
    )


def _node_id(fields: pack.Fields, key: bytes, purpose: str) -> str:
    given = pack.text(fields, key)
    if not given:
        raise Refused(f"missing node ID for client {purpose}")
    try:
        return str(uuid.UUID(given))
    except ValueError:
        raise Refused("invalid node ID, it must be a UUID") from None


def _short(fields: pack.Fields, key: bytes) -> str:
    value = pack.text(fields, key)
    if len(value) > TEXT_MAX:
        raise Refused(f"{key.decode()} is longer than {TEXT_MAX} characters")
    return value


def _host(address: str) -> str:
    """The host of `host:port`, brackets off."""
    return address.rpartition(":")[0].strip("[]") or address


# ---- answers


def encode_granted(granted: Granted) -> bytes:
    servers = [
        {"Datacenter": datacenter, "RPCAdvertiseAddr": address, "RPCMajorVersion": 1, "RPCMinorVersion": 1}
        for address, datacenter in granted.servers
    ]
    answer = {
        "EvalCreateIndex": 0,
        "EvalIDs": None,
        "HeartbeatTTL": round(granted.ttl * NANOSECONDS),
        "Index": granted.index,
        "KnownLeader": bool(granted.leader),
        "LastContact": 0,
        "LeaderRPCAddr": granted.leader,
        "NodeModifyIndex": granted.index,
        "NumNodes": granted.node_count,
        "Servers": servers,
    }
    return pack.pack(answer)


def decode_granted(body: bytes) -> Granted:
    """Raises WireError, also when it is no map at all: nothing was granted then."""
    fields = pack.unpack(body)
    if not isinstance(fields, dict):
        raise WireError("field", "no map in the answer")
    servers = pack.list_of(fields.get(b"Servers"), lambda item: pack.as_fields(item, (b"RPCAdvertiseAddr",)))
    return Granted(
        ttl=pack.i64(fields, b"HeartbeatTTL") / NANOSECONDS,
        servers=[(pack.text(each, b"RPCAdvertiseAddr"), pack.text(each, b"Datacenter")) for each in servers],
        node_count=pack.i64(fields, b"NumNodes"),
        leader=pack.text(fields, b"LeaderRPCAddr"),
        index=pack.u64(fields, b"Index"),
    )


def encode_text(text: str) -> bytes:
    return pack.pack(text)


def decode_text(body: bytes) -> str:
    """Raises WireError."""
    return pack.text_of(pack.unpack(body))


def encode_texts(texts: Iterable[str]) -> bytes:
    return pack.pack(list(texts))


def decode_texts(body: bytes) -> list[str]:
    """Raises WireError."""
    return pack.list_of(pack.unpack(body), pack.text_of)


def encode_members(members: Iterable[SerfMember], *, name: str, region: str, datacenter: str) -> bytes:
    """The answer of Status.Members; the texts say who answers."""
    return pack.pack(
        {
            "Members": [_member(member) for member in members],
            "ServerDC": datacenter,
            "ServerName": name,
            "ServerRegion": region,
        }
    )


def _member(member: SerfMember) -> dict[str, object]:
    protocol_min, protocol_max, protocol_cur, delegate_min, delegate_max, delegate_cur = member.versions
    return {
        "Addr": member.address.ip,
        "DelegateCur": delegate_cur,
        "DelegateMax": delegate_max,
        "DelegateMin": delegate_min,
        "Name": member.name,
        "Port": member.address.port,
        "ProtocolCur": protocol_cur,
        "ProtocolMax": protocol_max,
        "ProtocolMin": protocol_min,
        "Status": member.status.value,
        "Tags": dict(sorted(member.tags.items())),
    }


def decode_members(body: bytes) -> MembersAnswer:
    """As the HTTP API answers it. Raises WireError."""
    answer = MembersAnswer(members=[], server_dc="", server_name="", server_region="")
    cursor = pack.Cursor(body, closed=True)
    for key in cursor.fields(_MEMBERS_KEYS):
        match key:
            case b"Members":
                answer.members = [_read_member(fields) for fields in _entries(cursor, MEMBERS_MAX, _MEMBER_KEYS)]
            case b"ServerDC":
                answer.server_dc = pack.text_of(cursor.value())
            case b"ServerName":
                answer.server_name = pack.text_of(cursor.value())
            case b"ServerRegion":
                answer.server_region = pack.text_of(cursor.value())
            case _:
                cursor.skip()
    return answer


def _entries(cursor: pack.Cursor, most: int, keys: Sequence[bytes]) -> Iterator[pack.Fields]:
    for _ in range(cursor.entries(most, pairs=False)):
        yield pack.as_fields(cursor.value(ENTRY_MAX), keys)


def _read_member(fields: pack.Fields) -> MemberAnswer:
    ip = pack.octets(fields, b"Addr")
    tags = pack.as_fields(fields.get(b"Tags"), ())
    versions = [pack.u8(fields, key) for key in _VERSION_KEYS]
    protocol_min, protocol_max, protocol_cur, delegate_min, delegate_max, delegate_cur = versions
    return MemberAnswer(
        addr=Address(ip, 0).host or ip.decode("ascii", "replace"),
        delegate_cur=delegate_cur,
        delegate_max=delegate_max,
        delegate_min=delegate_min,
        name=pack.text(fields, b"Name"),
        port=pack.u16(fields, b"Port"),
        protocol_cur=protocol_cur,
        protocol_max=protocol_max,
        protocol_min=protocol_min,
        status=pack.text(fields, b"Status"),
        tags={pack.text_of(key): pack.text_of(value) for key, value in tags.items()},
    )


def encode_nodes(entries: Iterable[NodeEntry], index: int) -> bytes:
    """The answer of Node.List, with two keys of ours: HeartbeatAge and HeartbeatTTL, in nanoseconds."""
    return pack.pack({"Index": index, "KnownLeader": True, "LastContact": 0, "Nodes": [_node(it) for it in entries]})


def _node(entry: NodeEntry) -> Mapping[str, object]:
    return {
        "Address": entry.address,
        "CreateIndex": entry.create_index,
        "Datacenter": entry.datacenter,
        "HeartbeatAge": round(entry.heard_ago * NANOSECONDS),
        "HeartbeatTTL": round(entry.ttl * NANOSECONDS),
        "ID": entry.node_id,
        "ModifyIndex": entry.modify_index,
        "Name": entry.name,
        "NodeClass": entry.node_class,
        "SchedulingEligibility": "ineligible",
        "Status": entry.status,
        "Version": entry.version,
    }


def decode_nodes(body: bytes) -> list[NodeEntry]:
    """Raises WireError."""
    cursor = pack.Cursor(body, closed=True)
    found: list[NodeEntry] = []
    for key in cursor.fields(_NODES_KEYS):
        if key == b"Nodes":
            found = [_read_node(fields) for fields in _entries(cursor, NODES_MAX, ())]
        else:
            cursor.skip()
    return found


def _read_node(fields: pack.Fields) -> NodeEntry:
    return NodeEntry(
        node_id=pack.text(fields, b"ID"),
        name=pack.text(fields, b"Name"),
        datacenter=pack.text(fields, b"Datacenter"),
        address=pack.text(fields, b"Address"),
        version=pack.text(fields, b"Version"),
        node_class=pack.text(fields, b"NodeClass"),
        status=pack.text(fields, b"Status"),
        heard_ago=pack.i64(fields, b"HeartbeatAge") / NANOSECONDS,
        ttl=pack.i64(fields, b"HeartbeatTTL") / NANOSECONDS,
        create_index=pack.u64(fields, b"CreateIndex"),
        modify_index=pack.u64(fields, b"ModifyIndex"),
    )
