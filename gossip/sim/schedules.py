"""Schedules: from one scenario and a seed, another in which the same happens to others, a little sooner or later."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from moot.gossip.actions import Calm
from moot.gossip.selectors import select
from moot.gossip.sim.monkey import draw
from moot.gossip.sim.player import islands_of
from moot.gossip.sim.rename import renamed
from moot.gossip.sim.scenario import AnyStep, Chance, Goal, Scenario, Step, Wait

STORM_LASTS = 30.0
STORM_EVERY = 5.0
STORM_CALM_WITHIN = 120.0
_PHASE = 0.2
"""Seconds: a step moves by up to this much at least, which is a gossip round of most profiles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """What a seed may change besides the course of the run itself. `jitter` is the part of a pause by which it may
    be longer or shorter, `roles` whether members change places, `faults` those of a storm before the first step."""

    jitter: float = 0.25
    roles: bool = True
    faults: tuple[str, ...] = ()


PLAIN = Variation(jitter=0.0, roles=False)
"""The scenario as it is."""


def varied(scenario: Scenario, seed: int, variation: Variation) -> Scenario:
    """The scenario that a seed makes of one; with what happens by chance spelled out."""
    rng = Random(f"{seed}/schedule")
    found = scenario
    if variation.roles:
        numbers = range(1, scenario.cluster.size + 1)
        found = renamed(found, dict(zip(numbers, rng.sample(numbers, len(numbers)), strict=True))) or found
    if variation.jitter:
        found = replace(found, steps=tuple(_moved(step, rng, variation.jitter) for step in found.steps))
    if variation.faults:
        found = _stormy(found, variation.faults)
    return concrete(found, seed)


def concrete(scenario: Scenario, seed: int) -> Scenario:
    """The same with each step by chance as the steps that the seed draws."""
    steps: list[AnyStep] = []
    for step in scenario.steps:
        steps += _drawn(step, seed, scenario.cluster.names) if isinstance(step, Chance) else [step]
    return replace(scenario, steps=tuple(steps))


def _drawn(step: Chance, seed: int, names: Sequence[str]) -> list[AnyStep]:
    drawn = draw(
        seed if step.seed is None else step.seed, step.faults, select(step.members, names), step.lasts, step.every
    )
    found: list[AnyStep] = []
    at, after, last = step.at, step.after, 0.0
    for offset, action in drawn:
        found.append(Step(do=(action,), at=at, after=after + offset - last, lasts=step.every))
        at, after, last = None, 0.0, offset
    rest = step.lasts + step.every - last
    end = Step(do=(Calm(),), after=after + rest) if at is None else Step(do=(Calm(),), at=at + rest)
    return [*found, end]


def _moved(step: AnyStep, rng: Random, jitter: float) -> AnyStep:
    sway = 2 * rng.random() - 1
    pause = step.after if step.at is None else step.at
    moved = round(pause * (1 + jitter * sway) + _PHASE * rng.random(), 3)
    return replace(step, after=moved) if step.at is None else replace(step, at=moved)


def _stormy(scenario: Scenario, faults: tuple[str, ...]) -> Scenario:
    """With a storm first, after which the pool, or each island of it, has to be whole again."""
    number = len(islands_of(scenario.cluster))
    whole = Goal("groups", number=number) if number > 1 else Goal("agreed")
    later = STORM_LASTS + 2 * STORM_EVERY
    storm = (
        Chance(faults=faults, lasts=STORM_LASTS, every=STORM_EVERY, after=1.0),
        Wait(until=whole, within=STORM_CALM_WITHIN),
    )
    rest = (step if step.at is None else replace(step, at=step.at + later) for step in scenario.steps)
    return replace(scenario, steps=(*storm, *rest))
