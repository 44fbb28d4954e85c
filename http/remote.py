"""Remote: what other servers say, asked over RPC. An agent without the server role has nothing else to show."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from moot.http.schema import MembersAnswer


class NodeAnswer(msgspec.Struct, rename="pascal", kw_only=True):
    """One client node in GET /v1/nodes. The keys are Nomad's, and three of ours; durations are seconds."""

    address: str
    """Host of its HTTP API."""
    create_index: int
    datacenter: str
    drain: bool = False
    heartbeat_age: float
    """Since the last heartbeat. This key and the next two are ours."""
    heartbeat_ttl: float = msgspec.field(name="HeartbeatTTL")
    last_heartbeat: str
    """RFC 3339, UTC, by the clock of the agent that answers."""
    id: str = msgspec.field(name="ID")
    modify_index: int
    name: str
    node_class: str
    scheduling_eligibility: str = "ineligible"
    """There are no jobs here."""
    status: str
    """`ready` or `down`; `initializing` or `disconnected` if the node itself says so."""
    status_description: str = ""
    version: str


class Remote(Protocol):
    """Raises BackendError, with the text for the caller, when no server answers or one refuses."""

    async def members(self) -> MembersAnswer:
        """GET /v1/agent/members of one of the client role's servers."""
        ...

    async def leader(self, region: str, *, stale: bool) -> str:
        """GET /v1/status/leader in a region, `ip:port`. Waits for a leader unless `stale`."""
        ...

    async def peers(self, region: str, *, stale: bool) -> list[str]:
        """GET /v1/status/peers in a region."""
        ...

    async def regions(self) -> list[str]:
        """GET /v1/regions."""
        ...

    async def nodes(self, region: str) -> Sequence[NodeAnswer]:
        """GET /v1/nodes of a server of the region, "" for the agent's own; in any order."""
        ...
