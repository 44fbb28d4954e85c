"""NodeRegistry: the client nodes that registered with this server, and until when each counts as ready. Pure.

A node is `ready` while it is heard of within the time to live (TTL) that its last answer gave it, plus the grace;
then it is `down`, and after a day it is forgotten. The TTL grows with the number of nodes, so that a server hears
at most so many heartbeats a second, and is drawn at random, so that they do not come together.
"""

import hmac
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop, heappush
from random import Random
from typing import Final

from moot.agent.nomad.errors import Refused
from moot.gossip.errors import ConfigError

READY: Final = "ready"
DOWN: Final = "down"
STATUSES: Final = frozenset({"initializing", READY, DOWN, "disconnected"})
"""What a node may say of itself."""
NOT_FOUND: Final = "node not found"
SPARE_MAX: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySettings:
    """Durations are seconds. The names are those of Nomad's `server` block."""

    min_heartbeat_ttl: float = 10.0
    max_heartbeats_per_second: float = 50.0
    heartbeat_grace: float = 0.0
    """Added to each TTL before the node is down. Our clients say something well within their TTL and need none."""
    node_gc_threshold: float = 24 * 3600.0
    """How long a node that is down is kept."""
    nodes_max: int = 20_000

    def __post_init__(self) -> None:
        for name in ("min_heartbeat_ttl", "max_heartbeats_per_second", "nodes_max"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"server.{name} must be above zero")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """A client node as it describes itself."""

    node_id: str
    secret: str = field(repr=False)
    """Shows in later calls that they come from the same node."""
    name: str
    datacenter: str
    address: str
    """Host of its HTTP API."""
    version: str = ""
    node_class: str = ""
    status: str = READY


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEntry:
    """A client node as the registry shows it. Durations are seconds."""

    node_id: str
    name: str
    datacenter: str
    address: str
    version: str
    node_class: str
    status: str
    heard_ago: float
    """Since the last word of it."""
    ttl: float
    create_index: int
    modify_index: int


@dataclass(slots=True)
class _Held:
    facts: NodeFacts
    heard_at: float
    ttl: float
    until: float
    """Instant at which it goes down, or when it is down, at which it is forgotten."""
    create_index: int
    modify_index: int
    timed: float = math.inf
    """Instant of its entry in the heap."""


class NodeRegistry:
    """The nodes by id. `tell` hears of each status that a node comes to, and the time is the caller's."""

    def __init__(
        self,
        settings: RegistrySettings,
        random: Random,
        tell: Callable[[NodeEntry], None] = lambda entry: None,
    ) -> None:
        self._settings = settings
        self._random = random
        self._tell = tell
        self._nodes: dict[str, _Held] = {}
        self._down: dict[str, None] = {}
        """Ids of those that are down, the one that went first in front."""
        self._instants: list[tuple[float, str]] = []
        self.index = 0
        """Grows with every change of a node or its status."""

    def __len__(self) -> int:
        return len(self._nodes)

    @property
    def up_count(self) -> int:
        """How many nodes are not down, as of the last call with a time."""
        return len(self._nodes) - len(self._down)

    @property
    def next_instant(self) -> float | None:
        """When `settle` may have something to do. It can come sooner only for a node that is heard of meanwhile."""
        return self._instants[0][0] if self._instants else None

    def register(self, now: float, facts: NodeFacts) -> float:
        """Take a node in, or what it says of itself now; its TTL, 0 when it says that it is down.

        Raises Refused when the id is another's, or when there are too many nodes.
        """
        self.settle(now)
        held = self._nodes.get(facts.node_id)
        if held is None:
            self._make_room()
            self.index += 1
            held = _Held(facts, now, 0.0, now, self.index, self.index)
            self._nodes[facts.node_id] = held
            return self._heard(now, held, None)
        if not _same(held.facts.secret, facts.secret):
            raise Refused("node secret ID does not match. Not registering node.")
        known, held.facts = held.facts, facts
        return self._heard(now, held, known)

    def beat(self, now: float, node_id: str, secret: str, status: str) -> float:
        """A heartbeat; the TTL from now on, 0 for a node that says it is down.

        Raises Refused for a node that is not registered here, and for a wrong secret.
        """
        self.settle(now)
        held = self._of(node_id, secret)
        known = held.facts
        if known.status != status:
            held.facts = replace(known, status=status)
        return self._heard(now, held, known)

    def release(self, now: float, node_id: str, secret: str) -> None:
        """Forget a node that another server holds now. Raises Refused as `beat` does."""
        self.settle(now)
        self._of(node_id, secret)
        self._forget(node_id)

    def entries(self, now: float) -> list[NodeEntry]:
        """All nodes, in the order in which they first came."""
        self.settle(now)
        return [_entry(held, now) for held in self._nodes.values()]

    def counts(self, now: float) -> dict[str, int]:
        """How many nodes are down, and how many are not; those count as ready. Cheap."""
        self.settle(now)
        return {READY: self.up_count, DOWN: len(self._down)}

    def settle(self, now: float) -> None:
        """Let nodes go down, or be forgotten, whose time is over."""
        while self._instants and self._instants[0][0] <= now:
            instant, node_id = heappop(self._instants)
            held = self._nodes.get(node_id)
            if held is None or held.timed != instant:
                continue
            held.timed = math.inf
            if held.until > now:  # it was heard of since
                self._time(held)
            elif held.facts.status == DOWN:
                self._forget(node_id)
            else:
                self._go_down(held)
                self._tell(_entry(held, now))

    def _of(self, node_id: str, secret: str) -> _Held:
        held = self._nodes.get(node_id)
        if held is None:
            raise Refused(NOT_FOUND)
        if not _same(held.facts.secret, secret):
            raise Refused("Permission denied")
        return held

    def _heard(self, now: float, held: _Held, known: NodeFacts | None) -> float:
        """`held` has something new to say of itself; `known` is what it said before, None for a new one."""
        facts = held.facts
        held.heard_at = now
        if facts.status != DOWN:
            self._down.pop(facts.node_id, None)
            held.ttl = self._draw_ttl()
            held.until = now + held.ttl + self._settings.heartbeat_grace
        elif known is None or known.status != DOWN:
            self._down[facts.node_id] = None
            held.until = now + self._settings.node_gc_threshold
        self._time(held)
        if known is not None and known != facts:
            self.index += 1
            held.modify_index = self.index
        if known is None or known.status != facts.status:
            self._tell(_entry(held, now))
        return 0.0 if facts.status == DOWN else held.ttl

    def _draw_ttl(self) -> float:
        """Nomad's rule (nomad/heartbeat.go): as long as the rate asks for, and up to as much again at random."""
        settings = self._settings
        least = max(settings.min_heartbeat_ttl, self.up_count / settings.max_heartbeats_per_second)
        return least * (1.0 + self._random.random())

    def _go_down(self, held: _Held) -> None:
        self._down[held.facts.node_id] = None
        held.facts = replace(held.facts, status=DOWN)
        self.index += 1
        held.modify_index = self.index
        held.until += self._settings.node_gc_threshold
        self._time(held)

    def _time(self, held: _Held) -> None:
        """See that `settle` looks at it in time. An entry that comes too early does no harm."""
        if held.until >= held.timed:
            return
        held.timed = held.until
        heappush(self._instants, (held.until, held.facts.node_id))
        if len(self._instants) > 2 * len(self._nodes) + SPARE_MAX:  # most are of nodes that are gone
            self._instants = [(it.timed, node_id) for node_id, it in self._nodes.items()]
            heapify(self._instants)

    def _forget(self, node_id: str) -> None:
        del self._nodes[node_id]
        self._down.pop(node_id, None)
        self.index += 1

    def _make_room(self) -> None:
        """For one more. Of the nodes that are down, the one that went down first gives way."""
        if len(self._nodes) < self._settings.nodes_max:
            return
        longest = next(iter(self._down), None)
        if longest is None:
            raise Refused(f"too many client nodes, {self._settings.nodes_max} are registered")
        self._forget(longest)


def _same(held: str, shown: str) -> bool:
    """In a time that tells nothing of where they differ."""
    return hmac.compare_digest(held.encode("utf-8", "surrogateescape"), shown.encode("utf-8", "surrogateescape"))


def _entry(held: _Held, now: float) -> NodeEntry:
    facts = held.facts
    return NodeEntry(
        node_id=facts.node_id,
        name=facts.name,
        datacenter=facts.datacenter,
        address=facts.address,
        version=facts.version,
        node_class=facts.node_class,
        status=facts.status,
        heard_ago=max(0.0, now - held.heard_at),
        ttl=held.ttl,
        create_index=held.create_index,
        modify_index=held.modify_index,
    )
