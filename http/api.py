"""The whole API as one application for `HttpServer`."""

from moot.http.backend import Backend
from moot.http.counters import HttpCounters
from moot.http.moot_api import MootApi
from moot.http.nomad import LEADER_WAIT, NomadApi
from moot.http.pool_api import PoolApi
from moot.http.routes import Router


def build_api(backend: Backend, *, counters: HttpCounters, leader_wait: float = LEADER_WAIT) -> Router:
    """Nomad's endpoints and our own.

    `counters` are those of the server, to be shown. `leader_wait` is how many seconds a request waits for a
    leader.
    """
    nomad, ours = NomadApi(backend, leader_wait=leader_wait), MootApi(backend, counters)
    return Router(backend, [*nomad.routes(), *ours.routes(), *PoolApi(backend).routes()])
