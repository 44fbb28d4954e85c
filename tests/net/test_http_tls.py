"""TLS and mutual TLS of the HTTP listener, with real certificates, real clients and bad ones."""

import contextlib
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from moot.agent.tls import TlsSettings, build_contexts
from moot.gossip.errors import ConfigError
from moot.http.api import build_api
from moot.http.client import ApiClient, ApiError, Unreachable
from moot.http.client_tls import ClientTls
from moot.http.counters import HttpCounters
from moot.http.exchange import Application, Request, Response, Send, Stream
from moot.http.server import HttpServer, Limits
from tests.api.situations import dev
from tests.conftest import require_tool
from tests.support.certificates import DAY, NOW, Authority, Pair
from tests.support.pool import until

HOST = "127.41.1.1"
GET = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
SHORT = Limits(handshake_timeout=0.3, write_timeout=0.3, idle_timeout=0.5, linger_timeout=0.2, stop_timeout=0.5)
MIB = 1024 * 1024


async def echo(request: Request) -> Response:
    """Says how it was asked."""
    return Response(200, [], f"{request.target} secure={request.secure}".encode() + request.body)


@dataclass
class Secured:
    """A running server with TLS, and the files it uses."""

    server: HttpServer
    port: int
    authority: Authority
    refused: list[tuple[str, str]] = field(default_factory=list)

    def settings(self, pair: Pair, *, verify: bool = False, version: str = "tls12") -> TlsSettings:
        return TlsSettings(
            http=True,
            ca_file=self.authority.ca_file,
            cert_file=pair.cert_file,
            key_file=pair.key_file,
            verify_https_client=verify,
            tls_min_version=version,
        )

    def use(self, pair: Pair, *, verify: bool = False, version: str = "tls12") -> None:
        """What a reload does."""
        self.server.tls = build_contexts(self.settings(pair, verify=verify, version=version)).http

    def trusting(self, pair: Pair | None = None) -> ssl.SSLContext:
        """A client's context."""
        context = ssl.create_default_context(cafile=self.authority.ca_file)
        if pair is not None:
            context.load_cert_chain(pair.cert_file, pair.key_file)
        return context

    async def raw(self) -> trio.SocketStream:
        return await trio.open_tcp_stream(HOST, self.port)

    async def connect(self, context: ssl.SSLContext | None = None) -> trio.SSLStream[trio.SocketStream]:
        stream = trio.SSLStream(
            await self.raw(), context or self.trusting(), server_hostname=HOST, https_compatible=True
        )
        try:
            await stream.do_handshake()
        except trio.BrokenResourceError:
            await trio.aclose_forcefully(stream)
            raise
        return stream

    def api(self, tls: ClientTls, scheme: str = "https") -> ApiClient:
        return ApiClient(f"{scheme}://{HOST}:{self.port}", tls=tls, timeout=10)


@asynccontextmanager
async def serving(
    folder: Path, application: Application = echo, limits: Limits | None = None
) -> AsyncIterator[Secured]:
    """A server with a certificate for its address."""
    authority = Authority(folder)
    bugs: list[tuple[str, Exception]] = []
    refused: list[tuple[str, str]] = []
    server = HttpServer(
        application,
        report=lambda what, error: bugs.append((what, error)),
        refused=lambda peer, reason: refused.append((peer, reason)),
        limits=limits,
    )
    (address,) = await server.listen([(HOST, 0)])
    live = Secured(server, address.port, authority, refused)
    live.use(authority.issue("server", ips=[HOST]))
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve)
            yield live
            await server.stop()
    assert bugs == []


async def ask(stream: trio.abc.Stream, wish: bytes = GET) -> bytes:
    """The answer's body, by its length."""
    await stream.send_all(wish)
    data = bytearray()
    while b"\r\n\r\n" not in data:
        more = await stream.receive_some(65_536)
        assert more, data
        data += more
    end = data.index(b"\r\n\r\n") + 4
    length = int(data.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
    while len(data) < end + length:
        data += await stream.receive_some(65_536)
    return bytes(data[end:])


async def read_to_end(stream: trio.abc.ReceiveStream) -> bytes:
    data = bytearray()
    while chunk := await stream.receive_some(65_536):
        data += chunk
    return bytes(data)


async def test_requests_over_tls_are_answered_on_one_connection_and_known_as_such(tmp_path: Path) -> None:
    async with serving(tmp_path) as live, await live.connect() as stream:
        for _ in range(3):
            assert await ask(stream) == b"/hello secure=True"
        assert stream.selected_alpn_protocol() is None
        assert live.server.counters.connections == 1


async def test_h2_is_not_promised_and_http_1_is(tmp_path: Path) -> None:
    async with serving(tmp_path) as live:
        context = live.trusting()
        context.set_alpn_protocols(["h2", "http/1.1"])
        async with await live.connect(context) as stream:
            assert stream.selected_alpn_protocol() == "http/1.1"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_both_versions_of_tls_are_spoken(tmp_path: Path, version: ssl.TLSVersion) -> None:
    async with serving(tmp_path) as live:
        context = live.trusting()
        context.maximum_version = version
        async with await live.connect(context) as stream:
            assert await ask(stream) == b"/hello secure=True"
            assert stream.version() == {771: "TLSv1.2", 772: "TLSv1.3"}[version]


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_older_versions_are_not_and_a_minimum_is_kept(tmp_path: Path) -> None:
    async with serving(tmp_path) as live:
        old = live.trusting()
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.raises(trio.BrokenResourceError):
            await live.connect(old)
        live.use(live.authority.issue("server", ips=[HOST]), version="tls13")
        middle = live.trusting()
        middle.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(trio.BrokenResourceError):
            await live.connect(middle)
        assert [peer for peer, _ in live.refused] == ["127.0.0.1"]
        assert live.server.counters.handshakes_failed == 2


async def test_a_long_answer_is_whole_and_a_slow_reader_costs_no_copy_of_it(tmp_path: Path) -> None:
    body = bytes(range(256)) * (40 * 4096)

    async def long(request: Request) -> Response:
        return Response(200, [], body)

    async with serving(tmp_path, long) as live, await live.connect() as stream:
        assert await ask(stream) == body


async def test_a_long_request_is_read_whole(tmp_path: Path) -> None:
    async with serving(tmp_path) as live, await live.connect() as stream:
        wish = b"PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"y" * 1_000_000
        assert await ask(stream, wish) == b"/x secure=True" + b"y" * 1_000_000


async def test_the_end_is_told_by_tls_so_that_nobody_can_fake_it(tmp_path: Path) -> None:
    async with serving(tmp_path) as live:
        strict = trio.SSLStream(await live.raw(), live.trusting(), server_hostname=HOST, https_compatible=False)
        await strict.send_all(b"GET / HTTP/1.0\r\n\r\n")
        assert (await read_to_end(strict)).endswith(b"secure=True")
        await strict.aclose()


async def test_a_refusal_reaches_a_client_that_goes_on_sending(tmp_path: Path) -> None:
    async with serving(tmp_path, limits=Limits(body_bytes_max=10)) as live, await live.connect() as stream:
        await stream.send_all(b"PUT /c HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n" + b"x" * 900_000)
        assert (await read_to_end(stream)).startswith(b"HTTP/1.1 413 ")


async def test_a_stream_comes_piece_by_piece_and_ends_when_the_client_does(tmp_path: Path) -> None:
    ended = trio.Event()
    heard = trio.Event()

    async def streaming(request: Request) -> Response:
        async def write(send: Send) -> None:
            await send(b"one\n")
            await heard.wait()
            await send(b"two\n")
            await trio.sleep_forever()

        return Response(200, [], stream=Stream(write, ended.set))

    async with serving(tmp_path, streaming) as live, await live.connect() as stream:
        await stream.send_all(GET)
        data = b""
        while b"one\n" not in data:
            data += await stream.receive_some(65_536)
        assert b"two" not in data
        heard.set()
        while b"two\n" not in data:
            data += await stream.receive_some(65_536)
        await stream.aclose()
        await ended.wait()
        await until(lambda: not live.server.open_count)


async def test_plain_http_where_tls_is_spoken_is_told_so_in_words(tmp_path: Path) -> None:
    async with serving(tmp_path) as live:
        async with await live.raw() as stream:
            await stream.send_all(GET)
            data = await read_to_end(stream)
        assert data.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert data.endswith(b"\r\n\r\nClient sent an HTTP request to an HTTPS server.")
        with pytest.raises(ApiError, match="speaks TLS: name it as https://"):
            await trio.to_thread.run_sync(live.api(ClientTls(), "http").regions)
        async with await live.connect() as other:
            assert await ask(other)


@pytest.mark.parametrize("junk", [b"\x16", b"\x16\x03\x01\xff\xff" + b"\xff" * 70_000, b"\x16" * 500, b"\0", b""])
async def test_junk_instead_of_a_handshake_costs_one_connection(tmp_path: Path, junk: bytes) -> None:
    async with serving(tmp_path, limits=SHORT) as live, await live.connect() as other:
        async with await live.raw() as stream:
            with contextlib.suppress(trio.BrokenResourceError):  # it may hang up before it has read it all
                await stream.send_all(junk)
                await read_to_end(stream)
        assert await ask(other)
        await until(lambda: live.server.open_count == 1)


async def test_a_handshake_that_stalls_is_given_up_and_so_is_one_that_trickles(tmp_path: Path) -> None:
    async with serving(tmp_path, limits=SHORT) as live:
        async with await live.raw() as silent:
            assert await read_to_end(silent) == b""
        outgoing = ssl.MemoryBIO()
        half = live.trusting().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=HOST)
        with pytest.raises(ssl.SSLWantReadError):
            half.do_handshake()
        async with await live.raw() as slow:
            with contextlib.suppress(trio.BrokenResourceError):
                for octet in outgoing.read():
                    await slow.send_all(bytes([octet]))
                    await trio.sleep(0.01)
        await until(lambda: not live.server.open_count)
        assert live.server.counters.timeouts == 2


async def test_a_client_that_does_not_read_over_tls_is_cut_off(tmp_path: Path) -> None:
    async def huge(request: Request) -> Response:
        return Response(200, [], b"x" * (50 * MIB))

    async with serving(tmp_path, huge, SHORT) as live, await live.connect() as stream:
        await stream.send_all(GET)
        await until(lambda: not live.server.open_count)
        assert live.server.counters.timeouts == 1


async def test_stopping_ends_idle_and_half_shaken_connections(tmp_path: Path) -> None:
    async with serving(tmp_path) as live, await live.connect() as idle, await live.raw() as silent:
        await ask(idle)
        await until(lambda: live.server.open_count == 2)
        with trio.fail_after(5):
            await live.server.stop()
        assert await read_to_end(silent) == b""
        assert await read_to_end(idle) == b""


# mutual TLS


async def test_with_mutual_tls_only_certificates_of_the_authority_get_in(tmp_path: Path) -> None:
    async with serving(tmp_path) as live:
        live.use(live.authority.issue("server", ips=[HOST]), verify=True)
        member = live.authority.issue("member")
        stranger = Authority(tmp_path, "stranger").issue("stranger")
        expired = live.authority.issue("expired", life=(NOW - 9 * DAY, NOW - DAY))

        def regions(pair: Pair | None) -> object:
            shown = pair or Pair("", "")
            tls = ClientTls(ca_file=live.authority.ca_file, cert_file=shown.cert_file, key_file=shown.key_file)
            return live.api(tls).request("GET", "/hello")

        assert await trio.to_thread.run_sync(regions, member) == b"/hello secure=True"
        for pair, words in (
            (None, "it wants a certificate of ours: --client-cert and --client-key"),
            (stranger, "it does not take our certificate"),
            (expired, "it does not take our certificate"),
        ):
            with pytest.raises(Unreachable, match=words):
                await trio.to_thread.run_sync(regions, pair)
        assert live.server.counters.requests == 1
        assert live.server.counters.handshakes_failed == 3
        assert {reason for _, reason in live.refused} == {
            "PEER_DID_NOT_RETURN_A_CERTIFICATE",
            "CERTIFICATE_VERIFY_FAILED",
        }


async def test_a_client_before_tls_1_3_hears_of_a_missing_certificate_in_its_handshake(tmp_path: Path) -> None:
    async with serving(tmp_path) as live:
        live.use(live.authority.issue("server", ips=[HOST]), verify=True)
        context = live.trusting()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(trio.BrokenResourceError):
            await live.connect(context)
        async with await live.connect(live.trusting(live.authority.issue("member"))) as stream:
            assert await ask(stream) == b"/hello secure=True"


# reload


async def test_a_new_certificate_is_shown_at_once_and_no_connection_is_dropped(tmp_path: Path) -> None:
    def shown(stream: trio.SSLStream[trio.SocketStream]) -> object:
        return stream.getpeercert()["serialNumber"]

    async with serving(tmp_path) as live, await live.connect() as before:
        assert await ask(before)
        live.use(live.authority.issue("server", ips=[HOST]))
        async with await live.connect() as after:
            assert shown(after) != shown(before)
            for stream in (before, after, before):
                assert await ask(stream) == b"/hello secure=True"
        assert live.server.counters.connections == 2


async def test_an_answer_under_way_survives_a_reload(tmp_path: Path) -> None:
    reached, go_on = trio.Event(), trio.Event()

    async def held(request: Request) -> Response:
        reached.set()
        await go_on.wait()
        return Response(200, [], b"x" * (3 * MIB))

    async with serving(tmp_path, held) as live, await live.connect() as stream:
        bodies: list[bytes] = []

        async def get() -> None:
            bodies.append(await ask(stream))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(get)
            await reached.wait()
            live.use(live.authority.issue("server", ips=[HOST]), verify=True)
            go_on.set()
        assert bodies == [b"x" * (3 * MIB)]


async def test_a_pair_that_does_not_match_leaves_the_old_one_in_force(tmp_path: Path) -> None:
    async with serving(tmp_path) as live:
        other = live.authority.issue("other")
        mixed = Pair(live.authority.issue("server", ips=[HOST]).cert_file, other.key_file)
        with pytest.raises(ConfigError, match="is not the key of the certificate"):
            live.use(mixed)
        async with await live.connect() as stream:
            assert await ask(stream)


async def test_who_is_no_longer_trusted_cannot_come_back_by_resuming(tmp_path: Path) -> None:
    async with serving(tmp_path) as live:
        pair = live.authority.issue("server", ips=[HOST])
        live.use(pair, verify=True)
        context = live.trusting(live.authority.issue("member"))
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        async with await live.connect(context) as stream:
            assert await ask(stream)
            session = stream.session
        successor = Authority(tmp_path, "successor")
        live.server.tls = build_contexts(
            TlsSettings(
                http=True,
                ca_file=successor.ca_file,
                cert_file=pair.cert_file,
                key_file=pair.key_file,
                verify_https_client=True,
            )
        ).http
        again = trio.SSLStream(await live.raw(), context, server_hostname=HOST, https_compatible=True)
        if session is not None:
            again.session = session
        with pytest.raises(trio.BrokenResourceError):
            await again.do_handshake()
        await trio.aclose_forcefully(again)


async def test_tls_can_be_switched_on_and_off_while_connections_stay(tmp_path: Path) -> None:
    async with serving(tmp_path) as live, await live.connect() as before:
        assert await ask(before) == b"/hello secure=True"
        live.server.tls = None
        async with await live.raw() as plain:
            assert await ask(plain) == b"/hello secure=False"
            live.use(live.authority.issue("server", ips=[HOST]))
            assert await ask(plain) == b"/hello secure=False"
        assert await ask(before) == b"/hello secure=True"


# our own client, and others


async def test_our_client_says_what_is_wrong_with_a_certificate_and_what_helps(tmp_path: Path) -> None:
    async with serving(tmp_path) as live:
        trusted = ClientTls(ca_file=live.authority.ca_file)

        def hello(tls: ClientTls) -> bytes:
            return live.api(tls).request("GET", "/hello")

        assert await trio.to_thread.run_sync(hello, trusted) == b"/hello secure=True"
        with pytest.raises(Unreachable, match=r"not trusted: .*--ca-cert names the file of its authority"):
            await trio.to_thread.run_sync(hello, ClientTls())
        assert await trio.to_thread.run_sync(hello, ClientTls(skip_verify=True)) == b"/hello secure=True"
        live.use(live.authority.issue("server", names=["server.global.nomad"]))
        with pytest.raises(Unreachable, match=r"not trusted: .*mismatch.*--tls-server-name names another"):
            await trio.to_thread.run_sync(hello, trusted)
        by_name = ClientTls(ca_file=live.authority.ca_file, server_name="server.global.nomad")
        assert await trio.to_thread.run_sync(hello, by_name) == b"/hello secure=True"
        live.server.tls = None
        with pytest.raises(Unreachable, match="does not speak TLS: name it as http://"):
            await trio.to_thread.run_sync(hello, trusted)


async def test_a_folder_of_authorities_is_trusted_whatever_its_files_are_called(tmp_path: Path) -> None:
    async with serving(tmp_path) as live:
        folder = tmp_path / "trusted"
        folder.mkdir()
        shutil.copy(live.authority.ca_file, folder / "any name")
        api = live.api(ClientTls(ca_path=str(folder)))
        assert await trio.to_thread.run_sync(api.request, "GET", "/hello") == b"/hello secure=True"


@pytest.mark.parametrize(
    ("tls", "words"),
    [
        (ClientTls(ca_file="/gone"), "--ca-cert: /gone: no such file or directory"),
        (ClientTls(ca_path="/gone"), "--ca-path: /gone: no such file or directory"),
        (ClientTls(ca_file="/dev/null"), "--ca-cert: /dev/null: no certificate or crl found"),
        (ClientTls(cert_file="/dev/null"), "--client-cert is given without --client-key"),
        (ClientTls(key_file="/dev/null"), "--client-key is given without --client-cert"),
        (ClientTls(cert_file="/gone", key_file="/gone"), "--client-cert: /gone cannot be read"),
        (
            ClientTls(cert_file="/dev/null", key_file="/dev/null"),
            "--client-cert and --client-key: /dev/null and /dev",
        ),
    ],
)
def test_files_that_our_client_cannot_use_are_named(tls: ClientTls, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ApiClient("https://127.0.0.1", tls=tls)
    assert str(caught.value).startswith(words)


@pytest.fixture
def openssl() -> str:
    return require_tool("openssl", "Debian's package openssl")


async def test_openssl_is_content(tmp_path: Path, openssl: str) -> None:
    async with serving(tmp_path) as live:
        live.use(live.authority.issue("server", ips=[HOST]), verify=True)
        member = live.authority.issue("member")
        command = [
            require_tool("openssl", "Debian's package openssl"),
            "s_client",
            "-connect",
            f"{HOST}:{live.port}",
            "-CAfile",
            live.authority.ca_file,
        ]
        command += ["-cert", member.cert_file, "-key", member.key_file, "-quiet", "-verify_return_error"]
        done = await trio.run_process(
            command,
            stdin=b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            capture_stdout=True,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        assert done.stdout.endswith(b"\r\n\r\n/hello secure=True")


@pytest.mark.parametrize("prefix", ["MOOT", "NOMAD", ""])
async def test_the_command_line_takes_nomads_flags_and_variables(tmp_path: Path, prefix: str) -> None:
    async with serving(tmp_path, build_api(dev(), counters=HttpCounters())) as live:
        live.use(live.authority.issue("server", names=["server.global.nomad"]), verify=True)
        member = live.authority.issue("member")
        given = {
            "CACERT": live.authority.ca_file,
            "CLIENT_CERT": member.cert_file,
            "CLIENT_KEY": member.key_file,
            "TLS_SERVER_NAME": "server.global.nomad",
        }
        names = ("--ca-cert", "--client-cert", "--client-key", "--tls-server-name")
        flags = [] if prefix else [word for pair in zip(names, given.values(), strict=True) for word in pair]
        variables = {f"{prefix}_{name}": value for name, value in given.items()} if prefix else {}
        command = [sys.executable, "-m", "moot", "members", "--address", f"https://{HOST}:{live.port}"]

        async def run(*more: str, **environment: str) -> tuple[int, str]:
            done = await trio.run_process(
                [*command, *more],
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                env=os.environ | environment,
            )
            return done.returncode, (done.stdout + done.stderr).decode()

        code, text = await run(*flags, **variables)
        assert code == 0, text
        assert "alive" in text
        code, text = await run("--tls-skip-verify", "--json")
        assert (code, text.count("it wants a certificate of ours")) == (1, 1)
