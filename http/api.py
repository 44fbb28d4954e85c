"""The whole API as one application for `HttpServer`."""

from moot.http.backend import Backend
from moot.http.counters import HttpCounters
from moot.http.docs_api import DocsApi
from moot.http.events_api import EventsApi
from moot.http.membership_api import MembershipApi
from moot.http.metrics import Metrics
from moot.http.metrics_api import MetricsApi
from moot.http.monitor import MonitorApi
from moot.http.moot_api import MootApi
from moot.http.nodes_api import NodesApi
from moot.http.nomad import LEADER_WAIT, NomadApi
from moot.http.nomad_admin import AdminApi
from moot.http.nomad_keyring import KeyringApi
from moot.http.pool_api import PoolApi
from moot.http.routes import Router
from moot.http.view_api import ViewApi


def build_api(
    backend: Backend, *, counters: HttpCounters, metrics: Metrics | None = None, leader_wait: float = LEADER_WAIT
) -> Router:
    """Nomad's endpoints and our own.

    `counters` are those of the server, to be shown. `metrics` are what the agent feeds and runs; without, figures
    are only looked at when somebody asks. `leader_wait` is how many seconds a request waits for a leader.
    """
    figures = MetricsApi(backend, metrics or Metrics(backend.nomad.figures, counters))
    parts = (
        NomadApi(backend, leader_wait=leader_wait),
        NodesApi(backend),
        KeyringApi(backend),
        AdminApi(backend),
        MonitorApi(backend),
        figures,
        MootApi(backend, counters),
        PoolApi(backend),
        EventsApi(backend),
        ViewApi(backend),
        MembershipApi(backend),
    )
    routes = [route for part in parts for route in part.routes()]
    return Router(backend, [*routes, *DocsApi(backend, routes).routes()], observe=figures.observe)
