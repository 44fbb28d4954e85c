"""The protocol's formulas, nothing else. `n` counts members of the table, ourselves included."""

import math


def retransmit_limit(mult: int, n: int) -> int:
    """How often one broadcast is sent: `mult * ceil(log10(n + 1))` (memberlist util.go retransmitLimit)."""
    return mult * math.ceil(math.log10(n + 1))


def suspicion_timeout(mult: int, n: int, interval: float) -> float:
    """Shortest time in seconds that a suspect gets to refute, reached when enough members confirm.

    Without confirmations it gets `suspicion_max_timeout_mult` times as long. Grows with log10 of the
    cluster size, because the news has to travel: `mult * max(1, log10(max(1, n))) * interval`, the scale
    cut to three decimals as in memberlist util.go suspicionTimeout. `n` of 0 is allowed.
    """
    scale = max(1.0, math.log10(max(1.0, n)))
    return mult * (int(scale * 1000) / 1000) * interval


def confirmations_needed(mult: int, n: int) -> int:
    """How many further accusers bring the timeout to its minimum: `mult - 2`, 0 when too few are there."""
    wanted = mult - 2
    return 0 if n - 2 < wanted else max(0, wanted)


def suspicion_remaining(confirmed: int, wanted: int, elapsed: float, shortest: float, longest: float) -> float:
    """Seconds left until a suspect is declared dead; may be negative (memberlist suspicion.go).

    Each confirmation takes less off than the one before: `longest - ln(c+1)/ln(k+1) * (longest-shortest)`,
    in whole milliseconds, never below `shortest`. `wanted` (k) is at least 1.
    """
    share = math.log(confirmed + 1) / math.log(wanted + 1)
    raw = longest - share * (longest - shortest)
    return max(shortest, math.floor(1000 * raw) / 1000) - elapsed


def push_pull_scale(interval: float, n: int) -> float:
    """Seconds between push/pulls: stretched by one interval per doubling above 32 members (util.go pushPullScale)."""
    if n <= 32:
        return interval
    return interval * (math.ceil(math.log2(n) - math.log2(32)) + 1)
