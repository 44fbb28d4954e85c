"""`GET /v1/nodes` and `moot nodes`: the client nodes of a server, asked directly, through a client, by region."""

import datetime
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
import trio

from moot.agent import cli
from moot.agent.nomad.client_role import ClientAgent
from moot.agent.nomad.registry import RegistrySettings
from moot.agent.nomad.remote import RpcRemote
from tests.api.live import Live, serving_api
from tests.api.scripted import ScriptedBackend, identity
from tests.api.scripted_nomad import ScriptedRemote
from tests.support.nomad import World, world
from tests.support.pool import until

HOST = "127.46.3.1"


@asynccontextmanager
async def nodes_of(count: int) -> AsyncIterator[tuple[World, Live, list[ClientAgent]]]:
    """A server with so many client agents, and its API."""
    async with world() as here:
        one = await here.start("s1", HOST, settings=RegistrySettings(min_heartbeat_ttl=1.0))
        agents = []
        for seed in range(1, count + 1):
            agent, _ = here.client(f"c{seed}", [one.address], seed=seed)
            await here.nursery.start(agent.run)
            agents.append(agent)
        await until(lambda: len(one.ready()) == count)
        remote = cast(ScriptedRemote, RpcRemote("global", one.rpc.ask))
        async with serving_api(ScriptedBackend(identity("s1"), remote=remote)) as live:
            yield here, live, agents


async def test_nodes_are_listed_with_nomads_keys_and_ours() -> None:
    async with nodes_of(1) as (_, live, _):
        answer = await live.ask("GET", "/v1/nodes")
        assert answer.status == 200
        (node,) = answer.json()
        age, ttl, heard = node.pop("HeartbeatAge"), node.pop("HeartbeatTTL"), node.pop("LastHeartbeat")
        assert node == {
            "Address": "127.46.9.9",
            "CreateIndex": 1,
            "Datacenter": "dc1",
            "Drain": False,
            "ID": "00000000-0000-0000-0000-000000000001",
            "ModifyIndex": 1,
            "Name": "c1",
            "NodeClass": "",
            "SchedulingEligibility": "ineligible",
            "Status": "ready",
            "StatusDescription": "",
            "Version": "0.1.0",
        }
        assert 0.0 <= age < ttl < 2.0
        now = datetime.datetime.now(datetime.UTC)
        assert datetime.timedelta() <= now - datetime.datetime.fromisoformat(heard) < datetime.timedelta(seconds=10)
        assert heard.endswith("Z")


async def test_a_prefix_picks_nodes_by_their_id() -> None:
    async with nodes_of(3) as (_, live, _):
        assert [it["Name"] for it in (await live.ask("GET", "/v1/nodes")).json()] == ["c1", "c2", "c3"]
        picked = (await live.ask("GET", "/v1/nodes?prefix=00000000-0000-0000-0000-000000000002")).json()
        assert [it["Name"] for it in picked] == ["c2"]
        assert (await live.ask("GET", "/v1/nodes?prefix=zz")).json() == []


async def test_a_client_agent_shows_the_nodes_of_its_server() -> None:
    async with nodes_of(2) as (_, _, agents):
        remote = cast(ScriptedRemote, RpcRemote("global", agents[0].call))
        backend = ScriptedBackend(identity("c1", is_server=False), remote=remote)
        async with serving_api(backend) as live:
            assert [it["Name"] for it in (await live.ask("GET", "/v1/nodes")).json()] == ["c1", "c2"]


async def test_nodes_of_a_region_that_nobody_knows_are_an_error() -> None:
    async with nodes_of(0) as (_, live, _):
        answer = await live.ask("GET", "/v1/nodes?region=mars")
        assert (answer.status, answer.text) == (500, "No path to region")


async def test_an_agent_without_rpc_says_so() -> None:
    async with serving_api(ScriptedBackend(identity("s1"))) as live:
        answer = await live.ask("GET", "/v1/nodes")
        assert (answer.status, answer.text) == (501, "no RPC port here, so no client nodes")
        assert (await live.ask("PUT", "/v1/nodes")).status == 405


async def test_the_command_shows_them_as_a_table_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    async with nodes_of(2) as (here, live, agents):
        await agents[1].leave()
        one = here.servers["s1"]
        await until(lambda: one.statuses() == {"c1": "ready", "c2": "down"})

        async def said(*arguments: str) -> str:
            address = ["--address", f"http://{live.address}"]
            assert await trio.to_thread.run_sync(cli.run, ["nodes", *arguments, *address]) == 0
            return capsys.readouterr().out

        head, titles, first, second = (await said()).splitlines()
        assert head == "2 client nodes registered, 1 ready"
        assert titles.split("  ")[0] == "ID"
        assert first.split()[:5] == ["00000000", "c1", "127.46.9.9", "dc1", "ready"]
        assert second.split()[:5] == ["00000000", "c2", "127.46.9.9", "dc1", "down"]
        assert "00000000-0000-0000-0000-000000000002" in await said("--verbose")
        assert [node["Name"] for node in json.loads(await said("--json"))] == ["c1", "c2"]


async def test_the_command_fails_in_a_word_where_there_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    async with serving_api(ScriptedBackend(identity("s1"))) as live:
        code = await trio.to_thread.run_sync(cli.run, ["nodes", "--address", f"http://{live.address}"])
        assert code == 1
        assert capsys.readouterr().err == "moot: no RPC port here, so no client nodes (HTTP 501)\n"
