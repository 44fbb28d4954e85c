"""`GET /v1/nodes`: the client nodes that are registered with a server."""

from typing import Final

from moot.http.acl import Right
from moot.http.backend import Backend
from moot.http.describe import REGION, Answer, Doc, Failure, Parameter
from moot.http.exchange import HttpError, Reply
from moot.http.remote import NodeAnswer
from moot.http.routes import READ, Call, Route

NODES: Final = Doc(
    "List the client nodes that are registered.",
    "By name: those of the agent itself, of its server if it is none, or of a server of `region`.",
    parameters=(REGION, Parameter("prefix", "Only those whose id begins so.")),
    answers=(Answer(list[NodeAnswer], "All of them."),),
    failures=(
        Failure(500, "…", "the server that was asked by RPC did not answer, or said so"),
        Failure(501, "no RPC port here, so no client nodes"),
    ),
)


class NodesApi:
    """The handler."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def routes(self) -> list[Route]:
        """The table."""
        return [Route("/v1/nodes", READ, self.nodes, checks_query=True, right=Right.NODE_READ, docs=(NODES,))]

    async def nodes(self, call: Call) -> Reply:
        """By name: those of the agent itself, of its server if it is none, or of a server of `region`.

        With `prefix` only those whose id begins so.
        """
        remote = self._backend.remote
        if remote is None:
            raise HttpError(501, "no RPC port here, so no client nodes")
        prefix = call.query.first("prefix").lower()
        found = [node for node in await remote.nodes(call.query.first("region")) if node.id.startswith(prefix)]
        return call.json(sorted(found, key=lambda node: (node.name, node.id)))
