"""HTTP/1.1 on trio: listeners, who may connect, limits, graceful stop. Knows no routes.

HTTP shares the event loop with the failure detector, so whatever a client does costs bounded memory and never
holds the loop: each connection has one task, one request in work, and a deadline on every wait for the client
(see `connection`). When there is no place left, those who keep theirs without using it make room.
"""

import heapq
import resource
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

import trio

from moot.gossip.record import Address
from moot.http.connection import REASONS, TYPE_TEXT, Connection, Phase
from moot.http.counters import HttpCounters
from moot.http.exchange import VARY, Application
from moot.http.faults import FaultReports

BACKLOG = 1024
SHED_AT_ONCE = 16
"""How many connections make room when one place is needed: looking for them costs as much as a request."""
REPEAT_AFTER = 60.0
"""Seconds between two words about handshakes that failed for the same reason."""
WAITING = (Phase.GREETING, Phase.IDLE, Phase.ASKING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one server takes. Durations are seconds."""

    connections_max: int = 512
    """Never more than a quarter of the descriptors that the process may have."""
    connections_per_client_max: int = 100
    """Connections from one IP at a time, Nomad's `limits.http_max_conns_per_client`; 0 sets no limit."""
    header_bytes_max: int = 65_536
    """Asked only while the end of the headers is not in sight: up to one read more can pass."""
    body_bytes_max: int = 1_048_576
    bodies_bytes_max: int = 33_554_432
    """Of all bodies that are being read or worked on."""
    handshake_timeout: float = 5.0
    """For all of a TLS handshake, Nomad's `limits.https_handshake_timeout`."""
    idle_timeout: float = 120.0
    """How long a connection may wait for its first or next request. Go's client keeps one for 90 s."""
    header_timeout: float = 10.0
    """From the first byte of a request to the end of its headers."""
    body_timeout: float = 30.0
    write_timeout: float = 30.0
    """For a whole answer, or a piece of one that is streamed."""
    slow_after: float = 5.0
    """Who has been reading an answer for so long may have to make room for others."""
    linger_timeout: float = 1.0
    stop_timeout: float = 10.0
    """How long `stop` lets requests in work go on."""
    streams_max: int = 64
    """Streamed answers at a time: each holds a connection for as long as it pleases."""
    streams_per_client_max: int = 32


class HttpServer:
    """Serves an application on any number of addresses. Use: `listen`, then `serve` in a nursery, `stop`.

    `report` is told of bugs, with the request's method and target or the client it served; of one that comes
    again and again once a minute (see `FaultReports`). `refused` is told of TLS handshakes that failed, with the
    client's IP and the reason, of each reason once a minute. `counters` are for whoever shows them.

    With a `tls` context only TLS is spoken. It may be replaced at any time, by None too, and holds for the
    connections that come then; those that are there keep theirs.
    """

    def __init__(
        self,
        application: Application,
        *,
        report: Callable[[str, Exception], None],
        refused: Callable[[str, str], None] | None = None,
        limits: Limits | None = None,
        counters: HttpCounters | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.application = application
        self.tls = tls
        self.turn = trio.Lock()
        """Held for a step of a TLS handshake."""
        self.limits = limits or Limits()
        self.counters = counters or HttpCounters()
        self._faults = FaultReports(report)
        self._refused = refused
        self._told: dict[str, float] = {}
        """When a reason for failed handshakes was last told."""
        self.stopping = False
        self.streams: dict[trio.CancelScope, str] = {}
        """One for each answer that is being streamed, with its client."""
        self.body_bytes = 0
        """Of bodies that are being read or worked on."""
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._connections_max = min(self.limits.connections_max, max(1, descriptors // 4))
        self._connections: set[Connection] = set()
        self._shed: set[Connection] = set()
        """Those of them that were told to go."""
        self._per_client: Counter[str] = Counter()
        self._listeners: list[trio.SocketListener] = []
        self._accepting = trio.CancelScope()
        self._nursery: trio.Nursery | None = None
        self._finished = trio.Event()

    async def listen(self, addresses: Sequence[tuple[str, int]]) -> list[Address]:
        """Bind every (IP, port); port 0 takes any free one. Answers with where it listens.

        Raises OSError when one cannot be bound; none of them stays bound then.
        """
        try:
            for host, port in addresses:
                self._listeners += await trio.open_tcp_listeners(port, host=host, backlog=BACKLOG)
        except OSError:
            for listener in self._listeners:
                await listener.aclose()
            self._listeners.clear()
            raise
        names = (listener.socket.getsockname() for listener in self._listeners)
        return [Address.parse(name[0].partition("%")[0], name[1]) for name in names]

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Accept and answer until `stop`. Call it once, after `listen`."""
        try:
            async with trio.open_nursery() as self._nursery:
                with self._accepting:
                    task_status.started()
                    await trio.serve_listeners(self._connected, self._listeners, handler_nursery=self._nursery)
        finally:
            self._finished.set()

    async def stop(self) -> None:
        """Stop accepting, close idle connections, break off streams, let requests in work end in `stop_timeout`.

        Returns when all is closed. Not to be called from a request's own task, which it would wait for.
        """
        self.stopping = True
        self._accepting.cancel()
        for connection in self._connections:
            if connection.phase in (Phase.GREETING, Phase.IDLE):
                connection.scope.cancel()
        for scope in self.streams:
            scope.cancel()
        if self._nursery is None:
            for listener in self._listeners:
                await listener.aclose()
            return
        self._nursery.cancel_scope.deadline = trio.current_time() + self.limits.stop_timeout
        await self._finished.wait()

    async def _connected(self, stream: trio.SocketStream) -> None:
        """One connection, from accept to close; the caller closes the socket."""
        self.counters.connections += 1
        try:
            peer = stream.socket.getpeername()[0]
            stream.socket.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY, 1)
        except OSError:  # gone between connect and accept
            return
        per_client_max = self.limits.connections_per_client_max
        if per_client_max and self._per_client[peer] >= per_client_max:
            await self._turn_away(stream, HTTPStatus.TOO_MANY_REQUESTS)
            return
        if self.open_count >= self._connections_max and not self._make_room():
            await self._turn_away(stream, HTTPStatus.SERVICE_UNAVAILABLE)
            return
        connection = Connection(self, stream, peer)
        self._connections.add(connection)
        self._per_client[peer] += 1
        try:
            await connection.run()
        except Exception as error:  # the outermost frame of a connection: a bug costs one client, not the agent
            self.note_fault(f"connection of {peer}", error)
        finally:
            self._connections.discard(connection)
            self._shed.discard(connection)
            self._per_client[peer] -= 1
            if not self._per_client[peer]:
                del self._per_client[peer]

    @property
    def open_count(self) -> int:
        """Connections that have a place."""
        return len(self._connections) - len(self._shed)

    def _make_room(self) -> bool:
        """Tell some connections to go that only wait for their client; False when there are none.

        Those of the clients with the most connections go first, and among these those that have waited longest. A
        client that reads its answer slowly is left until nobody else is.
        """
        latest = trio.current_time() - self.limits.slow_after

        def rank(connection: Connection) -> tuple[bool, int, float]:
            return connection.phase is Phase.ANSWERING, -self._per_client[connection.peer], connection.since

        wasted = [
            connection
            for connection in self._connections - self._shed
            if connection.phase in WAITING or (connection.phase is Phase.ANSWERING and connection.since <= latest)
        ]
        chosen = heapq.nsmallest(SHED_AT_ONCE, wasted, key=rank)
        for connection in chosen:
            connection.scope.cancel()
        self._shed.update(chosen)
        self.counters.connections_shed += len(chosen)
        return bool(chosen)

    def note_fault(self, what: str, error: Exception) -> None:
        """Count a bug of ours, and report it unless the same was just reported."""
        self.counters.faults += 1
        self._faults.tell(what, error, trio.current_time())

    def note_handshake(self, peer: str, reason: str) -> None:
        """Count a TLS handshake that failed, and tell of it unless the same reason was just told."""
        self.counters.handshakes_failed += 1
        now = trio.current_time()
        if self._refused is not None and now - self._told.get(reason, -REPEAT_AFTER) >= REPEAT_AFTER:
            self._told[reason] = now
            self._refused(peer, reason)

    async def _turn_away(self, stream: trio.SocketStream, status: HTTPStatus) -> None:
        """Say why and hang up, without reading: this client gets no memory and next to no time.

        Where TLS is spoken there are no words for it.
        """
        self.counters.connections_refused += 1
        if self.tls is not None:
            return
        text = b"too many connections"
        lines = [b"HTTP/1.1 %d %b" % (status.value, REASONS[status.value]), *map(b": ".join, (VARY, TYPE_TEXT))]
        lines += [b"Content-Length: %d" % len(text), b"Connection: close", b"", text]
        with trio.move_on_after(self.limits.linger_timeout):
            try:
                await stream.send_all(b"\r\n".join(lines))
                await stream.send_eof()
            except trio.BrokenResourceError:  # it did not wait to hear it
                return
