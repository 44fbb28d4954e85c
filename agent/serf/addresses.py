"""Addresses as Serf's options write them, and Go's words for what is wrong with one."""

import contextlib
import ipaddress
import socket

PORT_MAX = 65535
ANY_HOST = "0.0.0.0"


class AddressError(ValueError):
    """No address; the text says why, in Go's words."""


def split(text: str) -> tuple[str, str]:
    """`host:port` or `[v6]:port` apart, either part perhaps empty. Raises AddressError."""
    if text.startswith("["):
        host, bracket, after = text[1:].partition("]")
        if not bracket:
            raise AddressError(f"address {text}: missing ']' in address")
        if not after.startswith(":"):
            raise AddressError(f"address {text}: missing port in address")
        return host, after[1:]
    host, colon, port = text.rpartition(":")
    if not colon:
        raise AddressError(f"address {text}: missing port in address")
    if ":" in host:
        raise AddressError(f"address {text}: too many colons in address")
    return host, port


def port_of(text: str) -> int:
    """A port by number or by the name of a TCP service. Raises AddressError."""
    if text.isascii() and text.isdigit():
        if int(text) > PORT_MAX:
            raise AddressError(f"address {text}: invalid port")
        return int(text)
    try:
        return socket.getservbyname(text, "tcp")
    except OSError:
        raise AddressError(f"address tcp/{text}: unknown port") from None


def with_default_port(text: str, port: int) -> tuple[str, int]:
    """IP and port of an address whose port may be missing; without a host, all addresses of this one.

    Raises AddressError. A bare IPv6 address is none, it needs brackets.
    """
    try:
        host, given = split(text)
    except AddressError as error:
        if "missing port" not in str(error):
            raise
        host, given = split(f"{text}:{port}")
    return resolve(host) if host else ANY_HOST, port_of(given) if given else 0


def resolve(host: str) -> str:
    """The IP of a name, an IPv4 one if there is any. Raises AddressError."""
    with contextlib.suppress(ValueError):  # no literal, so a name
        return str(ipaddress.ip_address(host))
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, ValueError):
        raise AddressError(f"lookup {host}: no such host") from None
    return str(min(found, key=lambda entry: entry[0] is not socket.AF_INET)[4][0]).partition("%")[0]
