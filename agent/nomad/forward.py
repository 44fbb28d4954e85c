"""RegionForwarder: calls to servers of other regions, as gossip shows them."""

from random import Random

from moot.agent.nomad.client import Dialer
from moot.agent.nomad.errors import Refused, Unreached
from moot.agent.nomad.pool import PoolSource, alive_servers

NO_PATH = "No path to region"
TRIES_MAX = 3
"""Servers of a region that are asked until one answers."""


class RegionForwarder:
    """Asks one of a region's alive servers, any of them; another one when it does not answer."""

    def __init__(self, pool: PoolSource, dialer: Dialer, *, random: Random | None = None) -> None:
        self._pool = pool
        self._dialer = dialer
        self._random = random or Random()

    async def call(self, region: str, method: str, body: bytes) -> bytes:
        """The answer's body. Raises Refused, also when there is no server or none answers."""
        pool = self._pool
        found = [it.address for it in alive_servers(pool.members(), pool.identity) if it.region == region]
        if not found:
            raise Refused(NO_PATH)
        failure = ""
        for address in self._random.sample(found, min(len(found), TRIES_MAX)):
            try:
                return await self._dialer.call(address, method, body, region=region)
            except Unreached as error:
                failure = str(error)
            except Refused as refusal:
                raise Refused(f"rpc error: {refusal}") from None
        raise Refused(f"rpc error: {failure}")
