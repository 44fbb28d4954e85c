"""The addresses of this host, for a node that listens on all of them and must tell the others one."""

import fcntl
import ipaddress
import socket
import struct

from moot.gossip.errors import ConfigError
from moot.gossip.record import Address

_SIOCGIFADDR = 0x8915
"""Linux: the first IPv4 address of an interface."""
_NAME_SIZE = 15
_IP_OFFSET = 20


def interface_addresses() -> list[ipaddress.IPv4Address]:
    """The first IPv4 address of each interface that has one, in the kernel's order."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:_NAME_SIZE])
            try:
                answer = fcntl.ioctl(sock, _SIOCGIFADDR, request)
            except OSError:
                continue  # an interface without an IPv4 address
            found.append(ipaddress.IPv4Address(answer[_IP_OFFSET : _IP_OFFSET + 4]))
    return found


def advertised(advertise: tuple[str, int] | None, bound: Address) -> Address:
    """What the others are told: `advertise` when given (port 0: the bound one), else the bound address.

    For a wildcard the first private address of the host, as Nomad chooses. Raises ConfigError when there is
    none, or when `advertise` is no IP address.
    """
    if advertise is not None:
        try:
            return Address.parse(advertise[0], advertise[1] or bound.port)
        except ValueError as error:
            raise ConfigError(f"advertise address must be an IP address, got {advertise[0]!r}") from error
    if any(bound.ip):
        return bound
    for address in interface_addresses():
        if address.is_private and not address.is_loopback and not address.is_link_local:
            return Address(address.packed, bound.port)
    raise ConfigError("no private address found on this host to tell the others: set the advertise address")
