"""Agents of ours with an RPC, in this process: a node, its deliveries and an RPC server each."""

import io
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import trio

from moot.agent.delivery import Delivery
from moot.agent.logs import Logs
from moot.agent.rpc.backend import NodeRpcBackend
from moot.agent.rpc.log_ring import LogRing
from moot.agent.rpc.server import RpcServer
from moot.gossip.config import LOCAL
from moot.gossip.net.node import Node
from moot.gossip.net.settings import NodeSettings
from moot.gossip.record import Address
from moot.gossip.serf.coalesce import Coalescer
from tests.support.pool import until


class RpcAgent:
    """One running agent. `rpc` is where its RPC listens, `log_ring` what its monitors see."""

    def __init__(self, name: str, keys: Sequence[bytes]) -> None:
        self.name = name
        self.node = Node(NodeSettings(name=name, swim=LOCAL, tags={"role": "web", "idx": name[-1]}, keys=keys))
        self.logs = Logs(level="debug", as_json=False, stream=io.StringIO())
        self.log_ring = LogRing()
        self.rpc: Address
        self.ended = trio.Event()
        self.faults: list[tuple[str, Exception]] = []

    async def run(self, auth_key: str, task_status: trio.TaskStatus[None]) -> None:
        delivery = Delivery(self.node, Coalescer(0.3, 0.1), self.logs.logger("agent"))
        backend = NodeRpcBackend(self.node, delivery, self.log_ring, name=self.name, end=self.ended.set)
        server = RpcServer(
            backend,
            self.logs.logger("agent.ipc"),
            report=lambda what, error: self.faults.append((what, error)),
            auth_key=auth_key,
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(delivery.run)
            await nursery.start(self.node.run)
            self.rpc = await server.listen("127.0.0.1", 0)
            await nursery.start(server.serve)
            task_status.started()
            await self.ended.wait()
            nursery.cancel_scope.cancel()

    async def serf(self, *words: str) -> str:
        """What `serf WORDS…` prints about this agent, which must succeed."""
        code, said = await self._serf(*words)
        assert code == 0, said
        return said

    async def serf_fails(self, *words: str) -> str:
        """What `serf WORDS…` prints, which must fail."""
        code, said = await self._serf(*words)
        assert code == 1, said
        return said

    async def _serf(self, verb: str, *rest: str) -> tuple[int, str]:
        command = ["serf", verb, f"-rpc-addr={self.rpc}", *rest]
        done = await trio.run_process(
            command, capture_stdout=True, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False
        )
        return done.returncode, done.stdout.decode()


@asynccontextmanager
async def rpc_agents(*names: str, keys: Sequence[bytes] = (), auth_key: str = "") -> AsyncIterator[list[RpcAgent]]:
    """Agents in one pool, each aware of all."""
    agents = [RpcAgent(name, keys) for name in names]
    async with AsyncExitStack() as stack:
        nursery = await stack.enter_async_context(trio.open_nursery())
        for agent in agents:
            await nursery.start(agent.run, auth_key)
        for agent in agents[1:]:
            await agent.node.join([str(agents[0].node.address)])
        await until(lambda: all(len(agent.node.members()) == len(names) for agent in agents))
        yield agents
        assert [agent.faults for agent in agents] == [[] for _ in agents]
        nursery.cancel_scope.cancel()


class Screen:
    """What a command that goes on has printed so far."""

    def __init__(self) -> None:
        self._text = ""

    async def read(self, output: trio.abc.ReceiveStream) -> None:
        async for data in output:
            self._text += data.decode()

    def shows(self, text: str) -> bool:
        return text in self._text


@asynccontextmanager
async def monitored(agent: RpcAgent, *options: str) -> AsyncIterator[Screen]:
    """`serf monitor` of this agent while the block runs; the block begins when its streams are open."""
    command = ["serf", "monitor", f"-rpc-addr={agent.rpc}", *options]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    assert process.stdout is not None
    screen = Screen()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(screen.read, process.stdout)
            agent.log_ring.write("[INFO] the monitor is there")
            await until(lambda: screen.shows("the monitor is there"))
            yield screen
            nursery.cancel_scope.cancel()
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdout.aclose()
