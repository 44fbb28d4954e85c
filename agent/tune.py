"""Tune: tries settings of the failure detector on a simulated pool, and says which are worth having.

Probes that come more often find crashes sooner and cost bytes; suspicions that last longer find them later and wrong
fewer members. What remains is a curve: settings of which none is better in every respect.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from moot.agent.sweep import Task
from moot.agent.sweep_table import Estimate, quantile, rate
from moot.gossip.errors import ConfigError
from moot.gossip.sim.trial import Measured, Setting
from moot.gossip.swim.scaling import suspicion_timeout

INTERVALS = (0.25, 0.5, 1.0, 2.0, 5.0)
MULTS = (2, 3, 4, 5, 6, 8)
TIMEOUT_SHARE = 0.5
"""probe_timeout as a share of probe_interval, as in the LAN profile."""
SHARE = 0.95
"""Of crashes that must be detected in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What is asked of a pool: detection within so many seconds, at most so many false failures per member-hour."""

    detect_within: float
    false_below: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """A setting, and what its trials showed. `detect_s` is not exceeded by 95 % of them; inf is never."""

    setting: Setting
    detect_s: float
    false: Estimate
    bytes: float

    @property
    def engine(self) -> dict[str, float]:
        """The parameters that make it up."""
        return dict(self.setting.engine)

    def meets(self, goal: Goal) -> bool:
        """Whether its trials do what is asked."""
        return self.detect_s <= goal.detect_within and self.false.value < goal.false_below

    def beats(self, other: "Candidate") -> bool:
        """Whether it is nowhere worse and somewhere better."""
        mine = (self.detect_s, self.false.value, self.bytes)
        its = (other.detect_s, other.false.value, other.bytes)
        return mine != its and all(left <= right for left, right in zip(mine, its, strict=True))


def settings(nodes: int, loss: float, rtt: float | None, goal: Goal) -> list[Setting]:
    """Those worth a trial: no suspicion of theirs lasts longer than detection may take, and no ack comes too late.

    Raises ConfigError when none is left.
    """
    found = [
        Setting(
            nodes=nodes,
            loss=loss,
            rtt=rtt,
            engine=(
                ("probe_interval", interval),
                ("probe_timeout", interval * TIMEOUT_SHARE),
                ("suspicion_mult", float(mult)),
            ),
        )
        for interval in INTERVALS
        for mult in MULTS
        if suspicion_timeout(mult, nodes, interval) < goal.detect_within
        and interval * TIMEOUT_SHARE > 1.5 * (rtt or 0.0)
    ]
    if not found:
        raise ConfigError(
            f"no setting can detect within {goal.detect_within:g} s: a suspicion alone takes "
            f"{suspicion_timeout(MULTS[0], nodes, INTERVALS[0]):.2g} s with {nodes} members, and acks need the rtt"
        )
    return found


def tasks_of(tried: Sequence[Setting], seeds: int, watch: float) -> list[Task]:
    """The trials of some settings, setting after setting."""
    return [Task(setting, seed, watch) for setting in tried for seed in range(1, seeds + 1)]


def judge(setting: Setting, trials: Sequence[Measured]) -> Candidate:
    """What the trials of one setting come to."""
    return Candidate(
        setting,
        quantile([math.inf if trial.detect_s is None else trial.detect_s for trial in trials], SHARE),
        rate([trial.false_failures for trial in trials], [trial.member_hours for trial in trials]),
        fmean(trial.bytes_per_member_s for trial in trials),
    )


def frontier(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those that no other beats, fastest first."""
    best = [each for each in candidates if not any(other.beats(each) for other in candidates)]
    return sorted(best, key=lambda each: (each.detect_s, each.false.value, each.bytes))


def proposal(candidates: Sequence[Candidate], goal: Goal) -> Candidate | None:
    """Of those that do what is asked, the one with the fewest false failures for sure, then the fewest bytes.

    "For sure" is in steps of a factor of two, as the upper ends of intervals from few trials are no finer.
    """
    good = [each for each in candidates if each.meets(goal)]
    return min(good, key=lambda each: (round(math.log2(each.false.high)), each.bytes), default=None)
