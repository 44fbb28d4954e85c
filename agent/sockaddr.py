"""Addresses of this host by a template such as `{{ GetInterfaceIP "eth0" }}`, as Nomad's files have them.

The functions that deployments use are here; of the others an error says what to write instead.
"""

import ipaddress
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from moot.agent.serf.interfaces import IpAddress, all_addresses

_TEMPLATE = re.compile(r"\s*\{\{-?(.*?)-?\}\}\s*", re.DOTALL)
_WORD = re.compile(r'\s*(?:(\|)|"((?:[^"\\]|\\.)*)"|`([^`]*)`|([^\s|"`]+))')
_ROUTES: Final = Path("/proc/net/route")
_KNOWN: Final = (
    "GetPrivateIP, GetPublicIP, GetInterfaceIP, GetAllInterfaces, GetDefaultInterfaces, GetPrivateInterfaces,"
    " GetPublicInterfaces, include, exclude, limit, attr"
)


@dataclass(frozen=True, slots=True)
class Place:
    """An address of this host, and the interface that has it."""

    interface: str
    address: IpAddress


def is_template(text: str) -> bool:
    return text.lstrip().startswith("{{")


def resolve(text: str) -> str:
    """The one IP that a template stands for, or what stands outside of templates. Raises ValueError."""
    found = _TEMPLATE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no template of the kind {{{{ GetPrivateIP }}}}")
    hosts = _run(_stages(found[1]), _places())
    if len(hosts) != 1:
        many = f"stands for {len(hosts)} addresses ({', '.join(hosts)})" if hosts else "finds no address on this host"
        raise ValueError(f"{text.strip()} {many}; it must be one: write the IP itself")
    return hosts[0]


def _stages(inside: str) -> list[list[str]]:
    """The words of each part between the bars."""
    stages: list[list[str]] = [[]]
    at, inside = 0, inside.strip()
    while at < len(inside):
        word = _WORD.match(inside, at)
        if word is None:
            raise ValueError(f"{inside!r} cannot be read")
        at = word.end()
        if word[1]:
            stages.append([])
        else:
            stages[-1].append(next(part for part in word.groups()[1:] if part is not None))
    return stages


def _run(stages: Sequence[Sequence[str]], places: Sequence[Place]) -> list[str]:
    (name, *arguments), *filters = stages if stages[0] else [["nothing"]]
    source = _SOURCES.get(name)
    if source is None or len(arguments) != (name == "GetInterfaceIP"):
        raise _unknown(stages[0])
    chosen = source(places, *arguments)
    for words in filters:
        match words:
            case ["include" | "exclude" as which, kind, pattern] if kind in _TESTS:
                test = _TESTS[kind]
                chosen = [place for place in chosen if test(place, pattern) is (which == "include")]
            case ["limit", digits] if digits.isdecimal():
                chosen = chosen[: int(digits)]
            case ["attr", "address"]:
                pass
            case _:
                raise _unknown(words)
    return list(dict.fromkeys(str(place.address) for place in chosen))


def _unknown(words: Sequence[str]) -> ValueError:
    return ValueError(f"the template's {' '.join(words)!r} is not known here, only {_KNOWN}; write the IP itself")


def _places() -> list[Place]:
    """All addresses, IPv4 first, and among them those of the interface of the default route first."""
    names = dict(socket.if_nameindex())
    default = _default_interface()
    found = [Place(names.get(index, ""), address) for index, address in all_addresses()]
    return sorted(found, key=lambda place: (place.interface != default, place.address.version))


def _default_interface() -> str:
    try:
        rows = [line.split() for line in _ROUTES.read_text("ascii").splitlines()[1:]]
    except OSError:
        return ""
    return next((row[0] for row in rows if len(row) > 7 and row[1] == row[7] == "00000000"), "")


def _forwardable(place: Place) -> bool:
    address = place.address
    return not (address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified)


def _private(places: Sequence[Place]) -> list[Place]:
    return [place for place in places if _forwardable(place) and place.address.is_private]


def _public(places: Sequence[Place]) -> list[Place]:
    return [place for place in places if _forwardable(place) and not place.address.is_private]


def _default(places: Sequence[Place]) -> list[Place]:
    default = _default_interface()
    return [place for place in places if place.interface == default]


def _interface(places: Sequence[Place], name: str) -> list[Place]:
    return [place for place in places if place.interface == name and not place.address.is_link_local][:1]


def _in_network(place: Place, pattern: str) -> bool:
    try:
        return place.address in ipaddress.ip_network(pattern, strict=False)
    except ValueError:
        raise ValueError(f"{pattern!r} in a template is no network such as 10.0.0.0/8") from None


def _has_name(place: Place, pattern: str) -> bool:
    try:
        return re.search(pattern, place.interface) is not None
    except re.error:
        raise ValueError(f"{pattern!r} in a template is no regular expression") from None


def _has_type(place: Place, pattern: str) -> bool:
    return pattern.lower() in ("ip", f"ipv{place.address.version}")


_TESTS: Final[Mapping[str, Callable[[Place, str], bool]]] = {
    "network": _in_network,
    "name": _has_name,
    "type": _has_type,
}
_SOURCES: Final[Mapping[str, Callable[..., list[Place]]]] = {
    "GetPrivateIP": lambda places: _private(places)[:1],
    "GetPublicIP": lambda places: _public(places)[:1],
    "GetInterfaceIP": _interface,
    "GetAllInterfaces": list,
    "GetDefaultInterfaces": _default,
    "GetPrivateInterfaces": _private,
    "GetPublicInterfaces": _public,
}
