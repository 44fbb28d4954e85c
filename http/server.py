"""HTTP/1.1 on trio: listeners, connections, limits, timeouts, graceful stop. Knows no routes.

h11 judges the bytes; this module owns sockets and time. HTTP shares the event loop with the failure
detector, so whatever a client does costs bounded memory and never holds the loop: each connection has one
task, one request in work, and a deadline on every wait for the client.
"""

import contextlib
import email.utils
import functools
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

import h11
import trio

from moot.gossip.record import Address
from moot.http.counters import HttpCounters
from moot.http.exchange import TEXT, VARY, Application, Request, Response, Stream
from moot.http.faults import FaultReports

RECEIVE_BYTES = 65_536
REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
LINGER_BYTES_MAX = 4 * 1024 * 1024
"""How much of a refused request is read and thrown away, so that the refusal is not lost in a reset."""
BACKLOG = 256
JOINED_BYTES = 65_536
"""How much of a body is copied to go out in one write with its head."""
TYPE_TEXT = (b"Content-Type", TEXT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one server takes. Durations are seconds."""

    connections_max: int = 512
    connections_per_client_max: int = 100
    """Connections from one IP at a time, Nomad's default; 0 sets no limit."""
    header_bytes_max: int = 65_536
    """Asked only while the end of the headers is not in sight: up to one read more can pass."""
    body_bytes_max: int = 1_048_576
    idle_timeout: float = 120.0
    """How long a connection may wait for its first or next request. Go's client keeps one for 90 s."""
    header_timeout: float = 10.0
    """From the first byte of a request to the end of its headers."""
    body_timeout: float = 30.0
    write_timeout: float = 30.0
    linger_timeout: float = 1.0
    stop_timeout: float = 10.0
    """How long `stop` lets requests in work go on."""
    streams_max: int = 64
    """Streamed answers at a time: each holds a connection for as long as it pleases."""


class HttpServer:
    """Serves an application on any number of addresses. Use: `listen`, then `serve` in a nursery, `stop`.

    `report` is told of bugs, with the request's method and target or the client it served; of one that comes
    again and again once a minute (see `FaultReports`). `counters` are for whoever shows them.
    """

    def __init__(
        self,
        application: Application,
        *,
        report: Callable[[str, Exception], None],
        limits: Limits | None = None,
        counters: HttpCounters | None = None,
    ) -> None:
        self.application = application
        self.limits = limits or Limits()
        self.counters = counters or HttpCounters()
        self._faults = FaultReports(report)
        self.stopping = False
        self.idle: set[Connection] = set()
        self.streams: set[trio.CancelScope] = set()
        """One for each answer that is being streamed."""
        self._per_client: Counter[str] = Counter()
        self.open_count = 0
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
        for connection in self.idle:
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
        full = self.open_count >= self.limits.connections_max
        per_client_max = self.limits.connections_per_client_max
        if full or (per_client_max and self._per_client[peer] >= per_client_max):
            self.counters.connections_refused += 1
            await self._turn_away(stream, HTTPStatus.SERVICE_UNAVAILABLE if full else HTTPStatus.TOO_MANY_REQUESTS)
            return
        self.open_count += 1
        self._per_client[peer] += 1
        try:
            await Connection(self, stream, peer).run()
        except Exception as error:  # the outermost frame of a connection: a bug costs one client, not the agent
            self.note_fault(f"connection of {peer}", error)
        finally:
            self.open_count -= 1
            self._per_client[peer] -= 1
            if not self._per_client[peer]:
                del self._per_client[peer]

    def note_fault(self, what: str, error: Exception) -> None:
        """Count a bug of ours, and report it unless the same was just reported."""
        self.counters.faults += 1
        self._faults.tell(what, error, trio.current_time())

    async def _turn_away(self, stream: trio.SocketStream, status: HTTPStatus) -> None:
        """Say why and hang up, without reading: this client gets no memory and next to no time."""
        text = b"too many connections"
        lines = [b"HTTP/1.1 %d %b" % (status.value, REASONS[status.value]), *map(b": ".join, (VARY, TYPE_TEXT))]
        lines += [b"Content-Length: %d" % len(text), b"Connection: close", b"", text]
        with trio.move_on_after(self.limits.linger_timeout):
            try:
                await stream.send_all(b"\r\n".join(lines))
                await stream.send_eof()
            except trio.BrokenResourceError:  # it did not wait to hear it
                return


class Refusal(Exception):
    """A request that is not taken to the application; the connection ends with the answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Connection:
    """One client's connection: requests one after the other, pipelined ones wait in h11's buffer.

    One cancel scope spans it, and its deadline is moved from one wait to the next: a scope for each wait
    would cost a quarter of all the CPU of a request.
    """

    def __init__(self, server: HttpServer, stream: trio.abc.HalfCloseableStream, peer: str) -> None:
        self.scope = trio.CancelScope()
        self._server = server
        self._limits = server.limits
        self._stream = stream
        self._peer = peer
        self._late = ""
        """What to tell a client that lets the present deadline pass; empty to hang up without a word."""
        self._bare = False
        """Whether the present request is a HEAD."""
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=server.limits.header_bytes_max)

    async def run(self) -> None:
        """Serve until either side closes, or the client breaks a rule or a deadline."""
        try:
            with self.scope:
                while await self._exchange():
                    self._h11.start_next_cycle()
            if self.scope.cancelled_caught and self._late:
                self._server.counters.timeouts += 1
                await self._refuse(408, self._late)
        except trio.BrokenResourceError:  # the client is gone; there is nobody to tell
            return

    def _within(self, seconds: float, late: str = "") -> None:
        """Move the deadline. `late` is for the client that misses it."""
        self.scope.deadline = trio.current_time() + seconds
        self._late = late

    async def _exchange(self) -> bool:
        """One request and its answer; False when the connection is over."""
        server = self._server
        try:
            head = await self._read_head()
            if head is None:
                return False
            body = await self._read_body(head)
        except h11.RemoteProtocolError as error:
            server.counters.bad_requests += 1
            words, _, _ = str(error).partition(":")  # what follows are the client's own bytes
            await self._refuse(error.error_status_hint, words)
            return False
        except Refusal as refusal:
            server.counters.bad_requests += 1
            await self._refuse(refusal.status, refusal.text)
            return False
        server.counters.requests += 1
        self._within(math.inf)
        request = Request(head.method.decode(), head.target.decode(), list(head.headers), body, self._peer)
        response = await self._answer(request)
        if response.stream is None:
            await self._send(response)
        else:
            try:
                if not await self._send_stream(f"{request.method} {request.target}", response, response.stream):
                    return False
            finally:
                response.stream.close()
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            return True
        if self._h11.trailing_data[0]:
            await self._linger()
        return False

    async def _answer(self, request: Request) -> Response:
        """Ask the application. Its bugs are reported and cost one request, not the agent."""
        try:
            return await self._server.application(request)
        except Exception as error:
            self._server.note_fault(f"{request.method} {request.target}", error)
            return plain_text(500, "internal error")

    async def _read_head(self) -> h11.Request | None:
        """The next request's head; None when the client closed, or we stop."""
        self._bare = False
        if not self._h11.trailing_data[0]:
            if self._server.stopping:
                return None
            self._within(self._limits.idle_timeout)
            self._server.idle.add(self)
            try:
                self._h11.receive_data(bytes(await self._stream.receive_some(RECEIVE_BYTES)))
            finally:
                self._server.idle.discard(self)
        event = self._h11.next_event()
        if event is h11.NEED_DATA:
            self._within(self._limits.header_timeout, "the request's headers did not arrive in time")
            event = await self._next_event()
        if not isinstance(event, h11.Request):
            return None
        self._bare = event.method == b"HEAD"
        return event

    async def _read_body(self, head: h11.Request) -> bytes:
        """The whole body. Raises Refusal when it is too long."""
        limit = self._limits.body_bytes_max
        declared = next((int(value) for name, value in head.headers if name == b"content-length"), 0)
        if declared > limit:
            raise Refusal(413, f"the body must not exceed {limit} bytes")
        if self._h11.they_are_waiting_for_100_continue:
            go_on = self._h11.send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue"))
            self._within(self._limits.write_timeout)
            await self._stream.send_all(go_on or b"")
        event = self._h11.next_event()
        if isinstance(event, h11.EndOfMessage):
            return b""
        self._within(self._limits.body_timeout, "the request's body did not arrive in time")
        body = bytearray()
        while not isinstance(event, h11.EndOfMessage):
            if isinstance(event, h11.Data):
                body += event.data
            if len(body) > limit:
                raise Refusal(413, f"the body must not exceed {limit} bytes")
            event = await self._next_event()
        return bytes(body)

    async def _next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while True:
            event = self._h11.next_event()
            if event is not h11.NEED_DATA:
                return event
            self._h11.receive_data(bytes(await self._stream.receive_some(RECEIVE_BYTES)))

    async def _send(self, response: Response, *, close: bool = False) -> None:
        """Write the answer; for HEAD its length, but not its body.

        A long body is written from where it is: handlers keep one for many clients, and a copy for each that
        reads slowly would multiply it.
        """
        start = self._head(response, (b"Content-Length", b"%d" % len(response.body)), close=close)
        body = b"" if self._bare else response.body
        if body:
            self._h11.send_with_data_passthrough(h11.Data(data=body))  # with a length given, the bytes are unchanged
        self._h11.send(h11.EndOfMessage())
        self._within(self._limits.write_timeout)
        await self._stream.send_all(start + body[:JOINED_BYTES])
        if len(body) > JOINED_BYTES:
            await self._stream.send_all(memoryview(body)[JOINED_BYTES:])

    def _head(self, response: Response, *more: tuple[bytes, bytes], close: bool = False) -> bytes:
        headers = [(b"Date", date_line(int(time.time()))), *response.headers, *more]
        if close or self._server.stopping:
            headers.append((b"Connection", b"close"))
        head = h11.Response(status_code=response.status, headers=headers, reason=REASONS[response.status])
        return self._h11.send(head) or b""

    async def _send_stream(self, what: str, response: Response, stream: Stream) -> bool:
        """Write an answer while it comes about; False when it broke off, and the connection must end.

        It goes out in chunks, so that the client can tell a whole answer from a broken one (one that speaks
        HTTP/1.0 cannot). Each piece has `write_timeout` to be taken.
        """
        server = self._server
        if server.stopping:
            await self._send(plain_text(503, "the agent is stopping"))
            return True
        if len(server.streams) >= self._limits.streams_max:
            await self._send(plain_text(503, "too many streams at once; try again when one of them is over"))
            return True
        is_whole = False
        async with trio.open_nursery() as nursery:
            server.streams.add(nursery.cancel_scope)
            nursery.start_soon(self._watch_client, nursery.cancel_scope)
            try:
                with contextlib.suppress(trio.BrokenResourceError):  # the client is gone; there is nobody to tell
                    await self._push(self._head(response))
                    await stream.write(self._send_piece)
                    await self._push(self._h11.send(h11.EndOfMessage()) or b"")
                    is_whole = True
            except Exception as error:
                server.note_fault(what, error)
            finally:
                server.streams.discard(nursery.cancel_scope)
                nursery.cancel_scope.cancel()
        return is_whole

    async def _send_piece(self, piece: bytes) -> None:
        await self._push(self._h11.send(h11.Data(data=piece)) or b"")

    async def _push(self, data: bytes) -> None:
        self._within(self._limits.write_timeout)
        await self._stream.send_all(data)
        self._within(math.inf)

    async def _watch_client(self, scope: trio.CancelScope) -> None:
        """End a stream when its client hangs up. One that has sent its next request already is not watched."""
        try:
            data = await self._stream.receive_some(RECEIVE_BYTES)
        except trio.BrokenResourceError:
            data = b""
        if data:
            self._h11.receive_data(bytes(data))
        else:
            scope.cancel()

    async def _refuse(self, status: int, text: str) -> None:
        """Tell the client what it did wrong, unless an answer has begun already, and end the connection."""
        if self._h11.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        self._within(math.inf)
        with trio.move_on_after(self._limits.write_timeout):
            await self._send(plain_text(status, text), close=True)
        await self._linger()

    async def _linger(self) -> None:
        """Close our half and read a little on: closing with bytes unread would reset the answer away."""
        with trio.move_on_after(self._limits.linger_timeout):
            await self._stream.send_eof()
            seen = 0
            while seen < LINGER_BYTES_MAX and (data := await self._stream.receive_some(RECEIVE_BYTES)):
                seen += len(data)


@functools.lru_cache(maxsize=2)
def date_line(second: int) -> bytes:
    """The value of Date in one second of Unix time."""
    return email.utils.formatdate(second, usegmt=True).encode()


def plain_text(status: int, text: str) -> Response:
    """An answer in plain words, without a final newline."""
    return Response(status, [VARY, TYPE_TEXT], text.encode())
