"""The only metrics the pure side knows: plain integers, read by whoever wants them."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counters:
    """Counts since start. The core and its driver write, everybody may read."""

    packets_in: int = 0
    packets_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    streams_in: int = 0
    streams_out: int = 0
    streams_refused: int = 0
    """Connections of peers that were closed because too many were open."""
    streams_broken: int = 0
    """Connections of peers that stalled or vanished before the exchange was over."""
    dropped_out: int = 0
    """Packets dropped because the kernel's send buffer was full."""
    unsent: Counter[str] = field(default_factory=Counter)
    """Packets that the kernel refused to send or reported as undeliverable, by errno name."""
    refused: Counter[str] = field(default_factory=Counter)
    """Junk that was dropped, by WireError.kind."""
    unknown_messages: Counter[int] = field(default_factory=Counter)
    """Serf messages of unknown types, by type number."""
    replies_withheld: int = 0
    """Acks, responses and relays not sent, because queries asked for too many."""
    probes: int = 0
    probes_failed: int = 0
    suspicions: int = 0
    refutations: int = 0
    gossip_rounds: int = 0
    push_pulls: int = 0
    guard_refusals: int = 0
    events_lost: int = 0
    """Events that subscribers were too slow to take, summed over all of them."""
