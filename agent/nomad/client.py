"""Calls to the RPC port of servers: one connection and its calls (`Link`), and how to get one (`Dialer`)."""

import contextlib
import ipaddress
import os
import socket
import ssl
from types import TracebackType
from typing import Final

import trio

from moot.agent.nomad.errors import Refused, Unreached
from moot.agent.nomad.framing import (
    ANSWER_MAX,
    ANSWER_VALUES_MAX,
    EMPTY,
    FrameReader,
    Head,
    Mode,
    encode_request,
)
from moot.agent.nomad.servers import parse_server
from moot.gossip.errors import WireError

TIMEOUT: Final = 10.0
"""Seconds for a connection, and for a call, unless the caller says otherwise; Nomad's for connections."""
RECEIVE_BYTES: Final = 65_536


class Link:
    """A connection in mode RPC. One call at a time; whoever comes meanwhile waits."""

    def __init__(self, stream: trio.abc.Stream, preface: bytes = b"") -> None:
        self._stream = stream
        self._preface = preface
        """Goes out with the first call."""
        self._reader = FrameReader(body_max=ANSWER_MAX, values_max=ANSWER_VALUES_MAX)
        self._busy = trio.Lock()
        self._seq = 0
        self._broken = False

    async def call(self, method: str, body: bytes = EMPTY, *, within: float = TIMEOUT) -> bytes:
        """The body of the answer.

        Raises Refused for an error that the other side answers, else Unreached; after that the link is of no use.
        """
        async with self._busy:
            if self._broken:
                raise Unreached("the connection is closed")
            self._seq += 1
            self._broken = True  # until the answer is here: who is cancelled in between leaves half of one behind
            try:
                with trio.fail_after(within):
                    answer = await self._exchange(self._preface + encode_request(method, self._seq, body))
            except trio.TooSlowError:
                raise Unreached(f"no answer to {method} in {within:g} s: i/o timeout") from None
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise Unreached(f"the connection is broken: {_cause(error)}") from error
            except WireError as error:
                raise Unreached(f"no answer but junk: {error}") from error
            self._broken = False
            self._preface = b""
            head, answered = answer
            if head.error:
                raise Refused(head.error)
            return answered

    async def _exchange(self, request: bytes) -> tuple[Head, bytes]:
        await self._stream.send_all(request)
        while (found := self._reader.take()) is None:
            data = await self._stream.receive_some(RECEIVE_BYTES)
            if not data:
                raise trio.BrokenResourceError("EOF")
            self._reader.feed(data)
        if found[0].seq != self._seq:
            raise WireError("sequence", f"an answer to call {found[0].seq}, which is not open")
        return found

    async def wait_lost(self) -> None:
        """Wait while nothing is asked, until the other side hangs up or says something unasked."""
        async with self._busy:
            if not self._broken:
                with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await self._stream.receive_some(1)
                self._broken = True

    async def aclose(self) -> None:
        """Close it without ceremony."""
        self._broken = True
        await trio.aclose_forcefully(self._stream)

    async def __aenter__(self) -> "Link":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class Dialer:
    """Connects to servers, by TLS when there is a context. It may be replaced at any time.

    The name that a server's certificate must have is `server.REGION.nomad`, if the context asks for one.
    """

    def __init__(self, region: str, *, tls: ssl.SSLContext | None = None) -> None:
        self.region = region
        self.tls = tls

    async def connect(self, address: str, *, region: str = "", within: float = TIMEOUT) -> Link:
        """A connection to `ip:port`, a server of this region or another. Raises Unreached."""
        try:
            with trio.fail_after(within):
                stream = await _dial(address)
                return await self._greet(stream, region or self.region)
        except trio.TooSlowError:
            raise Unreached(f"failed to get conn: dial tcp {address}: i/o timeout") from None
        except OSError as error:
            raise Unreached(f"failed to get conn: dial tcp {address}: connect: {_words(error)}") from error
        except trio.BrokenResourceError as error:
            raise Unreached(f"failed to get conn: {address}: {_cause(error)}") from error

    async def _greet(self, stream: trio.SocketStream, region: str) -> Link:
        context = self.tls
        if context is None:
            return Link(stream, bytes([Mode.RPC]))
        try:
            await stream.send_all(bytes([Mode.TLS]))
            secured = trio.SSLStream(stream, context, server_hostname=f"server.{region}.nomad")
            await secured.do_handshake()
        except BaseException:  # cancelled, too: nothing is left open
            await trio.aclose_forcefully(stream)
            raise
        return Link(secured, bytes([Mode.RPC]))

    async def call(
        self, address: str, method: str, body: bytes = EMPTY, *, region: str = "", within: float = TIMEOUT
    ) -> bytes:
        """One call on a connection of its own, `within` seconds for each of the two. Raises Refused, Unreached."""
        async with await self.connect(address, region=region, within=within) as link:
            return await link.call(method, body, within=within)

    async def ping(self, address: str, *, within: float = TIMEOUT) -> None:
        """Raises Unreached, or Refused, when no server answers there."""
        await self.call(address, "Status.Ping", within=within)


async def _dial(address: str) -> trio.SocketStream:
    """Raises OSError; waits as long as the kernel does."""
    host, port = parse_server(address)
    family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    sock = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        await sock.connect((host, port))
    except BaseException:  # cancelled, too: nothing is left open
        sock.close()
        raise
    return trio.SocketStream(sock)


def _words(error: OSError) -> str:
    return (os.strerror(error.errno) if error.errno else str(error)).lower()


def _cause(error: BaseException) -> str:
    """What the system or the TLS library says, as far as it says anything."""
    found = error.__cause__ or error
    if isinstance(found, ssl.SSLCertVerificationError):
        return f"tls: failed to verify certificate: {found.verify_message}"
    if isinstance(found, ssl.SSLError):
        return f"tls: {(found.reason or str(found)).lower().replace('_', ' ')}"
    return _words(found) if isinstance(found, OSError) else str(found) or type(found).__name__
