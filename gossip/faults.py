"""Conditions: who may talk to whom, how badly, and what ails members. Pure verdicts; whoever carries asks them.

Members are known by name. A fault goes one way unless it says otherwise, so that a cable that works one way only
is as easy to have as a partition. Randomness and the clock are the asker's. Conditions are kept, and told to
others, as a whole (`faults_json`).
"""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from random import Random
from typing import Literal, NamedTuple, TypeAlias

from moot.gossip.errors import ConfigError

Transport: TypeAlias = Literal["packet", "stream"]

RESEND_FIRST = 0.2
"""Seconds until TCP sends a lost segment again; doubles each time."""
RESENDS_MAX = 6
"""Losses in a row after which a stream is taken for dead: 12.6 s, beyond any stream timeout in a LAN."""
BACKLOG_MAX = 1.0
"""Seconds that a packet waits at most for a narrow link; one that would wait longer is lost."""
LINKS_MAX = 4096
"""Narrow links that are remembered; beyond it those that are idle are forgotten."""
DRIFT_MAX = 10.0
"""A clock runs at most so many times too fast; a slow one loses less than everything."""


class Arrival(NamedTuple):
    """How one copy of a message gets there: so many seconds later than it would without faults.

    `spoiled`: bits of the packet were changed on the way, or the stream was reset.
    """

    delay: float
    spoiled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One trouble on the way from any of `source` to any of `to`; None is everybody. `both_ways`: and back.

    Probabilities per packet: `loss` (1 is a cut), `duplicate`, `corrupt`, and `reorder`, with which a packet is
    held back for `reorder_delay` so that later ones overtake it. A stream resends what is lost, and takes
    longer; with `corrupt` a crossing of it is reset; the other two do not touch it. `delay` is added to every
    crossing, plus up to `jitter`. `bandwidth` is in bytes per second on each link by itself, None is no limit.
    Durations are seconds. `transport` None is both.
    """

    source: frozenset[str] | None = None
    to: frozenset[str] | None = None
    both_ways: bool = False
    transport: Transport | None = None
    loss: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.0
    jitter: float = 0.0
    corrupt: float = 0.0
    reorder: float = 0.0
    reorder_delay: float = 0.0
    bandwidth: float | None = None

    def __post_init__(self) -> None:
        for name in ("loss", "duplicate", "corrupt", "reorder"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} must be from 0 to 1, got {getattr(self, name)}")
        for name in ("delay", "jitter", "reorder_delay"):
            if not 0.0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} must be finite and not negative, got {getattr(self, name)}")
        if self.bandwidth is not None and not 0.0 < self.bandwidth < float("inf"):
            raise ConfigError(f"bandwidth must be finite and above zero, got {self.bandwidth}")

    def touches(self, source: str, to: str, transport: Transport) -> bool:
        """Whether a message of that kind, going that way, meets it."""
        if self.transport is not None and self.transport != transport:
            return False
        return self._on_way(source, to) or (self.both_ways and self._on_way(to, source))

    def _on_way(self, source: str, to: str) -> bool:
        return (self.source is None or source in self.source) and (self.to is None or to in self.to)


class Clock(NamedTuple):
    """What a member's clock shows: `offset` seconds were added at once, and each second is 1 + `drift` long."""

    offset: float = 0.0
    drift: float = 0.0

    def check(self) -> "Clock":
        """Itself. Raises ConfigError when no clock can be so."""
        if not abs(self.offset) < float("inf"):
            raise ConfigError(f"clock offset must be finite, got {self.offset}")
        if not -1.0 < self.drift <= DRIFT_MAX:
            raise ConfigError(f"clock drift must be above -1 and at most {DRIFT_MAX:g}, got {self.drift}")
        return self


TRUE_CLOCK = Clock()


class SkewedClock:
    """Turns the true time into what a member's clock shows, and follows when its Clock is changed.

    It never goes back: set back, it stands still for as long. With `TRUE_CLOCK` it goes right again, from where
    it is. Timers are durations on this clock: `until` tells how long to wait for one.
    """

    def __init__(self) -> None:
        self._clock = TRUE_CLOCK
        self._anchor = 0.0
        self._shown = 0.0
        """What it shows at the true time `_anchor`."""
        self._last = 0.0

    def read(self, now: float, clock: Clock) -> float:
        """What it shows at the true time `now`, which never goes back, if it is such a clock."""
        if clock != self._clock:
            step = 0.0 if clock == TRUE_CLOCK else clock.offset - self._clock.offset
            self._shown, self._clock, self._anchor = self._at(now) + step, clock, now
        self._last = max(self._last, self._at(now))
        return self._last

    def until(self, now: float, clock: Clock, due: float) -> float:
        """True seconds from `now` until it shows `due`; 0 when it does already."""
        self.read(now, clock)
        return max(0.0, (due - self._at(now)) / (1.0 + clock.drift))

    def _at(self, now: float) -> float:
        return self._shown + (now - self._anchor) * (1.0 + self._clock.drift)


class Conditions:
    """The state of the world: faults by label, at most one partition, and what ails each member.

    A paused member neither hears nor acts until it is resumed, then does everything at once, as a process
    that was stopped and continued. A slow one handles each message so many seconds late. One whose disk is full
    cannot write its snapshot.
    """

    def __init__(self) -> None:
        self._faults: dict[str, Fault] = {}
        self._side: dict[str, int] = {}
        self._paused: set[str] = set()
        self._slow: dict[str, float] = {}
        self._clocks: dict[str, Clock] = {}
        self._disk_full: set[str] = set()
        self.needs_sizes = False
        """Whether any fault asks how long a message is; else 0 will do."""
        self._free_at: dict[tuple[str, str, str], float] = {}
        """When each narrow link (label, source, to) has sent what is queued there."""

    # changing them

    def put(self, label: str, fault: Fault) -> None:
        """Set a fault; one of the same label is replaced."""
        self._faults[label] = fault
        self._look()

    def lift(self, label: str) -> None:
        """Take a fault away; one that is not there is no error."""
        self._faults.pop(label, None)
        self._look()

    def cut(self, source: str, to: str) -> None:
        """Let nothing pass from one member to another; the way back stays open."""
        self.put(f"cut {source}>{to}", Fault(source=frozenset({source}), to=frozenset({to}), loss=1.0))

    def partition(self, *groups: Iterable[str]) -> None:
        """Let nothing pass between groups. Members that no group names form one more. Replaces the former one."""
        self._side = {name: number for number, group in enumerate(groups, 1) for name in group}

    def pause(self, name: str) -> None:
        self._paused.add(name)

    def resume(self, name: str) -> None:
        self._paused.discard(name)

    def set_slow(self, name: str, seconds: float) -> None:
        """Let a member handle each message so late; 0 is at once again. Raises ConfigError."""
        if not 0.0 <= seconds < float("inf"):
            raise ConfigError(f"slow must be finite and not negative, got {seconds}")
        if seconds:
            self._slow[name] = seconds
        else:
            self._slow.pop(name, None)

    def set_clock(self, name: str, clock: Clock) -> None:
        """Let a member's clock go wrong; `TRUE_CLOCK` puts it right. Raises ConfigError."""
        if clock.check() == TRUE_CLOCK:
            self._clocks.pop(name, None)
        else:
            self._clocks[name] = clock

    def set_disk_full(self, name: str, full: bool = True) -> None:
        """Whether a member's snapshot finds no room."""
        (self._disk_full.add if full else self._disk_full.discard)(name)

    def heal(self) -> None:
        """Lift the partition and every fault of the network. What ails members stays."""
        self._faults.clear()
        self._side.clear()
        self._free_at.clear()
        self._look()

    def heal_partition(self) -> None:
        """Lift the partition alone."""
        self._side.clear()

    def calm(self) -> None:
        """Lift everything, what ails members as well."""
        self.heal()
        for ailing in (self._paused, self._slow, self._clocks, self._disk_full):
            ailing.clear()

    def become(self, other: "Conditions") -> None:
        """Take over the state of others whole; how far narrow links are behind is kept."""
        self._faults = dict(other._faults)
        self._side = dict(other._side)
        paused = set(other._paused)
        self._paused.clear()
        self._paused |= paused
        slow, clocks = dict(other._slow), dict(other._clocks)
        self._slow.clear()
        self._slow.update(slow)
        self._clocks.clear()
        self._clocks.update(clocks)
        self._disk_full = set(other._disk_full)
        self._look()

    def _look(self) -> None:
        self.needs_sizes = any(fault.bandwidth is not None for fault in self._faults.values())

    # looking at them

    @property
    def faults(self) -> Mapping[str, Fault]:
        """The faults of the network by label, oldest first; not to be changed."""
        return self._faults

    @property
    def groups(self) -> list[list[str]]:
        """The groups of the partition, in its order; empty without one. Members of none form one more."""
        found: dict[int, list[str]] = {}
        for name, number in self._side.items():
            found.setdefault(number, []).append(name)
        return [sorted(found[number]) for number in sorted(found)]

    @property
    def paused(self) -> list[str]:
        """Who is paused, by name."""
        return sorted(self._paused)

    @property
    def paused_names(self) -> Set[str]:
        """Who is paused; not to be changed. It is the same object always."""
        return self._paused

    @property
    def slow(self) -> Mapping[str, float]:
        """Who is slow, and by how many seconds; not to be changed. It is the same object always."""
        return self._slow

    @property
    def clocks(self) -> Mapping[str, Clock]:
        """Whose clock is wrong; not to be changed. It is the same object always."""
        return self._clocks

    @property
    def disk_full(self) -> list[str]:
        """Who cannot write, by name."""
        return sorted(self._disk_full)

    # asking them

    def is_paused(self, name: str) -> bool:
        return name in self._paused

    def is_disk_full(self, name: str) -> bool:
        return name in self._disk_full

    def is_cut(self, source: str, to: str, transport: Transport) -> bool:
        """Whether nothing at all passes that way."""
        return self._parted(source, to) or any(
            fault.loss == 1.0 and fault.touches(source, to, transport) for fault in self._faults.values()
        )

    def slowness(self, name: str) -> float:
        """By how many seconds a member handles each message late."""
        return self._slow.get(name, 0.0)

    def clock(self, name: str) -> Clock:
        """How a member's clock goes."""
        return self._clocks.get(name, TRUE_CLOCK)

    def packet(self, source: str, to: str, rng: Random, *, size: int = 0, now: float = 0.0) -> tuple[Arrival, ...]:
        """The copies of a packet of `size` bytes that arrive: none when it is lost."""
        if not self._faults and not self._side:
            return _UNDISTURBED
        if self._parted(source, to):
            return ()
        delay = 0.0
        copies = 1
        spoils = []
        for label, fault in self._faults.items():
            if fault.touches(source, to, "packet"):
                if fault.loss and rng.random() < fault.loss:
                    return ()
                if fault.duplicate and rng.random() < fault.duplicate:
                    copies += 1
                delay += fault.delay + fault.jitter * rng.random()
                if fault.reorder and rng.random() < fault.reorder:
                    delay += fault.reorder_delay
                if fault.bandwidth is not None:
                    wait = self._queue((label, source, to), fault.bandwidth, size, now, BACKLOG_MAX)
                    if wait is None:
                        return ()
                    delay += wait
                if fault.corrupt:
                    spoils.append(fault.corrupt)
        return tuple([Arrival(delay, any(rng.random() < share for share in spoils)) for _ in range(copies)])

    def stream(self, source: str, to: str, rng: Random, *, size: int = 0, now: float = 0.0) -> Arrival | None:
        """One crossing of a stream with `size` bytes, resends included; None is never."""
        if not self._faults and not self._side:
            return _UNDISTURBED[0]
        if self._parted(source, to):
            return None
        delay = 0.0
        reset = False
        for label, fault in self._faults.items():
            if fault.touches(source, to, "stream"):
                resend = RESEND_FIRST
                for _ in range(RESENDS_MAX):
                    if rng.random() >= fault.loss:
                        break
                    delay += resend
                    resend *= 2
                else:
                    return None
                delay += fault.delay + fault.jitter * rng.random()
                if fault.bandwidth is not None:
                    wait = self._queue((label, source, to), fault.bandwidth, size, now, float("inf"))
                    delay += wait or 0.0
                if fault.corrupt and rng.random() < fault.corrupt:
                    reset = True
        return Arrival(delay, reset)

    def _parted(self, source: str, to: str) -> bool:
        return bool(self._side) and self._side.get(source, 0) != self._side.get(to, 0)

    def _queue(
        self, link: tuple[str, str, str], rate: float, size: int, now: float, backlog_max: float
    ) -> float | None:
        """Seconds until a narrow link has sent these bytes too; None when they find no room in its queue."""
        free_at = max(now, self._free_at.get(link, 0.0))
        if free_at - now > backlog_max:
            return None
        if len(self._free_at) >= LINKS_MAX:
            self._free_at = {other: at for other, at in self._free_at.items() if at > now}
        self._free_at[link] = free_at + size / rate
        return free_at + size / rate - now


_UNDISTURBED = (Arrival(0.0),)
