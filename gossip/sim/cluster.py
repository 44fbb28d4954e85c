"""SimCluster: a pool of real cores in virtual time. One seed decides everything that happens."""

import dataclasses
import gc
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from random import Random
from typing import Literal, TypeVar

from moot.gossip.config import LAN, SerfConfig, SwimConfig, WireConfig
from moot.gossip.errors import CommandError
from moot.gossip.faults import Conditions
from moot.gossip.record import Address, Ticket
from moot.gossip.serf.asking import Question
from moot.gossip.serf.core import Serf
from moot.gossip.serf.events import CommandDone, KeysDone
from moot.gossip.serf.keys import KeyReport
from moot.gossip.sim.calendar import Calendar
from moot.gossip.sim.disk import Disk
from moot.gossip.sim.host import Host
from moot.gossip.sim.network import LAN_LATENCY, ByteCarrier, Latency, Network, ObjectCarrier, Tap, Traffic
from moot.gossip.swim.core import Swim
from moot.gossip.swim.events import MemberJoined
from moot.gossip.swim.table import Roster
from moot.gossip.wire import serf_codec
from moot.gossip.wire.codec import size_of
from moot.gossip.wire.keyring import Keyring
from moot.gossip.wire.packet import PacketCodec

E = TypeVar("E")
D = TypeVar("D", CommandDone, KeysDone)

PORT = 7946
NONCE_SIZE = 12
COMMANDS_WAIT = 60.0
"""Seconds of virtual time that a blocking command gets; every one of them ends sooner by its own timers."""


class SimCluster:
    """`n` members in virtual time, named `n0`, `n1` and so on with as many digits as needed.

    `layer` is "serf" (the whole engine) or "swim" (memberlist alone). With `wire` messages travel as bytes; the
    history is the same. With `keys` each has a keyring of its own, and reads what it has the key for. With
    `snapshots` (and the Serf layer) each writes one, and finds back by it when it starts again. `names` are other
    names, `n` of them. Faults are in `conditions`, seconds in `now`.
    """

    def __init__(
        self,
        n: int,
        *,
        seed: int = 0,
        swim: SwimConfig = LAN,
        serf: SerfConfig | None = None,
        layer: Literal["serf", "swim"] = "serf",
        wire: bool = False,
        keys: Sequence[bytes] = (),
        latency: Latency = LAN_LATENCY,
        names: Sequence[str] = (),
        snapshots: bool = False,
    ) -> None:
        self.seed = seed
        self.conditions = Conditions()
        self.history: list[tuple[float, str, object]] = []
        """Every event of every member: time, name, event."""
        self.hosts: dict[str, Host] = {}
        self.watchers: list[Callable[[float, str, object], None]] = []
        """Called with every event of every member: time, name, event. They must not call back into the cluster."""
        self.disks: dict[str, Disk] = {}
        """What each member has written down, by name."""
        self._snapshots = snapshots
        self._calendar = Calendar()
        self._pending_count = 0
        """Members that boot_cold is still to start."""
        self._silent = False
        self._layer = layer
        self._serf_config = serf or SerfConfig()
        self._roster = Roster(shared=True)
        self._listed = Roster(shared=True)
        self._boots: dict[str, int] = {}
        self._placed_count = 0
        self._digest = hashlib.blake2b(digest_size=16)
        self._keys = tuple(keys)
        self._nonces = self.random("nonces")
        carrier = ByteCarrier(WireConfig()) if wire else ObjectCarrier()
        self._swim_config = swim
        if keys:
            # objects leave room in their packets for the seal too, or histories would differ
            self._swim_config = dataclasses.replace(swim, packet_overhead=_overhead(keys))
        self._network = Network(
            self._calendar,
            self.conditions,
            self.random("network"),
            latency,
            carrier,
            self._swim_config.packet_overhead,
        )
        digits = len(str(max(n - 1, 0)))
        self.names = list(names) or [f"n{number:0{digits}}" for number in range(n)]
        self._addresses = {
            name: Address(bytes((10, number >> 16, number >> 8 & 255, number & 255)), PORT)
            for number, name in enumerate(self.names)
        }

    # making and breaking members

    def boot_cold(self, *, seeds: int = 1, spread: float = 1.0) -> None:
        """Start all within `spread` seconds; the first `seeds` first, the others join through them."""
        stagger = self.random("boot")
        targets = self.names[:seeds]
        for name in self.names:
            when = 0.0 if name in targets else spread * stagger.random()
            self._pending_count += 1
            self._calendar.after(when, self._start_pending, name, [other for other in targets if other != name])

    def boot_converged(self) -> None:
        """Start all at once, each knowing all; their tables share every record. This makes no history."""
        self._silent = True
        for name in self.names:
            self.start(name)
        first, *others = (self.hosts[name].core for name in self.names)
        for other in others:
            member = _swim_of(other).me
            _swim_of(first).members.put(self.now, member)
            if isinstance(first, Serf):
                first.on_event(self.now, MemberJoined(member))
        _swim_of(first).members.lend_to([_swim_of(other).members for other in others])
        if isinstance(first, Serf):
            first.table.lend_to([other.table for other in others if isinstance(other, Serf)])
        self._silent = False

    def _start_pending(self, name: str, join: Sequence[str]) -> None:
        self._pending_count -= 1
        self.start(name, join)

    def start(
        self,
        name: str,
        join: Sequence[str] = (),
        *,
        keys: Sequence[bytes] | None = None,
        member: str = "",
        label: str = "",
    ) -> None:
        """Start a member, afresh if it ran before: incarnation 1, an empty table, and the first keys or these.

        `member` is the name that it bears in the pool, for one of several that bear the same.
        """
        assert name not in self.hosts, f"{name} runs already"
        boot = self._boots[name] = self._boots.get(name, 0) + 1
        host = Host(
            name,
            self._addresses[name],
            calendar=self._calendar,
            network=self._network,
            conditions=self.conditions,
            observe=self._observe,
            keyring=self._keyring(self._keys if keys is None else keys),
            label=label,
            member=member,
        )
        host.core = core = self._make_core(host, self.random(f"{name}/{boot}"))
        self.hosts[name] = host
        self._network.attach(host)
        disk = self.disks.setdefault(name, Disk()) if self._snapshots else None
        was = disk.open() if disk is not None else None
        if was is not None and isinstance(core, Serf):
            core.restore(was.clock, was.event_clock, was.query_clock)
        core.start(host.now)
        if was is not None and isinstance(core, Serf):
            core.rejoin(host.now, was.alive, was.failed)
        if join:
            core.join(host.now, [self._addresses[target] for target in join])

    def place(self, name: str) -> None:
        """Give a member, known or new, an address that nobody had before, for when it starts next."""
        assert name not in self.hosts, f"{name} runs at its address"
        self._placed_count += 1
        number = len(self.names) + self._placed_count
        self._addresses[name] = Address(bytes((10, number >> 16, number >> 8 & 255, number & 255)), PORT)

    def address(self, name: str) -> Address:
        """Where a member is, or will be."""
        return self._addresses[name]

    def boots(self, name: str) -> int:
        """How often a member was started."""
        return self._boots.get(name, 0)

    def crash(self, name: str, *, dark: bool = False) -> None:
        """Kill its process, or with `dark` its whole host: dials are refused, or time out."""
        host = self.hosts.pop(name)
        host.kill()
        self._network.detach(host, dark=dark)

    def restart(self, name: str, join: Sequence[str]) -> None:
        """Kill it if it still runs, start it afresh and let it join through others."""
        if name in self.hosts:
            self.crash(name)
        self.start(name, join)

    def pause(self, name: str) -> None:
        """Stop its process as SIGSTOP does: it keeps what arrives and does nothing."""
        self.conditions.pause(name)

    def resume(self, name: str) -> None:
        """Let it go on, and do what it missed."""
        self.conditions.resume(name)
        self.hosts[name].catch_up()

    def partition(self, *groups: Iterable[str]) -> None:
        """Part the network; see Conditions.partition."""
        self.conditions.partition(*groups)

    def heal(self) -> None:
        """Lift every fault."""
        self.conditions.heal()

    # commands

    def serf(self, name: str) -> Serf:
        """The Serf core of a running member; for a cluster of that layer."""
        core = self.hosts[name].core
        assert isinstance(core, Serf)
        return core

    def join(self, name: str, targets: Sequence[str]) -> Ticket:
        """Let a member join others; the end is an event."""
        host = self.hosts[name]
        return host.core.join(host.now, [self._addresses[target] for target in targets])

    def leave(self, name: str) -> None:
        """Let a member leave in good order, then end its process. Takes virtual time."""
        self._finish(name, lambda serf: serf.leave(self.hosts[name].now))
        self.crash(name)

    def force_leave(self, name: str, gone: str, *, prune: bool = False) -> None:
        """Let a member tell the pool that another is gone for good. Takes virtual time."""
        self._finish(name, lambda serf: serf.force_leave(self.hosts[name].now, gone, prune))

    def query(self, name: str, question: Question) -> Ticket:
        """Let a member ask the pool; the replies are events."""
        return self.serf(name).query(self.hosts[name].now, question)[0]

    def keys(self, name: str, operation: str, key: bytes = b"") -> KeyReport:
        """Let a member have all "install", "use", "remove" or "list" keys. Takes virtual time."""
        return self._end_of(name, lambda serf: serf.keys(self.hosts[name].now, operation, key), KeysDone).report

    def _finish(self, name: str, command: Callable[[Serf], Ticket]) -> None:
        """Give a member a command and run until it ended. Raises CommandError with its reason when it failed."""
        done = self._end_of(name, command, CommandDone)
        if done.error is not None:
            raise CommandError(done.error)

    def _end_of(self, name: str, command: Callable[[Serf], Ticket], kind: type[D]) -> D:
        """Give a member a command and run until it ended."""
        seen = len(self.history)
        ticket = command(self.serf(name))

        def ends() -> Iterator[D]:
            for _, who, event in self.history[seen:]:
                if who == name and isinstance(event, kind) and event.ticket == ticket:
                    yield event

        self.run_until(lambda: any(True for _ in ends()), COMMANDS_WAIT)
        return next(ends())

    # time

    @property
    def now(self) -> float:
        """Virtual seconds since the beginning."""
        return self._calendar.now

    @property
    def event_count(self) -> int:
        """Timers fired and messages delivered so far."""
        return self._calendar.event_count

    @property
    def traffic(self) -> dict[str, Traffic]:
        """What each member sent, from the first look at this on."""
        if self._network.traffic is None:
            self._network.traffic = {}
        return self._network.traffic

    def tap(self, listener: Tap) -> None:
        """Let somebody hear of every message that is sent from now on."""
        self._network.tap = listener

    @property
    def packet_count(self) -> int:
        """Datagrams sent so far, the lost ones included."""
        return self._network.packet_count

    def run_for(self, seconds: float) -> None:
        """Let virtual time pass."""
        with _collector_off():
            self._calendar.run_until(self.now + seconds)

    def run_until(self, holds: Callable[[], bool], deadline: float, *, step: float = 0.1) -> float:
        """Run until something holds, looked at every `step` seconds; answers after how many seconds it did.

        Raises TimeoutError, naming the seed, when it does not hold within `deadline` seconds.
        """
        began = self.now
        with _collector_off():
            while not holds():
                if self.now - began >= deadline:
                    raise TimeoutError(f"not reached within {deadline} virtual seconds (seed {self.seed})")
                self._calendar.run_until(self.now + step)
        return self.now - began

    # what they see

    def view(self, name: str) -> dict[str, str]:
        """What one running member holds of each: `alive`, `suspect`, `dead`, `left`, or Serf's words for it."""
        core = self.hosts[name].core
        if isinstance(core, Serf):
            return {member.name: member.status.value for member in core.members()}
        return {member.name: member.status.name.lower() for member in core.members}

    def views(self) -> dict[str, dict[str, str]]:
        """The view of each running member."""
        return {name: self.view(name) for name in self.hosts}

    def all_see(self, expected: Mapping[str, str | None]) -> bool:
        """Whether every running member sees these statuses; None is unknown. Others are not looked at."""
        for host in self.hosts.values():
            core = host.core
            for name, status in expected.items():
                if _status_of(core, name) != status:
                    return False
        return True

    def converged(self) -> bool:
        """Whether all are started, and every running member sees all running ones alive and nobody else."""
        running = dict.fromkeys(self.hosts, "alive")
        return not self._pending_count and all(
            {other: status for other, status in self.view(name).items() if status == "alive"} == running
            for name in self.hosts
        )

    def events_of(self, kind: type[E]) -> list[tuple[float, str, E]]:
        """The history's events of one type."""
        return [(when, name, event) for when, name, event in self.history if isinstance(event, kind)]

    def digest(self) -> str:
        """A hash over the whole history and how much was sent and done in it.

        The same seed gives the same in every process, whether messages travel as objects or as bytes.
        """
        total = self._digest.copy()
        total.update(f"{self.packet_count} {self.event_count}".encode())
        return total.hexdigest()

    # the rest

    def _make_core(self, host: Host, rng: Random) -> Swim | Serf:
        if self._layer == "swim":
            return Swim(
                name=host.member,
                address=host.address,
                config=self._swim_config,
                effects=host,
                rng=rng,
                size_of=size_of,
                roster=self._roster,
            )
        return Serf(
            name=host.member,
            address=host.address,
            tags={},
            swim_config=self._swim_config,
            config=self._serf_config,
            effects=host,
            rng=rng,
            size_of=size_of,
            codec=serf_codec,
            roster=self._roster,
            keyring=host.keyring,
            listed=self._listed,
        )

    def _observe(self, name: str, event: object) -> None:
        if self._silent:
            return
        now = self._calendar.now
        self.history.append((now, name, event))
        self._digest.update(f"{now!r} {name} {event!r}\n".encode(errors="surrogateescape"))
        if self._snapshots and name in self.disks:
            self._write(name, event)
        for watch in self.watchers:
            watch(now, name, event)

    def _write(self, name: str, event: object) -> None:
        host = self.hosts.get(name)
        if host is not None and isinstance(host.core, Serf):
            self.disks[name].record(event, host.core.clocks[0], full=self.conditions.is_disk_full(name))

    def random(self, purpose: str) -> Random:
        """Its own stream of randomness for each purpose, so that one more draw here changes nothing there."""
        return Random(f"{self.seed}/{purpose}")

    def _keyring(self, keys: Sequence[bytes]) -> Keyring | None:
        return Keyring(keys, lambda: self._nonces.randbytes(NONCE_SIZE)) if keys else None


def _swim_of(core: Swim | Serf) -> Swim:
    return core.swim if isinstance(core, Serf) else core


def _status_of(core: Swim | Serf, name: str) -> str | None:
    if isinstance(core, Serf):
        member = core.member(name)
        return member.status.value if member else None
    row = core.members.get(name)
    return row.status.name.lower() if row else None


def _overhead(keys: Sequence[bytes]) -> int:
    return PacketCodec(WireConfig(), Keyring(keys, lambda: bytes(NONCE_SIZE))).overhead


@contextmanager
def _collector_off() -> Iterator[None]:
    """No cyclic garbage is made per event, so looking for it costs a third of the time for nothing."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
