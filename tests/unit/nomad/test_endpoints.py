"""Endpoints: what each method answers, and Go's words for what there is not."""

from dataclasses import replace
from random import Random

import pytest
import trio

from moot.agent.nomad.endpoints import SECRETS_MAX, Caller, Endpoints
from moot.agent.nomad.errors import Refused
from moot.agent.nomad.framing import EMPTY
from moot.agent.nomad.registry import DOWN, READY, NodeRegistry, RegistrySettings
from moot.agent.nomad.structures import (
    Beat,
    Options,
    decode_granted,
    decode_members,
    decode_nodes,
    decode_options,
    decode_text,
    decode_texts,
    encode_beat,
    encode_options,
    encode_register,
    encode_text,
    fields_of,
)
from moot.gossip.serf.members import MemberStatus
from tests.api.scripted import identity
from tests.support.nomad import PoolSeenBy, ScriptedPool
from tests.unit.nomad.test_structures import FACTS, ID


class ScriptedForwarder:
    """Answers every call to another region with its name."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, bytes]] = []

    async def call(self, region: str, method: str, body: bytes) -> bytes:
        self.calls.append((region, method, body))
        return encode_text(f"from {region}")


class Bench:
    """Endpoints of s1 in a pool of three servers and one of another region, at a time that the test sets."""

    def __init__(self) -> None:
        self.pool = ScriptedPool()
        for n in (1, 2, 3):
            self.pool.add(f"s{n}.global", f"127.0.0.{n}", 4647)
        self.pool.add("e1.eu", "127.0.0.9", 4647, "eu")
        self.now = 1000.0
        self.registry = NodeRegistry(RegistrySettings(), Random(1))
        self.forwarder = ScriptedForwarder()
        self.caller = Caller("127.0.0.8:1")
        seen = PoolSeenBy(self.pool, identity("s1"))
        self.endpoints = Endpoints(
            seen, self.registry, self.forwarder, clock=lambda: self.now + trio.current_time(), leader_wait=0.3
        )

    async def call(self, method: str, body: bytes = EMPTY) -> bytes:
        return await self.endpoints.answer(method, body, self.caller)


@pytest.mark.parametrize(
    ("method", "text"),
    [
        ("Eval.List", "rpc: can't find service Eval.List"),
        ("Node.Evaluate", "rpc: can't find method Node.Evaluate"),
        ("Status.", "rpc: can't find method Status."),
        ("Ping", "rpc: service/method request ill-formed: Ping"),
        ("", "rpc: service/method request ill-formed: "),
        ("Status.Ping.More", "rpc: can't find service Status.Ping.More"),
        ("status.ping", "rpc: can't find service status.ping"),
    ],
)
async def test_what_is_not_served_is_told_in_gos_words(method: str, text: str) -> None:
    with pytest.raises(Refused) as refusal:
        await Bench().call(method)
    assert str(refusal.value) == text


async def test_a_ping_is_answered_with_nothing() -> None:
    assert await Bench().call("Status.Ping", b"\xc0") == EMPTY


async def test_leader_peers_and_regions_come_from_the_gossip_view() -> None:
    bench = Bench()
    assert decode_text(await bench.call("Status.Leader")) == "127.0.0.1:4647"
    assert decode_texts(await bench.call("Status.Peers")) == [f"127.0.0.{n}:4647" for n in (1, 2, 3)]
    assert decode_texts(await bench.call("Region.List")) == ["eu", "global"]
    bench.pool.set_status("s1.global", MemberStatus.FAILED)
    bench.pool.set_status("e1.eu", MemberStatus.FAILED)
    assert decode_text(await bench.call("Status.Leader")) == "127.0.0.2:4647"
    assert decode_texts(await bench.call("Region.List")) == ["global"]


async def test_without_a_leader_a_stale_caller_gets_what_there_is() -> None:
    bench = Bench()
    for n in (1, 2, 3):
        bench.pool.set_status(f"s{n}.global", MemberStatus.LEFT)
    with pytest.raises(Refused, match=r"^No cluster leader$"):
        await bench.call("Status.Leader")
    stale = encode_options(Options(stale=True))
    assert decode_text(await bench.call("Status.Leader", stale)) == ""
    assert decode_texts(await bench.call("Status.Peers", stale)) == []


async def test_a_call_waits_a_while_for_a_leader() -> None:
    bench = Bench()
    for n in (1, 2, 3):
        bench.pool.set_status(f"s{n}.global", MemberStatus.FAILED)

    async def come_back() -> None:
        await trio.sleep(0.05)
        bench.pool.set_status("s3.global", MemberStatus.ALIVE)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(come_back)
        assert decode_text(await bench.call("Status.Leader")) == "127.0.0.3:4647"


async def test_members_are_all_of_all_regions_whoever_is_asked_for() -> None:
    bench = Bench()
    answer = decode_members(await bench.call("Status.Members", encode_options(Options(region="nowhere"))))
    assert [member.name for member in answer.members] == ["e1.eu", "s1.global", "s2.global", "s3.global"]
    assert answer.server_name == "s1"
    bench.pool.set_status("s3.global", MemberStatus.LEFT)
    answer = decode_members(await bench.call("Status.Members"))
    assert [member.status for member in answer.members] == ["alive", "alive", "alive", "left"]


async def test_another_region_is_asked_over_rpc_and_the_call_is_marked() -> None:
    bench = Bench()
    answer = await bench.call("Status.Leader", encode_options(Options(region="eu")))
    assert decode_text(answer) == "from eu"
    ((region, method, body),) = bench.forwarder.calls
    assert (region, method) == ("eu", "Status.Leader")
    assert decode_options(fields_of(body)) == Options(region="eu", forwarded=True)


async def test_what_was_forwarded_is_not_forwarded_again() -> None:
    bench = Bench()
    with pytest.raises(Refused, match=r"^No path to region$"):
        await bench.call("Status.Leader", encode_options(Options(region="eu", forwarded=True)))
    assert bench.forwarder.calls == []


async def test_a_registration_is_answered_with_ttl_servers_and_the_number_of_nodes() -> None:
    bench = Bench()
    bench.pool.set_status("s3.global", MemberStatus.FAILED)
    granted = decode_granted(await bench.call("Node.Register", encode_register(FACTS, "global", "127.0.0.9:4646")))
    assert 10.0 <= granted.ttl < 20.0
    assert bench.caller.ttl == pytest.approx(granted.ttl)
    assert granted.servers == [("127.0.0.1:4647", "dc1"), ("127.0.0.2:4647", "dc1")], "alive, and of this region"
    assert (granted.node_count, granted.leader) == (1, "127.0.0.1:4647")


async def test_a_heartbeat_is_for_nodes_that_are_registered_here() -> None:
    bench = Bench()
    beat = encode_beat(Beat(ID, "s3cret", READY), "global")
    with pytest.raises(Refused, match=r"^node not found$"):
        await bench.call("Node.UpdateStatus", beat)
    await bench.call("Node.Register", encode_register(FACTS, "global", "127.0.0.9:4646"))
    assert decode_granted(await bench.call("Node.UpdateStatus", beat)).ttl >= 10.0


async def test_a_heartbeat_without_the_secret_counts_where_the_node_registered_and_nowhere_else() -> None:
    bench = Bench()
    silent = encode_beat(Beat(ID, "", READY), "global")
    await bench.call("Node.Register", encode_register(FACTS, "global", "127.0.0.9:4646"))
    assert decode_granted(await bench.call("Node.UpdateStatus", silent)).ttl >= 10.0
    with pytest.raises(Refused, match=r"^node not found$"):
        await bench.endpoints.answer("Node.UpdateStatus", silent, Caller("127.0.0.7:1"))


async def test_of_a_connection_only_so_many_secrets_are_kept() -> None:
    caller = Caller("127.0.0.7:1")
    for n in range(1000):
        caller.knows(f"id-{n}", "s")
    assert len(caller.secrets) == SECRETS_MAX
    assert "id-999" in caller.secrets


@pytest.mark.parametrize("status", ["", "happy"])
async def test_a_status_that_nobody_knows_is_refused(status: str) -> None:
    with pytest.raises(Refused, match="invalid status for node"):
        await Bench().call("Node.UpdateStatus", encode_beat(Beat(ID, "s3cret", status), "global"))


async def test_nodes_are_listed_with_how_long_ago_they_were_heard_of() -> None:
    bench = Bench()
    await bench.call("Node.Register", encode_register(FACTS, "global", "127.0.0.9:4646"))
    bench.now += 5.0
    (entry,) = decode_nodes(await bench.call("Node.List"))
    assert (entry.node_id, entry.name, entry.status) == (ID, "c1", READY)
    assert 5.0 <= entry.heard_ago < 5.5
    bench.now += 20.0
    (entry,) = decode_nodes(await bench.call("Node.List"))
    assert entry.status == DOWN


async def test_a_long_list_of_nodes_is_not_made_anew_for_each_who_asks() -> None:
    bench = Bench()
    for n in range(2000):
        bench.registry.register(bench.now, replace(FACTS, node_id=f"id-{n}"))
    first = await bench.call("Node.List")
    assert await bench.call("Node.List") is first
    bench.now += 10.0
    assert await bench.call("Node.List") is not first


async def test_a_node_that_moved_is_released_with_its_secret() -> None:
    bench = Bench()
    await bench.call("Node.Register", encode_register(FACTS, "global", "127.0.0.9:4646"))
    with pytest.raises(Refused, match="Permission denied"):
        await bench.call("Moot.Release", encode_beat(Beat(ID, "guess", DOWN), "global"))
    await bench.call("Moot.Release", encode_beat(Beat(ID, "s3cret", DOWN), "global"))
    assert decode_nodes(await bench.call("Node.List")) == []


async def test_an_argument_that_cannot_be_read_is_refused_with_the_method() -> None:
    with pytest.raises(Refused, match=r"^rpc: cannot read the argument of Status\.Leader: "):
        await Bench().call("Status.Leader", b"\x81\xa6Region\x05")
