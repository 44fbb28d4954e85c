"""What Nomad's endpoints say about the pool, derived from the gossip view alone. Pure.

There is no Raft here, so the leader is a rule: **of the region's servers that are alive, the one whose
name is lowest**, compared as text. Agents with the same view give the same answer; while views differ,
during a failure or a partition, answers may differ too. Nothing is elected and nothing depends on it.

In a nomad pool a member is a server when it has a server's tags (`gossip.serf.guard`). In a serf pool there
are no such tags, and every member counts as a server: its region is its tag `region` or else that of the
agent asked, its RPC port is its tag `port` or else its gossip port.
"""

import re
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple

from moot.gossip.record import Address
from moot.gossip.serf.guard import is_nomad_server
from moot.gossip.serf.members import MemberStatus, SerfMember
from moot.http.backend import Identity

INTEGER = re.compile(r"[+-]?[0-9]+")


class Server(NamedTuple):
    """One server of the pool. `rpc_address` is its gossip IP with its RPC port."""

    name: str
    region: str
    rpc_address: str
    status: MemberStatus
    bootstrap: bool
    """It said of itself that it runs as a single server."""


def read_server(member: SerfMember, identity: Identity) -> Server | None:
    """The member as a server, None when it is none."""
    tags = member.tags
    address = member.address
    port = tags.get("port", "")
    if identity.pool == "nomad" and not is_nomad_server(tags):
        return None
    rpc_port = int(port) if INTEGER.fullmatch(port) else address.port
    rpc_address = str(Address(address.ip, rpc_port))
    region = tags.get("region", identity.region)
    return Server(member.name, region, rpc_address, member.status, "bootstrap" in tags)


class PoolView:
    """The servers in one state of the member list."""

    def __init__(self, members: Sequence[SerfMember], identity: Identity) -> None:
        found = (read_server(member, identity) for member in members)
        self.servers: list[Server] = sorted(
            (server for server in found if server is not None), key=attrgetter("name")
        )
        self._home = identity.region

    def leader(self, region: str) -> Server | None:
        """The rule of the module's head; None when none of the region's servers is alive."""
        return next(self._alive(region), None)

    def peers(self, region: str) -> list[str]:
        """RPC addresses of the region's servers that have not left, failed ones too, sorted.

        A server that fails stays a Raft peer until it is made to leave, and so here.
        """
        gone = (MemberStatus.LEFT, MemberStatus.NONE)
        return sorted(it.rpc_address for it in self.servers if it.region == region and it.status not in gone)

    def regions(self) -> list[str]:
        """Sorted names of the regions that have an alive server, and the agent's own."""
        return sorted({self._home, *(it.region for it in self.servers if it.status is MemberStatus.ALIVE)})

    def reaches(self, region: str) -> bool:
        """Whether the region can be asked: it is our own, or a server of it is alive."""
        return region == self._home or self.leader(region) is not None

    def _alive(self, region: str) -> Iterator[Server]:
        return (it for it in self.servers if it.region == region and it.status is MemberStatus.ALIVE)
