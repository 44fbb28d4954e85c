"""Connection: one client of the server, from its handshake to its end.

h11 judges the bytes; this module has a deadline on every wait for the client, and bounds on all it sends.
"""

import contextlib
import email.utils
import enum
import functools
import math
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

import h11
import trio

from moot.http.exchange import TEXT, VARY, Request, Response, Stream
from moot.http.secure import HandshakeFailed, SecureStream

if TYPE_CHECKING:
    from moot.http.server import HttpServer

RECEIVE_BYTES = 65_536
REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
LINGER_BYTES_MAX = 4 * 1024 * 1024
"""How much of a refused request is read and thrown away, so that the refusal is not lost in a reset."""
JOINED_BYTES = 65_536
"""How much of a body is copied to go out in one write with its head."""
TYPE_TEXT = (b"Content-Type", TEXT)


class Phase(enum.Enum):
    """What a connection waits for."""

    GREETING = enum.auto()
    """The client, to end its TLS handshake."""
    IDLE = enum.auto()
    """The client, to ask anything (again)."""
    ASKING = enum.auto()
    """The client, to send the rest of its request."""
    WORKING = enum.auto()
    """Us."""
    ANSWERING = enum.auto()
    """The client, to read its answer."""


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

    def __init__(self, server: "HttpServer", stream: trio.abc.HalfCloseableStream, peer: str) -> None:
        self.scope = trio.CancelScope()
        self.peer = peer
        self.phase = Phase.WORKING
        self.since = trio.current_time()
        """When the phase began."""
        self._server = server
        self._limits = server.limits
        self._stream = stream
        self._secure = False
        self._body_bytes = 0
        """Of the present request's body, as far as it has come."""
        self._late = ""
        """What to tell a client that lets the present deadline pass; empty to hang up without a word."""
        self._bare = False
        """Whether the present request is a HEAD."""
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=server.limits.header_bytes_max)

    async def run(self) -> None:
        """Serve until either side closes, or the client breaks a rule or a deadline."""
        try:
            with self.scope:
                if await self._greet():
                    while await self._exchange():
                        self._h11.start_next_cycle()
            if not self.scope.cancelled_caught:
                await self._part()
            elif trio.current_time() >= self.scope.deadline:  # else it was the server who ended this
                if self.phase is not Phase.IDLE:
                    self._server.counters.timeouts += 1
                if self._late:
                    self.scope = trio.CancelScope()
                    with self.scope:
                        await self._refuse(408, self._late)
        except trio.BrokenResourceError:  # the client is gone; there is nobody to tell
            return

    def _within(self, seconds: float, phase: Phase, late: str = "") -> None:
        """Begin a phase, and set its deadline. `late` is for the client that misses it."""
        now = trio.current_time()
        self.scope.deadline = now + seconds
        self.phase, self.since = phase, now
        self._late = late

    async def _greet(self) -> bool:
        """Come to terms about TLS where it is spoken; False when that failed."""
        server = self._server
        context = server.tls
        if context is None:
            return True
        secured = SecureStream(self._stream, context, server.turn)
        self._within(self._limits.handshake_timeout, Phase.GREETING)
        try:
            await secured.handshake()
        except HandshakeFailed as failure:
            server.note_handshake(self.peer, str(failure))
            if failure.plain:
                await self._refuse(400, "Client sent an HTTP request to an HTTPS server.")
            else:
                await self._linger()  # the client may have gone on already, and is to hear the alert
            return False
        self._stream = secured
        self._secure = True
        return True

    async def _part(self) -> None:
        """Tell by TLS that this is the end, so that nobody takes it for a connection that was cut."""
        if self._secure:
            with trio.move_on_after(self._limits.linger_timeout):
                await self._stream.send_eof()

    async def _exchange(self) -> bool:
        """One request and its answer; False when the connection is over."""
        try:
            return await self._serve_request()
        finally:
            self._release_body()

    async def _serve_request(self) -> bool:
        server = self._server
        head, body, refusal = None, b"", None
        try:
            head = await self._read_head()
            if head is not None:
                body = await self._read_body(head)
        except h11.RemoteProtocolError as error:
            words, _, _ = str(error).partition(":")  # what follows are the client's own bytes
            refusal = (error.error_status_hint, words)
        except Refusal as error:
            refusal = (error.status, error.text)
        if refusal is not None:
            server.counters.bad_requests += 1
            self._release_body()
            await self._refuse(*refusal)
            return False
        if head is None:
            return False
        server.counters.requests += 1
        self._within(math.inf, Phase.WORKING)
        method, target = head.method.decode(), head.target.decode()
        request = Request(method, target, list(head.headers), body, self.peer, self._secure)
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
        except Exception as error:  # a bug of the application, told to who asked
            self._server.note_fault(f"{request.method} {request.target}", error)
            return plain_text(500, "internal error")

    async def _read_head(self) -> h11.Request | None:
        """The next request's head; None when the client closed, or we stop."""
        self._bare = False
        if not self._h11.trailing_data[0]:
            if self._server.stopping:
                return None
            self._within(self._limits.idle_timeout, Phase.IDLE)
            self._h11.receive_data(bytes(await self._stream.receive_some(RECEIVE_BYTES)))
        event = self._h11.next_event()
        if event is h11.NEED_DATA:
            self._within(self._limits.header_timeout, Phase.ASKING, "the request's headers did not arrive in time")
            event = await self._next_event()
        if not isinstance(event, h11.Request):
            return None
        self._bare = event.method == b"HEAD"
        return event

    async def _read_body(self, head: h11.Request) -> bytes:
        """The whole body. Raises Refusal when it is too long, or all that are being read are."""
        limit = self._limits.body_bytes_max
        declared = next((int(value) for name, value in head.headers if name == b"content-length"), 0)
        if declared > limit:
            raise Refusal(413, f"the body must not exceed {limit} bytes")
        if self._h11.they_are_waiting_for_100_continue:
            go_on = self._h11.send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue"))
            self._within(self._limits.write_timeout, Phase.ASKING)
            await self._stream.send_all(go_on or b"")
        event = self._h11.next_event()
        if isinstance(event, h11.EndOfMessage):
            return b""
        self._within(self._limits.body_timeout, Phase.ASKING, "the request's body did not arrive in time")
        body = bytearray()
        while not isinstance(event, h11.EndOfMessage):
            if isinstance(event, h11.Data):
                self._hold(len(event.data))
                body += event.data
            if len(body) > limit:
                raise Refusal(413, f"the body must not exceed {limit} bytes")
            event = await self._next_event()
        return bytes(body)

    def _hold(self, count: int) -> None:
        """Account for bytes of a body. Raises Refusal when all connections hold too many."""
        self._body_bytes += count
        self._server.body_bytes += count
        if self._server.body_bytes > self._limits.bodies_bytes_max:
            raise Refusal(503, "too many long requests at once; try again when they are over")

    def _release_body(self) -> None:
        self._server.body_bytes -= self._body_bytes
        self._body_bytes = 0

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
        self._within(self._limits.write_timeout, Phase.ANSWERING)
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
        if list(server.streams.values()).count(self.peer) >= self._limits.streams_per_client_max:
            await self._send(plain_text(429, "too many streams of one client at once"))
            return True
        is_whole = False
        async with trio.open_nursery() as nursery:
            server.streams[nursery.cancel_scope] = self.peer
            nursery.start_soon(self._watch_client, nursery.cancel_scope)
            try:
                with contextlib.suppress(trio.BrokenResourceError):  # the client is gone; there is nobody to tell
                    await self._push(self._head(response))
                    await stream.write(self._send_piece)
                    await self._push(self._h11.send(h11.EndOfMessage()) or b"")
                    is_whole = True
            except Exception as error:  # a bug of what writes the stream
                server.note_fault(what, error)
            finally:
                del server.streams[nursery.cancel_scope]
                nursery.cancel_scope.cancel()
        return is_whole

    async def _send_piece(self, piece: bytes) -> None:
        await self._push(self._h11.send(h11.Data(data=piece)) or b"")

    async def _push(self, data: bytes) -> None:
        self._within(self._limits.write_timeout, Phase.ANSWERING)
        await self._stream.send_all(data)
        self._within(math.inf, Phase.WORKING)

    async def _watch_client(self, scope: trio.CancelScope) -> None:
        """End a stream when its client hangs up. Requests that it sends meanwhile wait, up to `RECEIVE_BYTES`."""
        room = RECEIVE_BYTES
        with contextlib.suppress(trio.BrokenResourceError):
            while room > 0 and (data := await self._stream.receive_some(room)):
                room -= len(data)
                self._h11.receive_data(bytes(data))
        scope.cancel()

    async def _refuse(self, status: int, text: str) -> None:
        """Tell the client what it did wrong, unless an answer has begun already, and end the connection."""
        if self._h11.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        self._within(math.inf, Phase.ANSWERING)
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
