"""What the rows of a sweep come to at each point: medians, means and their confidence intervals by bootstrap."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean, median

RESAMPLES = 1000
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and its confidence interval of 95 %."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Point:
    """One point of the grid: its values on the axes, how many trials, and what they come to; None is never."""

    at: dict[str, float]
    trials: int
    detect_s: Estimate | None
    known_s: Estimate | None
    converge_s: Estimate | None
    false_per_member_hour: Estimate
    bytes_per_member_s: Estimate
    missed: int
    """Trials in which the crash, or the event, did not become known to all."""


def bootstrap(values: Sequence[float], of: Callable[[Sequence[float]], float]) -> Estimate:
    """A statistic, and the percentile interval of it over samples drawn from these values. The same every time."""
    rng = Random(0)
    samples = (rng.choices(values, k=len(values)) for _ in range(RESAMPLES if len(values) > 1 else 1))
    found = sorted(of(sample) for sample in samples)
    tail = (1.0 - LEVEL) / 2.0
    last = len(found) - 1
    return Estimate(of(values), found[math.floor(tail * last)], found[math.ceil((1.0 - tail) * last)])


def rate(counts: Sequence[float], hours: Sequence[float]) -> Estimate:
    """Occurrences per hour. Its upper end is that of a Poisson count, so that none seen is not taken for never.

    Garwood's interval by the Wilson-Hilferty approximation of chi-square: within 1 % above, too low below 3 counts.
    """
    count, exposure = sum(counts), sum(hours)
    z = 1.959964
    low = count * (1 - 1 / (9 * count) - z / (3 * math.sqrt(count))) ** 3 if count else 0.0
    more = count + 1
    high = more * (1 - 1 / (9 * more) + z / (3 * math.sqrt(more))) ** 3
    return Estimate(count / exposure, low / exposure, high / exposure)


def points_of(rows: Sequence[dict[str, object]], axes: Sequence[str]) -> list[Point]:
    """All points of which there are rows, ordered by the values of the axes."""
    grouped: dict[tuple[float, ...], list[dict[str, object]]] = defaultdict(list)
    for row in rows:
        grouped[tuple(_number(row[name]) for name in axes)].append(row)
    return [_point(dict(zip(axes, key, strict=True)), grouped[key]) for key in sorted(grouped)]


def _point(at: dict[str, float], rows: Sequence[dict[str, object]]) -> Point:
    def column(name: str) -> list[float]:
        return [_number(row[name]) for row in rows if row[name] is not None]

    def middle(name: str) -> Estimate | None:
        values = column(name)
        return bootstrap(values, median) if values else None

    return Point(
        at,
        len(rows),
        detect_s=middle("detect_s"),
        known_s=middle("known_s"),
        converge_s=middle("converge_s"),
        false_per_member_hour=rate(column("false_failures"), column("member_hours")),
        bytes_per_member_s=bootstrap(column("bytes_per_member_s"), fmean),
        missed=sum(row["known_s"] is None or row["converge_s"] is None for row in rows),
    )


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that so large a share does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
