"""The wire: bytes to messages and back, and nothing else. All untrusted input ends here.

Read `limits` first, then `codec` (memberlist's messages), `serf_codec` (what travels inside them), `packet` (the
layers of a datagram) and `stream` (the same over TCP, fed bit by bit). Everything is a pure function of bytes,
settings and keys: randomness for nonces is handed to the keyring from outside.

The promise: any bytes give messages or one WireError. No length is believed before it is checked, and what a
peer's bytes unfold to is bounded, by 64 KiB for a packet and 20 MiB for a stream. A stream is parsed in `slices`,
so that a great one holds up nothing else, and tells how much memory it takes.
"""

from moot.gossip.wire.codec import decode, encode, size_of
from moot.gossip.wire.keyring import Keyring
from moot.gossip.wire.packet import Opened, PacketCodec, overhead_of
from moot.gossip.wire.serf_codec import decode_serf, encode_serf
from moot.gossip.wire.stream import StreamReader, error_text, frame

__all__ = [
    "Keyring",
    "Opened",
    "PacketCodec",
    "StreamReader",
    "decode",
    "decode_serf",
    "encode",
    "encode_serf",
    "error_text",
    "frame",
    "overhead_of",
    "size_of",
]
