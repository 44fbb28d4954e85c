"""Nomad's `/v1/metrics`."""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from moot.http.backend import Backend
from moot.http.describe import Answer, Doc, Failure, Parameter
from moot.http.exchange import HttpError, Reply
from moot.http.metrics import Metrics
from moot.http.routes import READ, Call, Route
from moot.http.schema import MetricsAnswer

if TYPE_CHECKING:
    from moot.http.exposition import Exposition


PROMETHEUS: Final = b"text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = b"application/openmetrics-text; version=1.0.0; charset=utf-8"
"""Content-Type of the same as OpenMetrics, for those who prefer it."""

METRICS: Final = Doc(
    "Show what the agent measures.",
    parameters=(Parameter("format", "`prometheus`, or anything else for JSON."),),
    answers=(
        Answer(MetricsAnswer, "What happened in the last ten seconds;"),
        Answer(str, "with `format=prometheus` the totals,", content_type=PROMETHEUS),
        Answer(str, "the same as OpenMetrics for who says so in `Accept`.", content_type=OPENMETRICS),
    ),
    failures=(Failure(415, "Prometheus is not enabled", "`telemetry.prometheus_metrics` is not set"),),
)


class MetricsApi:
    """The handler, and what is told of every request."""

    def __init__(self, backend: Backend, metrics: Metrics) -> None:
        self._backend = backend
        self._metrics = metrics
        self._counts = MemberCounts(backend)
        self._exposition: Exposition | None = None
        if backend.nomad.settings.prometheus_metrics:
            self._expose()

    def routes(self) -> list[Route]:
        """The table. Open, as Nomad's."""
        return [Route("/v1/metrics", READ, self.metrics, right=None, docs=(METRICS,))]

    def observe(self, path: str, method: str, status: int, seconds: float) -> None:
        """A request was answered (see `routes.Observer`)."""
        self._metrics.observe(path, method, status, seconds)
        if self._exposition is not None:
            self._exposition.observe(path, method, status, seconds)

    async def metrics(self, call: Call) -> Reply:
        """The last interval as JSON, or the totals for Prometheus when that is configured."""
        if call.query.first("format") != "prometheus":
            return call.json(self._metrics.answer(self._counts()))
        if not self._backend.nomad.settings.prometheus_metrics:
            raise HttpError(415, "Prometheus is not enabled")
        # Prometheus' library costs 40 ms and 2 MB: only agents that use it load it, most when they start
        exposition = self._exposition or self._expose()
        if wants_openmetrics(call.request.header(b"accept")):
            return Reply(exposition.openmetrics(), OPENMETRICS)
        return Reply(exposition.text(), PROMETHEUS)

    def _expose(self) -> "Exposition":
        from moot.http.exposition import Exposition

        self._exposition = Exposition(self._metrics, self._counts)
        return self._exposition


def wants_openmetrics(accept: str) -> bool:
    """Whether a header `Accept` asks for OpenMetrics of the version that we have."""
    for each in accept.lower().split(","):
        kind, *given = (part.replace(" ", "").replace("\t", "") for part in each.split(";"))
        parameters = dict(parameter.partition("=")[::2] for parameter in given)
        if kind == "application/openmetrics-text" and parameters.get("version", "1.0.0") == "1.0.0":
            return parameters.get("q", "1").strip("0.") != ""
    return False


class MemberCounts:
    """Counts members by status; statuses that nobody has are left out. Cheap while no member changes."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._counts: Mapping[str, int] = {}
        self._version = -1

    def __call__(self) -> Mapping[str, int]:
        version = self._backend.members_version
        if version != self._version:
            self._version = version
            self._counts = Counter(member.status.value for member in self._backend.members())
        return self._counts
