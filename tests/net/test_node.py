"""Nodes on loopback: they find each other, notice, part, and answer their callers."""

import dataclasses
import signal
import socket
import subprocess
import sys
from random import Random
from typing import Any

import pytest
import trio

from moot.gossip.config import WireConfig
from moot.gossip.errors import CommandError, ConfigError
from moot.gossip.net import Node
from moot.gossip.net.interfaces import advertised, interface_addresses
from moot.gossip.net.node import NodeSettings
from moot.gossip.record import Address
from moot.gossip.serf.announcer import SerfState
from moot.gossip.serf.events import MemberChange, MemberEvent
from moot.gossip.serf.guard import nomad_guard
from moot.gossip.swim.messages import Nack, Ping
from moot.gossip.wire.packet import PacketCodec
from tests.support.pool import FAST_SWIM, PATIENCE, Pool, open_pool, settings_of, until

KEY = bytes(range(32))
WINDOW = 3.0
"""Seconds over which wake-ups are counted."""
FIVE = ["a", "b", "c", "d", "e"]


def five(**options: object) -> list[NodeSettings]:
    return [settings_of(name, **options) for name in FIVE]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"keys": [KEY]},
        {"wire": WireConfig(label=b"blue", compress=True), "keys": [KEY]},
        {"bind_host": "::1"},
    ],
    ids=["plain", "encrypted", "labelled", "ipv6"],
)
async def test_five_nodes_join_one_is_killed_and_one_leaves(options: dict[str, object]) -> None:
    async with open_pool(*five(**options)) as pool:
        assert [outcome.error for outcome in await pool.join_all()] == [None] * 4
        await until(pool.converged)
        pool.kill("c")
        await until(lambda: pool.all_see(c="failed"))
        await pool["d"].leave()
        assert pool["d"].state is SerfState.LEFT
        pool.kill("d")
        await until(lambda: pool.all_see(c="failed", d="left", a="alive", b="alive", e="alive"))
        assert not any(node.counters.refused for node in pool.nodes.values())


async def test_a_failed_node_is_forced_out_pruned_and_welcome_again() -> None:
    async with open_pool(*five()) as pool:
        await pool.join_all()
        await until(pool.converged)
        # at its old address: a dead member's name is not given to another one (DeadNodeReclaimTime is off)
        settings = dataclasses.replace(pool["c"].settings, bind_port=pool["c"].address.port)
        pool.kill("c")
        await until(lambda: pool.all_see(c="failed"))
        await pool["a"].force_leave("c")
        await until(lambda: pool.all_see(c="left"))
        await pool["b"].force_leave("c", prune=True)
        await until(lambda: pool.all_see(c=None))
        again = await pool.start(settings)
        await again.join([str(pool["e"].address)])
        await until(pool.converged)


async def test_tags_travel_and_tell_the_others() -> None:
    async with open_pool(settings_of("a", tags={"role": "web"}), settings_of("b")) as pool:
        await pool.join_all()
        await until(pool.converged)
        with pool["b"].subscribe() as events:
            await pool["a"].set_tags({"role": "db"})
            with trio.fail_after(PATIENCE):
                async for event in events:
                    if isinstance(event, MemberEvent) and event.change is MemberChange.UPDATE:
                        assert dict(event.member.tags) == {"role": "db"}
                        break
        with pytest.raises(ConfigError, match="limit of 512 bytes"):
            await pool["a"].set_tags({"long": "x" * 600})


async def test_every_address_of_a_join_has_its_own_outcome() -> None:
    async with open_pool(settings_of("a"), settings_of("b")) as pool:
        port = pool["b"].address.port
        outcomes = await pool["a"].join(
            [f"b/127.41.0.1:{port}", "127.41.0.2:9", "/x", "nobody.invalid", f"127.41.0.1:{port}", "127.41.0.1"]
        )
        assert [outcome.target for outcome in outcomes[:3]] == [f"b/127.41.0.1:{port}", "127.41.0.2:9", "/x"]
        errors = [outcome.error for outcome in outcomes]
        assert errors[0] is None
        assert errors[1] == "Failed to join 127.41.0.2: dial tcp 127.41.0.2:9: connect: connection refused"
        assert errors[2] == "Failed to resolve /x: empty node name provided"
        assert errors[3] is not None
        assert errors[3].startswith("Failed to resolve nobody.invalid: lookup nobody.invalid: ")
        assert errors[4:] == [None, None], "the same again, and oneself: no port means the own"
        assert outcomes[5].address == pool["a"].address
        assert await pool["a"].join([]) == []


async def test_a_name_with_two_addresses_is_tried_at_both() -> None:
    async with open_pool(settings_of("a", bind_host="127.0.0.1"), settings_of("b", bind_host="127.0.0.1")) as pool:
        outcomes = await pool["a"].join([f"localhost:{pool['b'].address.port}"])
        assert None in [outcome.error for outcome in outcomes]
        assert {outcome.ip for outcome in outcomes} <= {"127.0.0.1", "::1"}


@pytest.mark.parametrize(
    ("ours", "theirs", "cause"),
    [
        ([], [KEY], "Remote state is encrypted and encryption is not configured"),
        ([KEY], [], "Encryption is configured but remote state is not encrypted"),
        ([KEY], [KEY[::-1]], "No installed keys could decrypt the message"),
    ],
    ids=["they", "we", "other key"],
)
async def test_encryption_that_does_not_fit_is_told(ours: list[bytes], theirs: list[bytes], cause: str) -> None:
    async with open_pool(settings_of("a", keys=ours), settings_of("b", keys=theirs)) as pool:
        (outcome,) = await pool["a"].join([str(pool["b"].address)])
        assert outcome.error == f"Failed to join 127.41.0.1: {cause}"
        assert pool.view("a") == {"a": "alive"}
        assert pool.view("b") == {"b": "alive"}


async def test_a_guard_names_whom_it_refuses() -> None:
    async with open_pool(settings_of("a", guard=nomad_guard), settings_of("b")) as pool:
        (outcome,) = await pool["a"].join([str(pool["b"].address)])
        assert outcome.cause is not None
        assert outcome.cause.endswith("is not a server")
        assert pool.view("a") == {"a": "alive"}


async def test_a_label_parts_pools() -> None:
    blue, red = WireConfig(label=b"blue"), WireConfig(label=b"red")
    async with open_pool(settings_of("a", wire=blue), settings_of("b", wire=red)) as pool:
        (outcome,) = await pool["a"].join([str(pool["b"].address)])
        assert outcome.cause == "EOF"
        assert pool["b"].counters.refused["label"] == 1


async def test_nothing_is_joined_after_a_leave() -> None:
    async with open_pool(settings_of("a"), settings_of("b")) as pool:
        await pool["a"].leave()
        with pytest.raises(CommandError, match="Serf can't Join after Leave or Shutdown"):
            await pool["a"].join([str(pool["b"].address)])
        with pytest.raises(CommandError, match="Serf can't Join after Leave or Shutdown"):
            await pool["a"].join([])


async def test_a_cancelled_command_goes_on_by_itself() -> None:
    async with open_pool(*five()) as pool:
        await pool.join_all()
        await until(pool.converged)
        for name in ("b", "c"):
            with trio.move_on_after(0):
                await pool[name].leave()
        with trio.move_on_after(0):
            await pool["d"].join([str(pool["a"].address)])
        await until(lambda: pool["b"].state is SerfState.LEFT and pool["c"].state is SerfState.LEFT)
        await until(lambda: pool.view("a") == {"a": "alive", "b": "left", "c": "left", "d": "alive", "e": "alive"})


async def test_who_waits_when_the_node_stops_is_told() -> None:
    async with open_pool(settings_of("a"), settings_of("b")) as pool, trio.open_nursery() as nursery:
        (silent,) = await trio.open_tcp_listeners(0, host="127.41.0.3")
        port = silent.socket.getsockname()[1]
        node = pool["a"]

        async def wait() -> None:
            with pytest.raises(CommandError, match="the node has stopped"):
                await node.join([f"127.41.0.3:{port}"])

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked(0.01)
        pool.kill("a")
        await silent.aclose()
    with pytest.raises(CommandError, match="the node has stopped"):
        await node.leave()


async def test_whatever_is_asked_at_the_moment_that_a_node_stops_is_refused_in_words() -> None:
    async def ask(node: Node, told: set[str]) -> None:
        try:
            await node.join(["127.41.0.1:1"])
        except CommandError as refusal:
            told.add(str(refusal))

    for _ in range(100):  # the scheduler rolls dice
        told: set[str] = set()
        async with open_pool(settings_of("a")) as pool, trio.open_nursery() as nursery:
            node = pool["a"]
            pool.kill("a")
            while not told:
                nursery.start_soon(ask, node, told)
                await trio.lowlevel.checkpoint()
        assert told == {"the node has stopped"}


async def test_a_node_that_cannot_start_ends_its_events() -> None:
    async with open_pool(settings_of("a")) as pool:
        node = Node(settings_of("b", bind_port=pool["a"].address.port))
        with node.subscribe() as events, trio.fail_after(PATIENCE):
            with pytest.raises(ConfigError, match="cannot listen"):
                await node.run()
            assert [event async for event in events] == []


async def test_a_node_runs_once_and_answers_only_when_it_runs() -> None:
    node = Node(settings_of("a"))
    with pytest.raises(CommandError, match="the node is not running"):
        node.members()
    with pytest.raises(CommandError, match="the node is not running"):
        await node.join(["127.0.0.1"])
    async with trio.open_nursery() as nursery:
        await nursery.start(node.run)
        assert [member.name for member in node.members()] == ["a"]
        with pytest.raises(CommandError, match="runs once"):
            await node.run()
        nursery.cancel_scope.cancel()


async def test_events_come_from_the_first_one_on_and_end_with_the_node() -> None:
    node = Node(settings_of("a"))
    with node.subscribe() as events:
        async with trio.open_nursery() as nursery:
            await nursery.start(node.run)
            nursery.cancel_scope.cancel()
        first, *_ = [event async for event in events]
    assert isinstance(first, MemberEvent)
    assert first.change is MemberChange.JOIN


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"name": ""}, "name must not be empty"),
        ({"bind_host": "here"}, "must be an IP address"),
        ({"bind_host": "203.0.113.1"}, "cannot listen on 203.0.113.1:0"),
        ({"advertise": ("there", 0)}, "advertise address must be an IP address"),
        ({"tags": {"long": "x" * 600}}, "limit of 512 bytes"),
    ],
)
async def test_a_setting_that_cannot_work_is_named_before_anything_starts(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        await Node(dataclasses.replace(settings_of("a"), **options)).run()


async def test_what_is_advertised_is_what_the_others_use() -> None:
    free = Random().randrange(20_000, 30_000)
    wildcard = settings_of("a", bind_host="0.0.0.0", advertise=("127.41.0.7", 0))
    async with open_pool(wildcard, settings_of("b")) as pool:
        assert pool["a"].bind_address.host == "0.0.0.0"
        assert pool["a"].address == Address.parse("127.41.0.7", pool["a"].bind_address.port)
        await pool.join_all()
        await until(pool.converged)
        held = pool["b"].member("a")
        assert held is not None
        assert held.address == pool["a"].address
    assert advertised(("10.1.2.3", free), Address.parse("0.0.0.0", 1)) == Address.parse("10.1.2.3", free)


def test_a_wildcard_advertises_a_private_address_of_the_host_or_says_what_to_set() -> None:
    usable = [ip for ip in interface_addresses() if ip.is_private and not ip.is_loopback and not ip.is_link_local]
    bound = Address.parse("0.0.0.0", 7946)
    if usable:
        assert advertised(None, bound) == Address(usable[0].packed, 7946)
    else:
        with pytest.raises(ConfigError, match="set the advertise address"):
            advertised(None, bound)
    assert "127.0.0.1" in map(str, interface_addresses())


class CountSteps(trio.abc.Instrument):
    """Counts how often any task is woken."""

    def __init__(self) -> None:
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += 1


async def test_an_idle_pair_sleeps_between_its_probes() -> None:
    async with open_pool(settings_of("a"), settings_of("b")) as pool:
        await pool.join_all()
        await until(pool.converged)
        await settle(pool)
        steps = CountSteps()
        trio.lowlevel.add_instrument(steps)
        await trio.sleep(WINDOW)
        trio.lowlevel.remove_instrument(steps)
        # two probes a second each, with three timers and two packets; a gossip tick would add a hundred
        assert steps.count < 40 * WINDOW


async def settle(pool: Pool) -> None:
    """Until nothing is gossiped any more."""
    rounds = -1
    while True:
        before, rounds = rounds, sum(node.counters.gossip_rounds for node in pool.nodes.values())
        if before == rounds:
            return
        await trio.sleep(10 * FAST_SWIM.gossip_interval)


INTERRUPTED = """
import trio
from moot.gossip.net import Node, NodeSettings

async def main():
    node = Node(NodeSettings(name="a"))
    async with trio.open_nursery() as nursery:
        await nursery.start(node.run)
        print(node.address.port, flush=True)
        await trio.sleep_forever()

try:
    trio.run(main)
except* KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_ends_a_busy_node_as_an_interrupt_and_nothing_else() -> None:
    ping = PacketCodec(WireConfig(), None).seal([Ping(1, "a")], False)
    with subprocess.Popen([sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE) as node:
        assert node.stdout is not None
        port = int(node.stdout.readline())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for _ in range(2000):
                sock.sendto(ping, ("127.0.0.1", port))
            node.send_signal(signal.SIGINT)
        said, _ = node.communicate(timeout=PATIENCE)
    assert said == b"interrupted\n"
    assert node.returncode == 0


async def test_more_messages_than_a_packet_may_have_take_several() -> None:
    async with open_pool(settings_of("a")) as pool:
        node = pool["a"]
        before = node.counters.packets_out
        node._send_packet(node.address, [Nack(number) for number in range(300)], False)
        assert node.counters.packets_out - before == 2
        await until(lambda: node.counters.packets_in >= 2)
        assert not node.counters.refused
