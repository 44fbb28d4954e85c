"""msgpack in Go's dialect, and the only place that imports msgpack.

Written: structures as maps with their keys sorted, strings and byte strings as "raw" (never str8 or bin, which
old peers refuse), unsigned integers in the shortest form, floats always with 64 bits.

Read: everything that both generations of go-msgpack accept. Strings and byte strings in any family, integers
of either family and any width, structures as maps or as arrays in declaration order, nil or absence as zero.
Names are bytes on the wire; they become text as UTF-8 with surrogateescape, which gives the same bytes back.

Whatever the bytes are, reading gives a value or a WireError. The C decoder reserves room for an array when it
sees its header, at every level of nesting, so the lengths that it may believe are small here; what can be
large goes through `Cursor`, which counts for itself.
"""

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar

import msgpack

from moot.gossip.errors import CommandError, LimitExceeded, WireError

T = TypeVar("T")
Fields: TypeAlias = Mapping[bytes, object]
"""A structure as read: Go's field name → value, where byte strings and strings are both bytes."""

ARRAY_MAX: Final = 1024
"""Longest array inside one object. Nested to the decoder's depth of 1024 this reserves 8 MiB at most."""
KEY_MAX: Final = 64 * 1024
SLICE: Final = 64 * 1024
"""A cursor hands the decoder this many bytes at a time, so that an oversized object is noticed soon."""

READ_SIZE: Final = 4096
"""What a cursor's decoder reserves at first; its own default is 1 MiB, which every open stream would pay."""

_FAULTS: Final = (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException)

pack: Final[Callable[[object], bytes]] = msgpack.Packer(use_bin_type=False, unicode_errors="surrogateescape").pack
"""One value as bytes. Maps are written in the order they have: give the keys sorted."""

pack_typed: Final[Callable[[object], bytes]] = msgpack.Packer(
    use_bin_type=True, unicode_errors="surrogateescape"
).pack
"""The same in the newer dialect that Serf's client RPC speaks: texts as str (str8, too), byte strings as bin."""


class Incomplete(WireError):
    """The bytes end before the value does. Feed the cursor and ask again."""

    def __init__(self) -> None:
        super().__init__("truncated", "the bytes end inside a value")


def unpack(data: bytes) -> object:
    """The first object in `data`; what follows it is ignored, as the reference does. Raises WireError."""
    try:
        return msgpack.unpackb(data, raw=True, max_array_len=ARRAY_MAX)
    except msgpack.ExtraData as exc:
        return exc.unpacked
    except _FAULTS as exc:
        raise WireError("malformed", str(exc)) from exc


def unpack_first(data: bytes) -> tuple[object, bytes]:
    """The first object in `data` and the bytes after it. Raises WireError."""
    try:
        return msgpack.unpackb(data, raw=True, max_array_len=ARRAY_MAX), b""
    except msgpack.ExtraData as exc:
        return exc.unpacked, bytes(exc.extra)
    except _FAULTS as exc:
        raise WireError("malformed", str(exc)) from exc


# ---- structures and their fields


def as_fields(value: object, keys: Sequence[bytes]) -> Fields:
    """A decoded structure by field name. `keys` are its fields in declaration order, for the array form."""
    if type(value) is dict:
        return value
    if type(value) is list:
        return dict(zip(keys, value, strict=False))
    if value is None:
        return {}
    raise _mismatch("structure", value)


def _mismatch(wanted: str, value: object, key: bytes = b"") -> WireError:
    where = f" in {key.decode()}" if key else ""
    return WireError("field", f"{type(value).__name__} instead of {wanted}{where}")


def _uint(bits: int) -> Callable[[Fields, bytes], int]:
    """A reader of an unsigned field of this width."""
    top = (1 << bits) - 1

    def read(fields: Fields, key: bytes) -> int:
        value = fields.get(key)
        if type(value) is int:
            if 0 <= value <= top:
                return value
            raise WireError("field", f"{key.decode()} does not fit into {bits} unsigned bits")
        if value is None:
            return 0
        raise _mismatch("integer", value, key)

    return read


u8: Final = _uint(8)
u16: Final = _uint(16)
u32: Final = _uint(32)
u64: Final = _uint(64)


def i64(fields: Fields, key: bytes) -> int:
    """A signed field of 64 bits."""
    value = fields.get(key)
    if value is None:
        return 0
    if type(value) is not int:
        raise _mismatch("integer", value, key)
    if not -(1 << 63) <= value < 1 << 63:
        raise WireError("field", f"{key.decode()} does not fit into 64 signed bits")
    return value


def flag(fields: Fields, key: bytes) -> bool:
    """A boolean field; 0 and 1 count too."""
    value = fields.get(key)
    if type(value) is bool:
        return value
    if value is None:
        return False
    if type(value) is int and value in (0, 1):
        return value == 1
    raise _mismatch("boolean", value, key)


def real(fields: Fields, key: bytes) -> float:
    """A finite float field; integers count too."""
    return real_of(fields.get(key))


def real_of(value: object) -> float:
    """A finite float. Raises WireError for NaN and infinities, which would poison whatever is computed."""
    if value is None:
        return 0.0
    if type(value) is not float and type(value) is not int:
        raise _mismatch("number", value)
    number = float(value)
    if not math.isfinite(number):
        raise WireError("field", "a number that is not finite")
    return number


def octets(fields: Fields, key: bytes) -> bytes:
    """A byte string field."""
    value = fields.get(key)
    return value if type(value) is bytes else octets_of(value)


def octets_of(value: object) -> bytes:
    """A byte string; also nil, or an array of integers below 256."""
    if type(value) is bytes:
        return value
    if value is None:
        return b""
    if type(value) is list and all(type(item) is int and 0 <= item < 256 for item in value):
        return bytes(value)
    raise _mismatch("byte string", value)


def text(fields: Fields, key: bytes) -> str:
    """A string field."""
    value = fields.get(key)
    if type(value) is bytes:
        return value.decode("utf-8", "surrogateescape")
    if value is None:
        return ""
    raise _mismatch("string", value, key)


def text_of(value: object) -> str:
    """A string; nil is the empty one."""
    if type(value) is bytes:
        return value.decode("utf-8", "surrogateescape")
    if value is None:
        return ""
    raise _mismatch("string", value)


def text_size(value: str) -> int:
    """How many bytes the text has on the wire."""
    return len(value) if value.isascii() else len(value.encode("utf-8", "surrogateescape"))


def check_text(*texts: str) -> None:
    """Raises CommandError for a text that no bytes stand for: with a surrogate that is no undecoded byte."""
    for text in texts:
        try:
            text_size(text)
        except UnicodeEncodeError:
            raise CommandError(f"{ascii(text)[:60]} is no text: it holds a lone surrogate") from None


def list_of(value: object, read: Callable[[object], T]) -> list[T]:
    """An array, each element read by `read`; nil is the empty one."""
    if value is None:
        return []
    if type(value) is not list:
        raise _mismatch("array", value)
    return [read(item) for item in value]


# ---- sizes, so that packing a packet needs no encoding


def uint_size(value: int) -> int:
    """Bytes of an encoded unsigned integer."""
    if value < 0x80:
        return 1
    if value < 0x100:
        return 2
    if value < 0x10000:
        return 3
    return 5 if value < 0x100000000 else 9


def raw_size(length: int) -> int:
    """Bytes of an encoded string or byte string of `length` bytes."""
    if length < 32:
        return length + 1
    return length + 3 if length < 0x10000 else length + 5


# ---- big or growing input


class Cursor:
    """Reads objects one after another out of bytes that may arrive bit by bit.

    Every method either returns and moves on, or raises and stays: after Incomplete, `feed` and call **the
    same method** again (the decoder resumes within the object, so nothing is scanned twice). With `closed`
    the bytes given are all there will be, and counts are checked against what remains.
    """

    __slots__ = ("_at", "_closed", "_given", "_mark", "_past", "_pending", "_unpacker")

    def __init__(self, data: bytes = b"", *, closed: bool = False) -> None:
        self._unpacker: Any = msgpack.Unpacker(raw=True, max_array_len=ARRAY_MAX, read_size=READ_SIZE)
        self._pending: bytes | bytearray = data if closed else bytearray(data)
        self._at = 0  # how much of _pending was handed on
        self._given = 0  # bytes handed on: to the decoder, or past it
        self._past = 0  # bytes that went past the decoder
        self._mark = 0  # where the object begins that is read now
        self._closed = closed

    @property
    def closed(self) -> bool:
        """Whether the bytes given are all there will be."""
        return self._closed

    @property
    def position(self) -> int:
        """Bytes read so far."""
        return self._mark

    @property
    def held(self) -> int:
        """Bytes kept in memory: what was not read yet, and of a closed cursor all that was given."""
        return self._given - self._mark + len(self._pending)

    def feed(self, data: bytes) -> None:
        """More bytes. Costs what they cost, however many wait already: none of those is copied."""
        assert isinstance(self._pending, bytearray), "a closed cursor is given nothing more"
        del self._pending[: self._at]
        self._at = 0
        self._pending += data

    def _pull(self) -> None:
        if self._at >= len(self._pending):
            raise Incomplete
        piece = self._pending[self._at : self._at + SLICE]
        self._unpacker.feed(piece)
        self._at += len(piece)
        self._given += len(piece)

    def _run(self, step: Callable[[], T], size_max: int) -> T:
        """Do one step of the decoder, giving it bytes while it asks for them.

        An object above `size_max` bytes is refused whether it is complete or not, so that the outcome does
        not depend on how the bytes were cut; at most `size_max` and a slice are decoded.
        """
        while True:
            try:
                result = step()
            except msgpack.OutOfData:
                end, done = self._given, False
            except _FAULTS as exc:
                raise WireError("malformed", str(exc)) from exc
            else:
                end, done = self._past + self._unpacker.tell(), True
            if end - self._mark > size_max:
                raise LimitExceeded("size", f"an object above {size_max} bytes")
            if done:
                self._mark = end
                return result
            self._pull()

    def value(self, size_max: int = KEY_MAX) -> object:
        """The next object whole, of `size_max` encoded bytes at most."""
        step: Callable[[], object] = self._unpacker.unpack
        return self._run(step, size_max)

    def skip(self) -> None:
        """Pass over the next object, of whatever size, without building it."""
        step: Callable[[], None] = self._unpacker.skip
        self._run(step, sys.maxsize)

    def raw(self) -> bytes:
        """The next object, of whatever size, as the bytes it is written in. For closed cursors only.

        So a fault inside it spoils nothing that follows.
        """
        start = self._mark
        self.skip()
        return bytes(self._pending[start : self._mark])

    def _header(self) -> tuple[int, bool]:
        """How many entries the next container has, and whether it is a map. Consumes the header only."""
        for step, is_map in ((self._unpacker.read_map_header, True), (self._unpacker.read_array_header, False)):
            try:
                return step(), is_map
            except msgpack.OutOfData:
                raise
            except ValueError:
                continue
        value = self._unpacker.unpack()
        if value is not None:
            raise _mismatch("map or array", value)
        return 0, False

    def structure(self) -> tuple[int, bool]:
        """Begin a structure: how many entries follow, and whether they are key-value pairs."""
        count, is_map = self._run(self._header, KEY_MAX)
        self._check_remaining(count * (2 if is_map else 1))
        return count, is_map

    def entries(self, count_max: int, *, pairs: bool) -> int:
        """Begin a map (`pairs`) or an array of values: how many entries follow. nil has none."""
        count, is_map = self._run(self._header, KEY_MAX)
        if is_map is not pairs and count:
            raise WireError("field", "array instead of map" if pairs else "map instead of array")
        if count > count_max:
            raise LimitExceeded("count", f"{count} entries, more than {count_max}")
        self._check_remaining(count * (2 if pairs else 1))
        return count

    def _check_remaining(self, least: int) -> None:
        if self._closed and least > self._given - self._mark + len(self._pending) - self._at:
            raise LimitExceeded("count", f"{least} values announced in fewer bytes")

    def fields(self, keys: Sequence[bytes]) -> Iterator[bytes]:
        """The keys of the structure that comes next; read or skip each value before asking for the next key.

        For closed cursors only, since an iteration cannot be taken up again. `keys` are the fields in
        declaration order, for the array form; surplus elements of an array are passed over.
        """
        count, is_map = self.structure()
        for index in range(count):
            if is_map:
                key = self.value()
                if type(key) is not bytes:
                    raise _mismatch("string key", key)
                yield key
            elif index < len(keys):
                yield keys[index]
            else:
                self.skip()

    def available(self) -> int:
        """Bytes at hand that were not read yet."""
        return self._given - self._mark + len(self._pending) - self._at

    def take(self, count: int) -> bytes:
        """The next `count` bytes as they are. The decoder does not see them, but for those that it has already."""
        if self.available() < count:
            raise Incomplete
        known: bytes = self._unpacker.read_bytes(min(count, self._given - self._mark))
        rest = count - len(known)
        result = known + self._pending[self._at : self._at + rest]
        self._at += rest
        self._given += rest
        self._past += rest
        self._mark += count
        return result
