"""The real `serf` command line, unchanged, against our agents."""

import base64
import json
import re

import pytest
import trio

from moot.gossip.serf.events import QueryReceived
from moot.gossip.serf.members import MemberStatus
from tests.interop.ipc_agents import RpcAgent, monitored, rpc_agents
from tests.support.pool import until

pytestmark = [pytest.mark.live, pytest.mark.peer, pytest.mark.timeout(120), pytest.mark.usefixtures("serf_binary")]

KEY, OTHER = (bytes(range(start, start + 32)) for start in (0, 100))


def text(key: bytes) -> str:
    return base64.b64encode(key).decode()


def rows(listing: str) -> dict[str, list[str]]:
    """Columns by name of `serf members`."""
    return {line.split()[0]: line.split()[1:] for line in listing.splitlines() if line}


async def test_members_with_and_without_filters() -> None:
    async with rpc_agents("a1", "a2", "b3") as (a1, a2, _):
        found = rows(await a1.serf("members"))
        assert sorted(found) == ["a1", "a2", "b3"]
        assert found["a2"] == [str(a2.node.address), "alive", "idx=2,role=web"]
        assert sorted(rows(await a1.serf("members", "-name", "a."))) == ["a1", "a2"]
        assert sorted(rows(await a1.serf("members", "-tag", "idx=[23]", "-tag", "role=w.*"))) == ["a2", "b3"]
        assert sorted(rows(await a1.serf("members", "-status", "failed|left"))) == []
        listed = json.loads(await a1.serf("members", "-format=json", "-name=a2"))["members"]
        assert listed == [
            {
                "name": "a2",
                "addr": str(a2.node.address),
                "port": a2.node.address.port,
                "tags": {"idx": "2", "role": "web"},
                "status": "alive",
                "protocol": {"max": 5, "min": 2, "version": 5},
            }
        ]
        assert await a1.serf_fails("members", "-name", "[") == "Error retrieving members: client closed\n"


async def test_join_says_how_many_and_why_not() -> None:
    async with rpc_agents("a1") as (a1,), rpc_agents("b2") as (b2,):
        said = await a1.serf("join", str(b2.node.address))
        assert said == "Successfully joined cluster by contacting 1 nodes.\n"
        assert sorted(member.name for member in a1.node.members()) == ["a1", "b2"]
        assert await a1.serf_fails("join", "127.0.0.1:1") == (
            "Error joining the cluster: 1 error occurred:\n"
            "\t* Failed to join 127.0.0.1: dial tcp 127.0.0.1:1: connect: connection refused\n\n\n"
        )


async def test_join_takes_over_past_events_only_when_told() -> None:
    async with rpc_agents("a1") as (a1,), rpc_agents("b2") as (b2,), rpc_agents("c3") as (c3,):
        await a1.serf("event", "-coalesce=false", "past")
        async with monitored(b2) as fresh, monitored(c3) as replaying:
            await b2.serf("join", str(a1.node.address))
            await c3.serf("join", "-replay", str(a1.node.address))
            await a1.serf("event", "-coalesce=false", "now")
            await until(lambda: fresh.shows('Name: "now"') and replaying.shows('Name: "now"'))
        assert not fresh.shows('Name: "past"')
        assert replaying.shows('Name: "past"')


async def test_leave_force_leave_and_prune() -> None:
    async with rpc_agents("a1", "a2", "a3") as (a1, a2, a3):
        a3.ended.set()
        await until(lambda: status(a1, "a3") is MemberStatus.FAILED)
        await a1.serf("force-leave", "a3")
        assert status(a1, "a3") is MemberStatus.LEFT
        assert await a2.serf("leave") == "Graceful leave complete\n"
        await until(lambda: status(a1, "a2") is MemberStatus.LEFT)
        assert a2.ended.is_set()
        assert rows(await a1.serf("members", "-status", "left")).keys() == {"a2", "a3"}
        await a1.serf("force-leave", "-prune", "a3")
        await until(lambda: status(a1, "a3") is None)
        assert rows(await a1.serf("members")).keys() == {"a1", "a2"}
        await a1.serf("force-leave", "nobody")


def status(agent: RpcAgent, name: str) -> MemberStatus | None:
    member = agent.node.member(name)
    return None if member is None else member.status


async def test_events_and_their_limit() -> None:
    async with rpc_agents("a1", "a2") as (a1, a2):
        async with monitored(a2) as screen:
            assert await a1.serf("event", "deploy", "v1") == "Event 'deploy' dispatched! Coalescing enabled: true\n"
            await a1.serf("event", "-coalesce=false", "restart")
            await until(lambda: screen.shows('Name: "deploy"') and screen.shows('Name: "restart"'))
        assert screen.shows("Payload: []byte{0x76, 0x31}")
        said = await a1.serf_fails("event", "big", "x" * 600)
        assert said == "Error sending event: user event exceeds configured limit of 512 bytes before encoding\n"


async def test_a_query_is_asked_acknowledged_and_answered_through_another_connection() -> None:
    async with rpc_agents("a1", "a2") as (a1, a2), trio.open_nursery() as nursery:
        events = a2.node.subscribe()
        with events as received:

            async def answer() -> None:
                async for event in received:
                    if isinstance(event, QueryReceived):
                        a2.node.respond(event.query, b"load 0.5")

            nursery.start_soon(answer)
            said = await a1.serf("query", "-timeout=1s", "-tag", "idx=2", "load", "now")
            assert said.splitlines()[0] == "Query 'load' dispatched"
            assert set(said.splitlines()[1:3]) == {"Ack from 'a2'", "Response from 'a2': load 0.5"}
            assert said.splitlines()[3:] == ["Total Acks: 1", "Total Responses: 1"]
            said = await a1.serf("query", "-timeout=500ms", "-no-ack", "-node=a1", "load")
            assert said.splitlines() == ["Query 'load' dispatched", "Total Responses: 0"]
            listed = json.loads(await a1.serf("query", "-format=json", "-timeout=1s", "load"))
            assert sorted(listed["Acks"]) == ["a1", "a2"]
            said = await a1.serf_fails("query", "_serf_foo", "x")
            assert said == "Error sending query: Queries cannot contain the '_serf_' prefix\n"
            nursery.cancel_scope.cancel()


async def test_tags_are_set_and_deleted() -> None:
    async with rpc_agents("a1") as (a1,):
        said = await a1.serf("tags", "-set", "x=y", "-delete", "idx")
        assert said == "Successfully updated agent tags\n"
        assert dict(a1.node.tags) == {"role": "web", "x": "y"}
        said = await a1.serf_fails("tags", "-set", f"x={'y' * 600}")
        assert said == "Error setting tags: Encoded length of tags exceeds limit of 512 bytes\n"


async def test_keys_are_listed_installed_used_and_removed() -> None:
    async with rpc_agents("a1", "a2", keys=[KEY]) as (a1, a2):
        assert "Successfully installed key!" in await a1.serf("keys", "-install", text(OTHER))
        listing = await a2.serf("keys", "-list")
        assert re.search(rf"{re.escape(text(OTHER))}\s+\[2/2\]", listing)
        assert "Successfully changed primary key!" in await a1.serf("keys", "-use", text(OTHER))
        said = await a1.serf_fails("keys", "-remove", text(OTHER))
        assert said.count("Removing the primary key is not allowed") == 2
        assert "2/2 nodes reported failure" in said
        assert "Successfully removed key!" in await a2.serf("keys", "-remove", text(KEY))
        assert text(KEY) not in await a1.serf("keys", "-list")
        said = await a1.serf_fails("keys", "-install", "!!!")
        assert "Error installing key: illegal base64 data at input byte 0" in said


async def test_a_pool_without_encryption_has_no_keys() -> None:
    async with rpc_agents("a1") as (a1,):
        said = await a1.serf_fails("keys", "-list")
        assert "Keyring is empty (encryption not enabled)" in said
        assert "1/1 nodes reported failure" in said


async def test_info_and_rtt_and_reachability() -> None:
    async with rpc_agents("a1", "a2") as (a1, _):
        listed = json.loads(await a1.serf("info", "-format=json"))
        assert listed["agent"] == {"name": "a1"}
        assert listed["serf"]["members"] == "2"
        assert listed["tags"] == {"idx": "1", "role": "web"}
        assert listed["runtime"]["os"] == "linux"
        await until(lambda: a1.node.coordinate("a2") is not None)
        said = await a1.serf("rtt", "a2")
        assert re.fullmatch(r"Estimated a2 <-> a1 rtt: \d+\.\d+ ms\n", said)
        assert "Could not find a coordinate for node" in await a1.serf_fails("rtt", "nobody")
        said = await a1.serf("reachability")
        assert "Total members: 2, live members: 2" in said
        assert "Successfully contacted all live nodes" in said


async def test_the_monitor_shows_the_log_and_the_events() -> None:
    async with rpc_agents("a1", "a2") as (a1, a2):
        a1.log_ring.write("2026/01/02 15:04:05 [DEBUG] agent: hidden")
        a1.log_ring.write("2026/01/02 15:04:05 [INFO] agent: shown")
        async with monitored(a1) as screen:
            await a2.serf("tags", "-set", "new=tag")
            await until(lambda: screen.shows('Event: "member-update"'))
            a1.log_ring.write("2026/01/02 15:04:06 [WARN] agent: later")
            await until(lambda: screen.shows("[WARN] agent: later"))
        assert screen.shows("[INFO] agent: shown")
        assert not screen.shows("hidden")
        assert screen.shows('"new":"tag"')
        assert screen.shows('"Addr":[]uint8{0x7f, 0x0, 0x0, 0x1}')


async def test_the_key_of_the_rpc_is_asked_for() -> None:
    async with rpc_agents("a1", auth_key="sekret") as (a1,):
        assert await a1.serf_fails("members") == "Error retrieving members: Authentication required\n"
        said = await a1.serf_fails("members", "-rpc-auth=wrong")
        assert said == "Error connecting to Serf agent: Invalid authentication token\n"
        assert rows(await a1.serf("members", "-rpc-auth=sekret")).keys() == {"a1"}
