"""Checkers: questions to a History with bounds, answered by a Verdict. Replays and real runs are asked the same.

A checker is a function of a Timeline; its keyword arguments are its bounds: durations in seconds, shares, counts,
or a switch. Its docstring is its documentation.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from moot.gossip.amounts import seconds, share
from moot.gossip.errors import ConfigError
from moot.gossip.sim import checkers_failure, checkers_service, checkers_views
from moot.gossip.sim.history import History
from moot.gossip.sim.timeline import Timeline
from moot.gossip.sim.verdicts import Verdict

Bound: TypeAlias = float | bool


@dataclass(frozen=True, slots=True)
class Checker:
    """A question: its name, the function that answers, and its bounds with their defaults."""

    name: str
    ask: Callable[..., Verdict]
    bounds: Mapping[str, Bound]

    @property
    def text(self) -> str:
        """What it asks, in a sentence."""
        return (self.ask.__doc__ or "").partition("\n")[0]

    def read(self, given: Mapping[str, object]) -> dict[str, Bound]:
        """Bounds as they are written in a file, as numbers. Raises ConfigError that names the key."""
        found: dict[str, Bound] = {}
        for key, value in given.items():
            if key not in self.bounds:
                known = ", ".join(self.bounds) or "none"
                raise ConfigError(f"{self.name} has no bound {key}; there are {known}")
            found[key] = _bound(key, value, isinstance(self.bounds[key], bool))
        return found

    def judge(self, run: Timeline, bounds: Mapping[str, Bound]) -> Verdict:
        """Its answer about a run."""
        return self.ask(run, **{key.replace("-", "_"): value for key, value in bounds.items()})


def _bound(key: str, value: object, switch: bool) -> Bound:
    if switch != isinstance(value, bool):
        raise ConfigError(f"{key} must be {'true or false' if switch else 'a number or a duration'}")
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        value = share(value) if value.endswith("%") else seconds(value)
    if not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise ConfigError(f"{key} must be a number or a duration, finite and not negative")
    return float(value)


def _checker(ask: Callable[..., Verdict]) -> Checker:
    parameters = list(inspect.signature(ask).parameters.values())[1:]
    return Checker(
        ask.__name__.replace("_", "-"), ask, {each.name.replace("_", "-"): each.default for each in parameters}
    )


_ALL: Final[tuple[Callable[..., Verdict], ...]] = (
    checkers_failure.completeness,
    checkers_failure.detection,
    checkers_failure.dissemination,
    checkers_failure.accuracy,
    checkers_failure.flaps,
    checkers_views.convergence,
    checkers_views.zombie,
    checkers_views.resurrection,
    checkers_views.left_stays_left,
    checkers_views.never_falls,
    checkers_service.delivery,
    checkers_service.key_coverage,
    checkers_service.cost,
    checkers_service.health,
    checkers_service.answered,
    checkers_service.commands,
    checkers_service.reached,
)
CHECKERS: Final[dict[str, Checker]] = {checker.name: checker for checker in map(_checker, _ALL)}


def check(history: History, name: str, **bounds: Bound) -> Verdict:
    """Ask one question about a run. Raises KeyError for a checker that there is none of."""
    return CHECKERS[name].ask(Timeline(history), **bounds)
