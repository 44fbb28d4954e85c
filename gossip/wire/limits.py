"""Every maximum that decoding enforces, each with its reason. Sizes are bytes unless the name says otherwise."""

from typing import Final

from moot.gossip.config import META_MAX as META_MAX

PACKET_MAX: Final = 64 * 1024
"""All that one packet may decompress to. UDP carries 65,507 bytes, and nobody compresses what was bigger."""
DEPTH_MAX: Final = 4
"""Layers of compound and compress inside each other. Real senders use two."""
PARTS_MAX: Final = 1024
"""Messages in one packet, all layers together. A compound has at most 255, and nobody nests them."""
COMPOUND_MAX: Final = 255
"""Messages in one compound: its count is one byte."""
PART_MAX: Final = 0xFFFF
"""Size of one message in a compound: its length field has two bytes."""

STREAM_MAX: Final = 20 * 1024 * 1024
"""A stream's content, sealed, compressed and plain alike: the reference's maxPushStateBytes."""
STREAM_FRAMING_MAX: Final = 1024
"""What label, frame header and the compress map add around a stream's content."""
NODES_MAX: Final = 1 << 20
"""Members in one push/pull: the reference's limit."""
NODE_MAX: Final = 64 * 1024
"""One encoded member. A real one has below 1 KiB; more is room for fields that we do not know."""
FAULTY_NODES_MAX: Final = 64
"""Members of one push/pull that are left out for their faults; with more of them it is junk as a whole."""

NAME_MAX: Final = 1024
"""A member's name. No limit on the wire, but with a longer one an alive message does not fit into a packet."""
VERSIONS_MAX: Final = 16
"""The version vector: six bytes, with room for what may follow one day."""
ERROR_TEXT_MAX: Final = 4096
"""A peer's error text, which ends in our log; what is longer is cut."""

EVENT_SLOTS_MAX: Final = 1 << 16
"""Slots of Serf's event ring in a push/pull. A default agent has 512, Nomad's servers 2,048."""
EVENT_SLOT_MAX: Final = 512 * 1024
"""One encoded slot: all events with one Lamport time. An event has below 10 KiB, and they rarely coincide."""

LABEL_MAX: Final = 255
"""A label: its length is one byte."""
KEY_SIZES: Final = (16, 24, 32)
"""AES-128, AES-192, AES-256."""
