"""The package `serfclient` against our agents.

It asks pkg_resources for its own version, which Python 3.12 no longer brings along, so a stand-in answers. With
today's msgpack the keys of its answers are texts and `Addr` stays the raw address, whatever the agent is: it looks
for the key as a byte string.
"""

import importlib
import importlib.metadata
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import trio

from moot.gossip.serf.members import MemberStatus
from tests.interop.ipc_agents import RpcAgent, rpc_agents

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]

Connect = Callable[..., Any]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """serfclient's SerfClient."""
    stand_in = ModuleType("pkg_resources")
    stand_in.get_distribution = importlib.metadata.distribution  # type: ignore[attr-defined]  # of a module made here
    monkeypatch.setitem(sys.modules, "pkg_resources", stand_in)
    made: Connect = importlib.import_module("serfclient.client").SerfClient
    return made


async def use(connect: Connect, agent: RpcAgent, play: Callable[[Any], Any], **options: object) -> Any:  # noqa: ANN401 - serfclient has no types
    """What `play` makes of a connected client, in a thread."""

    def run() -> object:
        client = connect(agent.rpc.host, agent.rpc.port, timeout=20, **options)
        try:
            return play(client)
        finally:
            client.close()

    return await trio.to_thread.run_sync(run)


async def test_members_and_filters(connect: Connect) -> None:
    async with rpc_agents("a1", "b2") as (a1, b2):

        def play(client: Any) -> list[list[Any]]:  # noqa: ANN401 - serfclient has no types
            answers = [
                client.members(),
                client.members(name="a.*"),
                client.members(status="failed"),
                client.members(tags={"role": "web", "idx": "[2-9]"}),
            ]
            assert [answer.head["Error"] for answer in answers] == [""] * 4
            return [answer.body["Members"] for answer in answers]

        found = await use(connect, a1, play)
        assert [sorted(it["Name"] for it in members) for members in found] == [["a1", "b2"], ["a1"], [], ["b2"]]
        (b2_member,) = found[3]
        assert b2_member["Addr"] == b"\x7f\0\0\1"
        assert b2_member["Port"] == b2.node.address.port
        assert b2_member["Tags"] == {"role": "web", "idx": "2"}


async def test_join_event_stats_and_force_leave(connect: Connect) -> None:
    async with rpc_agents("a1") as (a1,), rpc_agents("b2") as (b2,):

        def play(client: Any) -> None:  # noqa: ANN401 - serfclient has no types
            assert client.join(str(b2.node.address)).body == {"Num": 1}
            assert client.join("127.0.0.1:1").head["Error"].startswith("1 error occurred:")
            assert client.event("deploy", "v1", coalesce=False).head["Error"] == ""
            assert "exceeds configured limit" in client.event("deploy", "x" * 600).head["Error"]
            assert client.stats().body["agent"] == {"name": "a1"}
            assert client.force_leave("nobody").head["Error"] == ""

        await use(connect, a1, play)
        member = b2.node.member("a1")
        assert member is not None
        assert member.status is MemberStatus.ALIVE


async def test_a_stream_brings_events(connect: Connect) -> None:
    async with rpc_agents("a1") as (a1,):

        def play(client: Any) -> list[Any]:  # noqa: ANN401 - serfclient has no types
            answer = client.stream("user")
            assert answer.head == {"Seq": 1, "Error": ""}
            trio.from_thread.run_sync(lambda: a1.node.user_event("first", b"1"))
            trio.from_thread.run_sync(lambda: a1.node.user_event("second", b"2"))
            return [next(answer.body).body for _ in range(2)]

        found = await use(connect, a1, play)
        assert [(it["Name"], it["Payload"]) for it in found] == [("first", b"1"), ("second", b"2")]


async def test_the_key_of_the_rpc(connect: Connect) -> None:
    async with rpc_agents("a1", auth_key="sekret") as (a1,):
        members = await use(connect, a1, lambda client: client.members().body["Members"], rpc_auth="sekret")
        assert len(members) == 1
        refused = await use(connect, a1, lambda client: client.event("e").head["Error"])
        assert refused == "Authentication required"
