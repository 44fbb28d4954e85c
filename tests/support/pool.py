"""A pool of real nodes on loopback, in one process, with times short enough for tests."""

import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from moot.gossip.config import LAN, SerfConfig
from moot.gossip.net import JoinOutcome, Node, NodeSettings

FAST_SWIM = dataclasses.replace(
    LAN,
    probe_interval=0.5,
    probe_timeout=0.25,
    suspicion_mult=3,
    gossip_interval=0.02,
    push_pull_interval=2.0,
    stream_timeout=2.0,
)
FAST_SERF = SerfConfig(broadcast_timeout=2.0, leave_propagate_delay=0.1, reconnect_interval=2.0)
PATIENCE = 30.0
"""Seconds to wait for what ought to take two; a loaded machine may need them."""


def settings_of(name: str, **options: Any) -> NodeSettings:
    """Settings of a quick node on any free port; `options` replaces what it says."""
    basis = NodeSettings(name=name, bind_host="127.41.0.1", swim=FAST_SWIM, serf=FAST_SERF)
    return dataclasses.replace(basis, **options)


async def until(holds: Callable[[], bool], within: float = PATIENCE) -> float:
    """Wait for something to hold; answers the seconds it took. Raises trio.TooSlowError."""
    began = trio.current_time()
    with trio.fail_after(within):
        while True:
            if holds():
                return trio.current_time() - began
            await trio.sleep(0.01)


class Pool:
    """Nodes by name, each to be killed by itself."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._scopes: dict[str, trio.CancelScope] = {}
        self.nodes: dict[str, Node] = {}

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    async def start(self, settings: NodeSettings) -> Node:
        """Run a node of these settings until it is killed or the pool ends."""
        return await self.adopt(Node(settings))

    async def adopt(self, node: Node) -> Node:
        """The same with a node that somebody listens to already."""
        settings = node.settings
        scope = self._scopes[settings.name] = trio.CancelScope()

        async def run(task_status: trio.TaskStatus[None]) -> None:
            with scope:
                await node.run(task_status=task_status)

        await self._nursery.start(run)
        self.nodes[settings.name] = node
        return node

    def kill(self, name: str) -> None:
        """Stop a node abruptly."""
        self._scopes.pop(name).cancel()
        del self.nodes[name]

    async def join_all(self) -> list[JoinOutcome]:
        """Let all join through the first."""
        first, *others = self.nodes.values()
        return [outcome for node in others for outcome in await node.join([str(first.address)])]

    def view(self, name: str) -> dict[str, str]:
        """What one node holds of each."""
        return {member.name: member.status.value for member in self.nodes[name].members()}

    def all_see(self, **expected: str | None) -> bool:
        """Whether every node sees these statuses; None is unknown."""
        return all(self.view(name).get(other) == status for name in self.nodes for other, status in expected.items())

    def converged(self) -> bool:
        """Whether every node sees exactly the running nodes as alive."""
        return all(
            {other for other, status in self.view(name).items() if status == "alive"} == set(self.nodes)
            for name in self.nodes
        )


@asynccontextmanager
async def open_pool(*settings: NodeSettings) -> AsyncIterator[Pool]:
    """A pool of these nodes, running but not joined; all are killed at the end."""
    async with trio.open_nursery() as nursery:
        pool = Pool(nursery)
        for one in settings:
            await pool.start(one)
        yield pool
        nursery.cancel_scope.cancel()
