"""Clients that waste our time: however many dawdle, others are served, and the event loop is nobody's for long.

What `bench/bench_slow_clients.py` measures with real agents is shown here in small.
"""

import contextlib
import ssl
import statistics
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from moot.agent.tls import TlsSettings, build_contexts
from moot.http.exchange import Request, Response
from moot.http.server import Limits
from tests.api.live import Live, serving
from tests.support.certificates import Authority
from tests.support.pool import until

HALF = b"GET / HTTP/1.1\r\nHost: x\r\n"
LIMITS = Limits(connections_max=50, connections_per_client_max=20)
LATE_MAX = 0.05
"""Seconds that a timer may be late at the median; an ack may take a probe timeout of 0.2 in the shortest profile."""

FLOOD = """
import socket, ssl, sys
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for _ in range(count):
    try:
        with context.wrap_socket(socket.create_connection((host, port))):
            pass
    except OSError:
        pass
"""


async def hello(request: Request) -> Response:
    return Response(200, [], b"hello")


async def from_address(live: Live, number: int) -> trio.SocketStream:
    source = f"127.41.{number // 200 + 4}.{number % 200 + 1}"
    return await trio.open_tcp_stream(live.address.host, live.address.port, local_address=source)


@asynccontextmanager
async def lateness() -> AsyncIterator[list[float]]:
    """How late a timer of 5 ms comes while the block runs, in seconds, time after time."""
    late: list[float] = []

    async def watch() -> None:
        while True:
            due = trio.current_time() + 0.005
            await trio.sleep_until(due)
            late.append(trio.current_time() - due)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        yield late
        nursery.cancel_scope.cancel()


async def test_half_open_requests_from_everywhere_shut_nobody_out() -> None:
    async with serving(hello, LIMITS) as live, contextlib.AsyncExitStack() as stack, lateness() as late:
        for number in range(1000):
            stream = await stack.enter_async_context(await from_address(live, number))
            with contextlib.suppress(trio.BrokenResourceError):  # it made room already
                await stream.send_all(HALF)
            if number % 50 == 0:
                assert (await live.ask("GET", "/")).status == 200
            assert live.server.open_count <= LIMITS.connections_max
        assert live.server.counters.connections_refused == 0
        assert live.server.counters.connections_shed >= 1000 - LIMITS.connections_max
        assert statistics.median(late) < LATE_MAX


async def test_half_open_requests_from_one_address_are_turned_away_beyond_its_share() -> None:
    async with serving(hello, LIMITS) as live, contextlib.AsyncExitStack() as stack:
        for _ in range(200):
            stream = await stack.enter_async_context(await from_address(live, 0))
            with contextlib.suppress(trio.BrokenResourceError):  # it was turned away already
                await stream.send_all(HALF)
        await until(lambda: live.server.counters.connections_refused == 180)
        assert live.server.open_count == 20
        assert live.server.counters.connections_shed == 0
        other = await stack.enter_async_context(await from_address(live, 1))
        await other.send_all(HALF + b"\r\n")
        assert b"hello" in await other.receive_some(65_536)


async def test_readers_that_take_a_byte_at_a_time_stop_nobody() -> None:
    body = b"x" * 20_000_000

    async def huge(request: Request) -> Response:
        return Response(200, [], body if request.target == "/huge" else b"hello")

    async with serving(huge, LIMITS) as live, contextlib.AsyncExitStack() as stack, lateness() as late:
        streams = [await stack.enter_async_context(await from_address(live, number)) for number in range(40)]
        for stream in streams:
            await stream.send_all(b"GET /huge HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        await until(lambda: live.server.counters.requests >= 40)
        for _ in range(5):
            for stream in streams:
                await stream.receive_some(1)
            assert (await live.ask("GET", "/")).text == "hello"
        assert statistics.median(late) < LATE_MAX


async def test_a_flood_of_tls_handshakes_leaves_the_loop_to_others(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with serving(hello, LIMITS) as live, lateness() as late:
        pair = authority.issue("server", ips=[live.address.host])
        settings = TlsSettings(http=True, cert_file=pair.cert_file, key_file=pair.key_file)
        live.server.tls = build_contexts(settings).http
        command = [sys.executable, "-c", FLOOD, live.address.host, str(live.address.port), "150"]
        context = ssl.create_default_context(cafile=authority.ca_file)
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(trio.run_process, command)
            for _ in range(20):
                stream = await trio.open_ssl_over_tcp_stream(
                    live.address.host, live.address.port, ssl_context=context, https_compatible=True
                )
                async with stream:
                    await stream.send_all(HALF + b"\r\n")
                    assert b"hello" in await stream.receive_some(65_536)
        await until(lambda: live.server.counters.connections >= 620)
        assert statistics.median(late) < LATE_MAX
        assert sorted(late)[len(late) * 95 // 100] < 4 * LATE_MAX
