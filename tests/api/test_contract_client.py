"""The contract vectors about the client role, with the real one, real servers of the RPC port, and the HTTP API."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from moot.agent.nomad.client_role import ClientAgent
from moot.agent.nomad.remote import RpcRemote
from tests.api.contract import CASES, check
from tests.api.live import serving_api
from tests.api.live_situations import Place
from tests.api.scripted import ScriptedBackend, identity, made, server_tags
from tests.api.situations import DEV
from tests.support.nomad import World, world


@dataclass
class Situation:
    """A client agent: the servers that it is told, by the last number of their addresses, and those that run."""

    told: Sequence[int] = ()
    running: Sequence[int] = ()
    killed: bool = False
    is_server: bool = False


DEV_AGENT = Situation(told=(1,), running=(1,), is_server=True)
SITUATIONS = {
    "dev": DEV_AGENT,
    "dev, no other option": DEV_AGENT,
    "dev, node name bacon-mac": DEV_AGENT,
    "client": Situation(),
    "client only": Situation(),
    "client only, no servers": Situation(),
    "client only, advertise.serf not set": Situation(),
    "client only with a server": Situation((2,), (2,)),
    "client only, server 127.0.0.2": Situation((2,), (2,)),
    "client only, its server is s1": Situation((2,), (2,)),
    "client only, its server was killed": Situation((2,), (2,), killed=True),
    "client only; servers s1 127.0.0.2 and s2 127.0.0.3 up": Situation((), (2, 3)),
    "client only, list was 127.0.0.2 and 127.0.0.3": Situation((2, 3), (2, 3)),
}
FILES = ("servers", "members", "health_status_regions", "self")
"""Where an agent of both roles is asked about its client role."""


def runs() -> list[Any]:
    """The cases of a client-only agent, and those of one with both roles that ask for its client role."""
    return [
        pytest.param(name, agent, id=f"{name} {agent}")
        for name, case in CASES.items()
        for agent in case.get("agent", "").split("|")
        if agent in SITUATIONS and (agent.startswith("client") or name.partition("/")[0] in FILES)
    ]


def test_no_case_of_a_client_is_left_out() -> None:
    wanted = {agent for case in CASES.values() for agent in case.get("agent", "").split("|") if "client" in agent}
    assert wanted <= set(SITUATIONS)


@pytest.mark.parametrize(("name", "agent"), runs())
async def test_a_real_client_role_answers_as_the_contract_has_it(name: str, agent: str) -> None:
    place = Place()
    case = place.moved(CASES[name])
    async with staged(SITUATIONS[agent], place) as backend, serving_api(backend) as live:
        request = case["request"]
        begun = time.monotonic()
        headers = list(request.get("headers", {}).items())
        answer = await live.ask(request["method"], request["path"], headers, request.get("body", "").encode())
        assert (time.monotonic() - begun) * 1000 <= case.get("max_ms", 10_000)
        check(name, case, answer)
        for further, wanted in zip(case.get("then", ()), case.get("then_json", ()), strict=True):
            assert (await live.ask(further["method"], further["path"])).json() == wanted


class ClientBackend(ScriptedBackend):
    """A scripted agent with a real client role."""

    role: ClientAgent

    def stats(self) -> Mapping[str, Mapping[str, str]]:
        return {**super().stats(), "client": self.role.stats()}


@asynccontextmanager
async def staged(situation: Situation, place: Place) -> AsyncIterator[ClientBackend]:
    """Servers that run, and the client agent beside them."""
    async with world() as around:
        for number in situation.running:
            name = "bacon-mac" if situation.is_server else f"s{number - 1}"
            await around.start(name, place.host(number), port=4647)
        role, _ = around.client("c1", [f"{place.host(number)}:4647" for number in situation.told])
        await around.nursery.start(role.run)
        for server in list(around.servers) if situation.killed else ():
            around.kill(server)
        yield backend_of(situation, around, role, place)
        await role.leave()


def backend_of(situation: Situation, around: World, role: ClientAgent, place: Place) -> ClientBackend:
    """The agent as the API sees it."""
    if situation.is_server:
        backend = ClientBackend(
            identity("bacon-mac"),
            [made("bacon-mac.global", place.host(1), server_tags(bootstrap="1"))],
            settings=replace(
                DEV,
                bind_addr=place.host(1),
                http_advertise=f"{place.host(1)}:4646",
                rpc_advertise=f"{place.host(1)}:4647",
                serf_advertise=f"{place.host(1)}:4648",
            ),
        )
    else:
        backend = ClientBackend(identity("c1", is_server=False), remote=RpcRemote("global", role.call))  # type: ignore[arg-type]
    backend.role = role
    backend.client = role  # type: ignore[assignment]
    return backend
