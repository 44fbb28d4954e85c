"""Any message that our side could hold, for hypothesis."""

from hypothesis import strategies as st

from moot.gossip.record import Address
from moot.gossip.serf.messages import (
    ConflictMember,
    ConflictResponse,
    Coordinate,
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
    UserEvent,
)
from moot.gossip.swim.member import VERSIONS, Member, Status
from moot.gossip.swim.messages import (
    Ack,
    Alive,
    Dead,
    ErrorReply,
    IndirectPing,
    Nack,
    PacketMessage,
    Ping,
    PushPull,
    StreamMessage,
    Suspect,
    User,
)
from moot.gossip.wire.serf_codec import encode_serf


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


# lengths around the borders of msgpack's families, and bytes that are no UTF-8
sizes = st.one_of(st.integers(0, 40), st.sampled_from([31, 32, 127, 128, 255, 256, 300]))
blobs = st.one_of(st.binary(max_size=40), sizes.map(lambda size: b"\xff" * size))
texts = st.one_of(st.text(max_size=20).map(lambda text: _text(text.encode("utf-8", "replace"))), blobs.map(_text))
names = texts.filter(bool)
u8s = st.integers(0, 0xFF)
u16s = st.one_of(st.integers(0, 0xFFFF), st.sampled_from([0, 127, 128, 255, 256, 7946]))
u32s = st.one_of(st.integers(0, 0xFFFFFFFF), st.sampled_from([0, 127, 128, 65535, 65536]))
u64s = st.one_of(st.integers(0, (1 << 64) - 1), st.sampled_from([0, 1, 1 << 32]))
ips = st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16))
addresses = st.builds(Address, ips, u16s)
sources = st.none() | st.builds(Address, ips, st.integers(1, 0xFFFF))
floats = st.floats(allow_nan=False, allow_infinity=False)

members = st.builds(
    Member,
    names,
    addresses,
    u32s,
    st.sampled_from(Status),
    st.one_of(blobs, st.just(b"m" * 512)),
    st.one_of(st.just(VERSIONS), st.binary(max_size=8)),
)
pings = st.builds(Ping, u32s, texts, sources, texts)
acks = st.builds(Ack, u32s, st.one_of(blobs, st.just(b"p" * 65_000)))
messages_of_swim: st.SearchStrategy[PacketMessage] = st.one_of(
    pings,
    st.builds(IndirectPing, u32s, addresses, texts, st.booleans(), sources, texts),
    st.builds(Ack, u32s, blobs),
    st.builds(Nack, u32s),
    st.builds(Suspect, u32s, texts, texts),
    st.builds(Dead, u32s, texts, texts),
    members.map(lambda member: Alive(member.became(Status.ALIVE, member.incarnation))),
)
slots = st.builds(EventSlot, u64s, st.lists(st.tuples(texts, blobs), max_size=3))
states = st.builds(
    SerfPushPull,
    u64s,
    st.dictionaries(texts, u64s, max_size=5),
    st.lists(texts, max_size=4),
    u64s,
    st.lists(st.none() | slots.filter(lambda slot: slot.ltime or slot.events), max_size=5),
    u64s,
)
tags = st.dictionaries(texts, texts, max_size=3)
filters: st.SearchStrategy[Filter] = st.one_of(
    st.builds(NodeFilter, st.lists(texts, max_size=4)), st.builds(TagFilter, texts, texts)
)
queries = st.builds(
    Query,
    u64s,
    u32s,
    addresses,
    texts,
    st.lists(blobs, max_size=3),
    u32s,
    u8s,
    st.integers(-(1 << 63), (1 << 63) - 1),
    texts,
    blobs,
)
conflict_members = st.builds(
    ConflictMember, names, addresses, tags, st.integers(0, 4), st.binary(min_size=6, max_size=6)
)
coordinates = st.builds(Coordinate, st.lists(floats, min_size=8, max_size=8), floats, floats, floats)
messages_of_serf: st.SearchStrategy[SerfMessage] = st.one_of(
    st.builds(LeaveIntent, u64s, texts, st.booleans()),
    st.builds(JoinIntent, u64s, texts),
    states,
    st.builds(UserEvent, u64s, texts, blobs, st.booleans()),
    queries,
    st.builds(QueryResponse, u64s, u32s, texts, u32s, blobs),
    st.builds(ConflictResponse, st.none() | conflict_members),
    st.builds(KeyRequest, blobs),
    st.builds(KeyResponse, st.booleans(), texts, st.lists(texts, max_size=3), texts),
    st.builds(Relay, addresses, texts, blobs.filter(bool)),
)
users = messages_of_serf.map(lambda body: User(body, encode_serf(body)))
packet_messages: st.SearchStrategy[PacketMessage] = st.one_of(messages_of_swim, users)
push_pulls = st.builds(PushPull, st.booleans(), st.lists(members, max_size=4), st.none() | states)
stream_messages: st.SearchStrategy[StreamMessage] = st.one_of(
    pings, acks, users, push_pulls, st.builds(ErrorReply, texts)
)
