"""Exposition: the agent's figures in the text formats of Prometheus and OpenMetrics, from a registry of its own.

Names and units follow Prometheus' conventions; they begin with `moot_`, but for those of the process. There are as
many series with 10,000 members as with one: no label holds anything that members or clients can choose.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import prometheus_client
from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client import Counter as Total
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from moot.gossip.counters import BOUNDS, Durations
from moot.gossip.serf.members import MemberStatus
from moot.http.metrics import Metrics

METHODS: Final = frozenset({"GET", "PUT", "POST", "HEAD", "DELETE"})
BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds. Most answers come from memory; joins and key operations wait for the network."""
STATUSES: Final = tuple(status.value for status in MemberStatus if status is not MemberStatus.NONE)
"""Those that members have: each has a series from the start, so that its first member is a rise."""

# the time at which each series began doubles the number of series, and nobody asks for it
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # has no types


class Exposition:
    """Use: `observe` for every request, `text` for every scrape. `members` counts members by status."""

    def __init__(self, metrics: Metrics, members: Callable[[], Mapping[str, int]]) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Figures(metrics, members))
        ProcessCollector(registry=self._registry)
        self._durations = Histogram(
            "moot_http_request_duration_seconds",
            "Time from a request to its answer, by route.",
            ("path",),
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._responses = Total(
            "moot_http_responses",
            "Answers of the routes, by route, method and status.",
            ("path", "method", "code"),
            registry=self._registry,
        )

    def observe(self, path: str, method: str, status: int, seconds: float) -> None:
        """A request was answered; `path` is that of its route. Made-up methods count as one."""
        self._durations.labels(path).observe(seconds)
        self._responses.labels(path, method if method in METHODS else "other", str(status)).inc()

    def text(self) -> bytes:
        """All figures as of now, in Prometheus' text format 0.0.4."""
        return prometheus_client.generate_latest(self._registry)

    def openmetrics(self) -> bytes:
        """The same in the text format of OpenMetrics 1.0."""
        text: bytes = openmetrics.generate_latest(self._registry)  # type: ignore[no-untyped-call]  # has no types
        return text


class _Figures(Collector):
    """What is counted elsewhere, read when it is asked for."""

    def __init__(self, metrics: Metrics, members: Callable[[], Mapping[str, int]]) -> None:
        self._metrics = metrics
        self._members = members

    def collect(self) -> Iterable[Metric]:
        metrics = self._metrics
        figures = metrics.figures()
        for row, total in metrics.rows(figures):
            unit = "bytes" if row.prometheus.endswith("_bytes") else ""
            if isinstance(total, Counter):
                yield _counters(row.prometheus, row.help, row.label, total)
            else:
                assert isinstance(total, int)
                yield CounterMetricFamily(row.prometheus, row.help, value=total, unit=unit)
        yield _counters("moot_member_changes", "Changes of members, by what happened.", "change", metrics.changes)
        yield _counters("moot_log_lines", "Lines written to the log, by level.", "level", figures.log_lines)
        yield CounterMetricFamily("moot_user_events", "User events received.", value=metrics.user_events)
        yield CounterMetricFamily("moot_queries", "Queries received.", value=metrics.queries)
        yield _histogram(
            "moot_gossip_probe_rtt_seconds",
            "Round trip times of probes that were answered directly.",
            figures.counters.probe_rtts,
        )
        yield _histogram(
            "moot_event_loop_delay_seconds",
            "How late the event loop was for a task that is due once a second.",
            metrics.delays,
        )
        yield InfoMetricFamily("moot_build", "The version, in the label.", value={"version": figures.version})
        yield GaugeMetricFamily(
            "moot_health_score",
            "0 is healthy; more means that this agent itself is slow.",
            value=figures.health_score,
        )
        yield GaugeMetricFamily("moot_tasks", "Tasks of the event loop that are alive.", value=figures.tasks)
        yield _gauges("moot_queue_length", "Messages that wait to be gossiped, by kind.", "queue", figures.queues)
        yield _gauges("moot_lamport_time", "Lamport clocks of the pool as known here.", "clock", figures.clocks)
        members = dict.fromkeys(STATUSES, 0) | dict(self._members())
        yield _gauges("moot_members", "Members known to this agent, by status.", "status", members)
        yield _gauges(
            "moot_client_nodes", "Client nodes registered with this agent, by status.", "status", figures.client_nodes
        )


def _counters(name: str, text: str, label: str, values: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label])
    for kind, value in values.items():
        family.add_metric([str(kind)], value)
    return family


def _gauges(name: str, text: str, label: str, values: Mapping[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for kind, value in values.items():
        family.add_metric([kind], value)
    return family


def _histogram(name: str, text: str, durations: Durations) -> HistogramMetricFamily:
    reached, buckets = 0, []
    for bound, count in zip((*map(str, BOUNDS), "+Inf"), durations.counts, strict=True):
        reached += count
        buckets.append((bound, float(reached)))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=durations.total, unit="seconds")
