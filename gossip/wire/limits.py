"""Every maximum that decoding enforces, each with its reason. Sizes are bytes unless the name says otherwise."""

from typing import Final

from moot.gossip.config import EVENT_SLOTS_MAX as EVENT_SLOTS_MAX
from moot.gossip.config import META_MAX as META_MAX

PACKET_MAX: Final = 64 * 1024
"""All that one packet may decompress to. UDP carries 65,507 bytes, and nobody compresses what was bigger."""
DEPTH_MAX: Final = 4
"""Layers of compound and compress inside each other. Real senders use two."""
COMPOUND_MAX: Final = 255
"""Messages in one compound: its count is one byte."""
PARTS_MAX: Final = COMPOUND_MAX
"""Parts of one packet, all layers together: nobody nests compounds."""
COMPRESS_MAX: Final = 1
"""Compressed layers of one packet: senders compress the whole. Each costs what a packet costs by itself."""
REQUESTS_MAX: Final = 8
"""Messages of one packet that are answered: real ones have one. Who answers more serves as an amplifier."""
PART_MAX: Final = 0xFFFF
"""Size of one message in a compound: its length field has two bytes."""

STREAM_MAX: Final = 20 * 1024 * 1024
"""A stream's content, sealed, compressed and plain alike: the reference's maxPushStateBytes."""
STREAM_FRAMING_MAX: Final = 1024
"""What label, frame header and the compress map add around a stream's content."""
NODES_MAX: Final = 1 << 20
"""Members in one push/pull: the reference's limit."""
NODE_MIN: Final = 20
"""One encoded member at the least, by which an announced number is judged; the keys alone have 42."""
NODE_MAX: Final = 64 * 1024
"""One encoded member. A real one has below 1 KiB; more is room for fields that we do not know."""
MEMBER_SIZE: Final = 400
"""Memory that a decoded member takes beyond the bytes it was sent in."""
ENTRY_SIZE: Final = 200
"""Memory that one entry of Serf's state takes beyond the bytes it was sent in."""
FAULTY_NODES_MAX: Final = 64
"""Members of one push/pull that are left out for their faults; with more of them it is junk as a whole."""

USER_MAX: Final = PACKET_MAX
"""A user message on a stream. Nobody sends any there, and one that is decoded holds up everything else."""

NAME_MAX: Final = 1024
"""A member's name. No limit on the wire, but with a longer one an alive message does not fit into a packet."""
VERSIONS_MAX: Final = 16
"""The version vector: six bytes, with room for what may follow one day."""
ERROR_TEXT_MAX: Final = 4096
"""A peer's error text, which ends in our log; what is longer is cut."""

EVENT_SLOT_MAX: Final = 512 * 1024
"""One encoded slot: all events with one Lamport time. An event has below 10 KiB, and they rarely coincide."""

LABEL_MAX: Final = 255
"""A label: its length is one byte."""
KEY_SIZES: Final = (16, 24, 32)
"""AES-128, AES-192, AES-256."""
KEYS_MAX: Final = 256
"""Keys in a keyring: every one is tried on every packet that none opens. The reference takes any number."""
