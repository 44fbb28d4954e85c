"""Tags: what Serf keeps in a member's meta bytes."""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from moot.gossip.config import META_MAX
from moot.gossip.errors import CommandError, ConfigError, WireError
from moot.gossip.pack import check_text, pack, text_of, unpack

MAGIC: Final = b"\xff"
"""First byte of encoded tags; anything else is the bare role of members before Serf protocol 3."""
NO_TAGS: Final[Mapping[str, str]] = MappingProxyType({})


def encode_tags(tags: Mapping[str, str]) -> bytes:
    """Meta bytes for these tags, keys sorted so that equal tags are equal bytes.

    Raises ConfigError when they do not fit into a member's meta, or are no text.
    """
    try:
        check_text(*tags, *tags.values())
    except CommandError as error:
        raise ConfigError(f"tags: {error}") from None
    meta = MAGIC + pack(dict(sorted(tags.items())))
    if len(meta) > META_MAX:
        raise ConfigError(f"Encoded length of tags exceeds limit of {META_MAX} bytes")
    return meta


@lru_cache(maxsize=16384)
def decode_tags(meta: bytes) -> Mapping[str, str]:
    """The tags in these meta bytes, read-only and shared between equal ones.

    Meta without the magic byte is wholly the value of the tag `role`. Empty when it cannot be read.
    """
    if meta[:1] != MAGIC:
        return MappingProxyType({"role": meta.decode("utf-8", "surrogateescape")})
    try:
        found = unpack(meta[1:])
        if type(found) is not dict:
            return NO_TAGS
        return MappingProxyType({text_of(key): text_of(value) for key, value in found.items()})
    except WireError:
        return NO_TAGS
