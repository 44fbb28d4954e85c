"""Settings of the engine. Validated once when made, then read-only.

The defaults and the three profiles are memberlist's and Serf's own (config.go of both); durations are
seconds.
"""

from dataclasses import dataclass, fields

from moot.gossip.errors import ConfigError

CONFLICT_MODES = ("off", "warn", "vote")
USER_EVENT_SIZE_MAX = 9216
"""No agent can be told to allow larger user events."""
EVENT_SLOTS_MAX = 1 << 16
"""Most slots of Serf's event ring. Decoding refuses more. A default agent has 512, Nomad's servers 2,048."""
META_MAX = 512
"""Most bytes of member meta (Serf: encoded tags), as memberlist has it."""


def _require(good: bool, text: str) -> None:
    if not good:
        raise ConfigError(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class SwimConfig:
    """How the failure detector and the gossip behave."""

    probe_interval: float = 1.0
    probe_timeout: float = 0.5
    indirect_checks: int = 3
    stream_pings: bool = True
    suspicion_mult: int = 4
    suspicion_max_timeout_mult: int = 6
    awareness_max: int = 8
    """The health score stays below this."""
    retransmit_mult: int = 4
    gossip_interval: float = 0.2
    gossip_nodes: int = 3
    gossip_to_the_dead_time: float = 30.0
    push_pull_interval: float = 30.0
    stream_timeout: float = 10.0
    dead_node_reclaim_time: float = 0.0
    """After this long a dead member's name may come back at another address; 0 is never."""
    packet_size_max: int = 1400
    """Most bytes of a packed packet before the layers around it, as memberlist's UDPBufferSize."""
    packet_overhead: int = 0
    """What label and encryption add to a packet; set from the wire settings (wire.packet.overhead_of)."""
    join_parallel_max: int = 8
    """How many addresses of one join are tried at once."""
    networks_allowed: tuple[str, ...] = ()
    """CIDR blocks that members may come from; empty allows all."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float) and not isinstance(value, bool):
                _require(value >= 0, f"{field.name} must not be negative, got {value}")
        for name in ("probe_interval", "probe_timeout", "gossip_interval", "stream_timeout"):
            _require(getattr(self, name) > 0, f"{name} must be above zero")
        _require(
            self.probe_timeout <= self.probe_interval,
            f"probe_timeout ({self.probe_timeout}) must not exceed probe_interval ({self.probe_interval})",
        )
        _require(self.awareness_max >= 1, "awareness_max must be at least 1")
        _require(self.join_parallel_max >= 1, "join_parallel_max must be at least 1")
        _require(128 <= self.packet_size_max <= 65_507, "packet_size_max must be from 128 to 65507")


LAN = SwimConfig()
WAN = SwimConfig(
    probe_interval=5.0,
    probe_timeout=3.0,
    suspicion_mult=6,
    gossip_interval=0.5,
    gossip_nodes=4,
    gossip_to_the_dead_time=60.0,
    push_pull_interval=60.0,
    stream_timeout=30.0,
)
LOCAL = SwimConfig(
    probe_timeout=0.2,
    indirect_checks=1,
    suspicion_mult=3,
    # Deviation: memberlist has 2 here. In a pool of six that leaves one member in twelve without a piece of
    # news, which for a join or a leave means waiting for a push/pull, and for a prune that it never arrives.
    retransmit_mult=4,
    gossip_interval=0.1,
    gossip_to_the_dead_time=15.0,
    push_pull_interval=15.0,
    stream_timeout=1.0,
)
PROFILES = {"lan": LAN, "wan": WAN, "local": LOCAL}


@dataclass(frozen=True, slots=True, kw_only=True)
class SerfConfig:
    """How Serf's member layer behaves; Serf's own defaults."""

    broadcast_timeout: float = 5.0
    leave_propagate_delay: float = 1.0
    reap_interval: float = 15.0
    reconnect_interval: float = 30.0
    reconnect_timeout: float = 24 * 3600.0
    """A failed member is forgotten after this long."""
    tombstone_timeout: float = 24 * 3600.0
    """A member that left is forgotten after this long."""
    recent_intent_timeout: float = 300.0
    prune_memory: float = 24 * 3600.0
    """A pruned member is not taken back from push/pulls for this long, unless it speaks up itself: as long as
    anybody who missed the prune may list it."""
    ghost_timeout: float = 120.0
    """A pruned member that is found alive all the time is listed again after this long."""
    queue_check_interval: float = 30.0
    queue_depth_warning: int = 128
    """From so many messages on in a queue, it is told (Serf's QueueDepthWarning)."""
    queue_depth_max: int = 4096
    event_buffer: int = 512
    query_buffer: int = 512
    flap_timeout: float = 60.0
    """Who comes back within this long after a failure has flapped."""
    query_timeout_mult: int = 16
    user_event_size_max: int = 512
    """Most bytes of a user event that we send, name and payload, and again with all around them."""
    query_size_max: int = 1024
    query_response_size_max: int = 1024
    conflict: str = "vote"
    """What another member with our name brings about: "off" nothing, "warn" an event, "vote" that the pool is
    asked which of us it means, and the other one ends."""
    coordinates: bool = True
    reply_rate: float = 256.0
    """Acks, responses and relays per second that we send for others' queries, in the long run.

    Deviation: the reference knows no limit, so that forged queries make a whole pool flood whom they name."""
    reply_burst: int = 1024

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, str):
                _require(value >= 0, f"{field.name} must not be negative, got {value}")
        for name in (
            "reap_interval",
            "reconnect_interval",
            "queue_check_interval",
            "event_buffer",
            "query_buffer",
            "reply_rate",
            "reply_burst",
        ):
            _require(getattr(self, name) > 0, f"{name} must be above zero")
        for name in ("event_buffer", "query_buffer"):
            _require(getattr(self, name) <= EVENT_SLOTS_MAX, f"{name} must not exceed {EVENT_SLOTS_MAX}")
        _require(self.conflict in CONFLICT_MODES, f"conflict must be one of {', '.join(CONFLICT_MODES)}")
        _require(
            self.user_event_size_max <= USER_EVENT_SIZE_MAX,
            f"user event limit exceeds limit of {USER_EVENT_SIZE_MAX} bytes",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WireConfig:
    """How bytes are wrapped. What is received is accepted in every form all the same."""

    compress: bool = False
    """Deviation: off. LZW in pure Python costs 134 µs for a full packet, and every peer accepts plain ones."""
    label: bytes = b""
    skip_inbound_label_check: bool = False
    encryption_version: int = 1
    verify_incoming: bool = True
    verify_outgoing: bool = True

    def __post_init__(self) -> None:
        _require(len(self.label) <= 255, "label must not exceed 255 bytes")
        _require(self.encryption_version in (0, 1), "encryption_version must be 0 or 1")
