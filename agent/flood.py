"""Flood: a hostile peer of a lab's cluster, which is no member of it. It knows no key.

It sends forged claims, junk, lengths that lie and packets that expand by UDP, and the like by TCP, where it also
opens connections and says nothing. Whatever it sends stays on this machine.
"""

import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from random import Random
from typing import Final

from moot.gossip.config import WireConfig
from moot.gossip.record import Address
from moot.gossip.sim.flood import EVERY, Forger
from moot.gossip.wire.limits import PACKET_MAX
from moot.gossip.wire.packet import PacketCodec, compressed

STREAM_EVERY: Final = 10
"""A connection for so many packets."""
OPEN_MAX: Final = 16
"""Connections that are left open at a time."""
DIAL_PATIENCE: Final = 0.5
JUNK_MAX: Final = 1400
BOMB: Final = compressed(b"\x08\xee" + bytes(PACKET_MAX))
"""Expands to more than any packet may hold."""
LIES: Final = (
    b"\x06\xdf\xff\xff\xff\xff",  # a push/pull whose header has four thousand million fields
    b"\x06\x83\xa5Nodes\xce\x7f\xff\xff\xff\xacUserStateLen\xce\x7f\xff\xff\xff\xa4Join\xc3",
    b"\x0a\xff\xff\xff\xff",  # an encrypted stream of 4 GiB
    b"\x09\x82\xa4Algo\x00\xa3Buf\xc6\xff\xff\xff\xff",
    b"\x91" * 20_000,
)
Victims = Mapping[str, str]


class Flood:
    """`victims` tells whom to send to, by name with gossip address, and `host` is the address to send from.

    It goes on in a thread of its own while there are any, until `end`.
    """

    def __init__(self, host: str, members: Sequence[str], seed: int, victims: Callable[[], Victims]) -> None:
        self._host = host
        self._rng = Random(f"{seed}/flood")
        self._forger = Forger(self._rng, members, Address.parse(host, 7946))
        self._codec = PacketCodec(WireConfig(), None)
        self._victims = victims
        self._open: list[socket.socket] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lab-flood", daemon=True)

    def begin(self) -> None:
        """Start to send."""
        self._thread.start()

    def end(self) -> None:
        """Send no more, and close what is open. Safe to call again, or without a beginning."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        count = 0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as packets:
            packets.bind((self._host, 0))
            packets.setblocking(False)
            while not self._over.wait(EVERY):
                victims = self._victims()
                for address in victims.values():
                    count += 1
                    host, _, port = address.rpartition(":")
                    with suppress(OSError):  # nobody there, or its buffer is full
                        packets.sendto(self._packet(), (host, int(port)))
                    if count % STREAM_EVERY == 0:
                        self._stream((host, int(port)))
                if not victims:
                    self._hang_up(0)
        self._hang_up(0)

    def _packet(self) -> bytes:
        kind = self._rng.random()
        if kind < 0.8:
            return self._codec.seal([self._forger.draw()], self._rng.random() < 0.5)
        if kind < 0.9:
            return self._rng.randbytes(self._rng.randrange(JUNK_MAX))
        return self._rng.choice((BOMB, *LIES))

    def _stream(self, to: tuple[str, int]) -> None:
        with suppress(OSError):  # it hangs up, which is its right
            stream = socket.create_connection(to, DIAL_PATIENCE, (self._host, 0))
            self._open.append(stream)
            stream.setblocking(False)
            lie = self._rng.choice((b"", self._rng.randbytes(JUNK_MAX), *LIES))
            if lie:
                stream.send(lie)
        self._hang_up(OPEN_MAX)

    def _hang_up(self, most: int) -> None:
        while len(self._open) > most:
            self._open.pop(0).close()
