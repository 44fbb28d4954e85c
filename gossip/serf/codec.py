"""Codec: what Serf needs of the wire, because some of its messages travel as bytes inside others.

`moot.gossip.wire.serf_codec` is one; the core is handed it, as it is handed everything from outside.
"""

from typing import Protocol

from moot.gossip.serf.messages import Coordinate, Filter, SerfMessage


class Codec(Protocol):
    """Serf messages, query filters and coordinates as bytes."""

    def encode_serf(self, message: object, /) -> bytes:
        """Type byte and body of a Serf message."""
        ...

    def decode_serf(self, data: bytes, /) -> SerfMessage:
        """The Serf message that begins with its type byte. Raises WireError."""
        ...

    def encode_filter(self, wanted: Filter, /) -> bytes:
        """One element of Query.filters."""
        ...

    def decode_filter(self, data: bytes, /) -> Filter:
        """The filter in one element of Query.filters. Raises WireError."""
        ...

    def encode_coordinate(self, coordinate: Coordinate, /) -> bytes:
        """An ack payload."""
        ...

    def decode_coordinate(self, payload: bytes, /) -> Coordinate | None:
        """The coordinate in an ack payload, None when there is none that we understand."""
        ...
