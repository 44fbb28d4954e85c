"""Clusters of real agents for other people's tests: what the module `moot.testing` has.

`LocalCluster` is for tests on trio, and on asyncio; `BlockingCluster` is the same for those without a loop. The
agents are real ones on loopback addresses of their own, in processes of their own beside the test's, which end with
it however it ends. What the methods of both do is done in threads, so the test's loop goes on meanwhile.
"""

import base64
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeAlias, TypeVar

import anyio
from anyio import to_thread

from moot.agent import cluster_world, control_client
from moot.agent.chaos import Chaos
from moot.agent.cluster import Cluster, wait_ready
from moot.agent.cluster_places import Wish
from moot.agent.cluster_start import ClusterError, control_of
from moot.agent.cluster_state import Node
from moot.agent.cluster_views import Observer, View, groups
from moot.agent.interrupts import Interrupts
from moot.agent.lab_deeds import carry_out
from moot.agent.testing_verbs import Verbs
from moot.gossip.actions import AskQuery, Flood, ForceLeave, Join, Keys, SendEvent, parse
from moot.gossip.errors import ConfigError
from moot.gossip.selectors import select
from moot.gossip.sim.goals import is_reached
from moot.gossip.sim.history import Record, Sample, record_of
from moot.gossip.sim.player import doer, target
from moot.gossip.sim.scenario import Goal, parse_goal
from moot.http.client import ApiClient

PATIENCE: Final = 60.0
"""Seconds that a test waits at most, unless it says otherwise."""
RECONNECT: Final = 2.0
"""Seconds between two attempts to find back to a failed member: in Serf 30, which tests would wait for."""
LOOK: Final = 0.1
"""Seconds between two looks at what is waited for."""
THERE: Final = ("alive", "leaving")
T = TypeVar("T")
Views: TypeAlias = Mapping[str, View | None]
"""What each agent sees: the members' statuses by name; None from one that does not answer."""
Wanted: TypeAlias = str | Callable[[Views], bool]
"""`agreed`, `NAME alive|failed|left|gone`, `groups N` (words of scenarios); or what must be true of the views."""


class NotReached(AssertionError):
    """What a test waited for did not come about in time; the text says what the agents see instead."""


class BlockingCluster(Verbs[None]):
    """Real agents `moot-1`, `moot-2` … in one pool; a context, in which they all have seen each other at first.

    `real_serf` more of them are real serf agents, if serf is installed. `profile` is `local`, `lan` or `wan`, `pool`
    is `serf` or `nomad`. With `processes` each agent has a process of its own, else they share one per core, which
    starts them much faster. `timing` are keys of the block `moot.timing`, `tuning` are fields of SwimConfig and
    SerfConfig; without them failed members are called on every 2 s, not 30. Entering raises GossipError.
    """

    def __init__(
        self,
        count: int = 3,
        *,
        real_serf: int = 0,
        profile: str = "local",
        pool: str = "serf",
        encrypt: bool = False,
        label: str = "",
        tags: Mapping[str, str] | None = None,
        timing: Mapping[str, object] | None = None,
        tuning: Mapping[str, object] | None = None,
        processes: bool = False,
        timeout: float = PATIENCE,
    ) -> None:
        self._wish = Wish(
            count=count,
            serf_count=real_serf,
            name="testing",
            numbered=True,
            prefix="moot",
            profile=profile,
            pool=pool,
            key=base64.b64encode(secrets.token_bytes(32)).decode() if encrypt else "",
            label=label,
            tags=tags,
            timing=timing,
            tuning={"reconnect_interval": RECONNECT} | dict(tuning or {}),
            houses=0 if processes else min(count, len(os.sched_getaffinity(0))),
        )
        self._timeout = timeout
        self._cluster = Cluster(self._wish, Interrupts())
        self._observer = Observer()
        self._chaos = Chaos("testing")

    def __enter__(self) -> Self:
        try:
            for _ in self.starting():
                continue
        except BaseException:  # whatever it was, Ctrl-C too: no agent is left
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def starting(self) -> Iterator[int]:
        """Start; yields how many have seen all of them, until all have. Call `close` whatever comes of it."""
        self._cluster.start()
        self._chaos = Chaos(self._cluster.name)
        yield 0
        yield from wait_ready(self._cluster, self._observer, self._timeout)

    def close(self) -> None:
        """End all agents. Safe to call again."""
        self._cluster.end()
        self._chaos.reap()
        self._observer.__exit__()

    # who is there

    def _nodes(self) -> list[Node]:
        return self._cluster.look()

    def _node(self, member: str | int) -> Node:
        nodes = {node.name: node for node in self._nodes()}
        return nodes[target(str(member), list(nodes))]

    @property
    def name(self) -> str:
        """The cluster's; `moot cluster status --name` shows it."""
        return self._cluster.name

    @property
    def names(self) -> list[str]:
        """All agents by name, those that ended too; numbers count in this order, from 1."""
        return [node.name for node in self._nodes()]

    @property
    def running(self) -> list[str]:
        """Those that have not ended."""
        return [node.name for node in self._nodes() if node.process.alive()]

    def gossip(self, member: str | int) -> str:
        """Where an agent's gossip is, `ip:port`, UDP and TCP."""
        return self._node(member).gossip

    def rpc(self, member: str | int) -> str:
        """Where an agent's RPC is, `ip:port`: Nomad's in a nomad pool; of a real serf agent its client RPC."""
        return self._node(member).rpc

    def url(self, member: str | int) -> str:
        """The base URL of an agent's HTTP API. Raises ConfigError for a real serf agent, which has none."""
        node = self._node(member)
        if not node.http:
            raise ConfigError(f"{node.name} is a real serf agent: it has no HTTP API")
        return node.url

    def client(self, member: str | int, *, timeout: float = 10.0) -> ApiClient:
        """A client of that API."""
        return ApiClient(self.url(member), timeout=timeout)

    def log(self, member: str | int) -> str:
        """All that an agent has written."""
        return self._cluster.log_of(self._node(member).name).read_text(errors="replace")

    def add(self, count: int = 1, *, real_serf: bool = False) -> None:
        """Start more agents, which join the others."""
        self._chaos.grow(count, "serf" if real_serf else "moot")

    # what they see

    def views(self) -> dict[str, View | None]:
        """What each agent that runs sees."""
        return self._observer.views([node for node in self._nodes() if node.process.alive()])

    def members(self, by: str | int = 1) -> View:
        """The members and their statuses, as one agent sees them. Raises ClusterError when it does not answer."""
        node = self._node(by)
        view = self._observer.view(node)
        if view is None:
            raise ClusterError(f"{node.name} does not answer")
        return view

    def until(self, wanted: Wanted, within: float = PATIENCE) -> float:
        """Wait until it is so; the seconds it took. Raises NotReached."""
        look = self.looker(wanted, within)
        while (took := look()) is None:
            time.sleep(LOOK)
        return took

    def looker(self, wanted: Wanted, within: float) -> Callable[[], float | None]:
        """What looks once: the seconds it took, or None. Raises NotReached after `within` of them."""
        goal = parse_goal(wanted) if isinstance(wanted, str) else wanted
        began = time.monotonic()

        def look() -> float | None:
            views = self.views()
            passed = time.monotonic() - began
            if is_reached(goal, _Sight(self._nodes(), views), self.names) if isinstance(goal, Goal) else goal(views):
                return passed
            if passed > within:
                words = f"`{wanted}`" if isinstance(wanted, str) else "what was wanted"
                raise NotReached("\n".join([f"not within {within:g} s: {words}", *self._told(views)]))
            return None

        return look

    def _told(self, views: Views) -> list[str]:
        """A line per group of agents that agree, and the faults."""
        lines = [f"  {', '.join(names)}: {view or 'no answer'}" for names, view in groups(views)]
        return [*lines, f"  faults: {'; '.join(self.faults()) or 'none'}"]

    def faults(self) -> list[str]:
        """All that is wrong on purpose, in the words that bring it about."""
        return cluster_world.wrongs(self._chaos.state())

    @contextmanager
    def events(self, by: str | int = 1, *, within: float = PATIENCE) -> Iterator[Iterator[Record]]:
        """What an agent of ours sees and does from now on: first whom it knows, then each change and event.

        The records are those of `moot.gossip.sim.history`; waiting for longer than `within` seconds for the next one
        raises NotReached. They end with the agent.
        """
        node = self._node(by)
        with control_client.history(control_of(self._cluster.directory, node.name)) as lines:
            yield _records(node.name, lines, within)

    # what is done to them

    def do(self, words: str) -> None:
        action = parse(words)
        places = {node.name: node for node in self._nodes()}
        match action:
            case Join(members, targets):
                for name in select(members, list(places)):
                    others = [other for other in select(targets, list(places)) if other != name]
                    carry_out(places[name], replace(action, members=name, targets=",".join(others)), places)
            case ForceLeave() | SendEvent() | AskQuery() | Keys():
                agent = doer(action.by, list(places), lambda name: _able(places[name]))
                if isinstance(action, ForceLeave):
                    action = replace(action, member=target(action.member, list(places)))
                carry_out(places[agent], action, places)
            case Flood():
                raise ConfigError("flood is for scenarios; `moot lab run` has it")
            case _:
                outcome = self._chaos.do(action)
                if outcome.untold and (untold := cluster_world.tell_anew(self.name)):
                    raise ClusterError(f"{', '.join(untold)} could not be told of `{words}`")


def _able(node: Node) -> bool:
    return node.process.alive() and not node.process.stopped()


def _records(name: str, lines: Iterator[str], within: float) -> Iterator[Record]:
    deadline = time.monotonic() + within
    for line in lines:  # there is a sample every second, so that this is never long
        record = record_of(line)
        if not isinstance(record, Sample):
            yield record
            deadline = time.monotonic() + within
        elif time.monotonic() > deadline:
            raise NotReached(f"{name} has told nothing new for {within:g} s")


class _Sight:
    """What goals are asked of."""

    def __init__(self, nodes: Sequence[Node], views: Views) -> None:
        self._members = {node.name: node.member for node in nodes}
        self._running = {node.name: node.member for node in nodes if _able(node)}
        self._views = views

    def running(self) -> Mapping[str, str]:
        return self._running

    def alive(self, observer: str) -> set[str]:
        view = self._views.get(observer) or {}
        return {member for member, status in view.items() if status in THERE}

    def status(self, observer: str, member: str) -> str:
        view = self._views.get(observer)
        return "unknown" if view is None else view.get(self._members[member], "gone")


class LocalCluster(Verbs[Coroutine[Any, Any, None]]):
    """A BlockingCluster for async tests: `async with LocalCluster(5) as c: await c.kill(3)`. It takes the same.

    Cancelling what waits here returns once the thread at work is through with its step; the agents end all the same.
    """

    def __init__(
        self,
        count: int = 3,
        *,
        real_serf: int = 0,
        profile: str = "local",
        pool: str = "serf",
        encrypt: bool = False,
        label: str = "",
        tags: Mapping[str, str] | None = None,
        timing: Mapping[str, object] | None = None,
        tuning: Mapping[str, object] | None = None,
        processes: bool = False,
        timeout: float = PATIENCE,
    ) -> None:
        self.blocking = BlockingCluster(
            count,
            real_serf=real_serf,
            profile=profile,
            pool=pool,
            encrypt=encrypt,
            label=label,
            tags=tags,
            timing=timing,
            tuning=tuning,
            processes=processes,
            timeout=timeout,
        )
        """The same cluster, for what is not async: names, addresses, clients, logs."""

    @classmethod
    def of(cls, blocking: BlockingCluster) -> "LocalCluster":
        """The async side of a cluster that is there."""
        made = cls.__new__(cls)
        made.blocking = blocking
        return made

    async def __aenter__(self) -> Self:
        steps = self.blocking.starting()
        try:
            while await to_thread.run_sync(next, steps, None) is not None:
                continue
        except BaseException:  # whatever it was, Ctrl-C too: no agent is left
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End all agents, whoever is cancelled."""
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(self.blocking.close)

    @property
    def names(self) -> list[str]:
        """All agents by name, those that ended too; numbers count in this order, from 1."""
        return self.blocking.names

    def url(self, member: str | int) -> str:
        """The base URL of an agent's HTTP API."""
        return self.blocking.url(member)

    def gossip(self, member: str | int) -> str:
        """Where an agent's gossip is, `ip:port`."""
        return self.blocking.gossip(member)

    async def do(self, words: str) -> None:
        await to_thread.run_sync(self.blocking.do, words)

    async def add(self, count: int = 1, *, real_serf: bool = False) -> None:
        """Start more agents, which join the others."""
        await to_thread.run_sync(partial(self.blocking.add, count, real_serf=real_serf))

    async def views(self) -> dict[str, View | None]:
        """What each agent that runs sees."""
        return await to_thread.run_sync(self.blocking.views)

    async def members(self, by: str | int = 1) -> View:
        """The members and their statuses, as one agent sees them."""
        return await to_thread.run_sync(self.blocking.members, by)

    async def faults(self) -> list[str]:
        """All that is wrong on purpose."""
        return await to_thread.run_sync(self.blocking.faults)

    async def until(self, wanted: Wanted, within: float = PATIENCE) -> float:
        """Wait until it is so; the seconds it took. Raises NotReached."""
        look = self.blocking.looker(wanted, within)
        while True:
            took = await to_thread.run_sync(look)
            if took is not None:
                return took
            await anyio.sleep(LOOK)

    @asynccontextmanager
    async def events(self, by: str | int = 1, *, within: float = PATIENCE) -> AsyncIterator[AsyncIterator[Record]]:
        """What an agent of ours sees and does from now on; see BlockingCluster."""
        entered = self.blocking.events(by, within=within)
        records = await to_thread.run_sync(entered.__enter__)
        try:
            yield _OneByOne(records)
        finally:
            entered.__exit__(None, None, None)


class _OneByOne(AsyncIterator[T]):
    """An iterator that waits in a thread for each; no generator, which would have to be closed when it is left."""

    def __init__(self, found: Iterator[T]) -> None:
        self._found = found

    async def __anext__(self) -> T:
        item = await to_thread.run_sync(next, self._found, None)
        if item is None:
            raise StopAsyncIteration
        return item
