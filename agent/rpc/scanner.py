"""Scanner: cuts the objects out of what a client sends, without building any of them. Pure.

A decoder believes a length when it reads it: three bytes that announce an array take eight kilobytes, and
arrays nest. So nothing is decoded here before it is there whole and is known to be small: bytes, depth and
number of values are bounded, and each length is held against the bounds before the bytes it announces come.
"""

from typing import Final

from moot.gossip.errors import LimitExceeded, WireError

OBJECT_MAX: Final = 128 * 1024
"""Bytes of one object. The largest that makes sense is an event whose payload the agent then refuses."""
VALUES_MAX: Final = 4096
"""Values in one object, at every level together."""
DEPTH_MAX: Final = 8

_FIXED: Final = {0xC0: 1, 0xC2: 1, 0xC3: 1, 0xCA: 5, 0xCB: 9, **{0xCC + n: 1 + (1 << n) for n in range(4)}} | {
    0xD0 + n: 1 + (1 << n) for n in range(4)
}
"""Bytes of nil, booleans, floats and integers, by their first byte."""
_RAW: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
"""Bytes of the length of byte strings and texts."""
_CONTAINER: Final = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
"""Bytes of the length of arrays and maps, and values per entry."""


class Scanner:
    """Feed it bytes as they come, take whole objects out.

    It never goes back: what was scanned of an object that is not complete yet is not scanned again. The bounds
    are those of one object; who reads answers that it asked for may want others.
    """

    def __init__(
        self, *, object_max: int = OBJECT_MAX, values_max: int = VALUES_MAX, depth_max: int = DEPTH_MAX
    ) -> None:
        self._object_max = object_max
        self._values_max = values_max
        self._depth_max = depth_max
        self._bytes = bytearray()
        self._at = 0  # where the next value begins; may lie beyond the bytes
        self._open: list[int] = []  # of each container that is open: how many values it still waits for
        self._values = 0

    @property
    def held(self) -> int:
        """Bytes fed and not taken."""
        return len(self._bytes)

    def feed(self, data: bytes | bytearray) -> None:
        self._bytes += data

    def take(self) -> bytes | None:
        """The next object's bytes, None when it is not complete. Raises WireError; after that it is of no use."""
        while (found := self._next()) is not None:
            length, entries = found
            self._at += length
            self._values += 1
            if self._at > self._object_max or self._values + entries > self._values_max:
                raise LimitExceeded("size", f"an object above {self._object_max} bytes or {self._values_max} values")
            if entries:
                if len(self._open) >= self._depth_max:
                    raise LimitExceeded("depth", f"an object nested deeper than {self._depth_max}")
                self._open.append(entries)
                continue
            while self._open:
                self._open[-1] -= 1
                if self._open[-1]:
                    break
                self._open.pop()
            if not self._open:
                break
        if self._open or not self._values or self._at > len(self._bytes):
            return None
        return self._cut()

    def _cut(self) -> bytes:
        taken = bytes(self._bytes[: self._at])
        del self._bytes[: self._at]
        self._at = self._values = 0
        return taken

    def _next(self) -> tuple[int, int] | None:
        """Of the next value: its bytes, or those of its header, and how many values it contains.

        None when that cannot be told yet, or when there is nothing more to an object.
        """
        if self._values and not self._open:
            return None  # all of it is known, its last bytes are still to come
        data, at = self._bytes, self._at
        if at >= len(data):
            return None
        first = data[at]
        if first < 0x80 or first >= 0xE0:
            return 1, 0
        if first < 0x90:
            return 1, 2 * (first & 0x0F)
        if first < 0xA0:
            return 1, first & 0x0F
        if first < 0xC0:
            return 1 + (first & 0x1F), 0
        if first in _FIXED:
            return _FIXED[first], 0
        width, each = (_RAW[first], 0) if first in _RAW else _CONTAINER.get(first, (0, 0))
        if not width:
            raise WireError("malformed", f"no value begins with 0x{first:02x} here")
        if at + 1 + width > len(data):
            return None
        count = int.from_bytes(data[at + 1 : at + 1 + width])
        return (1 + width, each * count) if each else (1 + width + count, 0)
