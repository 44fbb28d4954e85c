"""Conditions: who may talk to whom, and how badly. Pure verdicts; whoever carries messages asks them.

Members are known by name. Everything is one-directional, so that a cable that works one way only is as easy
to have as a partition. Randomness is the asker's.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Literal, TypeAlias

from moot.gossip.errors import ConfigError

Transport: TypeAlias = Literal["packet", "stream"]

RESEND_FIRST = 0.2
"""Seconds until TCP sends a lost segment again; doubles each time."""
RESENDS_MAX = 6
"""Losses in a row after which a stream is taken for dead: 12.6 s, beyond any stream timeout in a LAN."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One trouble on the way from any of `source` to any of `to`; None is everybody.

    `loss` and `duplicate` are probabilities per packet (a stream resends what is lost, and takes longer), 1 is
    a cut. `delay` is added to every crossing, plus up to `jitter`, both in seconds. `transport` None is both.
    """

    source: frozenset[str] | None = None
    to: frozenset[str] | None = None
    transport: Transport | None = None
    loss: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        for name in ("loss", "duplicate"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} must be from 0 to 1, got {getattr(self, name)}")
        for name in ("delay", "jitter"):
            if not 0.0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} must be finite and not negative, got {getattr(self, name)}")

    def touches(self, source: str, to: str, transport: Transport) -> bool:
        """Whether a message of that kind, going that way, meets it."""
        return (
            (self.source is None or source in self.source)
            and (self.to is None or to in self.to)
            and (self.transport is None or self.transport == transport)
        )


class Conditions:
    """The state of the network: faults by label, at most one partition, and who is paused.

    A paused member neither hears nor acts until it is resumed, then does everything at once, as a process
    that was stopped and continued.
    """

    def __init__(self) -> None:
        self._faults: dict[str, Fault] = {}
        self._side: dict[str, int] = {}
        self._paused: set[str] = set()

    # changing them

    def put(self, label: str, fault: Fault) -> None:
        """Set a fault; one of the same label is replaced."""
        self._faults[label] = fault

    def lift(self, label: str) -> None:
        """Take a fault away; one that is not there is no error."""
        self._faults.pop(label, None)

    def cut(self, source: str, to: str) -> None:
        """Let nothing pass from one member to another; the way back stays open."""
        self.put(f"cut {source} > {to}", Fault(source=frozenset({source}), to=frozenset({to}), loss=1.0))

    def partition(self, *groups: Iterable[str]) -> None:
        """Let nothing pass between groups. Members that no group names form one more. Replaces the former one."""
        self._side = {name: number for number, group in enumerate(groups, 1) for name in group}

    def pause(self, name: str) -> None:
        self._paused.add(name)

    def resume(self, name: str) -> None:
        self._paused.discard(name)

    def heal(self) -> None:
        """Lift the partition and every fault. Who is paused stays paused."""
        self._faults.clear()
        self._side.clear()

    # asking them

    def is_paused(self, name: str) -> bool:
        return name in self._paused

    def packet(self, source: str, to: str, rng: Random) -> tuple[float, ...]:
        """The extra delay of each copy that arrives: `(0.0,)` is undisturbed, `()` is lost."""
        if not self._faults and not self._side:
            return _UNDISTURBED
        if self._parted(source, to):
            return ()
        delay = 0.0
        copies = 1
        for fault in self._faults.values():
            if fault.touches(source, to, "packet"):
                if fault.loss and rng.random() < fault.loss:
                    return ()
                if fault.duplicate and rng.random() < fault.duplicate:
                    copies += 1
                delay += fault.delay + fault.jitter * rng.random()
        return (delay,) * copies

    def stream(self, source: str, to: str, rng: Random) -> float | None:
        """The extra delay of one crossing of a stream, resends included; None is never."""
        if not self._faults and not self._side:
            return 0.0
        if self._parted(source, to):
            return None
        delay = 0.0
        for fault in self._faults.values():
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
        return delay

    def _parted(self, source: str, to: str) -> bool:
        return bool(self._side) and self._side.get(source, 0) != self._side.get(to, 0)


_UNDISTURBED = (0.0,)
