"""Endpoints: the methods that the RPC port serves."""

import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

import trio

from moot.agent.nomad.errors import Refused
from moot.agent.nomad.framing import EMPTY
from moot.agent.nomad.pool import PoolSource, alive_servers
from moot.agent.nomad.registry import NOT_FOUND, STATUSES, NodeRegistry
from moot.agent.nomad.servers import SERVERS_MAX
from moot.agent.nomad.structures import (
    Granted,
    Options,
    decode_beat,
    decode_options,
    decode_register,
    encode_forwarded,
    encode_granted,
    encode_members,
    encode_nodes,
    encode_text,
    encode_texts,
    fields_of,
)
from moot.gossip.errors import WireError
from moot.gossip.pack import Fields
from moot.http.pool_view import PoolView

LEADER_WAIT: Final = 5.0
"""Seconds that a call waits for a leader before it says that there is none."""
LEADER_POLL: Final = 0.1
NO_LEADER: Final = "No cluster leader"
KEPT_FACTOR: Final = 20.0
"""How many times as long as it took to make is the list of nodes kept: 10 nodes for 2 ms, 5,000 for a second."""
SECRETS_MAX: Final = 16
"""Of nodes that registered on one connection; there is one, mostly."""


class Forwarder(Protocol):
    """Calls servers of other regions."""

    async def call(self, region: str, method: str, body: bytes) -> bytes:
        """The answer's body. Raises Refused, also when there is no server or none answers."""
        ...


@dataclass(slots=True)
class Caller:
    """One connection, as the methods know it."""

    about: str
    """`ip:port` of the other end."""
    ttl: float = 0.0
    """The longest time to live that a node was given on it, in seconds; it may be silent for that long."""
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    """By id, what nodes that registered on it showed."""

    def knows(self, node_id: str, secret: str) -> None:
        """A node registered."""
        if len(self.secrets) >= SECRETS_MAX:
            del self.secrets[next(iter(self.secrets))]
        self.secrets[node_id] = secret


Handler: TypeAlias = Callable[[Fields, Options, Caller], Awaitable[bytes]]


class Endpoints:
    """Answers calls from the gossip view and the registry. `clock` is that of the registry."""

    def __init__(
        self,
        pool: PoolSource,
        registry: NodeRegistry,
        forwarder: Forwarder,
        *,
        clock: Callable[[], float] = trio.current_time,
        leader_wait: float = LEADER_WAIT,
    ) -> None:
        self._pool = pool
        self._registry = registry
        self._forwarder = forwarder
        self._clock = clock
        self._leader_wait = leader_wait
        self._version: int | None = None
        self._view = PoolView((), pool.identity)
        self._servers: list[tuple[str, str]] = []
        self._members = b""
        self._nodes = b""
        self._nodes_until = -math.inf
        self._local: Mapping[str, Handler] = {
            "Status.Ping": self._ping,
            "Status.Members": self._status_members,
            "Region.List": self._region_list,
            "Moot.Release": self._release,
        }
        self._by_region: Mapping[str, Handler] = {
            "Status.Leader": self._leader,
            "Status.Peers": self._peers,
            "Node.Register": self._register,
            "Node.UpdateStatus": self._update_status,
            "Node.List": self._node_list,
        }
        self.methods = frozenset((*self._local, *self._by_region))
        """What can be called."""
        self._services = {name.partition(".")[0] for name in self.methods}

    async def answer(self, method: str, body: bytes, caller: Caller) -> bytes:
        """The answer's body. Raises Refused with the text for the caller, whatever the call is."""
        handler = self._local.get(method) or self._by_region.get(method)
        if handler is None:
            raise Refused(self._unknown(method))
        try:
            fields = fields_of(body)
            options = decode_options(fields)
            region = options.region or self._pool.identity.region
            if region == self._pool.identity.region or method in self._local:
                return await handler(fields, options, caller)
            if options.forwarded:  # two servers that take each other for one of that region
                raise Refused("No path to region")
            return await self._forwarder.call(region, method, encode_forwarded(body))
        except WireError as error:
            raise Refused(f"rpc: cannot read the argument of {method}: {error}") from error

    def _unknown(self, method: str) -> str:
        """As Go's net/rpc words it."""
        service, dot, _ = method.rpartition(".")
        if not dot:
            return f"rpc: service/method request ill-formed: {method}"
        return f"rpc: can't find {'method' if service in self._services else 'service'} {method}"

    def _refresh(self) -> PoolView:
        """The view of the pool as it is now; forgets what was made of an older one."""
        version = self._pool.members_version
        if version != self._version:
            identity, members = self._pool.identity, self._pool.members()
            self._version = version
            self._members = b""
            self._view = PoolView(members, identity)
            alive = alive_servers(members, identity)
            home = [(it.told, it.datacenter) for it in alive if it.region == identity.region]
            self._servers = home[:SERVERS_MAX]
        return self._view

    # ---- what does not depend on the region

    async def _ping(self, fields: Fields, options: Options, caller: Caller) -> bytes:
        return EMPTY

    async def _status_members(self, fields: Fields, options: Options, caller: Caller) -> bytes:
        """The whole list; kept encoded until it changes."""
        self._refresh()
        if not self._members:
            identity = self._pool.identity
            self._members = encode_members(
                sorted(self._pool.members(), key=lambda member: member.name),
                name=identity.node_name,
                region=identity.region,
                datacenter=identity.datacenter,
            )
        return self._members

    async def _region_list(self, fields: Fields, options: Options, caller: Caller) -> bytes:
        return encode_texts(self._refresh().regions())

    async def _release(self, fields: Fields, options: Options, caller: Caller) -> bytes:
        """Not Nomad's: a client moved to another server, so this one need not miss it."""
        beat = decode_beat(fields)
        self._registry.release(self._clock(), beat.node_id, beat.secret)
        return EMPTY

    # ---- what servers of the region answer

    async def _leader(self, fields: Fields, options: Options, caller: Caller) -> bytes:
        return encode_text(await self._find_leader(options.stale))

    async def _peers(self, fields: Fields, options: Options, caller: Caller) -> bytes:
        await self._find_leader(options.stale)
        return encode_texts(self._refresh().peers(self._pool.identity.region))

    async def _find_leader(self, stale: bool) -> str:
        """Empty without one when that is good enough; else Refused, after a while."""
        deadline = self._clock() + (0 if stale else self._leader_wait)
        region = self._pool.identity.region
        while (leader := self._refresh().leader(region)) is None:
            if stale:
                return ""
            if self._clock() >= deadline:
                raise Refused(NO_LEADER)
            await trio.sleep(LEADER_POLL)
        return leader.rpc_address

    async def _register(self, fields: Fields, options: Options, caller: Caller) -> bytes:
        facts = decode_register(fields)
        if facts.status not in STATUSES:
            raise Refused("invalid status for node")
        ttl = self._registry.register(self._clock(), facts)
        caller.knows(facts.node_id, facts.secret)
        return self._granted(ttl, caller)

    async def _update_status(self, fields: Fields, options: Options, caller: Caller) -> bytes:
        """A heartbeat shows the node's secret, or comes on the connection on which the node registered.

        Nomad's clients did not show it for long. They register again when the node is not found.
        """
        beat = decode_beat(fields)
        if beat.status not in STATUSES:
            raise Refused("invalid status for node")
        secret = beat.secret or caller.secrets.get(beat.node_id)
        if not secret:
            raise Refused(NOT_FOUND)
        return self._granted(self._registry.beat(self._clock(), beat.node_id, secret, beat.status), caller)

    def _granted(self, ttl: float, caller: Caller) -> bytes:
        caller.ttl = max(caller.ttl, ttl)
        leader = self._refresh().leader(self._pool.identity.region)
        return encode_granted(
            Granted(
                ttl=ttl,
                servers=self._servers,
                node_count=len(self._registry),
                leader=leader.rpc_address if leader else "",
                index=self._registry.index,
            )
        )

    async def _node_list(self, fields: Fields, options: Options, caller: Caller) -> bytes:
        """All nodes. What took long to make is kept for a while, so that asking costs a twentieth of the time."""
        now = self._clock()
        if now >= self._nodes_until:
            begun = time.perf_counter()
            self._nodes = encode_nodes(self._registry.entries(now), self._registry.index)
            self._nodes_until = now + KEPT_FACTOR * (time.perf_counter() - begun)
        return self._nodes
