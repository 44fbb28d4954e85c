"""RpcService: the RPC port and the client role of one agent, as far as it has them.

In the order of an agent's life: `listen` before anything is told of the port; `serve` when the pool and HTTP are up;
`leave` before a graceful end; `stop` at the end.
"""

import socket
import ssl
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace

import trio

from moot.agent.logs import Log
from moot.agent.nomad.client import Dialer
from moot.agent.nomad.client_role import ClientAgent, ClientSettings
from moot.agent.nomad.forward import RegionForwarder
from moot.agent.nomad.pool import PoolSource
from moot.agent.nomad.registry import RegistrySettings
from moot.agent.nomad.remote import RpcRemote
from moot.agent.nomad.server import NomadRpcServer, RpcLimits
from moot.gossip.record import Address
from moot.http.counters import RpcCounters


class RpcService:
    """`pool` is given for the server role, `client` for the client role; without both nothing is done.

    `logger` makes a logger for a module of that name. `http_address` tells the `ip:port` that others are told of the
    agent's HTTP API, once that listens. A client without configured servers on an agent that is a server itself
    is a client of this agent, at the address that `serve` is told.
    """

    def __init__(
        self,
        region: str,
        logger: Callable[[str], Log],
        *,
        pool: PoolSource | None = None,
        client: ClientSettings | None = None,
        http_address: Callable[[], str],
        registry: RegistrySettings | None = None,
        limits: RpcLimits | None = None,
    ) -> None:
        self._region = region
        self._logger = logger
        self._http_address = http_address
        self._dialer = Dialer(region)
        self._client_settings = client
        self.client: ClientAgent | None = None
        """The client role; on an agent of both roles, not before `listen`."""
        self.server: NomadRpcServer | None = None
        if pool is not None:
            self.server = NomadRpcServer(
                pool,
                RegionForwarder(pool, self._dialer),
                logger("nomad.rpc"),
                report=self._report_fault,
                settings=registry,
                limits=limits,
            )
        elif client is not None:
            self.client = self._made(client)

    @property
    def remote(self) -> RpcRemote | None:
        """How the HTTP API asks other servers."""
        if self.server is not None:
            return RpcRemote(self._region, self.server.ask)
        return None if self.client is None else RpcRemote(self._region, self.client.call)

    @property
    def counters(self) -> RpcCounters:
        """Of the RPC port; zero on an agent without one."""
        return RpcCounters() if self.server is None else self.server.counters

    def client_nodes(self) -> Mapping[str, int]:
        """How many client nodes are registered here, by status; nothing without the server role."""
        return {} if self.server is None else self.server.registry.counts(trio.current_time())

    def secure(self, server: ssl.SSLContext | None, client: ssl.SSLContext | None, *, optional: bool = False) -> None:
        """Use these contexts for new connections from now on; `optional` takes plain ones too."""
        self._dialer.tls = client
        if self.server is not None:
            self.server.tls, self.server.tls_optional = server, optional

    async def listen(self, host: str, port: int, *, told: str = "", bound: socket.socket | None = None) -> Address:
        """Bind the RPC port; port 0 takes any free one. `bound` is a socket that is bound there already.

        Answers with where it listens. `told` is the `ip:port` that others are told, if it is another. Raises OSError.
        Only for agents with the server role.
        """
        assert self.server is not None, "only a server listens"
        address = await self.server.listen(host, port, bound=bound)
        settings = self._client_settings
        if settings is not None:
            own = (told or str(address),)
            self.client = self._made(settings if settings.servers else replace(settings, servers=own))
        return address

    async def serve(self, nursery: trio.Nursery) -> None:
        """Run what there is in this nursery until it is cancelled, or `stop`."""
        if self.server is not None:
            await nursery.start(self.server.serve)
        if self.client is not None:
            await nursery.start(self.client.run)

    async def leave(self) -> None:
        """Tell the server that this client node ends. Takes a second at most."""
        if self.client is not None:
            await self.client.leave()

    async def stop(self) -> None:
        """Hang up on everybody, without a word. Clients of this server turn to another one."""
        if self.client is not None:
            self.client.stop()
        if self.server is not None:
            await self.server.stop()

    def _made(self, settings: ClientSettings) -> ClientAgent:
        return ClientAgent(settings, self._dialer, self._logger("nomad.client"), http_address=self._http_address)

    def _report_fault(self, about: str, error: Exception) -> None:
        """A bug of ours that one connection met: the agent goes on, the log says all that helps to find it."""
        trace = "".join(traceback.format_exception(error))
        self._logger("nomad.rpc").error("internal error", connection=about, traceback=trace)
