"""The only metrics the pure side knows: plain numbers, read by whoever wants them."""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds: the upper ends of the ranges in which durations are counted. The longest timeouts of a probe are 3 s."""


class Durations:
    """How long something took, counted by range: constant in space, however often it happens."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        """How many were at most as long as that bound and longer than the one before; the last has no bound."""
        self.total = 0.0
        """Seconds of all together."""

    def add(self, seconds: float) -> None:
        """Take one duration."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


@dataclass(slots=True)
class Counters:
    """Counts since start. The core and its driver write, everybody may read."""

    packets_in: int = 0
    packets_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    messages_in: Counter[str] = field(default_factory=Counter)
    """Messages that came in packets or streams and could be read, by kind."""
    messages_out: Counter[str] = field(default_factory=Counter)
    """Messages sent in packets or streams, by kind."""
    streams_in: int = 0
    streams_out: int = 0
    streams_refused: int = 0
    """Connections of peers that were closed because too many were open."""
    streams_broken: int = 0
    """Connections of peers that stalled or vanished before the exchange was over."""
    streams_failed: int = 0
    """Exchanges that we began by TCP and that came to nothing: nobody there, too slow, or not understood."""
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
    probe_rtts: Durations = field(default_factory=Durations)
    """From ping to ack, of probes that were answered directly and in time."""
    suspicions: int = 0
    refutations: int = 0
    flaps: int = 0
    """Members that came back soon after they had failed, each time."""
    gossip_rounds: int = 0
    push_pulls: int = 0
    guard_refusals: int = 0
    events_lost: int = 0
    """Events that subscribers were too slow to take, summed over all of them."""
