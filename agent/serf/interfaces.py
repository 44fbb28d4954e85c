"""All addresses of one network interface, asked of the kernel over netlink (Linux)."""

import ipaddress
import socket
import struct
from collections.abc import Iterator
from typing import Final

_NEW_ADDRESS: Final = 20
_GET_ADDRESSES: Final = 22
_DONE: Final = 3
_REQUEST_DUMP: Final = 0x301
_HEADER: Final = struct.Struct("=IHHII")
"""Length with the header, type, flags, sequence, port."""
_BODY: Final = struct.Struct("=BBBBi")
"""Family, prefix length, flags, scope, index of the interface."""
_ATTRIBUTE: Final = struct.Struct("=HH")
"""Length with the header, type; padded to four bytes."""
_ADDRESS: Final = 1
_LOCAL: Final = 2
_READ_SIZE: Final = 65536

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def addresses_of(interface: str) -> list[IpAddress]:
    """Its addresses in the kernel's order, IPv4 first. Raises OSError when there is no such interface."""
    index = socket.if_nametoindex(interface)
    found = [address for owner, address in all_addresses() if owner == index]
    return sorted(found, key=lambda address: address.version)


def all_addresses() -> Iterator[tuple[int, IpAddress]]:
    """Every address of this host, with the index of its interface."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as kernel:
        size = _HEADER.size + _BODY.size
        kernel.send(_HEADER.pack(size, _GET_ADDRESSES, _REQUEST_DUMP, 1, 0) + _BODY.pack(0, 0, 0, 0, 0))
        while True:
            data = kernel.recv(_READ_SIZE)
            while data:
                size, kind = _HEADER.unpack_from(data)[:2]
                if kind == _DONE:
                    return
                if kind == _NEW_ADDRESS:
                    yield _read(data[_HEADER.size : size])
                data = data[size:]


def _read(message: bytes) -> tuple[int, IpAddress]:
    index = _BODY.unpack_from(message)[4]
    attributes = {}
    rest = message[_BODY.size :]
    while rest:
        size, kind = _ATTRIBUTE.unpack_from(rest)
        attributes[kind] = rest[_ATTRIBUTE.size : size]
        rest = rest[(size + 3) & ~3 :]
    # of a point-to-point link, _ADDRESS is the far end
    return index, ipaddress.ip_address(attributes.get(_LOCAL) or attributes[_ADDRESS])
