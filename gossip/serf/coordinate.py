"""Vivaldi: where members are, as points whose distances estimate round trip times.

Every direct probe of a member brings its coordinate and a round trip time; a little spring between the two
then pulls ours to where the distance fits. `distance` of two members that never probed each other is then a
good guess of their round trip time. All values are seconds. The arithmetic is Serf's step for step (its
coordinate package), to the last bit, so that a mixed pool agrees about its map.

Deviation: Serf takes every finite coordinate. One member that claims 1e308 makes the distance overflow and
throws its prober to the edge of the map, and what it leaves in the adjustment window goes on doing so for 20
probes; an error or a height below zero turns the springs into catapults. Here such a coordinate is refused,
our own beyond the same bounds counts as invalid, and a reset empties the window, too. Within the bounds a liar
can still pull us about, as in every Vivaldi: `distance` is a hint, never a reason to distrust somebody.
"""

from array import array
from collections.abc import Iterable, Sequence
from math import sqrt
from random import Random

from moot.gossip.serf.messages import Coordinate

DIMENSIONS = 8
ERROR_MAX = 1.5
ERROR_STEP = 0.25
"""How fast our confidence follows what we see (VivaldiCE)."""
FORCE_STEP = 0.25
"""How far one probe moves us (VivaldiCC)."""
WINDOW = 20
"""Probes over which the adjustment is averaged."""
HEIGHT_MIN = 1e-5
SAMPLES = 3
"""Round trip times of one member of which the median counts."""
GRAVITY_RHO = 150.0
"""Distance from the origin at which we are drawn back to it by a second."""
ZERO = 1e-6
"""What is smaller counts as nothing."""
RTT_MAX = 10.0
SOUND_MAX = 1000.0
"""Beyond this no part of a coordinate is believed. Honest ones stay near RTT_MAX; gravity, which grows with
the square, would overshoot from 45,000 on."""
NANO = 1_000_000_000
DURATION_MAX = 2**63 / NANO
"""The longest distance there is, 292 years: what the reference keeps it in holds no more nanoseconds."""


def distance(a: Coordinate, b: Coordinate) -> float:
    """The estimated round trip time between two members in seconds, truncated to whole nanoseconds.

    Answers for any finite coordinates of one dimension, however absurd.
    """
    return _truncated(_raw(a.vec, a.height, b.vec, b.height), a.adjustment, b.adjustment)


def _norm(vec: Iterable[float]) -> float:
    # added up from the left as Go does, which `sum` of newer Pythons and `hypot` are too exact for
    a, b, c, d, e, f, g, h = vec
    return sqrt(a * a + b * b + c * c + d * d + e * e + f * f + g * g + h * h)


def _apart(one: Sequence[float], other: Sequence[float]) -> tuple[float, ...]:
    # written out, for it happens thrice per probe
    a, b, c, d, e, f, g, h = one
    i, j, k, m, n, p, q, r = other
    return a - i, b - j, c - k, d - m, e - n, f - p, g - q, h - r


def _raw(a: Sequence[float], a_height: float, b: Sequence[float], b_height: float) -> float:
    return _norm(_apart(a, b)) + a_height + b_height


def _truncated(raw: float, a_adjustment: float, b_adjustment: float) -> float:
    adjusted = raw + a_adjustment + b_adjustment
    seconds = adjusted if adjusted > 0 else raw
    if not seconds < DURATION_MAX:
        return DURATION_MAX
    ns = int(seconds * NANO)
    return ns // NANO + ns % NANO / NANO


def _is_sound(vec: Iterable[float], error: float, adjustment: float, height: float) -> bool:
    """Whether a coordinate may be one of an honest member. A NaN fails every comparison."""
    return (
        0.0 <= error <= SOUND_MAX
        and -SOUND_MAX <= adjustment <= SOUND_MAX
        and 0.0 <= height <= SOUND_MAX
        and _norm(vec) <= SOUND_MAX
    )


ORIGIN = Coordinate((0.0,) * DIMENSIONS, ERROR_MAX, 0.0, HEIGHT_MIN)
"""Where everybody begins, and where gravity draws."""


class Vivaldi:
    """Our own coordinate, and those of the members that we probed."""

    __slots__ = ("_heard", "_index", "_rng", "_window", "coordinate", "refused", "resets")

    def __init__(self, rng: Random) -> None:
        self.coordinate = ORIGIN
        """Our own as of the last probe."""
        self.resets = 0
        """How often our own coordinate became invalid, and we began anew at the origin."""
        self.refused = 0
        """Probes whose coordinate or round trip time was not believed."""
        self._rng = rng
        self._window = array("d", bytes(8 * WINDOW))
        self._index = 0
        self._heard: dict[str, tuple[Coordinate, tuple[float, ...]]] = {}
        """Of each member its last coordinate and round trip times."""

    def cached(self, name: str) -> Coordinate | None:
        """The last coordinate of a member, None when there is none."""
        heard = self._heard.get(name)
        return None if heard is None else heard[0]

    def forget(self, name: str) -> None:
        """Drop what is kept of a member. To be called when it is reaped: nothing is dropped otherwise."""
        self._heard.pop(name, None)

    def update(self, name: str, other: Coordinate, rtt: float) -> bool:
        """Take in the probe of a member: its coordinate and the round trip in seconds.

        False, with nothing changed but a count, when either is not believed: another dimension, a value that is
        not finite or beyond all reason, a time that is negative or longer than 10 s.
        """
        vec = other.vec
        if (
            len(vec) != DIMENSIONS
            or not 0.0 <= rtt <= RTT_MAX
            or not _is_sound(vec, other.error, other.adjustment, other.height)
        ):
            self.refused += 1
            return False
        before = self._heard.get(name)
        rtts = (rtt,) if before is None else (*before[1], rtt)[-SAMPLES:]
        self._move(other, sorted(rtts)[len(rtts) // 2])
        self._heard[name] = other, rtts
        return True

    def _move(self, other: Coordinate, rtt: float) -> None:
        """The spring, the adjustment and gravity (coordinate/client.go Update)."""
        mine = self.coordinate
        vec, height, error = mine.vec, mine.height, mine.error
        away = _truncated(_raw(vec, height, other.vec, other.height), mine.adjustment, other.adjustment)
        felt = rtt if rtt > ZERO else ZERO
        total = error + other.error
        weight = error / (total if total > ZERO else ZERO)
        wrongness = abs(away - felt) / felt
        error = min(ERROR_MAX, ERROR_STEP * weight * wrongness + error * (1.0 - ERROR_STEP * weight))
        vec, height = self._pushed(vec, height, other, FORCE_STEP * weight * (felt - away))

        self._window[self._index] = rtt - _raw(vec, height, other.vec, other.height)
        self._index = (self._index + 1) % WINDOW
        adjustment = _added(self._window) / (2.0 * WINDOW)

        pull = _truncated(_raw(vec, height, ORIGIN.vec, ORIGIN.height), adjustment, 0.0) / GRAVITY_RHO
        vec, height = self._pushed(vec, height, ORIGIN, -(pull * pull))
        if _is_sound(vec, error, adjustment, height):
            self.coordinate = Coordinate(vec, error, adjustment, height)
        else:
            self.coordinate = ORIGIN
            self._window = array("d", bytes(8 * WINDOW))
            self.resets += 1

    def _pushed(
        self, vec: Sequence[float], height: float, other: Coordinate, force: float
    ) -> tuple[Sequence[float], float]:
        """A point after a force that pushes it away from another by so many seconds (below zero: pulls)."""
        a, b, c, d, e, f, g, h = vec
        u0, u1, u2, u3, u4, u5, u6, u7 = apart = _apart(vec, other.vec)
        away = _norm(apart)
        if away > ZERO:
            by = 1.0 / away
            height = (height + other.height) * force / away + height
            height = height if height > HEIGHT_MIN else HEIGHT_MIN
        else:
            by = 1.0
            u0, u1, u2, u3, u4, u5, u6, u7 = self._anywhere()
        return (
            a + u0 * by * force,
            b + u1 * by * force,
            c + u2 * by * force,
            d + u3 * by * force,
            e + u4 * by * force,
            f + u5 * by * force,
            g + u6 * by * force,
            h + u7 * by * force,
        ), height

    def _anywhere(self) -> Sequence[float]:
        """A direction, of length 1."""
        parts = [self._rng.random() - 0.5 for _ in range(DIMENSIONS)]
        length = _norm(parts)
        if length > ZERO:
            return [part * (1.0 / length) for part in parts]
        return (1.0, *[0.0] * (DIMENSIONS - 1))


def _added(parts: Iterable[float]) -> float:
    """The sum, from the left as Go adds, which `sum` of newer Pythons is too exact for."""
    total = 0.0
    for part in parts:
        total += part
    return total
