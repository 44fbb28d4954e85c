"""The vectors of the wire, and messages described as the vectors do: by Go's field names."""

import json
from pathlib import Path
from typing import Any

from moot.gossip.record import Address
from moot.gossip.serf.messages import (
    ConflictResponse,
    Filter,
    JoinIntent,
    KeyRequest,
    KeyResponse,
    LeaveIntent,
    NodeFilter,
    Query,
    QueryResponse,
    Relay,
    SerfPushPull,
    TagFilter,
    UserEvent,
)
from moot.gossip.swim.member import Member
from moot.gossip.swim.messages import (
    Ack,
    Alive,
    Dead,
    ErrorReply,
    IndirectPing,
    Nack,
    Ping,
    PushPull,
    Suspect,
    User,
)
from moot.gossip.wire.serf_codec import decode_filter

FOLDER = Path(__file__).parent.parent / "vectors"
NO_SOURCE = Address(b"", 0)
FRAMING = {"type", "inner", "inner_type", "UserStateLen", "UserMsgLen", "states", "user_state_hex"}
"""What the vectors tell of the bytes around a message; tested for itself."""


def load(name: str) -> dict[str, Any]:
    """One file of vectors, such as "lzw"."""
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return content


def vectors(name: str) -> dict[str, dict[str, Any]]:
    """The vectors of a file by their names."""
    return {vector["name"]: vector for vector in load(name)["vectors"]}


def _node(member: Member, name_key: str) -> dict[str, object]:
    return {
        name_key: member.name,
        "Addr": member.address.ip,
        "Port": member.address.port,
        "Meta": member.meta,
        "Incarnation": member.incarnation,
        "Vsn": member.versions,
    }


def _source(message: Ping | IndirectPing) -> dict[str, object]:
    source = message.source or NO_SOURCE
    return {"SourceAddr": source.ip, "SourcePort": source.port, "SourceNode": message.source_node}


def describe(message: object) -> dict[str, object]:
    """A memberlist message by Go's field names; byte strings are bytes, nil and empty are the same."""
    match message:
        case Ping():
            return {"SeqNo": message.seq, "Node": message.node, **_source(message)}
        case IndirectPing():
            target = {"Target": message.target.ip, "Port": message.target.port}
            return {"SeqNo": message.seq, "Node": message.node, "Nack": message.nack, **target, **_source(message)}
        case Ack():
            return {"SeqNo": message.seq, "Payload": message.payload}
        case Nack():
            return {"SeqNo": message.seq}
        case Suspect() | Dead():
            return {"Incarnation": message.incarnation, "Node": message.node, "From": message.accuser}
        case Alive():
            return _node(message.member, "Node")
        case ErrorReply():
            return {"Error": message.text}
        case PushPull():
            return {
                "Join": message.join,
                "Nodes": len(message.members),
                "states": [{**_node(member, "Name"), "State": int(member.status)} for member in message.members],
            }
        case User():
            return describe_serf(message.body)
    raise AssertionError(message)


def describe_serf(message: object) -> dict[str, object]:
    """The same for a Serf message."""
    match message:
        case LeaveIntent():
            return {"LTime": message.ltime, "Node": message.node, "Prune": message.prune}
        case JoinIntent():
            return {"LTime": message.ltime, "Node": message.node}
        case UserEvent():
            head = {"LTime": message.ltime, "Name": message.name}
            return {**head, "Payload": message.payload, "CC": message.coalesce}
        case Query():
            return _describe_query(message)
        case QueryResponse():
            head = {"LTime": message.ltime, "ID": message.id, "From": message.sender}
            return {**head, "Flags": message.flags, "Payload": message.payload}
        case Relay():
            ip, port = message.destination
            return {"DestAddr": {"IP": ip, "Port": port, "Zone": ""}, "DestName": message.destination_name}
        case ConflictResponse():
            return _describe_conflict(message)
        case KeyRequest():
            return {"Key": message.key}
        case KeyResponse():
            head = {"Result": message.result, "Message": message.text}
            return {**head, "Keys": message.keys, "PrimaryKey": message.primary}
        case SerfPushPull():
            return _describe_state(message)
    raise AssertionError(message)


def _describe_query(message: Query) -> dict[str, object]:
    return {
        "LTime": message.ltime,
        "ID": message.id,
        "Addr": message.source.ip,
        "Port": message.source.port,
        "SourceNode": message.source_node,
        "Filters": message.filters,
        "Flags": message.flags,
        "RelayFactor": message.relay_factor,
        "Timeout": message.timeout_ns,
        "Timeout_ns": message.timeout_ns,
        "Name": message.name,
        "Payload": message.payload,
    }


def _describe_conflict(message: ConflictResponse) -> dict[str, object]:
    member = message.member
    if member is None:
        return {"member": None}
    names = ("ProtocolMin", "ProtocolMax", "ProtocolCur", "DelegateMin", "DelegateMax", "DelegateCur")
    return {
        "Name": member.name,
        "Addr": member.address.ip,
        "Port": member.address.port,
        "Tags": dict(member.tags),
        "Status": member.status,
        **dict(zip(names, member.versions, strict=True)),
    }


def _describe_state(message: SerfPushPull) -> dict[str, object]:
    return {
        "LTime": message.ltime,
        "EventLTime": message.event_ltime,
        "QueryLTime": message.query_ltime,
        "StatusLTimes": dict(message.status_ltimes),
        "LeftMembers": message.left_members,
        "Events": [
            slot and {"LTime": slot.ltime, "Events": [{"Name": name, "Payload": load} for name, load in slot.events]}
            for slot in message.events
        ],
    }


def assert_same(told: dict[str, Any], found: dict[str, object]) -> None:
    """Every field that the vector tells must be what was decoded."""
    for key, value in told.items():
        name = key.removesuffix("_hex")
        if key in FRAMING:
            continue
        assert name in found, f"{name} is not described"
        wanted = _unhexed(value) if key.endswith("_hex") else value
        assert _same(wanted, found[name]), f"{name}: told {value!r}, found {found[name]!r}"


def _unhexed(value: Any) -> object:  # noqa: ANN401 - JSON of any shape
    return [bytes.fromhex(item) for item in value] if isinstance(value, list) else bytes.fromhex(value)


def _filter(told: dict[str, Any]) -> Filter:
    value = told["value"]
    return TagFilter(value["Tag"], value["Expr"]) if told["filter_type"] else NodeFilter(value)


def _same(wanted: Any, found: object) -> bool:  # noqa: ANN401 - JSON of any shape
    if isinstance(wanted, dict) and set(wanted) == {"hex"}:
        return found == bytes.fromhex(wanted["hex"])
    if isinstance(wanted, dict) and set(wanted) == {"slots", "non_nil"}:
        assert isinstance(found, list)
        used = [slot for slot in found if slot is not None]
        return len(found) == wanted["slots"] and _same(wanted["non_nil"], used)
    if isinstance(wanted, dict) and isinstance(found, dict):
        plain = {key.removesuffix("_hex"): _unhexed(item) for key, item in wanted.items() if key.endswith("_hex")}
        plain |= {key: item for key, item in wanted.items() if not key.endswith("_hex")}
        return plain.keys() == found.keys() and all(_same(plain[key], found[key]) for key in plain)
    if isinstance(wanted, dict) and isinstance(found, bytes):
        return _filter(wanted) == decode_filter(found)
    if isinstance(found, bytes):
        return found == (wanted.encode() if isinstance(wanted, str) else bytes(wanted or b""))
    if isinstance(found, list | tuple):
        told = wanted or []
        return len(told) == len(found) and all(map(_same, told, found))
    return bool(wanted == found)
