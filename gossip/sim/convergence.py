"""How fast news spreads: a formula for it, beside which the simulator can be put.

Everybody who has the news sends it to `fanout` members chosen at random in each `interval`, until it was sent as
often as the retransmit limit allows. Taken as a fluid, `i` being the share that has it and `a` what still sends it,

    di/dt = (1 - i) · (1 - loss) · fanout / interval · n / (n - 1) · a(t),   a(t) = i(t) - i(t - lifetime)

It knows no chance, no latency, and no news that rides along on probes, which all matter in small pools most.
"""

from dataclasses import dataclass

from moot.gossip.config import SwimConfig
from moot.gossip.errors import ConfigError
from moot.gossip.swim.scaling import retransmit_limit

STEPS = 200
"""Steps of the integration per interval."""


@dataclass(frozen=True, slots=True)
class Curve:
    """The share of members that has the news, at times of equal distance from 0 on."""

    step: float
    shares: tuple[float, ...]

    def at(self, seconds: float) -> float:
        """The share after so many seconds."""
        return self.shares[min(int(seconds / self.step), len(self.shares) - 1)]

    def reaches(self, share: float) -> float | None:
        """When it is so large; None if never within the time looked at."""
        for number, each in enumerate(self.shares):
            if each >= share:
                return number * self.step
        return None


def expected(nodes: int, config: SwimConfig, loss: float, seconds: float) -> Curve:
    """The curve by formula. Raises ConfigError when nobody gossips to anybody."""
    if nodes < 2 or not config.gossip_nodes or not 0.0 <= loss <= 1.0:
        raise ConfigError("convergence needs 2 members, a gossip_nodes of 1, and a loss from 0 to 1")
    step = config.gossip_interval / STEPS
    fanout = min(config.gossip_nodes, nodes - 1)
    sends = retransmit_limit(config.retransmit_mult, nodes)
    lifetime = max(1, round(sends / fanout * STEPS))
    force = (1.0 - loss) * fanout / config.gossip_interval * nodes / (nodes - 1) * step
    shares = [1.0 / nodes]
    for number in range(int(seconds / step)):
        have = shares[-1]
        over = shares[number - lifetime] if number >= lifetime else 0.0
        shares.append(min(1.0, have + (1.0 - have) * force * (have - over)))
    return Curve(step, tuple(shares))


def observed(runs: list[list[float]], nodes: int, step: float, seconds: float) -> Curve:
    """The mean curve of runs, each given by the times at which members had the news."""
    counts = [0] * (int(seconds / step) + 1)
    for run in runs:
        for at in run:
            number = int(at / step) + (at > 0)
            if number < len(counts):
                counts[number] += 1
    total, shares = 0, []
    for count in counts:
        total += count
        shares.append(total / len(runs) / nodes)
    return Curve(step, tuple(shares))
