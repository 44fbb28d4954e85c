"""Nomad's `/v1/metrics`."""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from moot.http.backend import Backend
from moot.http.exchange import HttpError, Reply
from moot.http.metrics import Metrics
from moot.http.routes import READ, Call, Route

if TYPE_CHECKING:
    from moot.http.exposition import Exposition


class MetricsApi:
    """The handler, and what is told of every request."""

    def __init__(self, backend: Backend, metrics: Metrics) -> None:
        self._backend = backend
        self._metrics = metrics
        self._exposition: Exposition | None = None
        if backend.nomad.settings.prometheus_metrics:
            self._expose()

    def routes(self) -> list[Route]:
        """The table. Open, as Nomad's."""
        return [Route("/v1/metrics", READ, self.metrics, right=None)]

    def observe(self, path: str, method: str, status: int, seconds: float) -> None:
        """A request was answered (see `routes.Observer`)."""
        self._metrics.observe(path, method, status, seconds)
        if self._exposition is not None:
            self._exposition.observe(path, method, status, seconds)

    async def metrics(self, call: Call) -> Reply:
        """The last interval as JSON, or the totals for Prometheus when that is configured."""
        if call.query.first("format") != "prometheus":
            return call.json(self._metrics.answer(self._members()))
        if not self._backend.nomad.settings.prometheus_metrics:
            raise HttpError(415, "Prometheus is not enabled")
        # Prometheus' library costs 40 ms and 2 MB: only agents that use it load it, most when they start
        from moot.http.exposition import CONTENT_TYPE

        return Reply((self._exposition or self._expose()).text(), CONTENT_TYPE)

    def _expose(self) -> "Exposition":
        from moot.http.exposition import Exposition

        self._exposition = Exposition(self._metrics, self._members)
        return self._exposition

    def _members(self) -> Mapping[str, int]:
        """Members by status; statuses that nobody has are left out."""
        return Counter(member.status.value for member in self._backend.members())
