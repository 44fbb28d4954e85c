"""Shrink: the smallest scenario that still goes wrong in the same way.

Pure and deterministic: which scenarios still fail is asked of the caller, who may try several at once. Everything
offered is simpler than what there is, so it ends; the cuts are large at first, as in Zeller's ddmin.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from moot.gossip.actions import Action, Partition
from moot.gossip.errors import ConfigError
from moot.gossip.sim.rename import renamed, renamed_action
from moot.gossip.sim.scenario import AnyStep, Chance, Scenario, Step

RUNS_MAX: Final = 2000
SEEDS_TRIED: Final = 3
"""A scenario with less in it takes another course, so some more seeds are tried before it counts as harmless."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A scenario to be played with a seed."""

    scenario: Scenario
    seed: int


FirstFailing: TypeAlias = Callable[[Sequence[Trial]], int | None]
"""The place of the first of some trials that goes wrong in the same way; None when none does."""
Cut: TypeAlias = Callable[[Scenario], Iterator[Scenario]]


@dataclass(frozen=True, slots=True)
class Shrunk:
    """The smallest that was found, after how many runs, and whether there was time to try everything."""

    trial: Trial
    run_count: int
    complete: bool


def shrink(
    trial: Trial, first_failing: FirstFailing, *, runs_max: int = RUNS_MAX, seeds_tried: int = SEEDS_TRIED
) -> Shrunk:
    """Make a trial that fails smaller for as long as that goes, with so many runs at most."""
    best = trial
    run_count = 0
    changed = True
    while changed:
        changed = False
        for cut in CUTS:
            while True:
                trials = _trials(cut(best.scenario), best.seed, seeds_tried)[: runs_max - run_count]
                found = first_failing(trials) if trials else None
                run_count += len(trials) if found is None else found + 1
                if found is not None:
                    best, changed = trials[found], True
                if run_count >= runs_max:
                    return Shrunk(best, run_count, False)
                if found is None:
                    break
    return Shrunk(best, run_count, True)


def _trials(scenarios: Iterator[Scenario], seed: int, seeds_tried: int) -> list[Trial]:
    """All with the seed that fails, then all with others."""
    found = list(scenarios)
    seeds = [seed, *(other for other in range(seeds_tried) if other != seed)][:seeds_tried]
    return [Trial(scenario, each) for each in seeds for scenario in found]


# the cuts: what could be left out, most of it first


def fewer_members(scenario: Scenario) -> Iterator[Scenario]:
    """Without half of the members, a quarter, and so on to one; the last ones first, for the first are seeds."""
    size = scenario.cluster.size
    for first, last in _chunks(size):
        kept = [number for number in range(1, size + 1) if not first < number <= last]
        fewer = renamed(scenario, {number: place for place, number in enumerate(kept, 1)})
        if fewer is not None:
            yield fewer


def fewer_steps(scenario: Scenario) -> Iterator[Scenario]:
    """Without some steps; what follows happens when it did."""
    steps = scenario.steps
    if steps:
        yield replace(scenario, steps=())
    for first, last in _chunks(len(steps)):
        rest = list(steps[last:])
        if rest and rest[0].at is None:
            pause = sum(step.after for step in steps[first:last] if step.at is None)
            rest[0] = replace(rest[0], after=round(rest[0].after + pause, 6))
        yield replace(scenario, steps=(*steps[:first], *rest))


def fewer_actions(scenario: Scenario) -> Iterator[Scenario]:
    """Without one of several actions of a step, or one of several faults to draw from."""
    for place, step in enumerate(scenario.steps):
        if isinstance(step, Step) and len(step.do) > 1:
            for number in range(len(step.do)):
                yield _with_step(scenario, place, replace(step, do=(*step.do[:number], *step.do[number + 1 :])))
        elif isinstance(step, Chance) and len(step.faults) > 1:
            for fault in step.faults:
                fewer = tuple(other for other in step.faults if other != fault)
                yield _with_step(scenario, place, replace(step, faults=fewer))


def fewer_touched(scenario: Scenario) -> Iterator[Scenario]:
    """With one member less in what an action is about; the other members keep their places."""
    names = scenario.cluster.names
    for place, step in enumerate(scenario.steps):
        for number, action in enumerate(step.do if isinstance(step, Step) else ()):
            assert isinstance(step, Step)
            for less in _less_of(action, names):
                yield _with_step(scenario, place, replace(step, do=(*step.do[:number], less, *step.do[number + 1 :])))


def plainer_cluster(scenario: Scenario) -> Iterator[Scenario]:
    """With a more ordinary pool."""
    cluster = scenario.cluster
    if cluster.snapshots:
        yield replace(scenario, cluster=replace(cluster, snapshots=False))
    if cluster.keys:
        yield replace(scenario, cluster=replace(cluster, keys=()))
    if cluster.labels:
        yield replace(scenario, cluster=replace(cluster, labels=()))
    if cluster.islands:
        yield replace(scenario, cluster=replace(cluster, islands=(), labels=()))
    settings = cluster.settings or {}
    for key in settings:
        fewer = {other: value for other, value in settings.items() if other != key}
        yield replace(scenario, cluster=replace(cluster, settings=fewer or None))


def shorter(scenario: Scenario) -> Iterator[Scenario]:
    """With shorter pauses, and faults that last shorter. How long a step may wait stays: it is a bound."""
    for less in _shorter_times(scenario.settle):
        yield replace(scenario, settle=less)
    for place, step in enumerate(scenario.steps):
        for less in _shorter_times(step.after if step.at is None else step.at):
            moved = replace(step, after=less) if step.at is None else replace(step, at=less)
            yield _with_step(scenario, place, moved)
        if isinstance(step, Step) and step.lasts:
            for less in _shorter_times(step.lasts):
                yield _with_step(scenario, place, replace(step, lasts=less))


CUTS: Final[tuple[Cut, ...]] = (fewer_steps, fewer_members, fewer_actions, fewer_touched, plainer_cluster, shorter)


def _chunks(count: int) -> Iterator[tuple[int, int]]:
    """Stretches of a list: its halves, its quarters, and so on to each one, the last ones first; never all of it."""
    size = (count + 1) // 2
    while size >= 1:
        last = count
        while last > 0:
            first = max(0, last - size)
            if last - first < count:
                yield first, last
            last = first
        size //= 2


def _less_of(action: Action, names: Sequence[str]) -> Iterator[Action]:
    if isinstance(action, Partition) and len(action.groups) > 1:
        for group in action.groups:
            yield Partition(tuple(other for other in action.groups if other != group))
    everybody = {number: number for number in range(1, len(names) + 1)}
    try:
        plain = renamed_action(action, names, everybody)
        for gone in everybody:
            less = renamed_action(action, names, {number: number for number in everybody if number != gone})
            if less is not None and less != plain:
                yield less
    except ConfigError:
        return  # it is about members that there are none of


def _shorter_times(time: float | None) -> Iterator[float]:
    if time:
        half = round(time / 2, 1)
        yield from dict.fromkeys(less for less in (0.0, half, float(int(time))) if less < time)


def _with_step(scenario: Scenario, place: int, step: AnyStep) -> Scenario:
    return replace(scenario, steps=(*scenario.steps[:place], step, *scenario.steps[place + 1 :]))
