"""Our client does the same with a real agent and with one of ours, which it cannot tell apart."""

from collections.abc import Callable
from typing import Any

import pytest
import trio

from moot.agent.rpc.client import RpcClient, RpcClosed, RpcError
from moot.agent.rpc.protocol import LogRecord, MemberRecord, QueryRecord, UserRecord
from tests.interop.ipc_agents import rpc_agents
from tests.support.processes import Lab

pytestmark = [pytest.mark.live, pytest.mark.peer, pytest.mark.timeout(120)]


def told(ask: Callable[[], object]) -> str:
    """The text of the refusal."""
    with pytest.raises((RpcError, RpcClosed)) as refusal:
        ask()
    return str(refusal.value)


def converse(address: str) -> dict[str, Any]:
    """Everything there is to ask of an agent alone in its pool, but for a leave; what it said, less its address."""
    said: dict[str, Any] = {}
    with RpcClient(address) as client:
        (member,) = client.members()
        said["member"] = (member.name, len(member.ip), dict(member.tags), member.status, member.protocol_max)
        said["versions"] = (member.delegate_min, member.delegate_max, member.delegate_cur, member.protocol_cur)
        said["filtered"] = [len(client.members_filtered(tags=tags)) for tags in ({"role": "w.*"}, {"role": "e"}, {})]
        said["join"] = told(lambda: client.join(["127.0.0.1:1"])), client.join([])
        said["stats"] = {title: sorted(section) for title, section in client.stats().items() if title != "runtime"}
        there, nowhere = client.get_coordinate(member.name), client.get_coordinate("nobody")
        said["coordinates"] = there, nowhere
        said["keys"] = client.list_keys(), client.install_key("!!!"), client.use_key("AA==")
        said["big"] = told(lambda: client.event("e", bytes(600))), told(lambda: list(client.query("q", bytes(1100))))
        said["internal"] = told(lambda: list(client.query("_serf_x")))
        said["ping"] = [(it.type, it.sender) for it in client.query("_serf_ping", ack=True, timeout=0.3)]
        said["tags too large"] = told(lambda: client.tags({"t": "x" * 600}))
        said["no such query"] = told(lambda: client.respond(99, b""))
        client.force_leave("nobody")
        client.stop(77)
        said["filter"] = told(lambda: client.stream("bogus")), told(lambda: client.monitor("loud"))
        said["streams"] = stream_of(client, member.name)
        said["closed"] = told(lambda: client.members_filtered(name="["))
    return said


def stream_of(client: RpcClient, name: str) -> list[Any]:
    """What a stream brings of an event, a query that is answered twice, and new tags."""
    seq = client.start_stream("user,query:load,member-update")
    records = (record for _, record in client.records(seq))
    client.event("deploy", b"\0\xff", coalesce=False)
    said: list[Any] = []
    event = next(records)
    assert isinstance(event, UserRecord)
    said.append((event.name, event.payload, event.coalesce))
    replies = client.query("load", b"now", ack=True, timeout=1.0)
    query = next(records)
    assert isinstance(query, QueryRecord)
    said.append((query.id, query.name, query.payload))
    client.respond(query.id, b"0.5")
    said.append(told(lambda: client.respond(query.id, b"0.6")))
    said.append(sorted((it.type, it.sender, it.payload) for it in replies))
    client.tags({"new": "tag"}, ["role", "zz"])
    update = next(record for record in records if isinstance(record, MemberRecord))
    said.append((update.event, [(it.name, dict(it.tags)) for it in update.members]))
    client.stop(seq)
    lines = client.start_monitor("debug")
    assert isinstance(next(client.records(lines))[1], LogRecord)
    said.append(told(lambda: client.start_monitor("info")))
    return said


async def test_a_real_agent_and_ours_say_the_same(mixed: Lab) -> None:
    real = await trio.to_thread.run_sync(lambda: mixed.serf("a1", "-tag", "role=web", "-tag", "idx=1"))
    theirs = await trio.to_thread.run_sync(converse, real.rpc)
    async with rpc_agents("a1") as (agent,):
        agent.log_ring.write("a line, so that there is one")
        ours = await trio.to_thread.run_sync(converse, str(agent.rpc))
    assert ours == theirs


async def test_a_leave_is_answered_by_both_before_they_end(mixed: Lab) -> None:
    real = await trio.to_thread.run_sync(lambda: mixed.serf("a1"))

    def leave(address: str) -> None:
        with RpcClient(address) as client:
            client.leave()

    await trio.to_thread.run_sync(leave, real.rpc)
    assert await trio.to_thread.run_sync(real.process.wait, 30) == 0
    async with rpc_agents("a1") as (agent,):
        await trio.to_thread.run_sync(leave, str(agent.rpc))
        with trio.fail_after(10):
            await agent.ended.wait()


async def test_a_watch_of_a_real_agent_brings_events_and_log_lines(mixed: Lab) -> None:
    real = await trio.to_thread.run_sync(lambda: mixed.serf("a1"))

    def watch() -> set[type]:
        with RpcClient(real.rpc) as client:
            found = client.watch("user", "debug")
            client.event("e")
            seen: set[type] = set()
            while not {LogRecord, UserRecord} <= seen:
                seen.add(type(next(found)))
            return seen

    assert {LogRecord, UserRecord} <= await trio.to_thread.run_sync(watch)
