"""LAN discovery: who is announced is found and joined, by us and by real agents, and strangers cannot drown us."""

import contextlib
import importlib.util
import io
import itertools
import secrets
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
import zeroconf

from moot.agent.discovery import JOIN_MAX, Discovery, check_discovery, interface_of
from moot.agent.logs import Logs
from moot.agent.mdns import NAMES_MAX, Mdns, instance_label
from moot.gossip.errors import CommandError, ConfigError
from moot.gossip.net.node import Node
from moot.gossip.net.targets import JoinOutcome
from moot.gossip.record import Address
from moot.gossip.serf.members import MemberStatus, SerfMember
from moot.gossip.swim.member import Member, Status
from tests.support.launching import Net
from tests.support.namespace import FIRST, SECOND, addresses_settled, run_in_namespace
from tests.support.pool import settings_of, until

DNSIncoming: Any = vars(zeroconf)["DNSIncoming"]
"""Zeroconf's parser of packets, which it does not declare as public."""
GROUP = ("224.0.0.251", 5353)
SERF_ANSWER = bytes.fromhex(
    "000084000000000400000000075f736572665f78045f746370056c6f63616c00000c0001000000780005026e31c00cc02a002100010000"
    "0078000a000a00011f0a02766d00c041000100010000007800040a090001c02a0010000100000078001110536572662027782720636c75"
    "73746572"
)
"""What a real agent n1 at 10.9.0.1:7946 with -discover=x answers to `_serf_x._tcp.local. PTR`."""


def log_to(stream: io.StringIO) -> Logs:
    return Logs(level="info", as_json=False, stream=stream)


class Lone:
    """A node that notes whom it is told to join."""

    def __init__(self, host: str, port: int = 7946) -> None:
        self.address = self.bind_address = Address.parse(host, port)
        self.alive: list[Address] = []
        self.asked: list[list[str]] = []
        self.error: str | None = None
        self.left = False

    def members(self) -> list[SerfMember]:
        return [SerfMember(Member(str(there), there, 1, Status.ALIVE), MemberStatus.ALIVE) for there in self.alive]

    async def join(self, targets: Sequence[str]) -> list[JoinOutcome]:
        if self.left:
            raise CommandError("join after leave")
        self.asked.append(list(targets))
        await trio.lowlevel.checkpoint()
        return [JoinOutcome(target, Address.parse(*target_parts(target)), self.error) for target in targets]


def target_parts(target: str) -> tuple[str, int]:
    host, _, port = target.rpartition(":")
    return host, int(port)


class Place:
    """An address of loopback and a pool name that nobody else has, with Mdns and Discovery on it."""

    def __init__(self) -> None:
        self.net = Net()
        self.pool = f"t{secrets.token_hex(4)}"
        self.stream = io.StringIO()
        self.log = log_to(self.stream).logger("discovery")

    def lone(self) -> Lone:
        return Lone(self.net.host())

    def discovery(self, name: str, node: Lone | Node, poll: float = 60.0) -> Discovery:
        return Discovery(self.pool, name, node, self.log, poll=poll)

    @contextlib.contextmanager
    def announced(self, name: str, address: Address) -> Iterator[Mdns]:
        mdns = Mdns(self.pool, name, address, address.host, lambda: None)
        mdns.open()
        try:
            yield mdns
        finally:
            mdns.close()


@pytest.fixture
def place() -> Place:
    return Place()


# ---- names


@pytest.mark.parametrize("name", ["web1", "a" * 63, "A-b_9"])
def test_a_plain_name_is_announced_as_it_is(name: str) -> None:
    assert instance_label(name) == name


@pytest.mark.parametrize("name", ["web.1", "a" * 64, "", "n 2", "é", "\udcff", "a\0b", "a\nb"])
def test_any_other_name_becomes_a_label_of_its_own(name: str) -> None:
    label = instance_label(name)
    assert label != name
    assert label.isascii()
    assert len(label) <= 63
    assert not set(label) & set(". \n\0")
    assert label != instance_label(name + ".")


@pytest.mark.parametrize("pool", ["", "a.b", "a b", "x" * 58, "é", "a\0"])
def test_a_pool_name_that_is_no_dns_label_is_refused(pool: str) -> None:
    with pytest.raises(ConfigError, match="needs 1 to 57 of the characters"):
        check_discovery(pool)


def test_without_zeroconf_discovery_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs the package zeroconf: pip install 'moot\[discover\]'"):
        Discovery("x", "me", Lone("127.0.0.1"), log_to(io.StringIO()).logger("x"))


def test_an_agent_that_does_not_discover_does_not_load_zeroconf() -> None:
    code = "import sys, moot.agent.discovery; sys.exit('zeroconf' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("host", "interface"), [("127.0.0.9", "127.0.0.9"), ("fd00::1", "fd00::1"), ("0.0.0.0", None)]
)
def test_it_stays_where_the_node_listens(host: str, interface: str | None) -> None:
    assert interface_of(Address.parse(host, 7946)) == interface


# ---- finding and joining


async def test_agents_of_one_pool_find_each_other_and_no_others(place: Place, nursery: trio.Nursery) -> None:
    elsewhere = Place()
    nodes = {name: Node(settings_of(name, bind_host=place.net.host())) for name in ("a", "b", "c", "other")}
    for name, node in nodes.items():
        await nursery.start(node.run)
        where = elsewhere if name == "other" else place
        await nursery.start(where.discovery(name, node).run)
    await until(lambda: all(len(nodes[name].members()) == 3 for name in "abc"))
    assert len(nodes["other"].members()) == 1


async def test_whom_it_found_it_joins_but_never_itself(place: Place, nursery: trio.Nursery) -> None:
    node, there = place.lone(), Address.parse(place.net.host(), 8000)
    with place.announced("there", there):
        await nursery.start(place.discovery("me", node).run)
        await until(lambda: bool(node.asked))
        assert node.asked == [[str(there)]]
    assert f"joined discovered agents: count=1 agents={there}" in place.stream.getvalue()


async def test_what_is_found_at_once_is_joined_at_once(place: Place, nursery: trio.Nursery) -> None:
    node, there = place.lone(), [Address.parse(place.net.host(), 8000) for _ in range(3)]
    with contextlib.ExitStack() as stack:
        for number, address in enumerate(there):
            stack.enter_context(place.announced(f"n{number}", address))
        await nursery.start(place.discovery("me", node).run)
        await until(lambda: sum(map(len, node.asked)) == len(there))
        # on a slow machine they may be found in two goes
        assert sorted(itertools.chain(*node.asked)) == sorted(str(address) for address in there)


async def test_alive_members_are_not_joined_again(place: Place, nursery: trio.Nursery) -> None:
    node, known, new = place.lone(), *(Address.parse(place.net.host(), 8000) for _ in range(2))
    node.alive = [known]
    with place.announced("known", known), place.announced("new", new):
        await nursery.start(place.discovery("me", node).run)
        await until(lambda: bool(node.asked))
        assert node.asked == [[str(new)]]


async def test_a_join_that_failed_is_tried_again_and_told_once(place: Place, nursery: trio.Nursery) -> None:
    node, there = place.lone(), Address.parse(place.net.host(), 8000)
    node.error = "connection refused"
    with place.announced("there", there):
        await nursery.start(place.discovery("me", node, poll=0.3).run)
        await until(lambda: len(node.asked) >= 3)
    assert {tuple(asked) for asked in node.asked} == {(str(there),)}
    assert place.stream.getvalue().count("discovered agents that cannot be joined") == 1


async def test_it_ends_when_the_node_leaves(place: Place) -> None:
    node, there = place.lone(), Address.parse(place.net.host(), 8000)
    node.left = True
    with place.announced("there", there), trio.fail_after(30):
        await place.discovery("me", node).run()
    assert "discovery ends" in place.stream.getvalue()


async def test_who_ends_takes_its_announcement_back(place: Place) -> None:
    node, there = place.lone(), Address.parse(place.net.host(), 8000)
    with place.announced("there", there) as mdns:
        mdns.poll()
        async with trio.open_nursery() as nursery:
            await nursery.start(place.discovery("me", node).run)
            await until(lambda: set(mdns.found()) == {there, node.address})
            nursery.cancel_scope.cancel()
        await until(lambda: mdns.found() == [there])


async def test_an_interface_that_is_not_ours_is_a_clear_error(place: Place) -> None:
    discovery = Discovery(place.pool, "me", place.lone(), place.log, interface="192.0.2.1")
    with pytest.raises(ConfigError, match="discovery cannot use the network"):
        await discovery.run()


# ---- on the wire


def ask(sender: socket.socket, pool: str) -> None:
    """As hashicorp's client asks: for PTR, from a port of its own."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in (f"_serf_{pool}", "_tcp", "local"))
    sender.sendto(struct.pack("!6H", 4711, 0, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 12, 1), GROUP)


@contextlib.contextmanager
def multicaster(host: str) -> Iterator[socket.socket]:
    """A socket that sends to the group through the interface of this address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((host, 0))
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(host))
        sender.settimeout(10)
        yield sender


def described(packet: bytes) -> dict[int, tuple[object, ...]]:
    """By record type, what Serf's client uses of an answer: time to live, and the data."""
    used = {
        12: ("name", "alias"),
        33: ("name", "priority", "weight", "port"),
        1: ("address",),
        16: ("name", "text"),
    }
    records: dict[int, tuple[object, ...]] = {}
    for record in DNSIncoming(packet).answers():
        if record.type in used:
            records[record.type] = (record.ttl, *(getattr(record, field) for field in used[record.type]))
    return records


def test_an_answer_holds_what_a_real_agents_answer_holds(place: Place) -> None:
    place.pool = "x"
    here = Address.parse(place.net.host(), 7946)
    with place.announced("n1", here), multicaster(place.net.host()) as sender:
        ask(sender, "x")
        ours = described(sender.recv(9000))
    theirs = described(SERF_ANSWER)
    assert set(ours) == {1, 12, 16, 33}
    theirs[1] = (120, here.ip)
    assert ours == theirs


def test_the_address_stands_under_the_name_of_the_service_itself(place: Place) -> None:
    """Serf's client misses one under any other name if it comes before the SRV record."""
    here = Address.parse(place.net.host(), 7946)
    with place.announced("n1", here), multicaster(place.net.host()) as sender:
        ask(sender, place.pool)
        records = {record.type: record for record in DNSIncoming(sender.recv(9000)).answers()}
    assert records[33].server == records[1].name == records[33].name


def announcement(pool: str, instance: bytes) -> bytes:
    """That an instance exists, as anybody can claim."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in (f"_serf_{pool}", "_tcp", "local"))
    alias = instance + b"\xc0\x0c"
    answer = struct.pack("!HHIH", 12, 1, 120, len(alias)) + alias
    return struct.pack("!6H", 0, 0x8400, 0, 1, 0, 0) + labels + b"\0" + answer


def located(pool: str, number: int) -> bytes:
    """That an instance exists at a made-up address."""
    name = b"\x06" + f"f{number:05}".encode()
    head = announcement(pool, name)
    alias_at = struct.pack("!H", 0xC000 | head.rindex(name))
    host = b"\x01h" + name + b"\0"
    srv = struct.pack("!3H", 0, 0, 1000 + number) + host
    tail = alias_at + struct.pack("!HHIH", 33, 1, 120, len(srv)) + srv
    tail += host + struct.pack("!HHIH", 1, 1, 120, 4) + socket.inet_aton("192.0.2.9")
    tail += alias_at + struct.pack("!HHIH", 16, 1, 120, 1) + b"\0"
    return head[:6] + struct.pack("!H", 4) + head[8:] + tail


HOSTILE = (b"\x3f" + b"x" * 63, b"\x03a\0b", b"\x02\xff\xfe", b"\x01.\x01.", b"\x05\x1b[31m", b"")
"""Names of instances that are none."""


async def test_strangers_can_neither_end_discovery_nor_make_it_dial_without_bound(
    place: Place, nursery: trio.Nursery
) -> None:
    node, there = place.lone(), Address.parse(place.net.host(), 8000)
    node.error = "no route to host"
    await nursery.start(place.discovery("me", node, poll=1.0).run)
    with multicaster(place.net.host()) as sender, place.announced("zz", there):
        for name in HOSTILE:
            sender.sendto(announcement(place.pool, name), GROUP)
        for number in range(2 * NAMES_MAX):
            sender.sendto(located(place.pool, number), GROUP)
            await trio.sleep(0.002)  # so that they are not lost in the socket
        await until(lambda: any(len(asked) == JOIN_MAX for asked in node.asked))
        await until(lambda: any(str(there) in asked for asked in node.asked))
    assert max(map(len, node.asked)) <= JOIN_MAX


# ---- real agents


@contextlib.contextmanager
def real_agent(binary: str, host: str, *options: str) -> Iterator[tuple[str, Path]]:
    """A real agent at a free port; its gossip address and its log."""
    with socket.create_server((host, 0)) as one, socket.create_server((host, 0)) as two:
        gossip, rpc = (f"{host}:{taken.getsockname()[1]}" for taken in (one, two))
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        command = [binary, "agent", "-node=theirs", f"-bind={gossip}", f"-rpc-addr={rpc}", *options]
        with log.open("wb") as stream:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT)
        try:
            yield gossip, log
        finally:
            process.kill()
            process.wait()


@pytest.mark.live
@pytest.mark.peer
async def test_we_find_a_real_agent(serf_binary: str, place: Place, nursery: trio.Nursery) -> None:
    node = place.lone()
    # it announces by the loopback interface, whose only address in its eyes is 127.0.0.1
    with real_agent(serf_binary, "127.0.0.1", f"-discover={place.pool}", "-iface=lo") as (address, log):
        await until(lambda: "Serf agent running" in log.read_text())
        await nursery.start(place.discovery("ours", node, poll=1.0).run)
        await until(lambda: bool(node.asked))
        assert node.asked[0] == [address]


@pytest.mark.live
@pytest.mark.peer
@pytest.mark.timeout(180)
def test_we_and_a_real_agent_find_each_other_on_a_network(serf_binary: str) -> None:
    done = run_in_namespace("tests.cli.test_discovery", serf_binary)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split() == ["ours", "found", "theirs", "theirs", "found", "ours"]


async def meet_on_a_network(binary: str) -> None:
    """Both directions; run by the test above in a network namespace."""
    await until(addresses_settled)
    log = log_to(io.StringIO()).logger("discovery")
    async with trio.open_nursery() as nursery:
        ours = Node(settings_of("ours", bind_host=SECOND))
        await nursery.start(ours.run)
        with real_agent(binary, FIRST, "-discover=one") as (_, running):
            # it has looked around by then, in vain, and will not again for a minute
            await until(lambda: "agent.mdns: Joined" in running.read_text())
            await nursery.start(Discovery("one", "ours", ours, log, interface=SECOND).run)
            await until(lambda: len(ours.members()) == 2)
            sys.stdout.write("ours found theirs\n")
        nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        ours = Node(settings_of("ours", bind_host=SECOND))
        await nursery.start(ours.run)
        mdns = Mdns("two", "ours", ours.address, SECOND, lambda: None)
        await trio.to_thread.run_sync(mdns.open)  # we are announced, and do not look ourselves
        with real_agent(binary, FIRST, "-discover=two"):
            await until(lambda: len(ours.members()) == 2)
            sys.stdout.write("theirs found ours\n")
        await trio.to_thread.run_sync(mdns.close)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(meet_on_a_network, sys.argv[1])
