"""memberlist's messages as data. What they do is in core.py, what they look like as bytes in `gossip.wire`."""

from collections.abc import Sequence
from typing import TypeAlias

from moot.gossip.record import Address, message
from moot.gossip.swim.member import Member


@message
class Ping:
    """Are you there? `node` is whom it is meant for; empty is anybody.

    The ack goes to `source` when it is given, else to where the packet came from.
    """

    seq: int
    node: str
    source: Address | None = None
    source_node: str = ""


@message
class IndirectPing:
    """Please ping `target` for me; with `nack`, tell me also when it did not answer you."""

    seq: int
    target: Address
    node: str
    nack: bool
    source: Address | None = None
    source_node: str = ""


@message
class Ack:
    """Answer to Ping or IndirectPing. A direct UDP ack carries the upper layer's bytes (Serf: a coordinate).

    An empty payload is sent as nil, as the reference does for relayed acks.
    """

    seq: int
    payload: bytes = b""


@message
class Nack:
    """The relay of an IndirectPing heard nothing from its target in time, but is alive itself."""

    seq: int


@message
class Suspect:
    """A claim: `accuser` got no answer from `node`."""

    incarnation: int
    node: str
    accuser: str


@message
class Alive:
    """A claim: `member` is alive, at this address, with this meta. `member.status` is ALIVE.

    It carries the table's own record, so that accepting it is one reference.
    """

    member: Member


@message
class Dead:
    """A claim: `node` is gone. When `accuser` is `node` itself, it left on purpose."""

    incarnation: int
    node: str
    accuser: str


@message
class User:
    """A message of the layer above, opaque here.

    `raw` holds the received bytes of `body` (without the user type byte), so that it can be passed on
    exactly as it came; empty when it was made here.
    """

    body: object
    raw: bytes = b""


@message
class PushPull:
    """A whole table over TCP. The reply copies `join` from the request.

    `state` is the upper layer's part (Serf: a SerfPushPull), None when there is none.
    """

    join: bool
    members: Sequence[Member]
    state: object | None = None


@message
class ErrorReply:
    """What a listener answers on a stream it cannot serve."""

    text: str


Claim: TypeAlias = Suspect | Alive | Dead
PacketMessage: TypeAlias = Ping | IndirectPing | Ack | Nack | Suspect | Alive | Dead | User
StreamMessage: TypeAlias = Ping | Ack | User | PushPull | ErrorReply
Message: TypeAlias = PacketMessage | PushPull | ErrorReply
