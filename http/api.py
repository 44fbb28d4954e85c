"""The whole API as one application for `HttpServer`."""

from moot.http.backend import Backend
from moot.http.moot_api import MootApi
from moot.http.nomad import LEADER_WAIT, NomadApi
from moot.http.routes import Router


def build_api(backend: Backend, *, leader_wait: float = LEADER_WAIT) -> Router:
    """Nomad's endpoints and our own. `leader_wait` is how many seconds a request waits for a leader."""
    return Router(backend, [*NomadApi(backend, leader_wait=leader_wait).routes(), *MootApi(backend).routes()])
