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
    dropped_out: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """Junk that was dropped, by WireError.kind."""
    unknown_messages: Counter[int] = field(default_factory=Counter)
    """Serf messages of unknown types, by type number."""
    probes: int = 0
    probes_failed: int = 0
    suspicions: int = 0
    refutations: int = 0
    gossip_rounds: int = 0
    push_pulls: int = 0
    guard_refusals: int = 0
