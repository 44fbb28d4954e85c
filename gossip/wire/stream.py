"""Streams: a parser that is fed bytes as they arrive, and frames to send. One message each way.

From outside to inside: label (written once, by the dialer), encryption, compression, message. Only encrypted
frames carry their length; everything else is delimited by its own structure.
"""

from collections.abc import Callable, Generator
from typing import Final, TypeVar

from moot.gossip.config import WireConfig
from moot.gossip.errors import CryptoError, LimitExceeded, WireError
from moot.gossip.pack import Cursor, Incomplete, as_fields, flag, i64, pack
from moot.gossip.serf.messages import SerfPushPull
from moot.gossip.swim.member import Member
from moot.gossip.swim.messages import Ack, ErrorReply, Ping, PushPull, StreamMessage, User
from moot.gossip.wire.codec import (
    ACK,
    COMPRESS,
    ENCRYPT,
    ERROR,
    HAS_LABEL,
    HEADER_KEYS,
    PING,
    PUSH_PULL,
    USER,
    decode_node,
    decode_user,
    encode,
    read_body,
    user_bytes,
)
from moot.gossip.wire.keyring import Keyring
from moot.gossip.wire.limits import (
    FAULTY_NODES_MAX,
    MEMBER_SIZE,
    NODE_MAX,
    NODE_MIN,
    NODES_MAX,
    STREAM_FRAMING_MAX,
    STREAM_MAX,
    USER_MAX,
)
from moot.gossip.wire.lzw import TABLE_SIZE_MAX, decompress_slices
from moot.gossip.wire.packet import COMPRESS_KEYS, compressed, label_header, squeezed
from moot.gossip.wire.serf_codec import PUSH_PULL as SERF_PUSH_PULL
from moot.gossip.wire.serf_codec import read_push_pull
from moot.gossip.wire.slices import Slices

T = TypeVar("T")
Waits = Generator[bool, None, T]
"""A piece of the parser. It yields True when it needs more bytes, False after a slice of work; returns what it
read."""

PLAIN_KINDS: Final = frozenset({PING, ACK, PUSH_PULL, USER, ERROR})
LENGTH_SIZE: Final = 4
SLICE: Final = 16 * 1024
"""Bytes of members that make a slice of work, where each counts for `NODE_WORK` more than it has."""
NODE_WORK: Final = 64


class StreamReader:
    """Parses the one message that a stream carries in one direction.

    `expect_label`: whether the peer is the dialer, who begins with the label. What is given stays within 20 MiB,
    and so does what it decompresses to; what is made of that may take several times as much, see `held`.
    """

    def __init__(self, config: WireConfig, keyring: Keyring | None, *, expect_label: bool) -> None:
        self._config = config
        self._keyring = keyring
        self._expect_label = expect_label
        self._cursor = Cursor()
        self._given = 0
        self._built = 0
        self._parse = self._message()
        self.hungry = True
        """Whether the parser waits for more bytes; else it only paused."""
        self.unwrapped = False
        """Whether label, encryption and compression are off. From here on the reference answers a fault with
        silence, not with an error reply; see `error_text`."""
        self.kind = -1
        """The type byte of the message once `unwrapped`, else -1."""
        self.errors: list[WireError] = []
        """Faults that did not spoil the message: members or events left out, a state that cannot be read."""

    @property
    def held(self) -> int:
        """About how many bytes of memory the unfinished message takes, rather too high than too low."""
        return self._cursor.held + self._built

    def feed(self, data: bytes) -> StreamMessage | None:
        """`give`, and `step` to the end of what can be done with it: up to seconds with the largest."""
        self.give(data)
        message = self.step()
        while message is None and not self.hungry:
            message = self.step()
        return message

    def give(self, data: bytes) -> None:
        """More bytes as received, when the reader is hungry."""
        self._given += len(data)
        self._cursor.feed(data)

    def step(self) -> StreamMessage | None:
        """Parse for a millisecond or two. Returns the message when it is complete; what follows it is ignored.

        Returns None when more bytes are needed, then it is `hungry`, or another step. Raises WireError, after
        which the reader is of no more use.
        """
        try:
            self.hungry = next(self._parse)
        except StopIteration as stop:
            message: StreamMessage = stop.value
            return message
        if self.hungry and self._given > STREAM_MAX + STREAM_FRAMING_MAX:
            raise LimitExceeded("stream", f"more than {STREAM_MAX} bytes")
        return None

    # ---- waiting for bytes

    def _await(self, read: Callable[[], T]) -> Waits[T]:
        """Repeat a step of the cursor until it has all its bytes. Raises when none can come any more."""
        cursor = self._cursor
        while True:
            try:
                return read()
            except Incomplete:
                if cursor.closed:
                    raise
            yield True

    def _take(self, count: int) -> Waits[bytes]:
        """The next bytes as they are."""
        while self._cursor.available() < count:
            if self._cursor.closed:
                raise Incomplete
            yield True
        return self._cursor.take(count)

    def _in_slices(self, work: Slices[T]) -> Waits[T]:
        """Do the work, and count the memory it takes."""
        while True:
            try:
                self._built += next(work)
            except StopIteration as stop:
                result: T = stop.value
                return result
            yield False

    # ---- layers

    def _message(self) -> Waits[StreamMessage]:
        kind = (yield from self._take(1))[0]
        if kind == HAS_LABEL and self._expect_label:
            yield from self._label()
            kind = (yield from self._take(1))[0]
        elif self._expect_label and self._expected_label():
            raise WireError("label", "no label where ours is expected")
        if kind == ENCRYPT:
            kind = yield from self._decrypt()
        elif self._keyring is not None and self._config.verify_incoming:
            raise CryptoError("plain", "plain where encryption is required")
        if kind == COMPRESS:
            kind = yield from self._decompress()
        self.kind = kind
        self.unwrapped = True
        if kind not in PLAIN_KINDS:
            raise WireError("type", f"message type {kind} on a stream")
        if kind == PUSH_PULL:
            return (yield from self._push_pull())
        if kind == USER:
            return (yield from self._user())
        body = yield from self._await(self._cursor.value)
        message = read_body(kind, body)
        assert isinstance(message, Ping | Ack | ErrorReply)
        return message

    def _expected_label(self) -> bytes:
        return b"" if self._config.skip_inbound_label_check else self._config.label

    def _label(self) -> Waits[None]:
        size = (yield from self._take(1))[0]
        if size == 0:
            raise WireError("label", "a label header without its label")
        if (yield from self._take(size)) != self._expected_label():
            raise WireError("label", "the label is not ours")

    def _decrypt(self) -> Waits[int]:
        """Open the frame; returns the type byte of what was in it."""
        if self._keyring is None:
            raise CryptoError("sealed", "encrypted, and there is no keyring")
        head = yield from self._take(LENGTH_SIZE)
        size = int.from_bytes(head, "big")
        if size > STREAM_MAX:
            raise LimitExceeded("stream", f"a frame of {size} bytes")
        sealed = yield from self._take(size)
        aad = bytes((ENCRYPT,)) + head + self._config.label
        self._cursor = Cursor(self._keyring.open(sealed, aad), closed=True)
        return (yield from self._take(1))[0]

    def _decompress(self) -> Waits[int]:
        """Read the compress message key by key, since its one big value may have any size up to the limit."""
        count, is_map = yield from self._await(self._cursor.structure)
        fields: dict[bytes, object] = {}
        for index in range(count):
            key: object = COMPRESS_KEYS[index] if index < len(COMPRESS_KEYS) else b""
            if is_map:
                key = yield from self._await(self._cursor.value)
            if key == b"Buf":
                fields[b"Buf"] = yield from self._await(self._big_value)
            elif key == b"Algo":
                fields[b"Algo"] = yield from self._await(self._cursor.value)
            else:
                yield from self._await(self._cursor.skip)
        packed = squeezed(fields)
        self._built = len(packed) + TABLE_SIZE_MAX
        content = yield from self._in_slices(decompress_slices(packed, STREAM_MAX))
        self._cursor, self._built = Cursor(content, closed=True), 0
        return (yield from self._take(1))[0]

    def _big_value(self) -> object:
        return self._cursor.value(STREAM_MAX)

    # ---- messages

    def _push_pull(self) -> Waits[PushPull]:
        header = as_fields((yield from self._await(self._cursor.value)), HEADER_KEYS)
        count, state_size = i64(header, b"Nodes"), i64(header, b"UserStateLen")
        if not 0 <= count <= NODES_MAX:
            raise LimitExceeded("nodes", f"a push/pull of {count} members")
        if not 0 <= state_size <= STREAM_MAX:
            raise LimitExceeded("state", f"a state of {state_size} bytes")
        members = yield from self._members(count)
        raw = yield from self._take(state_size)
        return PushPull(flag(header, b"Join"), members, (yield from self._state(raw)) if raw else None)

    def _members(self, count: int) -> Waits[list[Member]]:
        """So many members, but for those that cannot be read, which are noted."""
        cursor = self._cursor
        if cursor.closed and count * NODE_MIN > cursor.available():
            raise LimitExceeded("nodes", f"{count} members announced in {cursor.available()} bytes")
        members: list[Member] = []
        pause = SLICE
        for index in range(count):
            node = yield from self._await(self._node)
            try:
                members.append(decode_node(node))
            except WireError as error:
                self.errors.append(error)
                if index + 1 - len(members) > FAULTY_NODES_MAX:
                    raise LimitExceeded("nodes", f"more than {FAULTY_NODES_MAX} faulty members") from error
            self._built = cursor.position + MEMBER_SIZE * len(members)
            work = cursor.position + NODE_WORK * index
            if work > pause:
                pause = work + SLICE
                yield False
        return members

    def _node(self) -> object:
        return self._cursor.value(NODE_MAX)

    def _state(self, raw: bytes) -> Waits[SerfPushPull | None]:
        """The layer above's part. One that cannot be read is noted; members count without it all the same."""
        self._built += 2 * len(raw)  # the bytes, and the texts made of them
        try:
            if raw[0] != SERF_PUSH_PULL:
                raise WireError("state", "a user state that is no push/pull of Serf's")
            return (yield from self._in_slices(read_push_pull(raw, self.errors)))
        except WireError as error:
            self.errors.append(error)
            return None

    def _user(self) -> Waits[User]:
        """Deviation: the reference takes up to 20 MiB, but nobody sends any."""
        header = as_fields((yield from self._await(self._cursor.value)), (b"UserMsgLen",))
        size = i64(header, b"UserMsgLen")
        if not 0 <= size <= USER_MAX:
            raise LimitExceeded("user", f"a user message of {size} bytes")
        return decode_user((yield from self._take(size)))


def content(message: StreamMessage, config: WireConfig) -> bytes:
    """A message on a stream without encryption and label: the part that may be sent more than once."""
    plain = _user_frame(message) if isinstance(message, User) else encode(message)
    return compressed(plain) if config.compress else plain


def frame(message: StreamMessage, config: WireConfig, keyring: Keyring | None, *, dialer: bool) -> bytes:
    """All bytes of a message on a stream; the dialer's begin with the label."""
    return wrapped(content(message, config), config, keyring, dialer=dialer)


def wrapped(plain: bytes, config: WireConfig, keyring: Keyring | None, *, dialer: bool) -> bytes:
    """`content` under encryption and label."""
    if keyring is not None and config.verify_outgoing:
        plain = _sealed(plain, config, keyring)
    return label_header(config.label) + plain if dialer else plain


def _user_frame(message: User) -> bytes:
    """On streams a user message has a header with its length, which it has not in packets."""
    raw = user_bytes(message)
    return bytes((USER,)) + pack({b"UserMsgLen": len(raw)}) + raw


def _sealed(plain: bytes, config: WireConfig, keyring: Keyring) -> bytes:
    """The frame's length is authenticated, so it has to be known before sealing."""
    padding = 0 if config.encryption_version == 1 else 16 - len(plain) % 16
    head = bytes((ENCRYPT,)) + (29 + len(plain) + padding).to_bytes(LENGTH_SIZE, "big")
    return head + keyring.seal(plain, head + config.label, config.encryption_version)


_TEXTS: Final = {
    "sealed": "Remote state is encrypted and encryption is not configured",
    "plain": "Encryption is configured but remote state is not encrypted",
    "no-key": "No installed keys could decrypt the message",
    "stream": f"Remote node state is larger than limit ({STREAM_MAX})",
}


def error_text(error: WireError) -> str:
    """What a listener answers in an ErrorReply, in the words of memberlist 0.2 where it has some.

    The reference answers only faults from before `StreamReader.unwrapped`, and no label faults.
    """
    return _TEXTS.get(error.kind, str(error))
