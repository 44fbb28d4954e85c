"""The cases about /v1/agent/servers, and those that a client passes on, against real client agents and real servers.

The addresses of the cases are moved to a net of this process, so that several runs do not meet on port 4647.
"""

import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import pytest
import trio
import trio.testing

from moot.agent.nomad.client_role import ClientAgent
from moot.agent.nomad.remote import RpcRemote
from moot.gossip.serf.members import SerfMember
from tests.api.contract import CASES, check
from tests.api.live import Live, serving_api
from tests.api.scripted import ScriptedBackend, identity
from tests.api.scripted_nomad import ScriptedClientRole, ScriptedRemote
from tests.support.nomad import World, world
from tests.support.pool import until

NET = f"127.{100 + os.getpid() % 100}.{os.getpid() // 100 % 256}."
"""Stands for `127.0.0.` in the cases."""
CLIENTS = {
    "client": (),
    "client only": (),
    "client only, no servers": (),
    "client only; servers s1 127.0.0.2 and s2 127.0.0.3 up": (),
    "client only, list was 127.0.0.2 and 127.0.0.3": ("127.0.0.2", "127.0.0.3"),
    "client only, its server was killed": ("127.0.0.2",),
    "client only, its server is s1": ("127.0.0.2",),
    "client only, server 127.0.0.2": ("127.0.0.2",),
    "client only with a server": ("127.0.0.2",),
}
"""Client agents by the words that the cases use for them, with their configured servers."""
PASSED_ON = [
    "members/via-client",
    "members/client-without-servers",
    "members/client-server-down",
    "health_status_regions/leader-via-client",
    "health_status_regions/health-client-only",
    "health_status_regions/health-no-servers",
    "self/client-only",
]


def moved(value: Any) -> Any:  # noqa: ANN401
    """A case, or a part of one, with its addresses in the net of this process."""
    text = json.dumps(value).replace("127.0.0.", NET).replace(r"127\\.0\\.0\\.", NET.replace(".", r"\\."))
    return json.loads(text)


@dataclass
class Agents:
    """The agent that is asked, and those around it."""

    live: Live
    client: ClientAgent
    here: World


class RealClientBackend(ScriptedBackend):
    """A scripted agent whose client role is real."""

    def stats(self) -> dict[str, dict[str, str]]:
        role, self.client = self.client, None
        blocks = {name: dict(block) for name, block in super().stats().items()}
        self.client = role
        return {**blocks, "client": cast(ClientAgent, role).stats()}


@asynccontextmanager
async def agents(agent: str) -> AsyncIterator[Agents]:
    """What the case calls `agent`, running."""
    async with world() as here:
        if agent == "dev":
            await here.start("s1", f"{NET}1", port=4647)
            configured: Sequence[str] = (f"{NET}1",)
        else:
            await here.start("s1", f"{NET}2", port=4647)
            await here.start("s2", f"{NET}3", port=4647)
            configured = [moved(address) for address in CLIENTS[agent]]
            if len(configured) == 1:
                here.kill("s2")
                here.pool.table = [member for member in here.pool.table if member.name == "s1.global"]
        client, _ = here.client("c1", configured)
        await here.nursery.start(client.run)
        if configured:
            await until(lambda: client.stats()["server"] != "")
        if "killed" in agent:
            here.kill("s1")
            await trio.testing.wait_all_tasks_blocked(0.01)
        table: list[SerfMember] = here.pool.table if agent == "dev" else []
        backend = RealClientBackend(
            identity("s1" if agent == "dev" else "c1", is_server=agent == "dev"),
            table,
            client=cast(ScriptedClientRole, client),
            remote=cast(ScriptedRemote, RpcRemote("global", client.call)),
        )
        async with serving_api(backend) as live:
            yield Agents(live, client, here)


def cases() -> list[Any]:
    """Each case of a client with each agent that it names."""
    return [
        pytest.param(name, agent, id=f"{name} {agent}")
        for name, case in CASES.items()
        if name.startswith("servers/") or name in PASSED_ON
        for agent in case["agent"].split("|")
        if agent in CLIENTS or agent == "dev"
    ]


def test_all_cases_of_a_client_are_here() -> None:
    run = {param.values[0] for param in cases()}
    assert {name for name in CASES if name.startswith("servers/")} - run == {
        "servers/server-only-get",
        "servers/server-only-put",
        "servers/server-only-put-no-address",
    }
    assert set(PASSED_ON) <= run


@pytest.mark.parametrize(("name", "agent"), cases())
async def test_a_real_client_answers_as_the_contract_has_it(name: str, agent: str) -> None:
    case = moved(CASES[name])
    request = case["request"]
    async with agents(agent) as running:
        headers = list(request.get("headers", {}).items())
        answer = await running.live.ask(request["method"], request["path"], headers, request.get("body", "").encode())
        check(name, case, answer)
        if name == "servers/dead":
            assert answer.text == case["response"]["body_text"], "to the letter"
        for then, wanted in zip(case.get("then", ()), case.get("then_json", ()), strict=True):
            assert (await running.live.ask(then["method"], then["path"])).json() == wanted


async def test_the_list_is_replaced_by_what_is_given_whatever_was_in_it() -> None:
    async with agents("client only, list was 127.0.0.2 and 127.0.0.3") as running:
        for port in (4647, 4999):
            await running.live.ask("PUT", f"/v1/agent/servers?address={NET}3:{port}")
            assert (await running.live.ask("GET", "/v1/agent/servers")).json() == [f"{NET}3:4647"]
        await until(lambda: running.client.stats()["server"] == f"{NET}3:4647")
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
