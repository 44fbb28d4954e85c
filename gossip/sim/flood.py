"""Flood: a hostile peer that is no member sends forged claims to members. What a real one sends beside them, junk
bytes and bombs, ends in the codecs and reaches no core."""

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


class Flood:
    """Draws the packets, and hands them to members as if they had come by the network."""

    def __init__(self, cluster: SimCluster, seed: int) -> None:
        self._cluster = cluster
        self._rng = Random(f"{seed}/flood")
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
                message = self._forged()
                if host is not None and host.keyring is None:
                    host.receive_packet(SOURCE, [message])

    def _forged(self) -> PacketMessage:
        rng = self._rng
        name, accuser = rng.choice(self._cluster.names), rng.choice(self._cluster.names)
        incarnation = rng.randrange(INCARNATIONS)
        ghost = Member(f"ghost-{rng.randrange(GHOSTS)}", SOURCE, 1 + incarnation, Status.ALIVE)
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
