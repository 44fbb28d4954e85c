"""Servers and clients of Nomad's RPC in one process, over a pool that the test scripts."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import trio

from moot.agent.nomad.client import Dialer
from moot.agent.nomad.client_role import ClientAgent, ClientSettings
from moot.agent.nomad.forward import RegionForwarder
from moot.agent.nomad.registry import RegistrySettings
from moot.agent.nomad.server import NomadRpcServer, RpcLimits
from moot.gossip.serf.members import MemberStatus, SerfMember
from moot.http.backend import Identity
from tests.api.scripted import identity, made, server_tags
from tests.support.rpc import HeardLog


@dataclass
class ScriptedPool:
    """The members as all servers of a test see them."""

    table: list[SerfMember] = field(default_factory=list)
    version: int = 0

    def add(self, name: str, ip: str, port: int, region: str = "global") -> None:
        """A server; a node of that name is replaced."""
        tags = server_tags(region, port=str(port), rpc_addr=ip)
        self.table = [member for member in self.table if member.name != name]
        self.table.append(made(name, ip, tags))
        self.version += 1

    def set_status(self, name: str, status: MemberStatus) -> None:
        self.table = [it.became(status) if it.name == name else it for it in self.table]
        self.version += 1


@dataclass
class PoolSeenBy:
    """The pool with one server's identity."""

    pool: ScriptedPool
    identity: Identity

    @property
    def members_version(self) -> int:
        return self.pool.version

    def members(self) -> Sequence[SerfMember]:
        return self.pool.table


@dataclass
class Server:
    """One running server."""

    name: str
    rpc: NomadRpcServer
    address: str
    log: HeardLog
    faults: list[tuple[str, Exception]]
    scope: trio.CancelScope

    def ready(self) -> set[str]:
        """Names of the nodes that are ready here."""
        now = trio.current_time()
        return {entry.name for entry in self.rpc.registry.entries(now) if entry.status == "ready"}

    def statuses(self) -> dict[str, str]:
        """Of each node that is registered here."""
        return {entry.name: entry.status for entry in self.rpc.registry.entries(trio.current_time())}


class World:
    """Servers that see one pool."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.pool = ScriptedPool()
        self.servers: dict[str, Server] = {}
        self.dialer = Dialer("global")

    async def start(
        self,
        name: str,
        ip: str,
        *,
        port: int = 0,
        region: str = "global",
        settings: RegistrySettings | None = None,
        limits: RpcLimits | None = None,
        leader_wait: float = 0.2,
    ) -> Server:
        """A server `name` that is in the pool as `name.region`."""
        log, faults = HeardLog(), list[tuple[str, Exception]]()
        source = PoolSeenBy(self.pool, identity(name, region))
        rpc = NomadRpcServer(
            source,
            RegionForwarder(source, Dialer(region), random=Random(1)),
            log,
            report=lambda about, error: faults.append((about, error)),
            settings=settings,
            limits=limits,
            leader_wait=leader_wait,
            random=Random(name),
        )
        bound = await rpc.listen(ip, port)
        scope = trio.CancelScope()

        async def serve(task_status: trio.TaskStatus[None]) -> None:
            with scope:
                await rpc.serve(task_status=task_status)

        await self.nursery.start(serve)
        self.pool.add(f"{name}.{region}", ip, bound.port, region)
        server = self.servers[name] = Server(name, rpc, str(bound), log, faults, scope)
        return server

    def kill(self, name: str) -> None:
        """Stop a server as a crash would; the pool does not know of it yet."""
        self.servers.pop(name).scope.cancel()

    def client(
        self,
        name: str,
        servers: Sequence[str],
        *,
        seed: int = 1,
        dialer: Dialer | None = None,
        region: str = "global",
    ) -> tuple[ClientAgent, HeardLog]:
        """A client agent that is not running yet."""
        log = HeardLog()
        agent = ClientAgent(
            client_settings(name, servers, seed=seed, region=region),
            dialer or self.dialer,
            log,
            http_address=lambda: "127.46.9.9:4646",
            random=Random(seed),
        )
        return agent, log


def client_settings(
    name: str, servers: Sequence[str] = (), *, seed: int = 1, region: str = "global"
) -> ClientSettings:
    """Settings of a client whose ids come from the seed."""
    return ClientSettings(
        node_id=f"00000000-0000-0000-0000-{seed:012x}",
        secret=f"5ec0e700-0000-0000-0000-{seed:012x}",
        name=name,
        region=region,
        datacenter="dc1",
        version="0.1.0",
        servers=servers,
    )


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    """All ends with the block; a bug in a server fails the test."""
    async with trio.open_nursery() as nursery:
        made_world = World(nursery)
        faults = []
        with contextlib.ExitStack() as stack:
            stack.callback(nursery.cancel_scope.cancel)
            yield made_world
            faults = [fault for server in made_world.servers.values() for fault in server.faults]
    assert faults == []
