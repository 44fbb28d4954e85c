"""Frames of yamux as a peer writes and reads them, written down anew from its specification."""

from typing import NamedTuple

DATA, WINDOW_UPDATE, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8


class Frame(NamedTuple):
    """One frame; `payload` only in data frames."""

    kind: int
    flags: int
    stream: int
    length: int
    payload: bytes = b""


def frame(kind: int, flags: int, stream: int, length: int, payload: bytes = b"", version: int = 0) -> bytes:
    """A frame whose head may say anything."""
    head = bytes([version, kind]) + flags.to_bytes(2, "big") + stream.to_bytes(4, "big") + length.to_bytes(4, "big")
    return head + payload


def opening(stream: int) -> bytes:
    """Open a stream, as Go's library does."""
    return frame(WINDOW_UPDATE, SYN, stream, 0)


def data(stream: int, payload: bytes, flags: int = 0) -> bytes:
    """Bytes on a stream."""
    return frame(DATA, flags, stream, len(payload), payload)


def frames(raw: bytes) -> list[Frame]:
    """All frames that are complete."""
    found, at = [], 0
    while at + 12 <= len(raw):
        kind, flags = raw[at + 1], int.from_bytes(raw[at + 2 : at + 4], "big")
        stream, length = int.from_bytes(raw[at + 4 : at + 8], "big"), int.from_bytes(raw[at + 8 : at + 12], "big")
        end = at + 12 + (length if kind == DATA else 0)
        if end > len(raw):
            break
        found.append(Frame(kind, flags, stream, length, raw[at + 12 : end]))
        at = end
    return found
