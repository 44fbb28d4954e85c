"""Position: where we are in the space of round-trip times, told with every ack and moved by every one we get."""

from random import Random

from moot.gossip.counters import Counters
from moot.gossip.serf.codec import Codec
from moot.gossip.serf.coordinate import Vivaldi
from moot.gossip.serf.messages import Coordinate


class Position:
    """Our Vivaldi coordinate and those of others, as ack payloads. `enabled` False keeps and tells none."""

    __slots__ = ("_codec", "_counters", "_payload", "_vivaldi")

    def __init__(self, enabled: bool, rng: Random, codec: Codec, counters: Counters) -> None:
        self._vivaldi = Vivaldi(rng) if enabled else None
        self._codec = codec
        self._counters = counters
        self._payload = b""

    @property
    def resets(self) -> int | None:
        """How often it became invalid and began anew; None when none is kept."""
        return self._vivaldi.resets if self._vivaldi is not None else None

    def payload(self) -> bytes:
        """What goes into an ack; empty when none is kept."""
        if self._vivaldi is not None and not self._payload:
            self._payload = self._codec.encode_coordinate(self._vivaldi.coordinate)
        return self._payload

    def observe(self, name: str, rtt: float, payload: bytes) -> None:
        """That member answered after `rtt` seconds and told where it is."""
        vivaldi = self._vivaldi
        if vivaldi is None or not payload:
            return
        coordinate = self._codec.decode_coordinate(payload)
        if coordinate is None or not vivaldi.update(name, coordinate, rtt):
            self._counters.refused["coordinate"] += 1
        else:
            self._payload = b""

    def own(self) -> Coordinate | None:
        """Ours, None when none is kept."""
        return self._vivaldi.coordinate if self._vivaldi is not None else None

    def of(self, name: str) -> Coordinate | None:
        """What that member told last."""
        return self._vivaldi.cached(name) if self._vivaldi is not None else None

    def forget(self, name: str) -> None:
        """Nobody lists that member any more."""
        if self._vivaldi is not None:
            self._vivaldi.forget(name)
