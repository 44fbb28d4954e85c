"""Flood: a hostile peer that is no member sends forged claims to members. What a real one sends beside them, junk
bytes and bombs, ends in the codecs and reaches no core."""

from collections.abc import Sequence
from random import Random
from typing import Final

from moot.gossip.record import Address
from moot.gossip.serf.messages import JoinIntent, LeaveIntent, UserEvent
from moot.gossip.sim.cluster import SimCluster
from moot.gossip.swim.member import Member, Status
from moot.gossip.swim.messages import Ack, Alive, Dead, Nack, PacketMessage, Ping, Suspect, User
from moot.gossip.wire.serf_codec import encode_serf

SOURCE: Final = Address(bytes((10, 255, 255, 254)), 7946)
EVERY = 0.05
"""Seconds between two packets to one member."""
INCARNATIONS = 20
"""Claims are forged with incarnations up to this. One at the end of uint32 could never be outbid."""
GHOSTS = 5


class Forger:
    """Draws claims about members of these names, and about ghosts that are said to live at `source`."""

    def __init__(self, rng: Random, names: Sequence[str], source: Address) -> None:
        self._rng = rng
        self._names = names
        self._source = source

    def draw(self) -> PacketMessage:
        """The next one."""
        rng = self._rng
        name, accuser = rng.choice(self._names), rng.choice(self._names)
        incarnation = rng.randrange(INCARNATIONS)
        ghost = Member(f"ghost-{rng.randrange(GHOSTS)}", self._source, 1 + incarnation, Status.ALIVE)
        intents = (JoinIntent(rng.randrange(1 << 20), name), LeaveIntent(rng.randrange(1 << 20), name))
        body = rng.choice((*intents, UserEvent(rng.randrange(1 << 20), "forged", b"", False)))
        return rng.choice(
            (
                Suspect(incarnation, name, accuser),
                Dead(incarnation, name, accuser),
                Alive(ghost),
                Ping(rng.randrange(1 << 30), name),
                Ack(rng.randrange(1000)),
                Nack(rng.randrange(1000)),
                User(body, encode_serf(body)),
            )
        )


class Flood:
    """Hands what is forged to members, as if it had come by the network."""

    def __init__(self, cluster: SimCluster, seed: int) -> None:
        self._cluster = cluster
        self._forger = Forger(Random(f"{seed}/flood"), cluster.names, SOURCE)
        self.victims: list[str] = []
        self._due = 0.0

    def carry_on(self) -> None:
        """Send what is due by now."""
        cluster = self._cluster
        self._due = max(self._due, cluster.now - EVERY)
        while self._due <= cluster.now:
            self._due += EVERY
            for name in self.victims:
                host = cluster.hosts.get(name)
                message = self._forger.draw()
                if host is not None and host.keyring is None:
                    host.receive_packet(SOURCE, [message])
