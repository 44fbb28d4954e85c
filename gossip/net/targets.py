"""Where a join goes: `[name/]host[:port]` as people write it, and the addresses that it stands for."""

import contextlib
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass

import trio

from moot.gossip.record import Address


class ResolveError(ValueError):
    """A join target that stands for no address; the text is the cause alone."""


@dataclass(frozen=True, slots=True)
class JoinOutcome:
    """How one attempt of a join ended. A name that stands for several addresses makes several.

    `target` is what the caller gave, `address` what was dialled (None when it came to nothing), `cause` the
    bare reason of a failure (None for success).
    """

    target: str
    address: Address | None
    cause: str | None

    @property
    def ip(self) -> str:
        """The IP that was dialled, empty when it did not come to that."""
        return self.address.host if self.address else ""

    @property
    def error(self) -> str | None:
        """The failure as Nomad words it, None for success."""
        if self.cause is None:
            return None
        if self.address is None:
            return f"Failed to resolve {self.target}: {self.cause}"
        return f"Failed to join {self.ip}: {self.cause}"


def parse_target(text: str, default_port: int) -> tuple[str, int]:
    """Host and port of a join target. An IPv6 address may stand bare when it has no port.

    Raises ResolveError. The name before a slash only tells people whom they mean; it is not sent.
    """
    name, slash, rest = text.rpartition("/")
    if slash and not name:
        raise ResolveError("empty node name provided")
    if rest.startswith("["):
        host, bracket, tail = rest[1:].partition("]")
        if not bracket or (tail and not tail.startswith(":")):
            raise ResolveError("the brackets of an IPv6 address do not match")
        port = tail[1:]
    elif rest.count(":") == 1:
        host, _, port = rest.partition(":")
    else:
        host, port = rest, ""
    if not host:
        raise ResolveError("no host given")
    return host, _port(port) if port else default_port


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ResolveError(f'port "{text}" is not a number')
    if len(text) > 5 or not 0 < int(text) < 65_536:
        raise ResolveError(f'strconv.ParseUint: parsing "{text}": value out of range')
    return int(text)


async def resolve_target(text: str, default_port: int, within: float) -> Sequence[Address]:
    """All addresses that a join target stands for now, each once, in the resolver's order.

    Raises ResolveError. Names are looked up anew each time: pools are often addressed by names that change.
    """
    host, port = parse_target(text, default_port)
    with contextlib.suppress(ValueError):  # no literal, so a name
        return [Address(ipaddress.ip_address(host).packed, port)]
    try:
        with trio.fail_after(within):
            found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except trio.TooSlowError as error:
        raise ResolveError(f"lookup {host}: i/o timeout") from error
    except (OSError, ValueError) as error:
        # a ValueError is a name that no resolver takes: too long a label, a null byte
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ResolveError(f"lookup {host}: {reason.lower()}") from error
    return list(dict.fromkeys(Address.parse(str(entry[4][0]).partition("%")[0], port) for entry in found))
