"""Remote: what other servers say, asked over RPC. An agent without the server role has nothing else to show."""

from typing import Protocol

from moot.http.schema import MembersAnswer


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
