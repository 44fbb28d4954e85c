"""ServerList: the servers that a client agent knows, in the order in which it turns to them. Pure.

As Nomad's (client/servers/manager.go): the order is random, so that the clients of a pool spread over its servers;
it changes when the servers do, when one fails (it goes to the end), and every few minutes, when the client looks for
another one (`rebalance_interval`). A list of the same servers in another order changes nothing.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from random import Random
from typing import Final

PORT: Final = 4647
SERVERS_MAX: Final = 256
"""In one list, from an operator or a server; a region has a handful."""
REBALANCE_MIN: Final = 300.0
"""Seconds for which a client stays with a server at least, unless that fails."""
MOVES_PER_SECOND: Final = 64.0
"""How many clients turn to one server in a second because they rebalance, all together."""
_PORT: Final = re.compile(r"[0-9]{1,5}", re.ASCII)


class ServerList:
    """The addresses are `ip:port`. At first it is empty."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._order: list[str] = []
        self._failed: set[str] = set()
        self._reserve: list[str] = []

    @property
    def known(self) -> Sequence[str]:
        """All of them, the preferred one in front."""
        return tuple(self._order)

    def replace(self, addresses: Iterable[str]) -> bool:
        """These and no others from now on, in any order; whether that is a change."""
        fresh = list(dict.fromkeys(addresses))
        if set(fresh) == set(self._order):
            return False
        self._random.shuffle(fresh)
        self._order = fresh
        self._failed.clear()
        return True

    def next(self) -> str | None:
        """Whom to turn to; None when all failed since one worked, or since the last `begin_round`."""
        for address in (*self._order, *self._reserve):
            if address not in self._failed:
                return address
        return None

    def failed(self, address: str) -> None:
        """It goes to the end, and is not asked again before the others were."""
        self._failed.add(address)
        if address in self._order:
            self._order.remove(address)
            self._order.append(address)

    def works(self, address: str) -> None:
        """It answered, so it stays the one to turn to, if it is still listed."""
        self._failed.clear()
        self._reserve.clear()
        if address in self._order:
            self._order.remove(address)
            self._order.insert(0, address)

    def begin_round(self, reserve: Iterable[str] = ()) -> None:
        """Try all once more, and then those of `reserve`, which are not listed."""
        self._failed.clear()
        self._reserve = [address for address in dict.fromkeys(reserve) if address not in self._order]

    def shuffled(self) -> list[str]:
        """All in another random order, to look for a server to move to."""
        return self._random.sample(self._order, len(self._order))

    def rebalance_interval(self, node_count: int) -> float:
        """Seconds until the client looks for another server, in a pool with so many clients; drawn at random."""
        rate = MOVES_PER_SECOND * max(1, len(self._order))
        return max(REBALANCE_MIN, node_count / rate) * (1.0 + self._random.random())


def parse_server(text: str) -> tuple[str, int]:
    """Host and port of a server as people write it: `HOST[:PORT]`, IPv6 with brackets when a port follows.

    Raises ValueError with the reason.
    """
    if text.startswith("["):
        host, bracket, tail = text[1:].partition("]")
        if not bracket or (tail and not tail.startswith(":")):
            raise ValueError(f"address {text}: the brackets do not match")
        port = tail[1:]
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        host, port = text, ""
    if not host:
        raise ValueError(f"address {text}: missing host")
    if not port:
        return host, PORT
    if not _PORT.fullmatch(port) or not 0 < int(port) < 65_536:
        raise ValueError(f"address {port}: invalid port")
    return host, int(port)


def literal(text: str) -> str | None:
    """`ip:port` of a server that is given by its IP, None when it has to be looked up. Raises ValueError."""
    host, port = parse_server(text)
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return None
    if ip.is_unspecified:
        raise ValueError(f"address {text}: no server listens at {host}")
    return endpoint(str(ip), port)


def endpoint(ip: str, port: int) -> str:
    """`ip:port`, IPv6 in brackets."""
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
