"""statsd: what the lines look like, and receivers that are slow, gone or unknown."""

import io
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import NoReturn

import pytest
import trio
import trio.lowlevel
import trio.testing

from moot.agent.checks import receiver, split_receiver
from moot.agent.logs import Logs
from moot.agent.settings import Telemetry
from moot.agent.statsd.exporter import Exporter
from moot.agent.statsd.lines import KEY_MAX, PACKET_MAX, SAMPLES_MAX, Samples, Style, fit, number, packets
from moot.agent.statsd.receivers import BACKLOG_MAX, RETRY_AFTER, TOLD_AFTER, TcpReceiver, UdpReceiver
from moot.gossip.counters import Counters
from moot.http.counters import HttpCounters
from moot.http.metrics import Metrics
from moot.http.nomad_operations import Figures

PLAIN, HOSTED, TAGGED = Style(), Style(host="web-1"), Style(tags=True)
STATUS = ("nomad.serf.members", (("status", "alive"),))


def test_counters_and_samples_have_no_host_but_gauges_do() -> None:
    assert HOSTED.counter(("nomad.memberlist.probe", ()), 3) == "nomad.memberlist.probe:3|c"
    assert HOSTED.gauge(STATUS, 5) == "nomad.web-1.serf.members.alive:5|g"
    assert PLAIN.gauge(STATUS, 5) == "nomad.serf.members.alive:5|g"
    assert list(HOSTED.samples(("nomad.x", ()), [0.25], 1)) == ["nomad.x:0.25|ms"]


def test_labels_are_tags_where_tags_are_understood_and_the_receiver_knows_the_host() -> None:
    style = Style(host="web-1", tags=True)
    assert style.gauge(STATUS, 5) == "nomad.serf.members:5|g|#status:alive"
    assert style.counter(("nomad.a", (("kind", "x"), ("type", "y"))), 2) == "nomad.a:2|c|#kind:x,type:y"
    assert list(style.samples(("nomad.b", (("path", "/v1/x"),)), [1.0, 2.0], 0.5)) == [
        "nomad.b:1|ms|@0.5|#path:/v1/x",
        "nomad.b:2|ms|@0.5|#path:/v1/x",
    ]


@pytest.mark.parametrize("given", ["a:1|c\nb", "a b", "a|b", "a@b", "a#b", "a,b", "é", "\x00", "a:b"])
def test_no_name_or_label_can_forge_a_line(given: str) -> None:
    safe = fit(given)
    assert re.fullmatch(r"[A-Za-z0-9_./-]+", safe)
    assert Style(host=given).gauge(("nomad.x", ()), 1) == f"nomad.{safe}.x:1|g"
    assert PLAIN.counter(("nomad.x", (("kind", given),)), 1) == f"nomad.x.{safe}:1|c"
    assert TAGGED.counter(("nomad.x", ((given, given),)), 1) == f"nomad.x:1|c|#{safe}:{safe}"


def test_names_are_bounded() -> None:
    assert len(fit("x" * 10_000)) == KEY_MAX


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (3.0, "3"),
        (0.0, "0"),
        (100.0, "100"),
        (0.25, "0.25"),
        (1e-9, "0"),
        (1e15, "1000000000000000"),
        (1 / 3, "0.333333"),
    ],
)
def test_numbers_have_no_exponent(value: float, written: str) -> None:
    assert number(value) == written


def test_packets_are_full_and_never_too_large() -> None:
    lines = [f"nomad.name.{'x' * (index % 90)}.{index}:1|c" for index in range(1000)]
    made = list(packets(lines))
    assert all(len(packet) <= PACKET_MAX for packet in made)
    assert all(len(packet) > PACKET_MAX - 120 for packet in made[:-1])
    assert b"\n".join(made).decode().split("\n") == lines
    assert list(packets([])) == []


def test_many_values_are_sampled_and_the_rate_is_told() -> None:
    samples = Samples()
    for index in range(4 * SAMPLES_MAX):
        samples.add(("a", ()), index)
    samples.add(("b", ()), 7)
    assert [(key[0], len(values), rate) for key, values, rate in samples.take()] == [
        ("a", SAMPLES_MAX, 0.25),
        ("b", 1, 1.0),
    ]
    assert list(samples.take()) == []


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("127.0.0.1:8125", ("127.0.0.1", 8125)),
        (":8125", ("localhost", 8125)),
        ("[::1]:1", ("::1", 1)),
        ("a.b:9", ("a.b", 9)),
    ],
)
def test_a_receiver_is_a_host_and_a_port(given: str, meant: tuple[str, int]) -> None:
    assert split_receiver(receiver(given)) == meant
    assert receiver("") == ""


@pytest.mark.parametrize(
    "given", ["127.0.0.1", "x:0", "x:65536", "x:-1", "unix:///var/run/x.sock", "::1:8125", "x:٣"]
)
def test_what_is_no_receiver_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        receiver(given)


# ---- receivers


class Listener:
    """A UDP socket that somebody reads."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.socket = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.host = host

    async def open(self) -> "Listener":
        await self.socket.bind((self.host, 0))
        return self

    @property
    def address(self) -> str:
        return f"{self.host}:{self.socket.getsockname()[1]}"

    async def line(self, wanted: str) -> str:
        """The first line that begins so."""
        with trio.fail_after(30):
            while True:
                packet = await self.socket.recv(65_536)
                assert len(packet) <= PACKET_MAX
                for line in packet.decode().split("\n"):
                    if line.startswith(wanted):
                        return line


class World:
    """An exporter, the figures that it looks at, and its log."""

    def __init__(self, telemetry: Telemetry) -> None:
        self.counters = Counters()
        self.stream = io.StringIO()
        self.metrics = Metrics(lambda: Figures(counters=self.counters, version="1"), HttpCounters())
        log = Logs(level="debug", as_json=False, stream=self.stream).logger("telemetry")
        self.exporter = Exporter(
            self.metrics,
            lambda: {"alive": 3},
            log,
            settings=replace(telemetry, collection_interval=0.02),
            node_name="n1",
        )


@asynccontextmanager
async def exporting(telemetry: Telemetry) -> AsyncIterator[World]:
    world = World(telemetry)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.exporter.run)
        yield world
        nursery.cancel_scope.cancel()


async def test_statsd_gets_what_was_added_and_what_there_is() -> None:
    listener = await Listener().open()
    with listener.socket:
        async with exporting(Telemetry(statsd_address=listener.address, use_node_name=True)) as world:
            assert await listener.line("nomad.n1.serf.members") == "nomad.n1.serf.members.alive:3|g"
            world.counters.probes += 4
            assert await listener.line("nomad.memberlist.probe:") == "nomad.memberlist.probe:4|c"
            world.counters.probes += 1
            assert await listener.line("nomad.memberlist.probe:") == "nomad.memberlist.probe:1|c"
            world.metrics.observe("/v1/x", "GET", 200, 0.002)
            assert await listener.line("nomad.http.request") == "nomad.http.request./v1/x:2|ms"


@pytest.mark.parametrize(
    ("telemetry", "name"),
    [
        (Telemetry(), f"nomad.{fit(socket.gethostname())}.memberlist.health.score"),
        (Telemetry(disable_hostname=True), "nomad.memberlist.health.score"),
        (Telemetry(disable_hostname=True, use_node_name=True), "nomad.n1.memberlist.health.score"),
    ],
)
async def test_gauges_are_marked_as_nomad_says(telemetry: Telemetry, name: str) -> None:
    listener = await Listener().open()
    with listener.socket:
        async with exporting(replace(telemetry, statsd_address=listener.address)):
            assert await listener.line(name) == f"{name}:0|g"


async def test_dogstatsd_gets_tags() -> None:
    listener = await Listener().open()
    with listener.socket:
        async with exporting(Telemetry(datadog_address=listener.address)):
            assert await listener.line("nomad.serf.members") == "nomad.serf.members:3|g|#status:alive"


async def test_statsite_gets_lines_over_tcp_and_again_after_it_was_gone() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    telemetry = Telemetry(statsite_address=f"127.0.0.1:{port}", disable_hostname=True)
    async with exporting(telemetry):
        for _ in range(2):
            with trio.fail_after(60):
                async with await listeners[0].accept() as stream:
                    held = b""
                    while b"nomad.serf.members.alive:3|g\n" not in held:
                        held += await stream.receive_some(4096)
    await listeners[0].aclose()


async def test_other_receivers_are_taken_up_and_nothing_is_sent_twice() -> None:
    first, second = await Listener().open(), await Listener().open()
    with first.socket, second.socket:
        async with exporting(Telemetry(statsd_address=first.address)) as world:
            world.counters.probes += 5
            await first.line("nomad.memberlist.probe:5|c")
            world.exporter.replace(Telemetry(statsd_address=second.address, collection_interval=0.02))
            world.counters.probes += 2
            assert await second.line("nomad.memberlist.probe:") == "nomad.memberlist.probe:2|c"
            world.exporter.replace(Telemetry())
            await trio.testing.wait_all_tasks_blocked()
            assert world.metrics.listeners == []


async def test_without_a_receiver_nothing_is_looked_at(autojump_clock: trio.testing.MockClock) -> None:
    world = World(Telemetry())
    with trio.move_on_after(100):
        await world.exporter.run()
    assert world.metrics.listeners == []


@pytest.mark.parametrize("kind", [UdpReceiver, TcpReceiver])
async def test_a_receiver_that_is_not_there_is_told_once_and_costs_nothing(
    kind: type[UdpReceiver | TcpReceiver], autojump_clock: trio.testing.MockClock
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    stream = io.StringIO()
    made = kind("statsd", f"127.0.0.1:{port}", Logs(level="debug", as_json=False, stream=stream).logger("telemetry"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.run)
        for _ in range(200):
            made.offer(["a:1|c"])
            await trio.sleep(1)
        assert stream.getvalue().count("\n") == 1
        assert (
            "[WARN]  telemetry: statsd cannot be reached, figures are dropped: address=127.0.0.1:"
            in stream.getvalue()
        )
        assert 'reason="connection refused"' in stream.getvalue()
        for _ in range(int(TOLD_AFTER)):
            made.offer(["a:1|c"])
            await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert stream.getvalue().count("\n") == 2
    assert made.dropped_count > 0


class Unknown(trio.abc.HostnameResolver):
    """Knows no name."""

    asked_count = 0

    async def getaddrinfo(self, *args: object) -> NoReturn:
        self.asked_count += 1
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def getnameinfo(self, *args: object) -> NoReturn:
        raise AssertionError("nobody asks")


async def test_a_name_that_nobody_knows_is_told_once_and_asked_for_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stream, resolver = io.StringIO(), Unknown()
    trio.socket.set_custom_hostname_resolver(resolver)
    log = Logs(level="debug", as_json=False, stream=stream).logger("telemetry")
    with trio.move_on_after(10.5 * RETRY_AFTER):
        await UdpReceiver("statsd", "figures.example:8125", log).run()
    assert resolver.asked_count == 11
    assert stream.getvalue().count("\n") == 1
    assert 'reason="[Errno -2] Name or service not known"' in stream.getvalue()


async def test_a_receiver_that_does_not_read_loses_batches_and_holds_up_nobody() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=1)
    port = listeners[0].socket.getsockname()[1]
    made = TcpReceiver("statsite", f"127.0.0.1:{port}", Logs(level="error", as_json=False).logger("telemetry"))
    batch = ["x" * 1000] * 4000
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.run)
        with trio.fail_after(60):
            while not made.dropped_count:
                made.offer(batch)
                await trio.lowlevel.checkpoint()
        assert made._batches.statistics().current_buffer_used <= BACKLOG_MAX
        nursery.cancel_scope.cancel()
    await listeners[0].aclose()
