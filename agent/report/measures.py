"""Measures: how soon a pool noticed, told and agreed in a run, and what that cost; from its history alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from moot.gossip.sim.checkers_failure import watchers
from moot.gossip.sim.checkers_views import quiet_times, settling
from moot.gossip.sim.history import Sample
from moot.gossip.sim.timeline import Span, Timeline, Up, quantile

WINDOW = 120.0
"""Seconds after which a crash that was not seen counts as missed, as for the checker `detection`."""
QUIET_WINDOW = 60.0
"""Seconds after which views that do not agree count as never agreeing, as for the checker `convergence`."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Latencies in seconds, in order, and how many more never came."""

    values: tuple[float, ...] = ()
    missed: int = 0

    @property
    def count(self) -> int:
        return len(self.values)

    @property
    def first(self) -> float | None:
        return self.values[0] if self.values else None

    @property
    def median(self) -> float | None:
        return quantile(list(self.values), 0.5) if self.values else None

    @property
    def p99(self) -> float | None:
        return quantile(list(self.values), 0.99) if self.values else None

    @property
    def last(self) -> float | None:
        return self.values[-1] if self.values else None


@dataclass(frozen=True, slots=True)
class Crash:
    """How soon each observer saw that a member had crashed."""

    member: str
    at: float
    spread: Spread


@dataclass(frozen=True, slots=True)
class Settled:
    """All troubles were over at `at`; views agreed so many seconds later, None when not before the next one."""

    at: float
    after: float | None


@dataclass(frozen=True, slots=True)
class Measures:
    """What a run comes to in figures. `bytes_per_second` and the like are of an average agent."""

    seconds: float
    crashes: tuple[Crash, ...]
    settled: tuple[Settled, ...]
    detection: Spread
    dissemination: Spread
    convergence: Spread
    bytes_per_second: float | None
    messages_per_second: float | None
    worst_health: int | None


def spread(values: Sequence[float], missed: int = 0) -> Spread:
    """The distribution of some latencies."""
    return Spread(tuple(sorted(values)), missed)


def measure(run: Timeline) -> Measures:
    """Everything that can be measured."""
    crashes = tuple(_crashes(run))
    settled = tuple(_settled(run))
    samples = run.history.of(Sample)
    return Measures(
        seconds=run.end,
        crashes=crashes,
        settled=settled,
        detection=spread(
            [value for crash in crashes for value in crash.spread.values],
            sum(crash.spread.missed for crash in crashes),
        ),
        dissemination=_dissemination(run),
        convergence=spread(
            [each.after for each in settled if each.after is not None], sum(each.after is None for each in settled)
        ),
        bytes_per_second=_rate(run, [(each.agent, each.at, each.bytes) for each in samples]),
        messages_per_second=_rate(run, [(each.agent, each.at, each.messages) for each in samples]),
        worst_health=max((each.health for each in samples if each.health >= 0), default=None),
    )


def _crashes(run: Timeline) -> list[Crash]:
    found = []
    for crash in run.crashes():
        noticed = list(watchers(run, crash, WINDOW))
        seen = [each.latency for each in noticed if each.latency is not None]
        missed = sum(each.latency is None and each.enough for each in noticed)
        if noticed:
            found.append(Crash(crash.member, crash.span.ended, spread(seen, missed)))
    return sorted(found, key=lambda crash: crash.at)


def _dissemination(run: Timeline) -> Spread:
    """How long after the first observer each other one knew that somebody had failed or left."""
    found: list[float] = []
    for gone in (up for up in run.all_lives() if up.how):
        began = min(gone.span.ended, gone.leaving_at)
        news = Up(gone.agent, gone.member, Span(gone.span.began, began), gone.how)
        times = [each.latency for each in watchers(run, news, inf) if each.latency is not None]
        found += [latency - min(times) for latency in sorted(times)[1:]]
    return spread(found)


def _settled(run: Timeline) -> list[Settled]:
    found = []
    for at, until in quiet_times(run):
        agreed_at, _ = settling(run, at, until, False)
        if agreed_at is not None or until - at >= QUIET_WINDOW:
            found.append(Settled(at, None if agreed_at is None else agreed_at - at))
    return found


def _rate(run: Timeline, counts: Sequence[tuple[str, float, int]]) -> float | None:
    """The increase of a count per second of an agent's life, over all of them."""
    first: dict[tuple[str, float], tuple[float, int]] = {}
    last: dict[tuple[str, float], tuple[float, int]] = {}
    for agent, at, number in counts:
        life = run.life_at(agent, at)
        if number >= 0 and life is not None:
            first.setdefault((agent, life.span.began), (at, number))
            last[agent, life.span.began] = (at, number)
    seconds = sum(last[key][0] - first[key][0] for key in first)
    return sum(last[key][1] - first[key][1] for key in first) / seconds if seconds > 0 else None
