"""The client role's list of servers through the HTTP API, with a real client role and real servers of the RPC port.

What the contract has of it is run with whole agents, in `test_contract_live`.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

from moot.agent.nomad.client_role import ClientAgent
from tests.api.live import Live, serving_api
from tests.api.live_situations import Place
from tests.api.scripted import ScriptedBackend, identity
from tests.api.scripted_nomad import ScriptedClientRole
from tests.support.nomad import World, world
from tests.support.pool import until


@dataclass
class Agents:
    """The client agent that is asked, and the servers around it, by the last number of their addresses."""

    live: Live
    client: ClientAgent
    here: World
    place: Place


@asynccontextmanager
async def agents(told: Sequence[int]) -> AsyncIterator[Agents]:
    """Servers s1 at 2 and s2 at 3, and a client that is told of those `told`."""
    place = Place()
    async with world() as here:
        for number in (2, 3):
            await here.start(f"s{number - 1}", place.host(number), port=4647)
        client, _ = here.client("c1", [place.host(number) for number in told])
        await here.nursery.start(client.run)
        if told:
            await until(lambda: client.stats()["server"] != "")
        backend = ScriptedBackend(identity("c1", is_server=False), client=cast(ScriptedClientRole, client))
        async with serving_api(backend) as live:
            yield Agents(live, client, here, place)


async def test_when_nobody_answers_the_old_list_stays_and_the_reason_is_told_as_by_nomad() -> None:
    async with agents([2]) as running:
        dead, held = f"{running.place.host(2)}:4999", running.client.known_servers()
        answer = await running.live.ask("PUT", f"/v1/agent/servers?address={dead}")
        assert (answer.status, answer.text) == (
            400,
            f"1 error occurred:\n\t* Server at address {dead} failed ping: rpc error: failed to get conn:"
            f" dial tcp {dead}: connect: connection refused\n\n",
        )
        assert running.client.known_servers() == held


async def test_the_list_is_replaced_by_what_is_given_whatever_was_in_it() -> None:
    async with agents([2, 3]) as running:
        other = running.place.host(3)
        for port in (4647, 4999):
            await running.live.ask("PUT", f"/v1/agent/servers?address={other}:{port}")
            assert (await running.live.ask("GET", "/v1/agent/servers")).json() == [f"{other}:4647"]
        await until(lambda: running.client.stats()["server"] == f"{other}:4647")
        assert "c1" in running.here.servers["s2"].ready()


async def test_a_name_is_resolved_and_listed_by_its_ip() -> None:
    async with world() as here:
        await here.start("s1", "127.0.0.1", port=0)
        port = here.servers["s1"].address.rpartition(":")[2]
        client, _ = here.client("c1", [])
        assert await client.set_servers([f"localhost:{port}"]) == []
        assert client.known_servers() == (f"127.0.0.1:{port}",)


async def test_names_in_the_configuration_are_resolved_at_the_start() -> None:
    async with world() as here:
        one = await here.start("s1", "127.0.0.1", port=0)
        port = one.address.rpartition(":")[2]
        client, _ = here.client("c1", [f"localhost:{port}", "nope.invalid"])
        assert client.known_servers() == ()
        await here.nursery.start(client.run)
        await until(lambda: one.ready() == {"c1"})
        assert client.known_servers() == (one.address,)
