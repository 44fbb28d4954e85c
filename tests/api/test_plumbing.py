"""The server under clients of all manners: slow, broken, hasty, many, and while it stops."""

import time
import tracemalloc

import h11
import pytest
import trio
import trio.testing

from moot.http.exchange import Request, Response
from moot.http.faults import FaultReports
from moot.http.server import HttpServer, Limits
from tests.api.live import HOST, Live, new_reader, read_answer, serving, serving_api
from tests.api.situations import SITUATIONS
from tests.support.pool import until

SHORT = Limits(
    idle_timeout=0.3, header_timeout=0.3, body_timeout=0.3, write_timeout=0.3, linger_timeout=0.2, stop_timeout=0.3
)
GET = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
VARIES = b"\r\nVary: Accept-Encoding\r\n"


async def echo(request: Request) -> Response:
    """Says back what it got."""
    said = f"{request.method} {request.target} ".encode() + request.body
    return Response(200, [(b"X-Peer", request.peer.encode())], said)


async def read_to_end(stream: trio.SocketStream) -> bytes:
    """All bytes until the server hangs up."""
    data = b""
    while chunk := await stream.receive_some(65_536):
        data += chunk
    return data


async def all_closed(live: Live) -> None:
    """Wait until the server has noticed that its clients are gone."""
    await until(lambda: not live.server.open_count)


async def test_answers_carry_length_date_and_no_server_name() -> None:
    async with serving(echo) as live:
        answer = await live.ask("GET", "/hello")
    assert answer.text == "GET /hello "
    assert answer.headers["content-length"] == "11"
    assert answer.headers["date"].endswith(" GMT")
    assert "server" not in answer.headers
    assert answer.headers["x-peer"].startswith("127.")


async def test_a_connection_is_kept_for_the_next_request() -> None:
    async with serving(echo) as live, await live.connect() as stream:
        for _ in range(3):
            await stream.send_all(GET)
            assert (await read_answer(stream)).status == 200
        assert live.server.counters.connections == 1
        assert live.server.counters.requests == 3


async def test_pipelined_requests_are_answered_one_by_one_in_order() -> None:
    most = 0
    running = 0

    async def slow(request: Request) -> Response:
        nonlocal most, running
        running += 1
        most = max(most, running)
        await trio.testing.wait_all_tasks_blocked()
        running -= 1
        return await echo(request)

    async with serving(slow) as live, await live.connect() as stream:
        reader = new_reader()
        await stream.send_all(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(20)))
        answers = [await read_answer(stream, reader=reader) for _ in range(20)]
    assert [it.text for it in answers] == [f"GET /{n} " for n in range(20)]
    assert most == 1


async def test_a_pipelined_request_after_one_that_closes_is_not_answered() -> None:
    async with serving(echo) as live, await live.connect() as stream:
        await stream.send_all(b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + GET)
        assert (await read_to_end(stream)).count(b"HTTP/1.1 200") == 1


async def test_http_1_0_is_answered_and_closed() -> None:
    async with serving(echo) as live, await live.connect() as stream:
        await stream.send_all(b"GET /old HTTP/1.0\r\n\r\n")
        data = await read_to_end(stream)
    assert data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nConnection: close\r\n" in data


async def test_a_client_that_closed_its_half_still_gets_its_answer() -> None:
    async with serving(echo) as live, await live.connect() as stream:
        await stream.send_all(GET)
        await stream.send_eof()
        assert (await read_to_end(stream)).endswith(b"GET /hello ")


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "DELETE", "FOO", "PATCH"])
async def test_other_methods_reach_the_application(method: str) -> None:
    async with serving(echo) as live:
        answer = await live.ask(method, "/x")
    wanted = f"{method} /x "
    assert answer.text == ("" if method == "HEAD" else wanted)
    assert answer.headers["content-length"] == str(len(wanted))


async def test_a_head_request_leaves_the_connection_usable() -> None:
    async with serving(echo) as live, await live.connect() as stream:
        await stream.send_all(b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n" + GET)
        reader = new_reader()
        assert (await read_answer(stream, "HEAD", reader)).body == b""
        assert (await read_answer(stream, "GET", reader)).text == "GET /hello "


async def test_junk_after_a_head_request_is_refused_with_words() -> None:
    async with serving(echo) as live, await live.connect() as stream:
        await stream.send_all(b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\njunk\r\n\r\n")
        data = await read_to_end(stream)
    assert b"HTTP/1.1 400 Bad Request\r\n" in data
    assert data.endswith(b"illegal request line")


@pytest.mark.parametrize(
    "ask",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://other/v1/agent/nope HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_unusual_requests_get_a_plain_answer(ask: bytes) -> None:
    async with serving_api(SITUATIONS["any"]()) as live, await live.connect() as stream:
        await stream.send_all(ask)
        assert (await read_answer(stream)).status in (307, 301, 404)


async def test_a_chunked_body_is_read() -> None:
    async with serving(echo) as live, await live.connect() as stream:
        await stream.send_all(b"PUT /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for chunk in (b"3\r\nabc\r\n", b"2;name=value\r\nde\r\n", b"0\r\nTrailer: x\r\n\r\n"):
            await stream.send_all(chunk)
        assert (await read_answer(stream)).text == "PUT /c abcde"


async def test_a_client_that_expects_continue_is_told_to_go_on() -> None:
    async with serving(echo) as live, await live.connect() as stream:
        await stream.send_all(b"PUT /c HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert (await stream.receive_some(1000)).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        await stream.send_all(b"abc")
        assert (await read_answer(stream)).text == "PUT /c abc"


async def test_a_body_that_is_too_long_is_refused_before_it_is_sent() -> None:
    async with serving(echo, Limits(body_bytes_max=10)) as live, await live.connect() as stream:
        await stream.send_all(b"PUT /c HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n")
        data = await read_to_end(stream)
    assert data.startswith(b"HTTP/1.1 413 ")
    assert b"\r\nConnection: close\r\n" in data


async def test_a_chunked_body_that_grows_too_long_is_refused() -> None:
    async with serving(echo, Limits(body_bytes_max=10)) as live, await live.connect() as stream:
        await stream.send_all(b"PUT /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        await stream.send_all(b"6\r\nabcdef\r\n" * 2)
        assert (await read_answer(stream)).status == 413


async def test_a_long_body_sent_all_the_same_does_not_lose_the_refusal() -> None:
    async with serving(echo, Limits(body_bytes_max=10)) as live, await live.connect() as stream:
        await stream.send_all(b"HEAD /c HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n" + b"x" * 900_000)
        data = await read_to_end(stream)
    assert data.startswith(b"HTTP/1.1 413 ")
    assert data.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("junk", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 200_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"y" * 200_000, 431),
        (b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n", 413),
    ],
)
async def test_what_is_no_http_is_refused_and_closed(junk: bytes, status: int) -> None:
    async with serving(echo) as live, await live.connect() as stream:
        await stream.send_all(junk)
        data = await read_to_end(stream)
        assert data.startswith(b"HTTP/1.1 %d " % status)
        assert VARIES in data
        assert live.server.counters.bad_requests == 1
        assert (await live.ask("GET", "/")).status == 200


async def test_headers_that_trickle_in_are_cut_off() -> None:
    async with serving(echo, SHORT) as live, await live.connect() as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n")

        async def trickle() -> None:
            try:
                for n in range(1000):
                    await stream.send_all(b"X-%d: y\r\n" % n)
                    await trio.sleep(0.02)
            except trio.BrokenResourceError:
                return

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trickle)
            answer = await read_answer(stream)
            nursery.cancel_scope.cancel()
        assert answer.status == 408
        assert answer.headers["vary"] == "Accept-Encoding"
        assert live.server.counters.timeouts == 1


async def test_a_body_that_does_not_come_is_cut_off() -> None:
    async with serving(echo, SHORT) as live, await live.connect() as stream:
        await stream.send_all(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab")
        assert (await read_answer(stream)).status == 408


async def test_an_idle_connection_is_closed_without_a_word() -> None:
    async with serving(echo, SHORT) as live, await live.connect() as fresh, await live.connect() as used:
        await used.send_all(GET)
        assert (await read_answer(used)).status == 200
        assert await read_to_end(fresh) == b""
        assert await read_to_end(used) == b""


async def test_a_client_that_does_not_read_is_given_up() -> None:
    async def huge(request: Request) -> Response:
        return Response(200, [], b"x" * 50_000_000)

    async with serving(huge, SHORT) as live, await live.connect() as stream:
        await stream.send_all(GET)
        await all_closed(live)
        del stream


async def test_clients_that_read_slowly_share_one_body() -> None:
    body = b"x" * 8_000_000

    async def kept(request: Request) -> Response:
        return Response(200, [], body)

    async with serving(kept) as live:
        streams = [await live.connect() for _ in range(10)]
        tracemalloc.start()
        try:
            for stream in streams:
                await stream.send_all(GET)
            await until(lambda: live.server.counters.requests == len(streams))
            await trio.testing.wait_all_tasks_blocked()
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert most < len(body) / 2
        for stream in streams:
            assert (await read_answer(stream)).body == body
            await stream.aclose()


async def test_a_request_may_take_longer_than_any_timeout_for_the_client() -> None:
    async def slow(request: Request) -> Response:
        await trio.sleep(0.6)
        return await echo(request)

    async with serving(slow, SHORT) as live:
        assert (await live.ask("GET", "/")).status == 200


async def test_a_client_that_leaves_while_it_is_served_does_no_harm() -> None:
    reached = trio.Event()
    go_on = trio.Event()

    async def held(request: Request) -> Response:
        reached.set()
        await go_on.wait()
        return Response(200, [], b"x" * 10_000_000)

    async with serving(held) as live:
        async with await live.connect() as stream:
            await stream.send_all(GET)
            await reached.wait()
        go_on.set()
        await all_closed(live)


async def test_connections_beyond_the_limit_are_told_so_while_all_others_are_served() -> None:
    go_on = trio.Event()

    async def held(request: Request) -> Response:
        await go_on.wait()
        return await echo(request)

    async with serving(held, Limits(connections_max=2)) as live:
        async with await live.connect() as one, await live.connect() as two:
            for stream in (one, two):
                await stream.send_all(GET)
            await until(lambda: live.server.counters.requests == 2)
            async with await live.connect() as three:
                refusal = await read_to_end(three)
                assert refusal.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
                assert VARIES in refusal
                assert refusal.endswith(b"\r\nConnection: close\r\n\r\ntoo many connections")
            go_on.set()
            for stream in (one, two):
                assert (await read_answer(stream)).status == 200
        await all_closed(live)
        assert (await live.ask("GET", "/")).status == 200
        assert live.server.counters.connections_refused == 1


async def connect_from(live: Live, source: str) -> trio.SocketStream:
    """A connection from an address of ours."""
    return await trio.open_tcp_stream(live.address.host, live.address.port, local_address=source)


@pytest.mark.parametrize("begun", [b"", b"GET / HT", b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"])
async def test_who_does_not_finish_a_request_makes_room_for_who_does(begun: bytes) -> None:
    async with serving(echo, Limits(connections_max=20)) as live:
        wasted = [await connect_from(live, "127.41.0.2") for _ in range(20)]
        for stream in wasted:
            await stream.send_all(begun)
        await until(lambda: live.server.counters.connections == 20)
        assert (await live.ask("GET", "/")).status == 200
        assert 1 <= live.server.counters.connections_shed < 20
        assert live.server.counters.connections_refused == 0
        await read_to_end(wasted[0])
        for stream in wasted:
            await stream.aclose()


async def test_the_client_with_the_most_connections_makes_room_first() -> None:
    async with serving(echo, Limits(connections_max=20)) as live:
        quiet = await connect_from(live, "127.41.0.2")
        await quiet.send_all(GET)
        assert (await read_answer(quiet)).status == 200
        greedy = [await connect_from(live, "127.41.0.3") for _ in range(40)]
        await until(lambda: live.server.counters.connections == 41)
        await quiet.send_all(GET)
        assert (await read_answer(quiet)).status == 200
        assert live.server.counters.connections_shed >= 21
        for stream in (quiet, *greedy):
            await stream.aclose()


async def test_who_reads_an_answer_slowly_makes_room_when_nobody_else_can() -> None:
    async def huge(request: Request) -> Response:
        return Response(200, [], b"x" * (50_000_000 if request.target == "/hello" else 5))

    limits = Limits(connections_max=2, slow_after=0.05)
    async with serving(huge, limits) as live, await live.connect() as one, await live.connect() as two:
        for stream in (one, two):
            await stream.send_all(GET)
        await until(lambda: live.server.counters.requests == 2)
        await trio.sleep(limits.slow_after)
        assert (await live.ask("GET", "/short")).text == "xxxxx"
        assert live.server.counters.connections_shed == 2


async def test_all_bodies_together_are_bounded() -> None:
    begun = b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 90\r\n\r\n" + b"x" * 80
    async with serving(echo, Limits(bodies_bytes_max=200)) as live:
        async with await live.connect() as one, await live.connect() as two:
            for stream in (one, two):
                await stream.send_all(begun)
            await until(lambda: live.server.body_bytes == 160)
            answer = await live.ask("PUT", "/", body=b"x" * 50)
            assert (answer.status, answer.text) == (
                503,
                "too many long requests at once; try again when they are over",
            )
            await one.send_all(b"x" * 10)
            assert (await read_answer(one)).status == 200
        await all_closed(live)
        assert live.server.body_bytes == 0
        assert (await live.ask("PUT", "/", body=b"x" * 200)).status == 200


async def test_one_client_cannot_take_all_connections() -> None:
    async with serving(echo, Limits(connections_per_client_max=1)) as live:
        async with await live.connect() as one:
            await one.send_all(GET)
            assert (await read_answer(one)).status == 200
            async with await live.connect() as two:
                refusal = await read_to_end(two)
                assert refusal.startswith(b"HTTP/1.1 429 ")
                assert VARIES in refusal
            other = await trio.open_tcp_stream(live.address.host, live.address.port, local_address="127.41.0.2")
            async with other:
                await other.send_all(GET)
                assert (await read_answer(other)).status == 200
        await all_closed(live)
        assert (await live.ask("GET", "/")).status == 200


async def test_many_clients_at_once_are_all_served() -> None:
    answers: list[int] = []

    async def ask(live: Live) -> None:
        answers.append((await live.ask("GET", "/")).status)

    async with serving(echo, Limits(connections_per_client_max=0)) as live, trio.open_nursery() as nursery:
        for _ in range(200):
            nursery.start_soon(ask, live)
    assert answers == [200] * 200


async def test_a_bug_costs_one_request_and_is_reported() -> None:
    async def broken(request: Request) -> Response:
        if request.target == "/bug":
            raise AssertionError("a bug")
        if request.target == "/header":
            return Response(200, [(b"bad name", b"")])
        return await echo(request)

    async with serving(broken) as live:
        async with await live.connect() as stream:
            await stream.send_all(b"GET /bug HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = await read_answer(stream)
            assert (answer.status, answer.text) == (500, "internal error")
            assert answer.headers["vary"] == "Accept-Encoding"
            await stream.send_all(b"GET /header HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await read_to_end(stream) == b""
        assert (await live.ask("GET", "/")).status == 200
        (first, second) = live.bugs
        assert first[0] == "GET /bug"
        assert isinstance(second[1], h11.LocalProtocolError)
        live.bugs.clear()


async def test_a_bug_that_comes_again_is_reported_once_and_counted() -> None:
    async def broken(request: Request) -> Response:
        raise AssertionError("a bug")

    async with serving(broken) as live:
        for n in range(5):
            assert (await live.ask("GET", f"/{n}" + "x" * 5000)).status == 500
        assert live.server.counters.faults == 5
        ((what, _),) = live.bugs
        assert what.startswith("GET /0xxx")
        assert len(what) < 250
        live.bugs.clear()


def test_faults_of_one_kind_are_told_once_a_minute_with_their_number() -> None:
    def failed(cause: type[Exception]) -> Exception:
        try:
            raise cause("why")
        except cause as error:
            return error

    told: list[str] = []
    faults = FaultReports(lambda what, error: told.append(what))
    for second in range(60):
        faults.tell(f"at {second}", failed(KeyError), second)
    faults.tell("another kind", failed(OSError), 59)
    faults.tell("never raised", OSError(), 59)
    assert told == ["at 0", "another kind", "never raised"]
    faults.tell("later", failed(KeyError), 60)
    faults.tell("much later", failed(KeyError), 600)
    assert told[3:] == ["later (and 59 like it before)", "much later"]


async def test_stopping_closes_idle_connections_and_finishes_what_is_in_work() -> None:
    reached = trio.Event()
    go_on = trio.Event()

    async def held(request: Request) -> Response:
        if request.target == "/held":
            reached.set()
            await go_on.wait()
        return await echo(request)

    async with serving(held) as live, await live.connect() as idle, await live.connect() as busy:
        await idle.send_all(GET)
        assert (await read_answer(idle)).status == 200
        await busy.send_all(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n" + GET)
        await reached.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(live.server.stop)
            assert await read_to_end(idle) == b""
            with pytest.raises(OSError, match="127"):
                await live.connect()
            go_on.set()
            data = await read_to_end(busy)
        assert data.count(b"HTTP/1.1 200") == 1
        assert b"\r\nConnection: close\r\n" in data


async def test_stopping_gives_up_on_a_request_that_does_not_end() -> None:
    reached = trio.Event()

    async def stuck(request: Request) -> Response:
        reached.set()
        await trio.sleep_forever()
        raise AssertionError

    async with serving(stuck, SHORT) as live, await live.connect() as stream:
        await stream.send_all(GET)
        await reached.wait()
        begun = time.monotonic()
        await live.server.stop()
        assert time.monotonic() - begun < 5
        assert await read_to_end(stream) == b""


def silent() -> HttpServer:
    """A server that nobody starts."""
    return HttpServer(echo, report=lambda what, error: None)


async def test_stopping_a_server_that_never_served_frees_its_port() -> None:
    first, second = silent(), silent()
    (address,) = await first.listen([(HOST, 0)])
    await first.stop()
    assert await second.listen([(HOST, address.port)]) == [address]
    await second.stop()


async def test_a_port_in_use_is_an_error_and_leaves_nothing_bound() -> None:
    first, second, third = silent(), silent(), silent()
    (taken,) = await first.listen([(HOST, 0)])
    (free,) = await second.listen([("127.41.0.3", 0)])
    await second.stop()
    with pytest.raises(OSError, match="in use"):
        await third.listen([("127.41.0.3", free.port), (HOST, taken.port)])
    assert await third.listen([("127.41.0.3", free.port)]) == [free]
    await third.stop()
    await first.stop()


async def test_ipv6_and_several_addresses_are_served() -> None:
    server = silent()
    addresses = await server.listen([("::1", 0), (HOST, 0)])
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        for address in addresses:
            async with await trio.open_tcp_stream(address.host, address.port) as stream:
                await stream.send_all(GET)
                assert (await read_answer(stream)).status == 200
        await server.stop()
