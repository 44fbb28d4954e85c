"""Backend: what the HTTP API needs from an agent. The agent implements it; tests use a scripted one.

Everything here is called on the agent's own event loop. Plain methods answer at once from memory and are
called per request, so they must be cheap; `async` ones may take as long as the pool takes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from moot.gossip.serf.members import SerfMember
from moot.http.exchange import Headers
from moot.http.nomad_operations import NomadOperations
from moot.http.pool import PoolOperations
from moot.http.remote import Remote

Pool = Literal["nomad", "serf"]
"""The agent's personality in the pool: Nomad's names, tags and merge check, or those of a plain serf agent."""


class BackendError(Exception):
    """An operation failed; the text is what the caller of the API reads (status 500)."""


class Unacceptable(BackendError):
    """What was asked for cannot be, whoever asks; nothing was done (status 400)."""


class PoolClosed(BackendError):
    """The agent is leaving or has left, and the operation needs it in the pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who the agent is. Fixed from the moment the HTTP server starts."""

    node_name: str
    """Bare node name, without region."""
    gossip_name: str
    """Name in the pool: `NODE.REGION` in a nomad pool, the bare name in a serf pool."""
    region: str
    datacenter: str
    pool: Pool
    is_server: bool
    """Takes part in the gossip pool. At least one of this and `Backend.client` is set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinAttempt:
    """One exchange that a join tried. A name that resolves to several addresses makes several.

    `given` is the address as the caller wrote it. `ip` is the IP text that was dialled, empty when it did
    not come to that. `error` is the cause alone and empty on success, such as
    `dial tcp 127.0.0.9:4648: connect: connection refused` or `member 'x' is not a server`; the API puts
    `Failed to join <ip>: ` or, without `ip`, `Failed to resolve <given>: ` before it.
    """

    given: str
    ip: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentInfo:
    """What `GET /v1/moot/agent` says besides the identity. Addresses are `ip:port`, IPv6 in brackets."""

    version: str
    pid: int
    uptime: float
    """Seconds since the agent started."""
    profile: str
    """lan, wan or local."""
    encrypted: bool
    label: str
    gossip_address: str
    """The address that the others are told (advertised)."""
    http_addresses: Sequence[str]
    """Where HTTP really listens, ports resolved."""
    counters: Mapping[str, int]


class ClientRole(Protocol):
    """The list of servers that an agent with client role keeps. Entries are `ip:port` of the RPC port."""

    def known_servers(self) -> Sequence[str]:
        """The present list, reachable or not, in any order."""
        ...

    async def set_servers(self, addresses: Sequence[str]) -> Sequence[str]:
        """Replace the list by those of `addresses` that answer a ping.

        Answers with one text per address that was left out. When all are, the old list stays in force.
        """
        ...


class Backend(Protocol):
    """The agent as the API sees it."""

    @property
    def identity(self) -> Identity: ...

    @property
    def client(self) -> ClientRole | None:
        """The client role, None without it."""
        ...

    @property
    def operations(self) -> PoolOperations:
        """Events, queries, keys, tags, coordinates. Asked for only on an agent that is in the pool."""
        ...

    @property
    def nomad(self) -> NomadOperations:
        """What only Nomad's endpoints need."""
        ...

    @property
    def remote(self) -> Remote | None:
        """How to ask other servers: those of the client role, those of other regions. None without RPC."""
        ...

    @property
    def response_headers(self) -> Headers:
        """What `guard.configured_headers` made of `http_api_response_headers`; may change on a reload."""
        ...

    @property
    def members_version(self) -> int:
        """Changes whenever anything that `members()` shows changes; encoded lists are kept until then."""
        ...

    def members(self) -> Sequence[SerfMember]:
        """Every member held, of all regions, gone ones that are not reaped too, oneself included; any order.

        Empty on an agent that is not in the pool (client role only).
        """
        ...

    def self_member(self) -> SerfMember | None:
        """Oneself; None on an agent that is not in the pool."""
        ...

    def agent_config(self) -> Mapping[str, object]:
        """`config` of /v1/agent/self: `http.self_config.build_config(AgentSettings(...))`."""
        ...

    def stats(self) -> Mapping[str, Mapping[str, str]]:
        """The blocks `serf` and `runtime` (and `client` with that role) of /v1/agent/self, all values text.

        The API adds the block `nomad`, which it derives from the members.
        """
        ...

    def info(self) -> AgentInfo: ...

    async def join(self, addresses: Sequence[str]) -> Sequence[JoinAttempt]:
        """Try every address, in any order at a time, and wait for all; attempts in the order given.

        Each is `[name/]host[:port]`, empty text included; the default port is the agent's own gossip port.
        Raises PoolClosed after leave or shutdown began.
        """
        ...

    async def force_leave(self, name: str, prune: bool) -> None:
        """Turn a failed member into one that left, and with `prune` forget it. Unknown names do nothing.

        Returns when the news is sent out. Raises BackendError when that takes too long.
        """
        ...

    async def leave(self) -> None:
        """Leave the pool gracefully, then let the agent end. Returns when the pool has heard it.

        The agent stops through `HttpServer.stop`, which lets the answer to this very request go out.
        Raises BackendError when leaving fails; the agent then stays as it is.
        """
        ...
