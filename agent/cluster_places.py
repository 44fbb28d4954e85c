"""Where the agents of a cluster live: an address of its own on loopback for each, or ports of its own."""

import itertools
import socket
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from moot.gossip.errors import ConfigError

AGENTS_MAX = 200
TENANTS_MAX = 1000
"""Agents that share processes."""
NETWORKS = [f"127.{77 + number // 250}.{number % 250}" for number in range(500)]
"""Where addresses are taken from: the first /24 of these in which all are free."""
PORTS = ((4646, 4647, 4648), (24646, 24647, 24648))
"""HTTP, RPC and gossip; the second where something listens on one of the first on all addresses."""
CLAIM = 254
"""The host number of the address that stands for its whole /24; no agent gets it. More agents than there are
numbers below it go on in the next /24."""
SERF_AGENTS_MAX = 50

Kind = Literal["moot", "serf"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What `cluster up` was asked for. `base_port` is one that `base_port_max` allows, or 0."""

    count: int
    serf_count: int = 0
    """Real serf agents besides; for a serf pool without a label."""
    name: str = "moot"
    numbered: bool = False
    """When the name is taken, take `name-2` and so on; the agents are named as if it were not."""
    profile: str = "local"
    pool: str = "nomad"
    key: str = ""
    label: str = ""
    base_port: int = 0
    tags: Mapping[str, str] | None = None
    prefix: str = ""
    """What agents are called, before their number; empty is the name of the cluster."""
    alike: bool = False
    """Real serf agents are called as ours are."""
    timing: Mapping[str, object] | None = None
    """The block `moot.timing`; None is what suits a local cluster."""
    tuning: Mapping[str, object] | None = None
    """See `agent.tuning`."""
    houses: int = 0
    """How many processes our agents share; with 0 each has one of its own."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one agent is to live.

    A serf agent's gossip address `serf` is its relay's; it has no HTTP, and binds that port for itself instead.
    """

    name: str
    member: str
    host: str
    http: int
    rpc: int
    serf: int
    kind: Kind = "moot"
    label: str = ""
    """Of its packets, if not the cluster's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How places are numbered. `network` is the first three parts of their addresses, empty with a base port."""

    prefix: str
    pool: str
    alike: bool = False
    network: str = ""
    ports: tuple[int, ...] = ()
    base_port: int = 0

    def place(self, number: int, kind: Kind) -> Place:
        """The place of the agent with this number, from 1."""
        name = f"{self.prefix}-{number}" if kind == "moot" or self.alike else f"{self.prefix}-serf-{number}"
        member = f"{name}.global" if self.pool == "nomad" else name
        if self.base_port:
            first = self.base_port + 3 * (number - 1)
            return Place(name, member, "127.0.0.1", first, first + 1, first + 2, kind)
        http, rpc, serf = self.ports
        block, host = divmod(number - 1, CLAIM - 1)
        return Place(name, member, f"{_further(self.network, block)}.{host + 1}", http, rpc, serf, kind)

    def next_place(self, number: int, kind: Kind) -> Place:
        """The first free one with this number or a higher one. Raises ConfigError when there is none."""
        last = (65535 - self.base_port + 1) // 3 if self.base_port else TENANTS_MAX
        for each in range(number, last + 1):
            if free(found := self.place(each, kind)):
                return found
        raise ConfigError("there is no room for another member in this cluster")


def _further(network: str, block: int) -> str:
    """The /24 so many after this one. The third part of those in NETWORKS leaves room for as many as there may be."""
    first, second, third = network.split(".")
    return f"{first}.{second}.{int(third) + block}"


def base_port_max(count: int) -> int:
    """The highest base port for so many agents."""
    return 65535 - 3 * count


def find_places(wish: Wish) -> tuple[Layout, list[Place], list[socket.socket]]:
    """Free addresses for all agents, and sockets that keep other clusters of this machine from taking them.

    Each is bound to an address that stands for a network. They work for as long as anybody has them open, so
    every agent inherits them. With a base port there are none: the caller chose the ports. Raises ConfigError.
    """
    layout = Layout(prefix=wish.prefix or wish.name, pool=wish.pool, alike=wish.alike, base_port=wish.base_port)
    if wish.base_port:
        found = _places(layout, wish)
        taken = [place for place in found if not free(place)]
        if taken:
            raise ConfigError(f"ports {taken[0].http} to {taken[0].serf} are not all free; take another --base-port")
        return layout, found, []
    for ports, network in itertools.product(PORTS, NETWORKS):
        layout = replace(layout, network=network, ports=ports)
        found = _places(layout, wish)
        claims = _claim({place.host.rpartition(".")[0] for place in found}, ports[-1])
        if claims and all(map(free, found)):
            return layout, found, claims
        for claim in claims:
            claim.close()
    raise ConfigError("no free addresses on 127.0.0.0/8; this system may have only 127.0.0.1: try --base-port 24000")


def _claim(networks: Collection[str], port: int) -> list[socket.socket]:
    """A socket for each network; none when one of them is somebody else's."""
    claims = []
    for network in networks:
        claims.append(socket.socket())
        try:
            claims[-1].bind((f"{network}.{CLAIM}", port))
        except OSError:
            for claim in claims:
                claim.close()
            return []
    return claims


def _places(layout: Layout, wish: Wish) -> list[Place]:
    ours = [layout.place(number, "moot") for number in range(1, wish.count + 1)]
    return ours + [layout.place(wish.count + number, "serf") for number in range(1, wish.serf_count + 1)]


def free(place: Place) -> bool:
    """All ports of the place can be bound."""
    wanted = [
        (socket.SOCK_STREAM, place.http),
        (socket.SOCK_STREAM, place.serf),
        (socket.SOCK_DGRAM, place.serf),
    ]
    if place.kind == "serf":
        wanted += [(socket.SOCK_DGRAM, place.http), (socket.SOCK_STREAM, place.rpc)]
    for kind, port in wanted:
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((place.host, port))
            except OSError:
                return False
    return True
