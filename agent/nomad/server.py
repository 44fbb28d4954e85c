"""NomadRpcServer: listens on the RPC port (4647). It shares the loop with the gossip engine, so whatever a client
does costs bounded memory and never holds the loop.

Of the modes that the first byte of a connection asks for, RPC is served, alone or multiplexed, and TLS. There is no
Raft here and no streaming RPC: such connections are closed, as are those without TLS where it is required.
"""

import contextlib
import math
import resource
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

import trio

from moot.agent.logs import Log
from moot.agent.nomad.endpoints import LEADER_WAIT, Caller, Endpoints, Forwarder
from moot.agent.nomad.errors import Refused
from moot.agent.nomad.framing import ERROR_CHARS_MAX, FrameReader, Head, Mode, encode_answer
from moot.agent.nomad.multiplex import Multiplexed
from moot.agent.nomad.pool import PoolSource
from moot.agent.nomad.registry import DOWN, NodeEntry, NodeRegistry, RegistrySettings
from moot.gossip.errors import WireError
from moot.gossip.record import Address
from moot.http.counters import RpcCounters
from moot.http.faults import FaultReports

BACKLOG: Final = 256
RECEIVE_BYTES: Final = 16 * 1024
REPEAT_AFTER: Final = 60.0
"""Seconds between two log lines about connections that were turned away."""
KEEPALIVE: Final = ((trio.socket.TCP_KEEPIDLE, 60), (trio.socket.TCP_KEEPINTVL, 15), (trio.socket.TCP_KEEPCNT, 4))
"""A client that vanished without a word is noticed after two minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcLimits:
    """What connections may take. Durations are seconds."""

    connections_max: int = 8192
    """Never more than half of the descriptors that the process may have."""
    connections_per_client_max: int = 100
    """From one IP, Nomad's `limits.rpc_max_conns_per_client`; 0 sets no limit."""
    handshake_timeout: float = 5.0
    """From the connection to the end of its mode bytes and of TLS, Nomad's `limits.rpc_handshake_timeout`."""
    idle_timeout: float = 60.0
    """Between two calls. One on which a node registered may be silent for its TTL besides."""
    request_timeout: float = 10.0
    """From the first byte of a request to its last."""
    send_timeout: float = 10.0
    """How long a client may refuse to read an answer."""
    requests_per_second_max: float = 200.0
    """Of all connections from one IP, over a second; what comes faster waits."""
    streams_max: int = 64
    """Of one multiplexed connection at a time."""


class NomadRpcServer:
    """Use: `listen`, then `serve` in a nursery, then `stop`.

    With a `tls` context, connections without TLS are closed unless `tls_optional`; both may be changed at any time.
    `report` is told of bugs, with the connection that they served.
    """

    def __init__(
        self,
        pool: PoolSource,
        forwarder: Forwarder,
        log: Log,
        *,
        report: Callable[[str, Exception], None],
        settings: RegistrySettings | None = None,
        limits: RpcLimits | None = None,
        tls: ssl.SSLContext | None = None,
        tls_optional: bool = False,
        leader_wait: float = LEADER_WAIT,
        random: Random | None = None,
    ) -> None:
        self.tls = tls
        self.tls_optional = tls_optional
        self._log = log
        self._limits = limits or RpcLimits()
        self._settings = settings or RegistrySettings()
        self._faults = FaultReports(report)
        self.registry = NodeRegistry(self._settings, random or Random(), self._tell)
        self._endpoints = Endpoints(pool, self.registry, forwarder, leader_wait=leader_wait)
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._connections_max = min(self._limits.connections_max, max(1, descriptors // 2))
        self._listeners: list[trio.SocketListener] = []
        self._scope = trio.CancelScope()
        self._finished = trio.Event()
        self._serving = False
        self._sources: dict[str, _Source] = {}
        self._told_at = -REPEAT_AFTER
        self.open_count = 0
        """Connections that are being served."""
        self.counters = RpcCounters()

    async def listen(self, host: str, port: int, *, bound: socket.socket | None = None) -> Address:
        """Bind; port 0 takes any free one. `bound` is a socket that is bound already, and then is ours.

        Answers with where it listens. Raises OSError.
        """
        if bound is None:
            self._listeners = await trio.open_tcp_listeners(port, host=host, backlog=BACKLOG)
        else:
            bound.listen(BACKLOG)
            self._listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(bound))]
        name = self._listeners[0].socket.getsockname()
        return Address.parse(name[0].partition("%")[0], name[1])

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until `stop`, or until cancelled; either closes all connections. Once, after `listen`."""
        self._serving = True
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._watch_registry)
                    task_status.started()
                    await trio.serve_listeners(self._connected, self._listeners, handler_nursery=nursery)
        finally:
            self._finished.set()

    async def stop(self) -> None:
        """Hang up on everybody; clients turn to another server at once. Returns when all is closed."""
        self._scope.cancel()
        if self._serving:
            await self._finished.wait()
        else:
            for listener in self._listeners:
                await listener.aclose()

    async def ask(self, method: str, body: bytes) -> bytes:
        """What a call of the agent itself is answered, for its own region or another. Raises Refused."""
        return await self._endpoints.answer(method, body, Caller("this agent"))

    async def _watch_registry(self) -> None:
        """Let nodes go down when their time is over, also when nobody asks."""
        while True:
            now = trio.current_time()
            self.registry.settle(now)
            at_most = now + self._settings.min_heartbeat_ttl  # no node that comes meanwhile is due sooner
            await trio.sleep_until(min(at_most, self.registry.next_instant or at_most))

    def _tell(self, entry: NodeEntry) -> None:
        """A line per change of a node's status."""
        say = self._log.warn if entry.status == DOWN else self._log.info
        say(f"client node {entry.status}", node=entry.node_id, name=entry.name, address=entry.address)

    # ---- connections

    async def _connected(self, stream: trio.SocketStream) -> None:
        """One connection, from accept to close; the caller closes the socket."""
        try:
            name = stream.socket.getpeername()
            _configure(stream)
        except OSError:  # gone between connect and accept
            return
        ip = name[0].partition("%")[0]
        about = str(Address.parse(ip, name[1]))
        source = self._sources.get(ip) or _Source(self._limits.requests_per_second_max)
        per_client = self._limits.connections_per_client_max
        if self.open_count >= self._connections_max or (per_client and source.open_count >= per_client):
            self._turn_away(about, "too many connections")
            return
        self._sources[ip] = source
        self.counters.connections += 1
        self.open_count += 1
        source.open_count += 1
        try:
            await self._serve_one(stream, Caller(about), source)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError) as error:
            self._log.debug("connection ended", client=about, reason=type(error).__name__)
        except WireError as error:
            self._turn_away(about, str(error))
        except Exception as error:  # the outermost frame of a connection: a bug costs one client, not the agent
            self._faults.tell(f"RPC connection {about}", error, trio.current_time())
        finally:
            self.open_count -= 1
            source.open_count -= 1
            if not source.open_count:
                del self._sources[ip]

    async def _serve_one(self, stream: trio.SocketStream, caller: Caller, source: "_Source") -> None:
        """Raises WireError for what is not served, TooSlowError, BrokenResourceError."""
        context = self.tls
        secured: trio.abc.Stream = stream
        with trio.fail_after(self._limits.handshake_timeout):
            mode = await _read_mode(stream)
            if mode is None:
                return
            if mode == Mode.TLS:
                if context is None:
                    raise WireError("mode", "TLS, which is not configured here")
                secured = trio.SSLStream(stream, context, server_side=True)
                await secured.do_handshake()
                mode = await _read_mode(secured)
            elif context is not None and not self.tls_optional:
                raise WireError("mode", "a connection without TLS, which is required here")
        match mode:
            case None:
                return
            case Mode.RPC:
                await self._converse(secured, caller, source, self._limits.idle_timeout)
            case Mode.MULTIPLEX | Mode.MULTIPLEX_V2:
                await self._serve_streams(secured, caller, source, has_modes=mode == Mode.MULTIPLEX_V2)
            case _:
                raise WireError("mode", f"mode {_mode_name(mode)} is not served")

    async def _serve_streams(
        self, stream: trio.abc.Stream, caller: Caller, source: "_Source", *, has_modes: bool
    ) -> None:
        """Each stream is a conversation of its own; with `has_modes` it begins with a mode byte."""
        limits = self._limits

        async def serve(one: trio.abc.Stream) -> None:
            if has_modes and (mode := await _read_mode(one)) != Mode.RPC:
                self._log.debug("stream closed", client=caller.about, mode="" if mode is None else _mode_name(mode))
                return
            await self._converse(one, caller, source, math.inf)  # the connection as a whole may not be idle

        await Multiplexed(
            stream,
            serve,
            streams_max=limits.streams_max,
            idle_timeout=limits.idle_timeout,
            send_timeout=limits.send_timeout,
        ).run()

    async def _converse(
        self, stream: trio.abc.Stream, caller: Caller, source: "_Source", idle_timeout: float
    ) -> None:
        """Answer calls one after another until the client hangs up."""
        reader = FrameReader()
        while (found := await self._read(stream, reader, idle_timeout + caller.ttl)) is not None:
            await source.keep_pace()
            head, body = found
            answer = await self._answer(head, body, caller)
            with trio.fail_after(self._limits.send_timeout):
                await stream.send_all(answer)

    async def _answer(self, head: Head, body: bytes, caller: Caller) -> bytes:
        method = head.method if head.method in self._endpoints.methods else "other"
        self.counters.requests[method] += 1
        try:
            return encode_answer(head, body=await self._endpoints.answer(head.method, body, caller))
        except Refused as refusal:
            self.counters.errors[method] += 1
            return encode_answer(head, error=str(refusal))

    async def _read(self, stream: trio.abc.Stream, reader: FrameReader, patience: float) -> tuple[Head, bytes] | None:
        """The next request, None when the client hung up. It must begin within `patience` seconds.

        Raises WireError, TooSlowError, BrokenResourceError.
        """
        limits = self._limits
        begun = reader.begun
        with trio.fail_after(limits.request_timeout if begun else patience) as scope:
            while (found := reader.take()) is None:
                data = await stream.receive_some(RECEIVE_BYTES)
                if not data:
                    return None
                reader.feed(data)
                if not begun:
                    begun = True
                    scope.deadline = trio.current_time() + limits.request_timeout
        return found

    def _turn_away(self, about: str, reason: str) -> None:
        """Hang up, and say so, but not too often."""
        self.counters.connections_refused += 1
        now = trio.current_time()
        if now - self._told_at >= REPEAT_AFTER:
            self._told_at = now
            self._log.warn(
                "hung up on a client",
                client=about,
                reason=reason[:ERROR_CHARS_MAX],
                count=self.counters.connections_refused,
            )


class _Source:
    """One IP. Slows down who asks too often from there; up to a second's worth of calls may come at once."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._budget = per_second
        self.open_count = 0
        self._at = trio.current_time()

    async def keep_pace(self) -> None:
        """Wait for the turn of one more call."""
        now = trio.current_time()
        self._budget = min(self._per_second, self._budget + (now - self._at) * self._per_second)
        self._at = now
        self._budget -= 1.0
        if self._budget < 0:
            await trio.sleep(-self._budget / self._per_second)


async def _read_mode(stream: trio.abc.Stream) -> int | None:
    """The mode byte, None when the client hung up before."""
    first = await stream.receive_some(1)
    return first[0] if first else None


def _mode_name(mode: int) -> str:
    try:
        return Mode(mode).name.lower()
    except ValueError:
        return f"0x{mode:02x}"


def _configure(stream: trio.SocketStream) -> None:
    """Send at once, and notice who vanished; not every system knows all of these options."""
    stream.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY, 1)
    stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE:
        with contextlib.suppress(OSError):
            stream.setsockopt(trio.socket.IPPROTO_TCP, option, value)
