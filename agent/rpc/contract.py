"""RpcBackend: what the RPC needs of an agent, and the bounds of what it lets a client cost."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import trio

from moot.agent.delivery import Deliverable
from moot.agent.event_filter import EventFilter
from moot.agent.rpc.log_ring import LogRing
from moot.agent.rpc.protocol import KeyResponse
from moot.gossip.serf.asking import Question
from moot.gossip.serf.events import QueryAcked, QueryAnswered
from moot.gossip.serf.members import SerfMember
from moot.gossip.serf.messages import Coordinate, Query


class Replies(Protocol):
    """What comes back on a query; the iteration ends at its deadline, or when the agent stops."""

    def __aiter__(self) -> "Replies": ...

    async def __anext__(self) -> QueryAcked | QueryAnswered: ...


class RpcBackend(Protocol):
    """The agent. What it refuses it refuses with CommandError or ConfigError, whose text goes to the client."""

    @property
    def log_ring(self) -> LogRing: ...

    def members(self) -> Sequence[SerfMember]: ...

    async def join(self, addresses: Sequence[str], *, replay: bool) -> int:
        """How many addresses were joined. Raises CommandError when there were some and none was."""
        ...

    async def leave(self) -> None:
        """Leave the pool and go on answering; `end` is called when the client knows."""
        ...

    def end(self) -> None:
        """Stop the agent now. Called after a leave."""
        ...

    async def force_leave(self, name: str, *, prune: bool) -> None: ...

    def user_event(self, name: str, payload: bytes, *, coalesce: bool) -> None: ...

    def query(self, question: Question) -> AbstractContextManager[Replies]:
        """Ask the pool; refused on entry."""
        ...

    def respond(self, query: Query, payload: bytes) -> None:
        """Answer a query that `events` delivered."""
        ...

    async def change_keys(self, operation: str, key: str) -> tuple[KeyResponse, str]:
        """Have everybody install, use or remove a key (base64): what they said, and the error as a whole or ""."""
        ...

    async def list_keys(self) -> tuple[KeyResponse, str]: ...

    async def change_tags(self, tags: Mapping[str, str], delete: Sequence[str]) -> None:
        """Our tags without `delete` and with `tags`."""
        ...

    def stats(self) -> Mapping[str, Mapping[str, str]]: ...

    def coordinate(self, name: str) -> Coordinate | None: ...

    def events(
        self, about: str, wanted: EventFilter
    ) -> AbstractContextManager[trio.MemoryReceiveChannel[Deliverable]]:
        """Coalesced events from now on. A reader that is too slow loses some; `about` names it in the log."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What clients may take. Durations are seconds."""

    connections_max: int = 128
    streams_max: int = 64
    """Of one connection: streams and queries that are open at once."""
    handshake_timeout: float = 10.0
    """From the connection to its first request."""
    request_timeout: float = 30.0
    """From the first byte of a request's header, and of its body, to the last one."""
    send_timeout: float = 600.0
    """How long a client may refuse to read. Long, because somebody may page through the log of a monitor."""
    linger_timeout: float = 1.0
    """How long a connection that is over may take to go, so that its last answer is not lost in a reset."""
