"""NodeSettings: all that a node is made of."""

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from moot.gossip.config import LAN, SerfConfig, SwimConfig, WireConfig
from moot.gossip.counters import Counters
from moot.gossip.errors import ConfigError
from moot.gossip.net.faulty import FaultyTransport, Surroundings
from moot.gossip.net.keyring_file import load_keys, save_keys
from moot.gossip.net.snapshotter import Snapshotter
from moot.gossip.net.timers import Timers
from moot.gossip.net.transport import Transport
from moot.gossip.serf.guard import MergeGuard
from moot.gossip.swim.member import VERSIONS
from moot.gossip.wire.keyring import NONCE_SIZE, Keyring


@dataclass(frozen=True, kw_only=True)
class NodeSettings:
    """All that a node is made of. `bind_port` 0 is any free port."""

    name: str
    bind_host: str = "127.0.0.1"
    bind_port: int = 0
    advertise: tuple[str, int] | None = None
    """What the others are told, when it is not the bound address; port 0 is the bound port."""
    tags: Mapping[str, str] = field(default_factory=dict)
    swim: SwimConfig = LAN
    serf: SerfConfig = field(default_factory=SerfConfig)
    wire: WireConfig = field(default_factory=WireConfig)
    keys: Sequence[bytes] = field(default=(), repr=False)
    """Primary first; empty is no encryption."""
    keyring_file: Path | None = None
    """Where the keys are kept. What it holds counts; while it is missing it is made with `keys`."""
    snapshot: Path | None = None
    """Where it is noted who is in the pool, so that a restart finds back to it. Serf's format."""
    rejoin_after_leave: bool = False
    """Find back even after a leave."""
    versions: bytes = VERSIONS
    guard: MergeGuard | None = None
    seed: int | None = None
    """For tests; None takes randomness from the system."""
    surroundings: Surroundings | None = None
    """The lab that the node lives in, with its faults; None is the world as it is."""

    def transport(self, counters: Counters) -> Transport:
        """Open the sockets. Raises ConfigError."""
        if self.surroundings is None:
            return Transport.bind(self.bind_host, self.bind_port, counters)
        transport = FaultyTransport.bind(self.bind_host, self.bind_port, counters)
        transport.surroundings = self.surroundings
        return transport

    def timers(self) -> Timers:
        """Timers by the member's own clock, which a lab may put wrong."""
        timers = Timers(self.surroundings)
        if self.surroundings is not None:
            self.surroundings.changed = timers.reckon
        return timers

    def keyring(self) -> Keyring | None:
        """The keys to begin with; None is no encryption. Raises ConfigError when the keyring file cannot be used."""
        keys, path = self.keys, self.keyring_file
        if path is not None:
            try:
                if keys and not path.exists():
                    save_keys(path, list(keys))
            except OSError as error:
                raise ConfigError(f"keyring file {path}: {error.strerror}") from error
            keys = load_keys(path)
        return Keyring(keys, functools.partial(os.urandom, NONCE_SIZE)) if keys else None

    def snapshotter(self, report: Callable[[str], None]) -> Snapshotter | None:
        """What keeps the snapshot, None when none is wanted. It reports in sentences."""
        if self.snapshot is None:
            return None
        lab = self.surroundings
        is_full = (lambda: lab.is_disk_full) if lab is not None else (lambda: False)
        return Snapshotter(self.snapshot, rejoin_after_leave=self.rejoin_after_leave, report=report, is_full=is_full)
