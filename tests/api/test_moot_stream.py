"""Streamed answers: pieces arrive when they are sent, clients that go away or dawdle end them, so does the server."""

import contextlib
from collections.abc import Awaitable, Callable

import pytest
import trio

from moot.http.exchange import Request, Response, Send, Stream
from moot.http.server import Limits
from tests.api.live import Live, new_reader, read_answer, serving
from tests.support.pool import until

POST = b"POST /lines HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
SHORT = Limits(write_timeout=0.3, linger_timeout=0.2, stop_timeout=5.0, streams_max=2)

Write = Callable[[Send], Awaitable[None]]


class Streaming:
    """An application that streams what `write` writes, and tells what became of it."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self.begun = 0
        self.ended = 0
        self.closed = 0

    async def __call__(self, request: Request) -> Response:
        async def write(send: Send) -> None:
            self.begun += 1
            try:
                await self._write(send)
            finally:
                self.ended += 1

        return Response(200, [(b"Content-Type", b"text/plain")], stream=Stream(write, self._close))

    def _close(self) -> None:
        self.closed += 1

    async def over(self, count: int = 1) -> None:
        """Wait until so many streams are over."""
        await until(lambda: self.closed == count)


async def for_ever(send: Send) -> None:
    """Says that it is there, and nothing more."""
    await send(b"here\n")
    await trio.sleep_forever()


async def read_until(stream: trio.SocketStream, mark: bytes) -> bytes:
    """What came up to and with `mark`."""
    data = b""
    while mark not in data:
        chunk = await stream.receive_some(65_536)
        assert chunk, data
        data += chunk
    return data


async def test_each_piece_arrives_when_it_is_sent_and_the_connection_goes_on() -> None:
    heard = trio.Event()

    async def write(send: Send) -> None:
        await send(b"one\n")
        await heard.wait()
        await send(b"two\n")

    application = Streaming(write)
    async with serving(application) as live, await live.connect() as stream:
        await stream.send_all(POST)
        begin = await read_until(stream, b"one\n")
        assert b"transfer-encoding: chunked" in begin.lower()
        assert b"content-length" not in begin.lower()
        heard.set()
        rest = await read_until(stream, b"0\r\n\r\n")
        assert b"two\n" in rest
        await stream.send_all(POST)
        assert (await read_answer(stream, "POST")).body == b"one\ntwo\n"
        assert live.server.counters.connections == 1
        await application.over(2)


async def test_a_request_sent_behind_a_stream_waits_for_its_end() -> None:
    async def write(send: Send) -> None:
        await send(b"a")
        await trio.sleep(0.05)
        await send(b"b")

    async with serving(Streaming(write)) as live, await live.connect() as stream:
        reader = new_reader()
        await stream.send_all(POST * 3)
        assert [(await read_answer(stream, "POST", reader)).body for _ in range(3)] == [b"ab"] * 3


async def test_a_client_of_http_1_0_gets_the_body_until_the_end_of_the_connection() -> None:
    async def write(send: Send) -> None:
        await send(b"a")
        await send(b"b")

    async with serving(Streaming(write)) as live, await live.connect() as stream:
        await stream.send_all(b"POST /lines HTTP/1.0\r\n\r\n")
        data = b""
        while chunk := await stream.receive_some(65_536):
            data += chunk
        assert data.endswith(b"\r\n\r\nab")


@pytest.mark.parametrize("end", ["close", "half"])
async def test_a_client_that_hangs_up_ends_the_stream_at_once(end: str) -> None:
    application = Streaming(for_ever)
    async with serving(application) as live:
        stream = await live.connect()
        await stream.send_all(POST)
        await read_until(stream, b"here\n")
        assert len(live.server.streams) == 1
        await (stream.aclose() if end == "close" else stream.send_eof())
        await application.over()
        assert (application.begun, application.ended, len(live.server.streams)) == (1, 1, 0)
        await stream.aclose()


@pytest.mark.parametrize("behind", [POST + b"GET", b"x" * 200_000])
async def test_a_client_that_sent_more_meanwhile_is_still_watched(behind: bytes) -> None:
    application = Streaming(for_ever)
    async with serving(application) as live:
        stream = await live.connect()
        await stream.send_all(POST)
        await read_until(stream, b"here\n")
        with contextlib.suppress(trio.BrokenResourceError):  # that was too much
            await stream.send_all(behind)
            await stream.send_eof()
        await application.over()
        await stream.aclose()


async def test_a_client_that_does_not_read_is_cut_off_and_never_costs_more_than_the_socket_holds() -> None:
    sent = 0

    async def write(send: Send) -> None:
        nonlocal sent
        while True:
            await send(bytes(65_536))
            sent += 65_536

    application = Streaming(write)
    async with serving(application, SHORT) as live, await live.connect() as stream:
        await stream.send_all(POST)
        await application.over()
        assert application.ended == 1
        assert sent < 64 * 1024 * 1024


async def test_stopping_the_server_breaks_streams_off_so_that_the_client_can_tell() -> None:
    application = Streaming(for_ever)
    async with serving(application) as live:
        stream = await live.connect()
        await stream.send_all(POST)
        await read_until(stream, b"here\n")
        with trio.fail_after(3):
            await live.server.stop()
        assert application.closed == 1
        assert b"0\r\n\r\n" not in await stream.receive_some(65_536)
        await stream.aclose()


async def test_more_streams_than_allowed_are_turned_away_and_closed_unwritten() -> None:
    application = Streaming(for_ever)

    async def holds(live: Live) -> trio.SocketStream:
        stream = await live.connect()
        await stream.send_all(POST)
        await read_until(stream, b"here\n")
        return stream

    async with serving(application, SHORT) as live:
        held = [await holds(live) for _ in range(2)]
        answer = await live.ask("POST", "/lines")
        assert (answer.status, answer.text[:24]) == (503, "too many streams at once")
        assert (application.begun, application.closed) == (2, 1)
        for stream in held:
            await stream.aclose()
        await application.over(3)
        again = await holds(live)
        await again.aclose()
        await application.over(4)


async def test_one_client_cannot_take_all_streams() -> None:
    application = Streaming(for_ever)
    async with serving(application, Limits(streams_per_client_max=1)) as live, await live.connect() as one:
        await one.send_all(POST)
        await read_until(one, b"here\n")
        answer = await live.ask("POST", "/lines")
        assert (answer.status, answer.text) == (429, "too many streams of one client at once")
        source = "127.41.0.2"
        async with await trio.open_tcp_stream(live.address.host, live.address.port, local_address=source) as other:
            await other.send_all(POST)
            await read_until(other, b"here\n")


async def test_a_bug_while_streaming_costs_one_connection_and_is_reported() -> None:
    async def write(send: Send) -> None:
        await send(b"a")
        raise ValueError("a bug")

    application = Streaming(write)
    async with serving(application) as live, await live.connect() as stream:
        await stream.send_all(POST)
        data = b""
        while chunk := await stream.receive_some(65_536):
            data += chunk
        assert b"a" in data
        assert not data.endswith(b"0\r\n\r\n")
        assert [what for what, _ in live.bugs] == ["POST /lines"]
        assert application.closed == 1
        live.bugs.clear()


async def test_a_stream_without_a_piece_is_an_empty_answer() -> None:
    async def write(send: Send) -> None:
        await send(b"")

    async with serving(Streaming(write)) as live:
        assert (await live.ask("POST", "/lines")).body == b""
