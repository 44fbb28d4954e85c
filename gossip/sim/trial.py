"""Trial: one simulated pool, one crash and one user event, measured. What sweeps and tuning are made of.

A pool that has settled, under the loss of its network from the start, is sent a user event; then the host of one
member goes dark. Everything depends on the setting and the seed alone, so that the same seed compares settings.
"""

from dataclasses import dataclass, fields, replace

from moot.gossip.config import LAN, PROFILES, SwimConfig
from moot.gossip.errors import ConfigError
from moot.gossip.faults import Fault
from moot.gossip.serf.events import MemberChange, MemberEvent, UserEventReceived
from moot.gossip.sim.cluster import SimCluster
from moot.gossip.sim.network import LAN_LATENCY, Latency

SETTLE = 10.0
EVENT_AHEAD = 5.0
"""Seconds from the event to the crash."""
WATCH = 60.0
"""Virtual seconds that a trial lasts at least; the longer, the more a rate of false failures says."""
GIVE_UP = 300.0
"""Seconds after the crash from which on it counts as never known to all."""
NODES_MAX = 20_000
ENGINE = {
    field.name: type(getattr(LAN, field.name)) for field in fields(SwimConfig) if field.name != "networks_allowed"
}
"""The engine's parameters that a setting may change, and their types."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A pool of `nodes` members of a profile, and its network: `loss` per packet, `rtt` in seconds.

    `engine` are changes to the profile. Without an rtt it is that of a LAN: 0.4 to 2 ms.
    """

    nodes: int = 128
    profile: str = "lan"
    loss: float = 0.0
    rtt: float | None = None
    engine: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        if not 3 <= self.nodes <= NODES_MAX:
            raise ConfigError(f"nodes must be from 3 to {NODES_MAX}, got {self.nodes}")
        if not 0.0 <= self.loss < 1.0:
            raise ConfigError(f"loss must be from 0 to below 1, got {self.loss}")
        if self.rtt is not None and not 0.0 < self.rtt <= 60.0:
            raise ConfigError(f"rtt must be above 0 and at most 60 s, got {self.rtt}")
        self.swim()

    def swim(self) -> SwimConfig:
        """The engine's settings. Raises ConfigError."""
        if self.profile not in PROFILES:
            raise ConfigError(f"there is no profile {self.profile!r}; there are {', '.join(PROFILES)}")
        changes = {}
        for name, value in self.engine:
            if name not in ENGINE:
                raise ConfigError(f"there is no parameter {name!r}; there are {', '.join(('loss', 'rtt', *ENGINE))}")
            if ENGINE[name] is not float and value != int(value):
                raise ConfigError(f"{name} must be a whole number, got {value}")
            changes[name] = ENGINE[name](value)
        return replace(PROFILES[self.profile], **changes)

    def latency(self) -> Latency:
        """One crossing: half a round trip, up to a fifth of it more or less."""
        return LAN_LATENCY if self.rtt is None else Latency(0.4 * self.rtt, 0.6 * self.rtt)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one trial showed. Seconds are virtual; None is that it did not come about.

    A victim that all held for failed when it crashed has neither detection nor spread.
    """

    detect_s: float | None
    """From the crash until the first member declared the failure."""
    known_s: float | None
    """Until all had."""
    converge_s: float | None
    """From the user event until all running members had it."""
    reached: float
    """The share of running members that had the event in the end."""
    false_failures: int
    """Members that were declared to have failed while they ran, each once per time they came back."""
    member_hours: float
    """Over which these were counted."""
    bytes_per_member_s: float
    messages_per_member_s: float
    event_count: int
    digest: str


class _Witness:
    """Notes what a trial is about, as it happens."""

    def __init__(self, cluster: SimCluster, victim: str) -> None:
        self._cluster = cluster
        self._victim = victim
        self.declared: list[float] = []
        """When members declared the victim, after it crashed."""
        self.told: dict[str, float] = {}
        """Who had the event when."""
        self.wronged: set[tuple[str, int]] = set()
        """Who was wrongly declared, and in which incarnation."""
        cluster.watchers.append(self._watch)

    def _watch(self, at: float, name: str, event: object) -> None:
        if isinstance(event, UserEventReceived):
            self.told.setdefault(name, at)
        elif isinstance(event, MemberEvent) and event.change is MemberChange.FAILED:
            subject = event.member.name
            if subject in self._cluster.hosts:
                self.wronged.add((subject, event.member.record.incarnation))
            elif subject == self._victim:
                self.declared.append(at)


def run_trial(setting: Setting, seed: int, watch: float = WATCH) -> Measured:
    """Play one trial. Raises ConfigError for a setting that cannot be."""
    cluster = _settled(setting, seed)
    roles = cluster.random("trial")
    victim, speaker = roles.sample(cluster.names, 2)
    witness = _Witness(cluster, victim)
    sent = cluster.traffic
    cluster.serf(speaker).user_event(cluster.now, "trial")
    cluster.run_for(EVENT_AHEAD)
    crashed = cluster.now
    cluster.crash(victim, dark=True)
    try:
        cluster.run_until(lambda: cluster.all_see({victim: "failed"}), GIVE_UP)
        known = witness.declared[-1] - crashed if witness.declared else None
    except TimeoutError:
        known = None
    cluster.run_for(max(0.0, SETTLE + watch - cluster.now))
    seconds = cluster.now - SETTLE
    running = list(cluster.hosts)
    times = [witness.told[name] for name in running if name in witness.told]
    return Measured(
        detect_s=witness.declared[0] - crashed if witness.declared else None,
        known_s=known,
        converge_s=max(times) - SETTLE if len(times) == len(running) else None,
        reached=len(times) / len(running),
        false_failures=len(witness.wronged),
        member_hours=setting.nodes * seconds / 3600.0,
        bytes_per_member_s=sum(each.bytes for each in sent.values()) / seconds / setting.nodes,
        messages_per_member_s=sum(each.messages for each in sent.values()) / seconds / setting.nodes,
        event_count=cluster.event_count,
        digest=cluster.digest(),
    )


def event_times(setting: Setting, seed: int, seconds: float = 15.0) -> list[float]:
    """When members had a user event, in seconds from when it was sent; who never had it is not there.

    Raises ConfigError for a setting that cannot be.
    """
    cluster = _settled(setting, seed)
    speaker = cluster.random("trial").choice(cluster.names)
    witness = _Witness(cluster, "")
    cluster.serf(speaker).user_event(cluster.now, "trial")
    cluster.run_for(seconds)
    return sorted(at - SETTLE for at in witness.told.values())


def _settled(setting: Setting, seed: int) -> SimCluster:
    cluster = SimCluster(setting.nodes, seed=seed, swim=setting.swim(), latency=setting.latency())
    if setting.loss:
        cluster.conditions.put("loss", Fault(loss=setting.loss))
    cluster.boot_converged()
    cluster.run_for(SETTLE)
    return cluster
