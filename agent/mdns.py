"""Multicast DNS by zeroconf, in blocking calls for worker threads. Loaded only when discovery is wanted.

Serf's announcements are plain DNS-SD (RFC 6763) with one custom: its client takes no answer without a TXT
record. A service of ours looks the same on the wire: PTR, SRV, A or AAAA, and TXT.
"""

import hashlib
import ipaddress
import logging
import re
import socket
import threading
import time
from collections.abc import Callable

from zeroconf import Error as ZeroconfError
from zeroconf import InterfaceChoice, IPVersion, ServiceBrowser, ServiceInfo, ServiceStateChange, Zeroconf

from moot.gossip.record import Address

TTL = 120
"""Seconds for which an announcement holds, as Serf's."""
PRIORITY, WEIGHT = 10, 1
NAMES_MAX = 256
"""Instances that are remembered: anybody on the network can invent more."""
ASK_WITHIN = 2.0
"""Seconds in which all instances must tell their address that did not so at once."""
_PLAIN = re.compile("[A-Za-z0-9_-]{1,63}")

# what it has to say about bad packets and lost interfaces is nothing for our output
logging.getLogger("zeroconf").addHandler(logging.NullHandler())
logging.getLogger("zeroconf").propagate = False


def instance_label(name: str) -> str:
    """A node's name as one DNS label: the name itself if it can be one, else a likeness with a hash."""
    if _PLAIN.fullmatch(name):
        return name
    likeness = re.sub("[^A-Za-z0-9_-]", "-", name)[:50]
    return f"{likeness}-{hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"


class Mdns:
    """One announced service, and the others of its type. Every method blocks; `on_change` is called by a thread
    of zeroconf's whenever something appeared, changed or went.

    Raises OSError when there is no network to do it on.
    """

    def __init__(
        self, pool: str, name: str, address: Address, interface: str | None, on_change: Callable[[], None]
    ) -> None:
        """`interface` is the IP of the only interface to use, None for all."""
        self._type = f"_serf_{pool}._tcp.local."
        self._on_change = on_change
        self._version = IPVersion.V6Only if ":" in address.host else IPVersion.V4Only
        text = f"Serf '{pool}' cluster".encode()
        instance = f"{instance_label(name)}.{self._type}"
        self._service = ServiceInfo(
            self._type,
            instance,
            addresses=[ipaddress.ip_address(address.host).packed],
            port=address.port,
            priority=PRIORITY,
            weight=WEIGHT,
            properties=bytes([len(text)]) + text,
            # Serf's client loses an address that stands before the SRV record which names its host, and zeroconf
            # puts them in any order: with one name for both there is nothing to lose
            server=instance,
            host_ttl=TTL,
            other_ttl=TTL,
        )
        self._interface = interface
        self._names: dict[str, None] = {}
        self._lock = threading.Lock()
        self._zeroconf: Zeroconf | None = None
        self._browser: ServiceBrowser | None = None

    def open(self) -> None:
        """Announce ourselves."""
        if self._interface is not None:
            # zeroconf would notice, too, but leave a socket open
            family = socket.AF_INET6 if ":" in self._interface else socket.AF_INET
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.bind((self._interface, 0))
        interfaces = InterfaceChoice.All if self._interface is None else [self._interface]
        try:
            self._zeroconf = Zeroconf(interfaces=interfaces, ip_version=self._version)
            # two pools, or a restart, may announce one name; what counts is the address
            self._zeroconf.register_service(self._service, strict=False, cooperating_responders=True)
        except ZeroconfError as error:
            raise OSError(str(error) or type(error).__name__) from error

    def poll(self) -> None:
        """Ask who is there, and go on listening; what is known already is reported again."""
        assert self._zeroconf is not None
        if self._browser is not None:
            self._browser.cancel()
        self._browser = ServiceBrowser(self._zeroconf, self._type, handlers=[self._noticed])

    def found(self) -> list[Address]:
        """Where the instances are that are known now, ourselves included, in order of their names."""
        with self._lock:
            names = sorted(self._names)
        until = time.monotonic() + ASK_WITHIN
        found: dict[Address, None] = {}
        for name in names:
            found |= dict.fromkeys(self._locate(name, until))
        return list(found)

    def _locate(self, name: str, until: float) -> list[Address]:
        """Where one instance is; nowhere if it does not tell by then, or its name is none."""
        assert self._zeroconf is not None
        try:
            info = ServiceInfo(self._type, name)
            known = info.load_from_cache(self._zeroconf)
            left = until - time.monotonic()
            if not known and left > 0:
                known = info.request(self._zeroconf, min(left, ASK_WITHIN / 4) * 1000)
        except ZeroconfError:
            return []
        if not known or not info.port:
            return []
        return [Address.parse(host, info.port) for host in info.parsed_addresses(self._version)]

    def close(self) -> None:
        """Say goodbye and end."""
        if self._zeroconf is not None:
            self._zeroconf.close()

    def _noticed(self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        """Zeroconf's callback; the names of its parameters are part of its interface."""
        with self._lock:
            if state_change is ServiceStateChange.Removed:
                self._names.pop(name, None)
            elif len(self._names) < NAMES_MAX:
                self._names[name] = None
        self._on_change()
