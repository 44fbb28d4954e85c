"""A server of the API on a loopback address, and plain means to talk to it."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import h11
import trio

from moot.gossip.record import Address
from moot.http.api import build_api
from moot.http.backend import Backend
from moot.http.counters import HttpCounters
from moot.http.exchange import Application
from moot.http.server import HttpServer, Limits

HOST = "127.41.0.1"


@dataclass
class Live:
    """A running server."""

    server: HttpServer
    address: Address
    bugs: list[tuple[str, Exception]]

    async def connect(self) -> trio.SocketStream:
        """A plain connection to it."""
        return await trio.open_tcp_stream(self.address.host, self.address.port)

    async def ask(
        self, method: str, path: str, headers: Sequence[tuple[str, str]] = (), body: bytes = b""
    ) -> "Answer":
        """One request on a connection of its own."""
        async with await self.connect() as stream:
            lines = [f"{method} {path} HTTP/1.1", f"Host: {self.address}"]
            lines += [f"{name}: {value}" for name, value in headers]
            lines += [f"Content-Length: {len(body)}"] if body else []
            await stream.send_all("\r\n".join([*lines, "", ""]).encode() + body)
            return await read_answer(stream, method)


@dataclass
class Answer:
    """One answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:  # noqa: ANN401 - JSON of any shape
        """The body as JSON."""
        return json.loads(self.body)


async def read_answer(stream: trio.SocketStream, method: str = "GET", reader: h11.Connection | None = None) -> Answer:
    """Read one answer. `reader` keeps what was read beyond it, for pipelined ones."""
    link = reader or new_reader()
    link.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
    link.send(h11.EndOfMessage())
    head: h11.Response | None = None
    body = bytearray()
    while True:
        event = link.next_event()
        if event is h11.NEED_DATA:
            link.receive_data(await stream.receive_some(65_536))
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None
            if reader is not None and link.our_state is h11.DONE and link.their_state is h11.DONE:
                link.start_next_cycle()
            names = {name.decode().lower(): value.decode() for name, value in head.headers}
            return Answer(head.status_code, names, bytes(body))
        else:
            assert isinstance(event, h11.InformationalResponse), event


@asynccontextmanager
async def read_stream(
    live: "Live", method: str, path: str, headers: Sequence[tuple[str, str]] = (), body: bytes = b""
) -> AsyncIterator["Streamed"]:
    """Ask for an answer that does not end."""
    async with await live.connect() as stream:
        stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 65_536)
        lines = [f"{method} {path} HTTP/1.1", f"Host: {live.address}"]
        lines += [f"{name}: {value}" for name, value in headers]
        lines += [f"Content-Length: {len(body)}"] if body else []
        await stream.send_all("\r\n".join([*lines, "", ""]).encode() + body)
        link = new_reader()
        link.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        link.send(h11.EndOfMessage())
        while (event := link.next_event()) is h11.NEED_DATA:
            link.receive_data(await stream.receive_some(65_536))
        assert isinstance(event, h11.Response), event
        names = {name.decode().lower(): value.decode() for name, value in event.headers}
        yield Streamed(Answer(event.status_code, names, b""), stream, link)


@dataclass
class Streamed:
    """An answer that is coming: its head, and what has come of its body."""

    head: Answer
    stream: trio.SocketStream
    link: h11.Connection
    body: bytearray = field(default_factory=bytearray)

    async def more(self) -> bytes:
        """Wait for more of it."""
        while not isinstance(event := self.link.next_event(), h11.Data):
            assert event is h11.NEED_DATA, event
            self.link.receive_data(await self.stream.receive_some(65_536))
        self.body += event.data
        return bytes(event.data)

    async def until(self, wanted: Callable[[bytes], bool]) -> bytes:
        """Read on until the body is as wanted, which it should be soon."""
        with trio.fail_after(20):
            while not wanted(bytes(self.body)):
                await self.more()
        return bytes(self.body)


def new_reader() -> h11.Connection:
    """For `read_answer` of several answers on one connection."""
    return h11.Connection(h11.CLIENT)


@asynccontextmanager
async def serving(
    application: Application, limits: Limits | None = None, counters: HttpCounters | None = None
) -> AsyncIterator[Live]:
    """Serve an application while the block runs. A bug in it fails the test unless it takes it from `bugs`."""
    bugs: list[tuple[str, Exception]] = []
    server = HttpServer(
        application, report=lambda what, error: bugs.append((what, error)), limits=limits, counters=counters
    )
    (address,) = await server.listen([(HOST, 0)])
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve)
            yield Live(server, address, bugs)
            await server.stop()
    assert not bugs


@asynccontextmanager
async def serving_api(
    backend: Backend, *, leader_wait: float = 5.0, limits: Limits | None = None
) -> AsyncIterator[Live]:
    """Serve the whole API of a backend."""
    counters = HttpCounters()
    api = build_api(backend, counters=counters, leader_wait=leader_wait)
    async with serving(api, limits, counters) as live:
        yield live
