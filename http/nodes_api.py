"""`GET /v1/nodes`: the client nodes that are registered with the server asked."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from moot.http.exchange import Reply
from moot.http.routes import READ, Call, Route


class NodeAnswer(msgspec.Struct, rename="pascal"):
    """One client node. The keys are Nomad's but for the last three; durations are seconds."""

    address: str
    """Host of its HTTP API."""
    create_index: int
    datacenter: str
    id: str = msgspec.field(name="ID")
    modify_index: int
    name: str
    node_class: str
    status: str
    """`ready` or `down`; `initializing` or `disconnected` if the node itself says so."""
    version: str
    heartbeat_age: float
    heartbeat_ttl: float = msgspec.field(name="HeartbeatTTL")
    last_heartbeat: str
    """RFC 3339, UTC, by the clock of the agent that answers."""
    drain: bool = False
    scheduling_eligibility: str = "ineligible"
    """There are no jobs here."""
    status_description: str = ""


class NodeSource(Protocol):
    """Who knows the client nodes."""

    async def nodes(self, region: str) -> Sequence[NodeAnswer]:
        """Those of a server of the region, the agent's own for "", in any order. Raises BackendError."""
        ...


class NodesApi:
    """The handler."""

    def __init__(self, source: NodeSource) -> None:
        self._source = source

    def routes(self) -> list[Route]:
        """The table."""
        return [Route("/v1/nodes", READ, self.nodes, checks_query=True)]

    async def nodes(self, call: Call) -> Reply:
        """By name; with `prefix` those whose id begins so."""
        prefix = call.query.first("prefix").lower()
        found = [node for node in await self._source.nodes(call.query.first("region")) if node.id.startswith(prefix)]
        return call.json(sorted(found, key=lambda node: (node.name, node.id)))
