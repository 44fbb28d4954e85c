"""Exposition: the agent's figures in the text format of Prometheus, from a registry of its own.

Names and units follow Prometheus' conventions; they begin with `moot_`, but for those of the process.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import prometheus_client
from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from moot.http.figures import BY_KIND, GOSSIP, HTTP
from moot.http.metrics import Metrics

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
METHODS: Final = frozenset({"GET", "PUT", "POST"})
BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds. Most answers come from memory; joins and key operations wait for the network."""

# the time at which each series began doubles the number of series, and nobody asks for it
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


class Exposition:
    """Use: `observe` for every request, `text` for every scrape. `members` counts members by status."""

    def __init__(self, metrics: Metrics, members: Callable[[], Mapping[str, int]]) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Figures(metrics, members))
        ProcessCollector(registry=self._registry)
        self._requests = Histogram(
            "moot_http_request_duration_seconds",
            "Time from a request to its answer, by route.",
            ("path", "method", "code"),
            buckets=BUCKETS,
            registry=self._registry,
        )

    def observe(self, path: str, method: str, status: int, seconds: float) -> None:
        """A request was answered; `path` is that of its route. Made-up methods count as one."""
        verb = method if method in METHODS else "other"
        self._requests.labels(path, verb, str(status)).observe(seconds)

    def text(self) -> bytes:
        """All figures as of now."""
        return prometheus_client.generate_latest(self._registry)


class _Figures(Collector):
    """What is counted elsewhere, read when it is asked for."""

    def __init__(self, metrics: Metrics, members: Callable[[], Mapping[str, int]]) -> None:
        self._metrics = metrics
        self._members = members

    def collect(self) -> Iterable[Metric]:
        metrics = self._metrics
        figures = metrics.figures()
        for rows, source in ((GOSSIP, figures.counters), (HTTP, metrics.http)):
            for row in rows:
                yield CounterMetricFamily(row.prometheus, row.help, value=getattr(source, row.field))
        for row, label in BY_KIND:
            counted: Counter[object] = getattr(figures.counters, row.field)
            yield _counters(row.prometheus, row.help, label, {str(kind): count for kind, count in counted.items()})
        yield _counters("moot_member_changes", "Changes of members, by what happened.", "change", metrics.changes)
        yield CounterMetricFamily("moot_user_events", "User events received.", value=metrics.user_events)
        yield CounterMetricFamily("moot_queries", "Queries received.", value=metrics.queries)
        build = GaugeMetricFamily("moot_build_info", "Always 1; the version is in the label.", labels=["version"])
        build.add_metric([figures.version], 1)
        yield build
        yield GaugeMetricFamily(
            "moot_health_score",
            "0 is healthy; more means that this agent itself is slow.",
            value=figures.health_score,
        )
        yield GaugeMetricFamily("moot_tasks", "Tasks of the event loop that are alive.", value=figures.tasks)
        yield _gauges("moot_queue_length", "Broadcasts that wait, by kind.", "queue", figures.queues)
        yield _gauges("moot_members", "Members known to this agent, by status.", "status", self._members())
        yield _gauges(
            "moot_client_nodes", "Client nodes registered with this agent, by status.", "status", figures.client_nodes
        )


def _counters(name: str, text: str, label: str, values: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label])
    for kind, value in values.items():
        family.add_metric([kind], value)
    return family


def _gauges(name: str, text: str, label: str, values: Mapping[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for kind, value in values.items():
        family.add_metric([kind], value)
    return family
