"""Rename: a scenario with its members in other places, or with fewer of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias, TypeVar

from moot.gossip.actions import (
    Action,
    AskQuery,
    DiskFull,
    Disturb,
    Flood,
    ForceLeave,
    Heal,
    Join,
    Keys,
    Partition,
    Process,
    Scope,
    SendEvent,
    SetClock,
    Slow,
)
from moot.gossip.errors import ConfigError
from moot.gossip.selectors import select
from moot.gossip.sim.scenario import AnyStep, Chance, Scenario, Step, Wait

M = TypeVar("M", Chance, Process, Join)
Places: TypeAlias = Mapping[int, int]
"""Where members go, by number from 1; who is not in it is no more."""


def renamed(scenario: Scenario, places: Places) -> Scenario | None:
    """The scenario with its members elsewhere; what is about none of them is left out. None when nobody remains.

    Words that name nobody, such as a ghost's name, stay.
    """
    if not places:
        return None
    cluster = scenario.cluster
    names = cluster.names
    islands = [moved(island, names, places) for island in cluster.islands]
    labels = [label for label, island in zip(cluster.labels, islands, strict=False) if island]
    smaller = replace(
        cluster,
        size=len(places),
        serf=min(cluster.serf, len(places) - 1),
        islands=tuple(island for island in islands if island),
        labels=tuple(labels),
    )
    steps = (renamed_step(step, names, places) for step in scenario.steps)
    return replace(scenario, cluster=smaller, steps=tuple(step for step in steps if step is not None))


def renamed_step(step: AnyStep, names: Sequence[str], places: Places) -> AnyStep | None:
    """One step, or None when it is about nobody any more."""
    if isinstance(step, Step):
        actions = [renamed_action(action, names, places) for action in step.do]
        do = tuple(action for action in actions if action is not None)
        return replace(step, do=do) if do else None
    if isinstance(step, Wait):
        if not step.until.members:
            return step
        members = moved(step.until.members, names, places)
        return replace(step, until=replace(step.until, members=members)) if members else None
    return _of_members(step, names, places)


def renamed_action(action: Action, names: Sequence[str], places: Places) -> Action | None:
    """One action, or None when it is about nobody any more."""
    match action:
        case Disturb(scope=scope):
            found = _moved_scope(scope, names, places)
            return None if found is None else replace(action, scope=found)
        case Heal(scope=Scope() as scope):
            found = _moved_scope(scope, names, places)
            return None if found is None else replace(action, scope=found)
        case Partition(groups):
            moved_groups = [moved(group, names, places) for group in groups]
            kept = tuple(group for group in moved_groups if group)
            return Partition(kept) if kept else None
        case Process(via=via):
            return _of_members(replace(action, via=_kept(via, names, places)), names, places)
        case Join(targets=targets):
            towards = moved(targets, names, places)
            return _of_members(replace(action, targets=towards), names, places) if towards else None
        case ForceLeave(member, _, by):
            gone = moved(member, names, places)
            return replace(action, member=gone, by=_kept(by, names, places)) if gone else None
        case SendEvent(by=by) | AskQuery(by=by) | Keys(by=by):
            return replace(action, by=_kept(by, names, places))
        case Slow(members) | SetClock(members) | DiskFull(members) | Flood(members):
            whom = moved(members, names, places)
            return replace(action, members=whom) if whom else None
        case _:
            return action


def moved(selector: str, names: Sequence[str], places: Places) -> str:
    """A selector of the same members elsewhere, in numbers; empty when none of them is left."""
    if selector == "all":
        return selector
    try:
        meant = select(selector, names)
    except ConfigError:
        return selector  # a name that nobody bears yet, or ever
    return numbered(
        sorted(places[number] for number, name in enumerate(names, 1) if name in meant and number in places)
    )


def numbered(numbers: Sequence[int]) -> str:
    """`1-3,5`: a selector of these members; they are in order."""
    spans: list[tuple[int, int]] = []
    for number in numbers:
        if spans and spans[-1][1] == number - 1:
            spans[-1] = (spans[-1][0], number)
        else:
            spans.append((number, number))
    return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in spans)


def _kept(selector: str, names: Sequence[str], places: Places) -> str:
    """The like for one that may be empty, and means anybody then."""
    return moved(selector, names, places) if selector else ""


def _moved_scope(scope: Scope, names: Sequence[str], places: Places) -> Scope | None:
    ends = [None if end is None else moved(end, names, places) for end in (scope.source, scope.to)]
    return None if "" in ends else replace(scope, source=ends[0], to=ends[1])


def _of_members(thing: M, names: Sequence[str], places: Places) -> M | None:
    members = moved(thing.members, names, places)
    return replace(thing, members=members) if members else None
