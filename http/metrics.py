"""Metrics: what happened in the agent, counted by name and interval, as Nomad's `/v1/metrics` tells it.

The gossip engine and the HTTP server only keep totals (`Counters`, `HttpCounters`). Once a second these are looked
at, and what was added goes into the running interval of ten seconds, as do the durations of requests at once. Asked
is the last interval that is over. Prometheus gets the totals.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import trio

from moot.gossip.counters import Durations
from moot.gossip.serf.events import MemberChange, MemberEvent, QueryReceived, UserEventReceived
from moot.http.counters import HttpCounters
from moot.http.figures import GROUPS, Row
from moot.http.nomad_operations import Figures
from moot.http.schema import GaugeAnswer, MetricsAnswer, SampledAnswer

INTERVAL: Final = 10
"""Seconds; intervals begin at multiples of it in Unix time."""
STEP: Final = 1.0
"""Seconds between two looks at the totals."""
CHANGES: Final = tuple(change.value.removeprefix("member-") for change in MemberChange)
"""What members do."""

Labels: TypeAlias = tuple[tuple[str, str], ...]
Key: TypeAlias = tuple[str, Labels]
"""Nomad's name of a figure, and its labels."""
Listener: TypeAlias = Callable[[Key, float], None]
"""Told of every single value of what is no total: durations in milliseconds, lengths of queues."""


@dataclass(slots=True)
class Aggregate:
    """The values of one figure in one interval."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    least: float = math.inf
    most: float = -math.inf

    def add(self, value: float, count: int = 1) -> None:
        """Take one value, or the same one several times."""
        self.count += count
        self.total += value * count
        self.squares += value * value * count
        self.least = min(self.least, value)
        self.most = max(self.most, value)

    def answer(self, key: Key) -> SampledAnswer:
        mean = self.total / self.count
        spread = (self.squares - self.total * mean) / (self.count - 1) if self.count > 1 else 0.0
        return SampledAnswer(
            count=self.count,
            labels=dict(key[1]),
            max=self.most,
            mean=mean,
            min=self.least,
            name=key[0],
            rate=self.total / INTERVAL,
            stddev=math.sqrt(max(0.0, spread)),
            sum=self.total,
        )


@dataclass(slots=True)
class Interval:
    """What happened in the ten seconds from `begin`, in Unix time."""

    begin: int
    counters: dict[Key, Aggregate] = field(default_factory=dict)
    samples: dict[Key, Aggregate] = field(default_factory=dict)


class Metrics:
    """Use: `run` in a nursery, `hear` for every event of the node, `observe` for every request."""

    def __init__(
        self, figures: Callable[[], Figures], http: HttpCounters, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.figures = figures
        self.http = http
        self._clock = clock
        self.changes: Counter[str] = Counter(dict.fromkeys(CHANGES, 0))
        """Member events by kind."""
        self.user_events = 0
        self.queries = 0
        self.delays = Durations()
        """How late the event loop came to the task that looks once a second: what kept it busy delays all else."""
        self.listeners: list[Listener] = []
        self._totals: dict[Key, int] = {}
        self._rtts = (0, 0.0)
        self._last: Interval | None = None
        self._running = Interval(self._begin())

    def hear(self, event: object) -> None:
        """An event of the node's."""
        match event:
            case MemberEvent():
                self.changes[event.change.value.removeprefix("member-")] += 1
            case UserEventReceived():
                self.user_events += 1
            case QueryReceived():
                self.queries += 1

    def observe(self, path: str, method: str, status: int, seconds: float) -> None:
        """A request was answered; `path` is that of its route."""
        self._turn()
        self._sample(("nomad.http.request", (("path", path),)), seconds * 1000)

    async def run(self) -> None:
        """Look at the totals once a second, until cancelled."""
        while True:
            self.look()
            due = trio.current_time() + STEP
            await trio.sleep_until(due)
            late = max(0.0, trio.current_time() - due)
            self.delays.add(late)
            self._sample(("nomad.runtime.loop_delay", ()), late * 1000)

    def look(self) -> None:
        """Take what was added since the last look, and the lengths of the queues, into the running interval."""
        figures = self.figures()
        self._count(figures)
        self._sample_rtts(figures.counters.probe_rtts)
        for name, length in figures.queues.items():
            layer = "memberlist.queue.broadcasts" if name == "claim" else f"serf.queue.{name.capitalize()}"
            self._sample((f"nomad.{layer}", ()), length)

    def _sample_rtts(self, rtts: Durations) -> None:
        """There is one probe in a second, so that the mean of those since the last look is the value of each."""
        count, total = sum(rtts.counts), rtts.total
        fresh, took = count - self._rtts[0], total - self._rtts[1]
        self._rtts = (count, total)
        if fresh:
            self._sample(("nomad.memberlist.probe.rtt", ()), took / fresh * 1000, fresh)

    def _sample(self, key: Key, value: float, count: int = 1) -> None:
        samples = self._running.samples
        if key not in samples:
            samples[key] = Aggregate()
        samples[key].add(value, count)
        for listener in self.listeners:
            listener(key, value)

    def _count(self, figures: Figures) -> None:
        self._turn()
        counters = self._running.counters
        for row, labels, total in self.totals(figures):
            key = (row.nomad, labels)
            added = total - self._totals.get(key, 0)
            if added:
                self._totals[key] = total
                aggregate = counters.setdefault(key, Aggregate())
                aggregate.add(*((added,) if row.is_amount else (1, added)))

    def answer(self, members: Mapping[str, int]) -> MetricsAnswer:
        """GET /v1/metrics. `members` counts members by status. Gauges are as of now, whatever the interval."""
        figures = self.figures()
        self._count(figures)
        shown = self._last or self._running
        stamp = time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC", time.gmtime(shown.begin))
        return MetricsAnswer(
            counters=[aggregate.answer(key) for key, aggregate in sorted(shown.counters.items())],
            gauges=list(gauges(figures, members)),
            points=[],
            samples=[aggregate.answer(key) for key, aggregate in sorted(shown.samples.items())],
            timestamp=stamp,
        )

    def _begin(self) -> int:
        return int(self._clock()) // INTERVAL * INTERVAL

    def _turn(self) -> None:
        """Begin another interval when it is time; the last one is the one right before it."""
        begin = self._begin()
        if begin != self._running.begin:
            before = begin - INTERVAL
            self._last = self._running if self._running.begin == before else Interval(before)
            self._running = Interval(begin)

    def rows(self, figures: Figures) -> Iterator[tuple[Row, object]]:
        """Every counter of the table with its total; of those by kind a total for each kind, as a Counter."""
        for group in GROUPS:
            source = self.http if group.source == "http" else getattr(figures, group.source)
            for row in group.rows:
                yield row, getattr(source, row.field)

    def totals(self, figures: Figures) -> Iterator[tuple[Row, Labels, int]]:
        """All totals, of those by kind one for each kind."""
        for row, total in self.rows(figures):
            if isinstance(total, Counter):
                for kind, number in total.items():
                    yield row, ((row.label, str(kind)),), number
            else:
                assert isinstance(total, int)
                yield row, (), total
        for change, number in self.changes.items():
            yield _unlisted(f"serf.member.{change}"), (), number
        for level, number in figures.log_lines.items():
            yield _unlisted("log.lines"), (("level", level),), number
        yield _unlisted("serf.events"), (), self.user_events
        yield _unlisted("serf.queries"), (), self.queries


def _unlisted(name: str) -> Row:
    """A row for what is no field of a group's object; the exposition knows it by itself."""
    return Row("", f"nomad.{name}", "", "")


def gauges(figures: Figures, members: Mapping[str, int]) -> Iterator[GaugeAnswer]:
    """What is as it is now. `members` counts members by status."""
    yield GaugeAnswer(name="nomad.memberlist.health.score", value=figures.health_score, labels={})
    yield GaugeAnswer(name="nomad.runtime.num_goroutines", value=figures.tasks, labels={})
    for name, value in figures.machine.items():
        yield GaugeAnswer(name=f"nomad.client.host.{name}", value=value, labels={})
    for status, count in sorted(members.items()):
        yield GaugeAnswer(name="nomad.serf.members", value=count, labels={"status": status})
    for status, count in sorted(figures.client_nodes.items()):
        yield GaugeAnswer(name="nomad.nomad.nodes", value=count, labels={"status": status})
