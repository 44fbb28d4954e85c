"""Lines of statsd: `name:value|type`, with DogStatsD's tags or without. Pure.

Names are Nomad's. Without tags the values of labels are the last parts of a name, as go-metrics has it, and a gauge
has the host's name behind its first part: all agents of a pool send to one receiver, where gauges would overwrite
each other while counters add up. With tags, the receiver knows the host.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from moot.http.metrics import Key, Labels

PACKET_MAX: Final = 1400
"""Bytes of one UDP packet: fits the usual MTU with room for tunnels; go-metrics' own bound."""
KEY_MAX: Final = 512
"""Characters of a name with all its parts, and of a tag: far above what there is."""
SAMPLES_MAX: Final = 64
"""Values of one name that are sent per interval; of more, so many are, with the rate at which they were taken."""

_UNFIT: Final = re.compile(r"[^A-Za-z0-9_./\-]")


@dataclass(frozen=True, slots=True)
class Style:
    """How one receiver wants its lines. `host` is empty when gauges are to have none."""

    host: str = ""
    tags: bool = False

    def counter(self, key: Key, added: int) -> str:
        """So many more since the last time."""
        return self._line(key[0], key[1], f"{added}|c")

    def gauge(self, key: Key, value: float) -> str:
        """As it is now."""
        name, labels = key
        if self.host and not self.tags:
            first, _, rest = name.partition(".")
            name = f"{first}.{self.host}.{rest}"
        return self._line(name, labels, f"{number(value)}|g")

    def samples(self, key: Key, values: Iterable[float], rate: float) -> Iterator[str]:
        """Single values, in milliseconds where they are times; `rate` is how many of all these are."""
        taken = "" if rate >= 1 else f"|@{number(rate)}"
        return (self._line(key[0], key[1], f"{number(value)}|ms{taken}") for value in values)

    def _line(self, name: str, labels: Labels, rest: str) -> str:
        if not self.tags:
            return f"{fit('.'.join((name, *(value for _, value in labels))))}:{rest}"
        tags = ",".join(f"{fit(label)}:{fit(value)}" for label, value in labels)
        return f"{fit(name)}:{rest}{'|#' if tags else ''}{tags}"


class Samples:
    """Single values since the last `take`, at most `SAMPLES_MAX` of each name; what is left out is counted."""

    def __init__(self) -> None:
        self._values: dict[Key, list[float]] = {}
        self._counts: dict[Key, int] = {}

    def add(self, key: Key, value: float) -> None:
        """One more (a `metrics.Listener`)."""
        values = self._values.setdefault(key, [])
        self._counts[key] = self._counts.get(key, 0) + 1
        if len(values) < SAMPLES_MAX:
            values.append(value)

    def take(self) -> Iterator[tuple[Key, list[float], float]]:
        """By name: the values, and how many of all they are, between 0 and 1. Begins anew."""
        taken, counts = self._values, self._counts
        self._values, self._counts = {}, {}
        return ((key, values, len(values) / counts[key]) for key, values in taken.items())


def fit(text: str) -> str:
    """A part of a line in which nothing can be taken for what separates parts or lines."""
    return _UNFIT.sub("_", text[:KEY_MAX])


def number(value: float) -> str:
    """At most six digits behind the point, none where there are none; never an exponent, which not all can read."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def packets(lines: Iterable[str]) -> Iterator[bytes]:
    """Lines packed into as few packets as their bound allows. All lines are shorter than that."""
    packed, size = list[str](), 0
    for line in lines:
        if packed and size + 1 + len(line) > PACKET_MAX:
            yield "\n".join(packed).encode()
            packed, size = [], 0
        size += len(line) + (1 if packed else 0)
        packed.append(line)
    if packed:
        yield "\n".join(packed).encode()
