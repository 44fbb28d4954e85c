"""PoolSide: what an agent has of the gossip pool: `PoolMember` when it is in it, `NoPool` when it is not."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import trio

from moot.agent.settings import Settings
from moot.gossip.counters import Counters
from moot.gossip.net.node import Node
from moot.gossip.serf.members import SerfMember
from moot.http.backend import JoinAttempt
from moot.http.counters import RpcCounters
from moot.http.pool import PoolOperations


class PoolSide(Protocol):
    """In the order of an agent's life: `prepare`, `start`, `serve`, `tell`, `enter`, then `leave` or not, `stop`,
    `last_words`.
    """

    @property
    def node(self) -> Node | None:
        """The gossip node, for what shows its figures."""
        ...

    # ---- as the HTTP API sees it

    @property
    def operations(self) -> PoolOperations:
        """Raises BackendError out of the pool."""
        ...

    @property
    def members_version(self) -> int: ...

    def members(self) -> Sequence[SerfMember]: ...

    def self_member(self) -> SerfMember | None: ...

    async def join(self, addresses: Sequence[str]) -> Sequence[JoinAttempt]:
        """As `http.backend.Backend.join`."""
        ...

    async def force_leave(self, name: str, prune: bool) -> None:
        """As `http.backend.Backend.force_leave`."""
        ...

    def stats(self) -> Mapping[str, Mapping[str, str]]:
        """Its blocks of /v1/agent/self."""
        ...

    @property
    def gossip_address(self) -> str:
        """`ip:port` that the others are told, empty out of the pool."""
        ...

    @property
    def gossip_port(self) -> int:
        """Where it listens, or would."""
        ...

    @property
    def encrypted(self) -> bool: ...

    @property
    def counters(self) -> Counters: ...

    @property
    def ipc_counters(self) -> RpcCounters:
        """Of Serf's client RPC."""
        ...

    # ---- as the agent sees it

    async def prepare(self, nursery: trio.Nursery) -> None:
        """Get ready for events, before any can come."""
        ...

    async def start(self, nursery: trio.Nursery) -> None:
        """Be there: others can reach us. Raises GossipError."""
        ...

    async def serve(self, nursery: trio.Nursery) -> None:
        """Open what is served besides HTTP. Raises GossipError."""
        ...

    def tell(self, hear: Callable[[object], None]) -> None:
        """From now on, events go to the log and to `hear`, with those that came before."""
        ...

    async def enter(self, nursery: trio.Nursery) -> None:
        """Find the others and join them, as far as the start depends on it. Raises GossipError."""
        ...

    async def keep_joining(self) -> bool:
        """Join who could not be joined at once; False when there were enough attempts."""
        ...

    async def change_tags(self, before: Mapping[str, str], after: Mapping[str, str]) -> None:
        """Announce what the settings say otherwise than before. Raises ConfigError when it is too much."""
        ...

    def reload(self, settings: Settings) -> None:
        """Take over what else may change while the agent runs."""
        ...

    async def leave(self) -> None:
        """Tell the pool that we leave. Raises CommandError when it could not be told."""
        ...

    async def stop(self) -> None:
        """Be gone without a word; event handlers have their last events."""
        ...

    async def last_words(self) -> None:
        """Wait a little until the log has the last events."""
        ...

    # ---- what people are told at the start

    def facts(self) -> Mapping[str, str]:
        """Titles and values of the start's overview."""
        ...

    def addresses(self) -> Mapping[str, str]:
        """For programs, by name."""
        ...

    def kept(self) -> Mapping[str, str]:
        """What is kept, and where."""
        ...

    def warnings(self) -> Sequence[str]:
        """What is allowed but deserves a word."""
        ...
