"""Layouts: how a structure of the RPC becomes bytes and comes back. Pure.

Written: maps with their keys sorted, all fields present, texts as str, byte strings as bin, empty byte strings as
nil (which is what they are to Serf), integers in the shortest form, floats with 64 bits.

Read: keys in any order, unknown ones ignored, missing ones and nil as zero, byte strings also as str.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from moot.gossip import pack
from moot.gossip.errors import WireError
from moot.gossip.pack import Fields, pack_typed
from moot.gossip.record import message

T = TypeVar("T")


@message
class Kind:
    """The type of a field: `read(fields, key)` takes it from a structure, `write(value)` prepares it for msgpack."""

    read: Callable[[Fields, bytes], object]
    write: Callable[[Any], object]


class Layout(Generic[T]):
    """A class and its fields on the wire: our name for a field → Serf's key and its kind."""

    def __init__(self, make: Callable[..., T], **fields: tuple[str, Kind]) -> None:
        self._make = make
        self._fields = sorted((key, key.encode(), kind, name) for name, (key, kind) in fields.items())
        self._keys = [key.encode() for key, _ in fields.values()]

    def tree(self, value: T) -> dict[str, object]:
        """The structure as msgpack takes it, keys sorted."""
        return {key: kind.write(getattr(value, name)) for key, _, kind, name in self._fields}

    def encode(self, value: T) -> bytes:
        return pack_typed(self.tree(value))

    def read(self, value: object) -> T:
        """From what the decoder gives. Raises WireError when a field has an impossible value."""
        fields = pack.as_fields(value, self._keys)
        return self._make(**{name: kind.read(fields, key) for _, key, kind, name in self._fields})


def _same(value: object) -> object:
    return value


def _octets(value: bytes) -> object:
    return value or None


def _map_of(value: object) -> Mapping[bytes, object]:
    if value is None:
        return {}
    if type(value) is not dict:
        raise WireError("field", f"{type(value).__name__} instead of map")
    return value


def text_map_of(value: object) -> dict[str, str]:
    """A map from texts to texts; nil is the empty one. Raises WireError."""
    return {pack.text_of(name): pack.text_of(text) for name, text in _map_of(value).items()}


def _text_map(fields: Fields, key: bytes) -> dict[str, str]:
    return text_map_of(fields.get(key))


def _count_map(fields: Fields, key: bytes) -> dict[str, int]:
    counts = _map_of(fields.get(key))
    return {pack.text_of(name): pack.i64(counts, name) for name in counts}


def _texts(fields: Fields, key: bytes) -> tuple[str, ...]:
    return tuple(pack.list_of(fields.get(key), pack.text_of))


def _reals(fields: Fields, key: bytes) -> tuple[float, ...]:
    return tuple(pack.list_of(fields.get(key), pack.real_of))


def _sorted_map(value: Mapping[str, object] | None) -> object:
    return None if value is None else dict(sorted(value.items()))


def _array(value: Sequence[object]) -> object:
    return list(value) or None


def list_of(layout: Layout[T]) -> Kind:
    """An array of structures."""
    return Kind(
        lambda fields, key: tuple(pack.list_of(fields.get(key), layout.read)),
        lambda values: [layout.tree(value) for value in values],
    )


def one_of(layout: Layout[T]) -> Kind:
    """A structure inside a structure."""
    return Kind(lambda fields, key: layout.read(fields.get(key)), layout.tree)


TEXT = Kind(pack.text, _same)
OCTETS = Kind(pack.octets, _octets)
FLAG = Kind(pack.flag, _same)
U8 = Kind(pack.u8, _same)
U16 = Kind(pack.u16, _same)
U64 = Kind(pack.u64, _same)
I64 = Kind(pack.i64, _same)
REAL = Kind(pack.real, _same)
REALS = Kind(_reals, _array)
"""An empty one is nil."""
TEXTS = Kind(_texts, _array)
"""An empty one is nil."""
TEXT_MAP = Kind(_text_map, _sorted_map)
"""None is nil."""
COUNT_MAP = Kind(_count_map, _sorted_map)
"""None is nil."""
