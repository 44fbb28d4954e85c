"""A tap: what is sent to an agent by UDP passes through here, and is dropped when its sender is cut off."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.launching import GOSSIP_PORT

END = b""
"""The packet that ends the tap."""


class Tap:
    """Passes on what comes to `outside`, an address that the agent at `inside` advertises.

    One way is enough: agents say in their pings where the ack goes to, and the agent itself sends directly.
    """

    def __init__(self, outside: str, inside: str) -> None:
        self._socket = socket.socket(type=socket.SOCK_DGRAM)
        self._socket.bind((outside, GOSSIP_PORT))
        self._inside = (inside, GOSSIP_PORT)
        self._cut: frozenset[str] = frozenset()

    def cut(self, *hosts: str) -> None:
        """From now on drop what these send."""
        self._cut = frozenset(hosts)

    def run(self) -> None:
        while True:
            packet, (host, port) = self._socket.recvfrom(65536)
            if packet == END and (host, port) == self._socket.getsockname():
                return
            if host not in self._cut:
                self._socket.sendto(packet, self._inside)

    def end(self) -> None:
        self._socket.sendto(END, self._socket.getsockname())

    def close(self) -> None:
        self._socket.close()


@contextmanager
def tap(outside: str, inside: str) -> Iterator[Tap]:
    """A tap that runs during the block."""
    made = Tap(outside, inside)
    thread = threading.Thread(target=made.run, name="tap")
    thread.start()
    try:
        yield made
    finally:
        made.end()
        thread.join()
        made.close()
