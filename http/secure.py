"""TLS around a connection: the standard library's `ssl` on any stream of trio's.

It does what a server needs and `trio.SSLStream` leaves out: a client whose handshake fails is sent the alert that
says why, one that speaks plain HTTP is told so in words, our half can be closed while we go on reading, and a long
body is encrypted piece by piece as the client takes it, so that a slow reader costs no second copy of it.
"""

import contextlib
import ssl

import trio

RECEIVE_BYTES = 16_640
"""One record of TLS, with its head and seal."""
PIECE_BYTES = 65_536
"""How much is encrypted ahead of what the client has taken."""
HANDSHAKE = 22
"""First byte of every TLS connection."""


class HandshakeFailed(Exception):
    """The client and we did not come to terms. `plain` tells that what came was no TLS at all."""

    def __init__(self, reason: str, *, plain: bool = False) -> None:
        super().__init__(reason)
        self.plain = plain


class SecureStream(trio.abc.HalfCloseableStream):
    """The server's side of TLS on `transport`. `handshake` comes first; one task may read while another writes.

    `turn` is shared by the connections of a server: a handshake is the dearest thing that a stranger can make us
    compute, so one step of one of them is done per round of the event loop, and others get their turn between.
    """

    def __init__(self, transport: trio.abc.HalfCloseableStream, context: ssl.SSLContext, turn: trio.Lock) -> None:
        self._transport = transport
        self._turn = turn
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._writing = trio.StrictFIFOLock()
        self._said_goodbye = False

    async def handshake(self) -> None:
        """Raises HandshakeFailed, or BrokenResourceError when the client is gone."""
        data = await self._transport.receive_some(RECEIVE_BYTES)
        if data and data[0] != HANDSHAKE:
            raise HandshakeFailed("no TLS", plain=True)
        while data:
            self._incoming.write(data)
            async with self._turn:
                finished, failure = self._step()
            if failure is not None:
                with contextlib.suppress(trio.BrokenResourceError):  # the alert is a courtesy
                    await self._flush()
                raise HandshakeFailed(failure.reason or str(failure)) from failure
            await self._flush()
            if finished:
                return
            data = await self._transport.receive_some(RECEIVE_BYTES)
        raise trio.BrokenResourceError("the client hung up during the handshake")

    def _step(self) -> tuple[bool, ssl.SSLError | None]:
        """As far as the handshake gets with what has come: whether it is over, and what is wrong."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False, None
        except ssl.SSLError as error:
            return False, error
        return True, None

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """What the client says; empty when it closed its half, in TLS or below it.

        After `send_eof` these are encrypted bytes, good for nothing but being counted.
        """
        await trio.lowlevel.checkpoint()
        while not self._said_goodbye:
            try:
                return self._tls.read(max_bytes or PIECE_BYTES)
            except ssl.SSLWantReadError:
                await self._flush()  # such as the answer to new keys
            except ssl.SSLError as error:
                raise trio.BrokenResourceError(str(error)) from error
            data = await self._transport.receive_some(RECEIVE_BYTES)
            if not data:
                return b""
            self._incoming.write(data)
        return bytes(await self._transport.receive_some(max_bytes))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        for at in range(0, len(view), PIECE_BYTES):
            try:
                self._tls.write(view[at : at + PIECE_BYTES])
            except ssl.SSLError as error:
                raise trio.BrokenResourceError(str(error)) from error
            await self._flush()

    async def wait_send_all_might_not_block(self) -> None:
        await self._transport.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """Say in TLS that nothing more comes, without waiting for the client's own goodbye."""
        if not self._said_goodbye:
            self._said_goodbye = True
            with contextlib.suppress(ssl.SSLError):  # the client's goodbye has not come yet
                self._tls.unwrap()
            await self._flush()
        await self._transport.send_eof()

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def _flush(self) -> None:
        """Send what TLS has ready, in the order in which it was made."""
        if self._outgoing.pending:
            async with self._writing:
                await self._transport.send_all(self._outgoing.read())
