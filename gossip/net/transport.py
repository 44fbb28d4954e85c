"""Transport: one UDP and one TCP socket on the same address and port.

One task waits for the UDP socket and then drains it; packets are sent at once, without waiting, by a plain
non-blocking `sendto` on the same socket, so that peers see our own address as the source. No trio call is
made per packet: waiting for each packet costs twice what the kernel asks, queueing them between tasks four
times.
"""

import errno
import functools
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Protocol, Self

import trio

from moot.gossip.counters import Counters
from moot.gossip.errors import ConfigError
from moot.gossip.record import Address

PACKET_MAX = 65_535
"""Longest datagram that is read whole; IP allows no longer one."""
RECEIVE_BUFFER = 2 * 1024 * 1024
"""Bytes of kernel buffer asked for, as memberlist does; halved until the kernel agrees."""
DRAIN_MAX = 64
"""Packets handled in one go before timers and streams get their turn."""
DRAIN_TIME = 0.005
"""Seconds that handling them may take; the last one is brought to its end, which takes a few milliseconds more
for the worst of packets."""
CATCH_UP_MAX = 4096
"""Packets handled in one go after the process was held up: more than the kernel keeps for us."""
CATCH_UP_TIME = 0.1
"""Seconds that catching up may take. Real traffic is through long before; this is for a flood."""
BIND_ATTEMPTS = 64
"""How many free TCP ports are tried until the UDP port of the same number is free too."""
ACCEPT_PAUSE = 0.1
"""Seconds to wait when the process has no descriptor left for another connection."""

_OUT_OF_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


class ByteStream(Protocol):
    """What is needed of a connection. trio's own SocketStream is one."""

    @property
    def socket(self) -> trio.socket.SocketType: ...

    async def send_all(self, data: bytes | bytearray) -> None: ...

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray: ...

    async def aclose(self) -> None: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Transport:
    """Packets and streams over sockets that `bind` opened. `address` is where they are bound."""

    def __init__(self, udp: socket.socket, tcp: socket.socket, counters: Counters) -> None:
        self._udp = udp
        self._listener = trio.SocketListener(trio.socket.from_stdlib_socket(tcp))
        self._counters = counters
        host, port = udp.getsockname()[:2]
        self.address = to_address(host.partition("%")[0], port)

    @classmethod
    def bind(cls, host: str, port: int, counters: Counters) -> Self:
        """Listen on the IP literal `host`. Port 0 is any port that is free for both UDP and TCP.

        Raises ConfigError when `host` is no IP address or the port cannot be had.
        """
        if not 0 <= port < 65_536:
            raise ConfigError(f"bind port must be from 0 to 65535, got {port}")
        try:
            where = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)[0]
        except (OSError, UnicodeError) as error:
            raise ConfigError(f"bind address must be an IP address, got {host!r}") from error
        family, sockaddr = where[0], where[4]
        for attempt in range(1, BIND_ATTEMPTS + 1):
            try:
                return cls(*_bind_pair(family, sockaddr), counters)
            except OSError as error:
                if port != 0 or error.errno != errno.EADDRINUSE or attempt == BIND_ATTEMPTS:
                    raise ConfigError(f"cannot listen on {_join(host, port)}: {_reason(error)}") from error
        raise AssertionError("the loop above returns or raises")

    def send_packet(self, data: bytes, to: Address) -> None:
        """Send one datagram now, or drop and count it: with a full kernel buffer, or where no route leads."""
        counters = self._counters
        try:
            self._udp.sendto(data, _sockaddr(to, self._udp.family))
        except BlockingIOError:
            counters.dropped_out += 1
        except OSError as error:
            counters.unsent[errno.errorcode.get(error.errno or 0, "EUNKNOWN")] += 1
        else:
            counters.packets_out += 1
            counters.bytes_out += len(data)

    async def receive_packets(self, handle: Callable[[bytes, Address], None]) -> None:
        """Hand over every datagram that is not empty, for ever."""
        while True:
            await self.wait_packets()
            self.drain(handle, DRAIN_MAX, DRAIN_TIME)

    async def wait_packets(self) -> None:
        """Wait until there are some to be handed over."""
        await trio.lowlevel.wait_readable(self._udp)

    def drain(self, handle: Callable[[bytes, Address], None], most: int, within: float) -> None:
        """Hand over the datagrams that are here already, at most so many, and none after `within` seconds."""
        udp, counters = self._udp, self._counters
        until = trio.current_time() + within
        for _ in range(most):
            if trio.current_time() >= until:
                return
            try:
                data, source = udp.recvfrom(PACKET_MAX)
            except BlockingIOError:
                return
            except OSError as error:
                # an ICMP answer to something we sent; the next read goes on behind it
                counters.unsent[errno.errorcode.get(error.errno or 0, "EUNKNOWN")] += 1
                continue
            counters.packets_in += 1
            counters.bytes_in += len(data)
            if data:
                handle(data, to_address(source[0], source[1]))

    async def accept_streams(self, serve: Callable[[ByteStream], Awaitable[None]], nursery: trio.Nursery) -> None:
        """Start `serve` in `nursery` for every connection, for ever."""
        while True:
            try:
                stream = await self._listener.accept()
            except OSError as error:
                if error.errno not in _OUT_OF_ROOM:
                    raise
                self._counters.streams_refused += 1
                await trio.sleep(ACCEPT_PAUSE)
            else:
                nursery.start_soon(serve, stream)

    async def dial(self, to: Address) -> ByteStream:
        """Connect. Raises OSError; waits as long as the kernel does, so call it under a deadline."""
        sock = trio.socket.socket(socket.AF_INET6 if ":" in to.host else socket.AF_INET, socket.SOCK_STREAM)
        try:
            await sock.connect((to.host, to.port))
        except BaseException:  # cancelled, too: nothing is left open
            sock.close()
            raise
        return trio.SocketStream(sock)

    def close(self) -> None:
        """Close both sockets. Whoever waits on them gets an error."""
        trio.lowlevel.notify_closing(self._udp)
        self._udp.close()
        self._listener.socket.close()


def peer_address(stream: ByteStream) -> Address | None:
    """The other end; None when it is gone already."""
    try:
        name = stream.socket.getpeername()
    except OSError:
        return None
    return to_address(name[0].partition("%")[0], name[1])


@functools.lru_cache(maxsize=4096)
def to_address(host: str, port: int) -> Address:
    """From what the kernel says of a socket. A mapped IPv4 address becomes the four bytes it stands for."""
    ip = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return Address(ip.packed, port)


@functools.lru_cache(maxsize=4096)
def _sockaddr(to: Address, family: int) -> tuple[str, int]:
    """What the kernel wants for `to` on a socket of that family. Raises OSError when nothing fits."""
    host = to.host
    if not host or (family == socket.AF_INET and ":" in host):
        raise OSError(errno.EAFNOSUPPORT, "no such address on this socket")
    if family == socket.AF_INET6 and ":" not in host:
        host = f"::ffff:{host}"
    return host, to.port


def _bind_pair(family: int, sockaddr: tuple[Any, ...]) -> tuple[socket.socket, socket.socket]:
    """A UDP and a listening TCP socket on one port. Raises OSError with nothing left open."""
    tcp = socket.socket(family, socket.SOCK_STREAM)
    udp = socket.socket(family, socket.SOCK_DGRAM)
    try:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for sock in (tcp, udp):
            sock.setblocking(False)
            if family == socket.AF_INET6:
                # the wildcard hears IPv4 too, as Go's does
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, sockaddr[0] != "::")
        tcp.bind(sockaddr)
        udp.bind((sockaddr[0], tcp.getsockname()[1], *sockaddr[2:]))
        tcp.listen(socket.SOMAXCONN)
        _widen_receive_buffer(udp)
    except BaseException:  # cancelled, too: nothing is left open
        tcp.close()
        udp.close()
        raise
    return udp, tcp


def _widen_receive_buffer(udp: socket.socket) -> None:
    """Ask for a long queue, so that a burst of gossip is not lost; with less when the kernel refuses."""
    size = RECEIVE_BUFFER
    while size > 0:
        try:
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
        except OSError:
            size //= 2
        else:
            return


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
