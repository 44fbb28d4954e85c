"""The servers of a pool as their gossip shows them, with the addresses of their RPC. Pure."""

import ipaddress
from collections.abc import Sequence
from typing import Protocol

from moot.agent.nomad.servers import endpoint
from moot.gossip.record import message
from moot.gossip.serf.members import MemberStatus, SerfMember
from moot.http.backend import Identity
from moot.http.pool_view import INTEGER, read_server


class PoolSource(Protocol):
    """The agent's view of the pool; `http.backend.Backend` has it."""

    @property
    def identity(self) -> Identity: ...

    @property
    def members_version(self) -> int:
        """Changes whenever `members` does."""
        ...

    def members(self) -> Sequence[SerfMember]: ...


@message
class PoolServer:
    """An alive server that has an RPC port."""

    name: str
    region: str
    datacenter: str
    address: str
    """`ip:port` for other servers: its gossip IP."""
    told: str
    """`ip:port` for clients: what it announces, or else the same."""


def alive_servers(members: Sequence[SerfMember], identity: Identity) -> list[PoolServer]:
    """By name. In a pool of serf agents those count that have a tag `port`."""
    found = (_read(member, identity) for member in members if member.status is MemberStatus.ALIVE)
    return sorted((server for server in found if server is not None), key=lambda server: server.name)


def _read(member: SerfMember, identity: Identity) -> PoolServer | None:
    tags = member.tags
    port = tags.get("port", "")
    server = read_server(member, identity)
    if server is None or not INTEGER.fullmatch(port) or not 0 < int(port) < 65_536:
        return None
    told = _announced(tags.get("rpc_addr", ""), int(port)) or server.rpc_address
    return PoolServer(member.name, server.region, tags.get("dc", ""), server.rpc_address, told)


def _announced(ip: str, port: int) -> str:
    """The address made of the tag `rpc_addr`, empty when that is no IP which clients could use."""
    try:
        parsed = ipaddress.ip_address(ip)
    except ValueError:
        return ""
    return "" if parsed.is_unspecified else endpoint(str(parsed), port)
