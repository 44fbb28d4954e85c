"""Framing of Nomad's RPC: Go's net/rpc in MessagePack. Pure.

The first byte of a connection says what it is for (`Mode`). In mode RPC, requests and answers follow each other,
each of two objects: a head, `{ServiceMethod, Seq}` and in answers `Error`, and a body. What is read is cut out
whole, and bounded, before anything is decoded.
"""

import enum
from typing import Final

from moot.agent.rpc.scanner import Scanner
from moot.gossip import pack
from moot.gossip.errors import LimitExceeded
from moot.gossip.record import message

HEAD_MAX: Final = 4096
"""Bytes of a head. An error text is the longest thing in one."""
DEPTH_MAX: Final = 16
REQUEST_MAX: Final = 256 * 1024
"""Bytes of a request's body. A node of Nomad's with all that was found out about it takes some 30 KB."""
REQUEST_VALUES_MAX: Final = 16 * 1024
ANSWER_MAX: Final = 16 * 1024 * 1024
"""Bytes of an answer that we asked for: the members of a pool of ten thousand take a third of it."""
ANSWER_VALUES_MAX: Final = 2 * 1024 * 1024
ERROR_CHARS_MAX: Final = 1024
"""Of an error text that we send."""
EMPTY: Final = pack.pack({})
"""A structure without fields, or with none that differs from zero."""

_HEAD_KEYS: Final = (b"ServiceMethod", b"Seq", b"Error")


class Mode(enum.IntEnum):
    """The first byte of a connection to the RPC port."""

    RPC = 1
    RAFT = 2
    MULTIPLEX = 3
    TLS = 4
    STREAMING = 5
    MULTIPLEX_V2 = 6


@message
class Head:
    """What a request or an answer begins with. An empty `error` is success."""

    method: str
    seq: int
    error: str = ""


def encode_request(method: str, seq: int, body: bytes) -> bytes:
    """A request; `body` is its encoded argument."""
    return pack.pack({"Seq": seq, "ServiceMethod": method}) + body


def encode_answer(asked: Head, *, error: str = "", body: bytes = EMPTY) -> bytes:
    """The answer to a request; an error goes out with an empty body, as from Go."""
    told = error if len(error) <= ERROR_CHARS_MAX else f"{error[:ERROR_CHARS_MAX]}..."
    head = pack.pack({"Error": told, "Seq": asked.seq, "ServiceMethod": asked.method})
    return head + (EMPTY if error else body)


class FrameReader:
    """Feed it bytes as they come, take heads with their bodies out."""

    def __init__(self, *, body_max: int = REQUEST_MAX, values_max: int = REQUEST_VALUES_MAX) -> None:
        self._scanner = Scanner(object_max=body_max, values_max=values_max, depth_max=DEPTH_MAX)
        self._head: Head | None = None

    @property
    def begun(self) -> bool:
        """Whether a part of a frame is here that is not complete."""
        return self._head is not None or self._scanner.held > 0

    def feed(self, data: bytes | bytearray) -> None:
        self._scanner.feed(data)

    def take(self) -> tuple[Head, bytes] | None:
        """The next head and its body, still encoded; None when they are not complete.

        Raises WireError; after that the reader is of no use.
        """
        if self._head is None:
            found = self._scanner.take()
            if found is None:
                return None
            self._head = _decode_head(found)
        body = self._scanner.take()
        if body is None:
            return None
        head, self._head = self._head, None
        return head, body


def _decode_head(data: bytes) -> Head:
    if len(data) > HEAD_MAX:
        raise LimitExceeded("size", f"a head above {HEAD_MAX} bytes")
    fields = pack.as_fields(pack.unpack(data), _HEAD_KEYS)
    return Head(pack.text(fields, b"ServiceMethod"), pack.u64(fields, b"Seq"), pack.text(fields, b"Error"))
