"""KnownHosts: answers only to names that are the agent's, so that no page can take a name of its own for ours.

A page of `evil.example` may point that name at our address after it was loaded (DNS rebinding). To the browser the
agent is then the page's own site, and it may read and send what it likes; only Host tells. What stands there must be
an address, `localhost`, one of the agent's own names, or one that its operator lists. Over TLS any name will do: a
browser has made sure that our certificate is made out to it.
"""

import ipaddress
import re
from collections.abc import Iterable

from moot.gossip.errors import ConfigError
from moot.http.connection import plain_text
from moot.http.exchange import Application, Request, Response

LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
PATTERN = re.compile(rf"\*|(\*\.)?{LABEL}(\.{LABEL})*\.?")
HOST = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[^\s:\[\]@/?#]+))(?::[0-9]*)?")
SHOWN_CHARS_MAX = 100


def host_pattern(text: str) -> str:
    """A name as it may be listed: `name.example`, `*.example` for all below it, or `*`. Raises ConfigError."""
    pattern = text.lower()
    if len(pattern) > 254 or not PATTERN.fullmatch(pattern):
        raise ConfigError(f"{text!r} is no host name; such as nomad.example, *.example, or * for any")
    return pattern.removesuffix(".")


def own_names(names: Iterable[str]) -> frozenset[str]:
    """Those that can be host names, as patterns; for what a node is called, which may be any text."""
    return frozenset(host_pattern(name) for name in names if "*" not in name and PATTERN.fullmatch(name.lower()))


class KnownHosts:
    """An application around another. `names` are patterns as `host_pattern` gives them, and may be replaced."""

    def __init__(self, application: Application, names: Iterable[str] = ()) -> None:
        self._application = application
        self.names = frozenset(names)

    async def __call__(self, request: Request) -> Response:
        host = request.header(b"host")
        if request.secure or not host or self.knows(host):
            return await self._application(request)
        shown = "".join(char for char in host[:SHOWN_CHARS_MAX] if "!" <= char <= "~")
        return plain_text(
            403,
            f"this agent does not go by the name {shown}; ask it by IP address, or list the name in moot.http_hosts",
        )

    def knows(self, host: str) -> bool:
        """Whether the value of Host is a name of ours; its port does not matter."""
        parts = HOST.fullmatch(host)
        if parts is None:
            return False
        name = (parts["six"] or parts["name"]).lower().removesuffix(".")
        if name == "localhost" or name.endswith(".localhost") or _is_address(name):
            return True
        _, _, above = name.partition(".")
        parents = (f"*.{parent}" for parent in _parents(above))
        return "*" in self.names or name in self.names or any(each in self.names for each in parents)


def _parents(name: str) -> Iterable[str]:
    """A name and all above it."""
    while name:
        yield name
        _, _, name = name.partition(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
