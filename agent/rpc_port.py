"""RpcPort: where an agent's RPC listens, and what others are told of it."""

import os
import socket
from collections.abc import Callable
from dataclasses import replace

from moot import __version__
from moot.agent.identity import advertised_address
from moot.agent.limits import rpc_limits
from moot.agent.logs import Log
from moot.agent.nomad.client_role import ClientSettings
from moot.agent.nomad.pool import PoolSource
from moot.agent.nomad.secret import client_secret
from moot.agent.nomad.service import RpcService
from moot.agent.settings import Settings
from moot.gossip.errors import ConfigError
from moot.gossip.record import Address


class RpcPort:
    """Known from the start on: a free port is held at once, so that it can be announced and nobody else gets it.

    Raises ConfigError when there is none.
    """

    def __init__(self, settings: Settings) -> None:
        self._wanted = settings.bind["rpc"]
        self._holder: socket.socket | None = None
        port = self._wanted.port
        if not port and settings.is_server:
            port = self._hold()
        self.told: Address = advertised_address(settings, "rpc", port)
        self.bound = replace(self._wanted, port=port)

    def _hold(self) -> int:
        wanted = self._wanted
        try:
            self._holder = socket.socket(socket.AF_INET6 if ":" in wanted.host else socket.AF_INET)
            self._holder.bind((wanted.host, 0))
        except OSError as error:
            self.close()
            raise ConfigError(f"no RPC port to be had on {wanted.host}: {error.strerror}") from error
        port: int = self._holder.getsockname()[1]
        return port

    async def listen(self, service: RpcService) -> None:
        """Let the service have the port. Raises ConfigError."""
        wanted = self._wanted
        try:
            await service.listen(wanted.host, wanted.port, told=str(self.told), bound=self._holder)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise ConfigError(f"RPC cannot listen on {wanted}: {reason}; give another --rpc-port") from error

    def close(self) -> None:
        """Give a held port back, if it is still ours."""
        if self._holder is not None:
            self._holder.close()


def rpc_service(
    settings: Settings,
    logger: Callable[[str], Log],
    pool: PoolSource,
    *,
    identifier: str,
    http_address: Callable[[], str],
) -> RpcService:
    """The roles in RPC that the settings ask for. Raises ConfigError."""
    return RpcService(
        settings.region,
        logger,
        pool=pool if settings.serves_rpc else None,
        client=_client_settings(settings, identifier) if settings.client.enabled else None,
        http_address=http_address,
        registry=settings.registry,
        limits=rpc_limits(settings.limits),
    )


def _client_settings(settings: Settings, identifier: str) -> ClientSettings:
    role = settings.client
    return ClientSettings(
        node_id=identifier,
        secret=client_secret(settings.identity_dir),
        name=settings.name,
        region=settings.region,
        datacenter=settings.datacenter,
        version=__version__,
        servers=tuple(dict.fromkeys((*role.servers, *role.retry_join))),
        node_class=role.node_class,
    )
