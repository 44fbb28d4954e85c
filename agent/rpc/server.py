"""RpcServer: listens for clients of Serf's RPC and gives each a session. It shares the loop with the engine, so
whatever a client does costs bounded memory and never holds the loop.

There is no TLS: listen where only operators get to, which is the loopback address unless there is an auth key.
"""

import contextlib
from collections.abc import Callable
from typing import Final

import trio

from moot.agent.logs import Log
from moot.agent.rpc.contract import Limits, RpcBackend
from moot.agent.rpc.session import Session
from moot.gossip.record import Address
from moot.http.counters import RpcCounters
from moot.http.faults import FaultReports

BACKLOG: Final = 128
KEEPALIVE: Final = ((trio.socket.TCP_KEEPIDLE, 60), (trio.socket.TCP_KEEPINTVL, 15), (trio.socket.TCP_KEEPCNT, 4))
"""A client that vanished without a word is noticed after two minutes."""
REPEAT_AFTER: Final = 60.0
"""Seconds between two log lines about clients that were turned away."""


class RpcServer:
    """Use: `listen`, then `serve` in a nursery; cancelling that ends it.

    With an `auth_key` clients have to show it first. `report` is told of bugs, with the client it served. `accepted`
    is told of every client, in place of the log.
    """

    def __init__(
        self,
        backend: RpcBackend,
        log: Log,
        *,
        report: Callable[[str, Exception], None],
        auth_key: str = "",
        limits: Limits | None = None,
        counters: RpcCounters | None = None,
        accepted: Callable[[str], None] | None = None,
    ) -> None:
        self._backend = backend
        self._log = log
        self._faults = FaultReports(report)
        self._auth_key = auth_key
        self._limits = limits or Limits()
        self._listeners: list[trio.SocketListener] = []
        self._refusal_told_at = -REPEAT_AFTER
        self.open_count = 0
        """Connections that are being served."""
        self.counters = counters or RpcCounters()
        self._accepted = accepted or self._note_client

    async def listen(self, host: str, port: int) -> Address:
        """Bind; port 0 takes any free one. Answers with where it listens. Raises OSError."""
        self._listeners = await trio.open_tcp_listeners(port, host=host, backlog=BACKLOG)
        name = self._listeners[0].socket.getsockname()
        return Address.parse(name[0].partition("%")[0], name[1])

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve clients until cancelled, which closes all connections. Once, after `listen`."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            await trio.serve_listeners(self._connected, self._listeners, handler_nursery=nursery)

    async def _connected(self, stream: trio.SocketStream) -> None:
        """One connection, from accept to close; the caller closes the socket."""
        try:
            peer = stream.socket.getpeername()
            _configure(stream)
        except OSError:  # gone between connect and accept
            return
        about = str(Address.parse(peer[0].partition("%")[0], peer[1]))
        if self.open_count >= self._limits.connections_max:
            self._turn_away(about)
            return
        self.open_count += 1
        self.counters.connections += 1
        self._accepted(about)
        try:
            await Session(
                stream,
                self._backend,
                auth_key=self._auth_key,
                limits=self._limits,
                log=self._log,
                about=about,
                counters=self.counters,
            ).run()
        except Exception as error:  # the outermost frame of a connection: a bug costs one client, not the agent
            self._faults.tell(f"RPC client {about}", error, trio.current_time())
        finally:
            self.open_count -= 1

    def _note_client(self, about: str) -> None:
        self._log.debug("accepted client", client=about)

    def _turn_away(self, about: str) -> None:
        """Hang up; there is nothing that a client would read before its own request."""
        self.counters.connections_refused += 1
        now = trio.current_time()
        if now - self._refusal_told_at >= REPEAT_AFTER:
            self._log.warn(
                "too many clients, hanging up on the next", client=about, refused=self.counters.connections_refused
            )
            self._refusal_told_at = now


def _configure(stream: trio.SocketStream) -> None:
    """Send at once, and notice who vanished; not every system knows all of these options."""
    stream.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY, 1)
    stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE:
        with contextlib.suppress(OSError):
            stream.setsockopt(trio.socket.IPPROTO_TCP, option, value)
