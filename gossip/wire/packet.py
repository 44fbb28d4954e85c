"""Packets: the layers around messages in a datagram, in and out.

From outside to inside: label, encryption, CRC, compression, then one message bare or several as a compound.
"""

import zlib
from collections.abc import Sequence
from typing import Final

from moot.gossip.config import WireConfig
from moot.gossip.errors import CryptoError, LimitExceeded, WireError
from moot.gossip.pack import as_fields, octets, pack, u8, unpack
from moot.gossip.record import message
from moot.gossip.swim.messages import ErrorReply, PacketMessage
from moot.gossip.wire import lzw
from moot.gossip.wire.codec import (
    COMPOUND,
    COMPRESS,
    HAS_CRC,
    HAS_LABEL,
    INDIRECT_PING,
    PING,
    decode,
    encode,
)
from moot.gossip.wire.keyring import SEAL_SIZE, Keyring
from moot.gossip.wire.limits import (
    COMPOUND_MAX,
    COMPRESS_MAX,
    DEPTH_MAX,
    PACKET_MAX,
    PART_MAX,
    PARTS_MAX,
    REQUESTS_MAX,
)

COMPRESS_KEYS: Final = (b"Algo", b"Buf")
CRC_SIZE: Final = 5
COMPOUND_OVERHEAD: Final = 2
PART_OVERHEAD: Final = 2


@message
class Opened:
    """What was in a packet, in its order, and what was wrong with parts of it."""

    messages: list[PacketMessage]
    errors: list[WireError]


def label_header(label: bytes) -> bytes:
    """What stands before a labelled packet or stream; nothing for the empty label."""
    return bytes((HAS_LABEL, len(label))) + label if label else b""


def overhead_of(config: WireConfig, keyring: Keyring | None) -> int:
    """Bytes that label and encryption add to a packet, at most. CRC is not counted, as in the reference."""
    sealed = SEAL_SIZE[config.encryption_version] if keyring is not None and config.verify_outgoing else 0
    return len(label_header(config.label)) + sealed


def compressed(plain: bytes) -> bytes:
    """A compress message around `plain`."""
    return bytes((COMPRESS,)) + pack({b"Algo": 0, b"Buf": lzw.compress(plain)})


def squeezed(value: object) -> bytes:
    """What a compress message holds, still compressed, from its decoded body. Raises WireError."""
    fields = as_fields(value, COMPRESS_KEYS)
    if u8(fields, b"Algo") != 0:
        raise WireError("unsupported", "a compression algorithm other than LZW")
    return octets(fields, b"Buf")


class _Opening:
    """One packet being taken apart: what it gave so far, and what it has cost."""

    __slots__ = ("compresses", "errors", "messages", "parts", "requests")

    def __init__(self) -> None:
        self.messages: list[PacketMessage] = []
        self.errors: list[WireError] = []
        self.parts = self.compresses = self.requests = 0

    def take(self, data: bytes, depth: int) -> None:
        """Take one message apart, whatever it is. Raises WireError; what was found before stays."""
        kind = data[0] if data else None
        if kind != COMPOUND and kind != COMPRESS:
            if kind in (PING, INDIRECT_PING):
                self.requests += 1
                if self.requests > REQUESTS_MAX:
                    raise LimitExceeded("requests", f"more than {REQUESTS_MAX} pings in a packet")
            found = decode(data)
            if isinstance(found, ErrorReply):
                raise WireError("unsupported", "an error reply in a packet")
            self.messages.append(found)
        elif depth >= DEPTH_MAX:
            raise LimitExceeded("depth", f"more than {DEPTH_MAX} layers")
        elif kind == COMPRESS:
            self.compresses += 1
            if self.compresses > COMPRESS_MAX:
                raise LimitExceeded("compress", "compressed more than once")
            self.take(lzw.decompress(squeezed(unpack(data[1:])), PACKET_MAX), depth + 1)
        else:
            self._take_compound(data, depth + 1)

    def _take_compound(self, data: bytes, depth: int) -> None:
        """Parts before one that is cut off are kept, and a faulty part does not spoil the others."""
        count = data[1] if len(data) > 1 else 0
        at = 2 + 2 * count
        if len(data) < max(at, 2):
            raise WireError("truncated", "a compound without all its lengths")
        for index in range(2, at, 2):
            size = data[index] << 8 | data[index + 1]
            if size > len(data) - at:
                self.errors.append(WireError("truncated", "a compound without all its parts"))
                return
            if self.parts >= PARTS_MAX:
                self.errors.append(LimitExceeded("parts", f"more than {PARTS_MAX} parts in a packet"))
                return
            self.parts += 1
            try:
                self.take(data[at : at + size], depth)
            except WireError as error:
                self.errors.append(error)
            at += size


class PacketCodec:
    """Messages to datagrams and back, under fixed settings and a keyring that may change."""

    def __init__(self, config: WireConfig, keyring: Keyring | None) -> None:
        self._config = config
        self._keyring = keyring
        self._header = label_header(config.label)

    @property
    def overhead(self) -> int:
        """Bytes that label and encryption add, at most."""
        return overhead_of(self._config, self._keyring)

    def seal(self, messages: Sequence[PacketMessage], crc: bool) -> bytes:
        """One datagram: a single message bare, up to 255 as a compound. Raises LimitExceeded when they do
        not fit a compound; the datagram's own size is not checked."""
        parts = [encode(part) for part in messages]
        return self._wrap(parts[0] if len(parts) == 1 else _compound(parts), crc)

    def seal_all(self, messages: Sequence[PacketMessage], crc: bool) -> list[bytes]:
        """As many datagrams as the limit of 255 messages in each asks for."""
        return [
            self.seal(messages[start : start + COMPOUND_MAX], crc) for start in range(0, len(messages), COMPOUND_MAX)
        ]

    def _wrap(self, plain: bytes, crc: bool) -> bytes:
        config = self._config
        if config.compress:
            smaller = compressed(plain)
            if len(smaller) < len(plain):
                plain = smaller
        if crc:
            plain = b"\x0c" + zlib.crc32(plain).to_bytes(4, "big") + plain
        if self._keyring is not None and config.verify_outgoing:
            plain = self._keyring.seal(plain, config.label, config.encryption_version)
        return self._header + plain

    def open(self, data: bytes) -> Opened:
        """The messages of a datagram. Raises WireError for faults of the whole: nothing of it counts then."""
        plain = self._unwrap(self._without_label(data))
        if len(plain) >= CRC_SIZE and plain[0] == HAS_CRC:
            content = plain[CRC_SIZE:]
            if zlib.crc32(content) != int.from_bytes(plain[1:CRC_SIZE], "big"):
                raise WireError("crc", "the checksum does not match")
            plain = content
        opening = _Opening()
        opening.take(plain, 0)
        return Opened(opening.messages, opening.errors)

    def _without_label(self, data: bytes) -> bytes:
        """The rest after the label, which must be ours; with the check skipped there must be none."""
        if not data:
            raise WireError("empty", "a packet without bytes")
        config = self._config
        label, rest = b"", data
        if data[0] == HAS_LABEL:
            size = data[1] if len(data) > 1 else 0
            label, rest = data[2 : 2 + size], data[2 + size :]
            if not label or len(label) != size:
                raise WireError("label", "a label header without its label")
        if label != (b"" if config.skip_inbound_label_check else config.label):
            raise WireError("label", "the label is not ours")
        return rest

    def _unwrap(self, data: bytes) -> bytes:
        if self._keyring is None:
            return data
        try:
            return self._keyring.open(data, self._config.label)
        except CryptoError:
            if self._config.verify_incoming:
                raise
            return data


def _compound(parts: Sequence[bytes]) -> bytes:
    if len(parts) > COMPOUND_MAX:
        raise LimitExceeded("parts", f"{len(parts)} messages in one compound")
    sizes = [len(part) for part in parts]
    if max(sizes, default=0) > PART_MAX:
        raise LimitExceeded("size", f"a message of {max(sizes)} bytes in a compound")
    lengths = b"".join(size.to_bytes(2, "big") for size in sizes)
    return b"".join((bytes((COMPOUND, len(parts))), lengths, *parts))
