"""Services: what an agent runs around its node: event handlers, the client RPC, discovery.

In the order of an agent's life: `prepare` before the node starts, so that no event is missed; `serve_rpc` and
`discover` once it runs; `wind_up` when it has stopped and the tasks still run.
"""

import contextlib
import ipaddress
import traceback
from collections.abc import Callable, Sequence
from typing import Final

import trio

from moot.agent.delivery import Delivery
from moot.agent.discovery import Discovery
from moot.agent.handlers import TIMEOUT, Handler, Handlers
from moot.agent.logs import Log
from moot.agent.rpc.contract import RpcBackend
from moot.agent.rpc.server import RpcServer
from moot.agent.serf.interfaces import addresses_of
from moot.gossip.errors import ConfigError
from moot.gossip.net.node import Node
from moot.gossip.net.targets import JoinOutcome
from moot.gossip.record import Address
from moot.gossip.serf.coalesce import Coalescer
from moot.gossip.serf.members import SerfMember
from moot.http.counters import RpcCounters

LAST_WORDS: Final = 2.0
"""Seconds that event handlers have for what happened last."""


class Services:
    """Those of one node. `logger` makes a logger for a module of that name."""

    def __init__(
        self,
        node: Node,
        logger: Callable[[str], Log],
        *,
        handlers: Sequence[Handler] = (),
        handler_timeout: float = TIMEOUT,
    ) -> None:
        self._node = node
        self._logger = logger
        name, log = node.settings.name, logger("agent")
        self.delivery = Delivery(node, Coalescer(), log)
        self.handlers = Handlers(name, node, self.delivery, log, handlers, timeout=handler_timeout)
        self.ipc_counters = RpcCounters()
        self.rpc: Address | None = None
        """Where the client RPC listens, once it does."""

    async def prepare(self, nursery: trio.Nursery) -> None:
        """Get ready for the node's events."""
        await nursery.start(self.delivery.run)
        await nursery.start(self.handlers.run)

    async def serve_rpc(
        self,
        nursery: trio.Nursery,
        backend: RpcBackend,
        host: str,
        port: int,
        *,
        auth_key: str = "",
        accepted: Callable[[str], None] | None = None,
    ) -> Address:
        """Listen for clients, and serve them. Where it listens, the port resolved. Raises OSError.

        `accepted` is told the address of every client, in place of the log.
        """
        server = RpcServer(
            backend,
            self._logger("agent.ipc"),
            report=self._report_fault,
            auth_key=auth_key,
            counters=self.ipc_counters,
            accepted=accepted,
        )
        self.rpc = await server.listen(host, port)
        await nursery.start(server.serve)
        return self.rpc

    async def discover(self, nursery: trio.Nursery, pool: str, *, interface: str = "", replay: bool = False) -> None:
        """Find the agents of a pool and join them. `interface` is the name or an IP of the only one to use.

        With `replay` these joins bring the pool's past events. Raises ConfigError.
        """
        host = interface_host(interface) if interface else None
        joining = _Joining(self._node, replay=replay)
        log = self._logger("agent.mdns")
        await nursery.start(Discovery(pool, self._node.settings.name, joining, log, interface=host).run)

    async def wind_up(self) -> None:
        """Let the handlers deal with what the node told last."""
        await self.delivery.flush()
        await self.handlers.drain(LAST_WORDS)

    def _report_fault(self, about: str, error: Exception) -> None:
        """A bug of ours that one client met: the agent goes on, the log says all that helps to find it."""
        trace = "".join(traceback.format_exception(error))
        self._logger("agent.ipc").error("internal error", client=about, traceback=trace)


class _Joining:
    """A node as discovery sees it."""

    def __init__(self, node: Node, *, replay: bool) -> None:
        self._node = node
        self._ignore_old = not replay

    @property
    def address(self) -> Address:
        return self._node.address

    @property
    def bind_address(self) -> Address:
        return self._node.bind_address

    def members(self) -> list[SerfMember]:
        return self._node.members()

    async def join(self, targets: Sequence[str]) -> list[JoinOutcome]:
        return await self._node.join(targets, ignore_old=self._ignore_old)


def interface_host(interface: str) -> str:
    """An IP of the interface that has this name or IP. Raises ConfigError."""
    with contextlib.suppress(ValueError):  # no IP, so a name
        return str(ipaddress.ip_address(interface))
    try:
        found = [str(address) for address in addresses_of(interface) if not address.is_link_local]
    except (OSError, ValueError):
        raise ConfigError(f"there is no network interface {interface!r} to discover agents through") from None
    if not found:
        raise ConfigError(f"the network interface {interface!r} has no address to discover agents through")
    return found[0]
