"""NomadOperations: what Nomad's endpoints need of an agent besides its members. The agent implements it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from moot.gossip.counters import Counters
from moot.gossip.serf.keys import KeyReport
from moot.http.acl import Acl
from moot.http.counters import RpcCounters
from moot.http.schema import HostAnswer

KeyringOperation = Literal["list", "install", "use", "remove"]

LogLevel = Literal["trace", "debug", "info", "warn", "error", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """What the configuration says about the API. Replaced as a whole on a reload."""

    acl: Acl = field(default_factory=Acl)
    enable_debug: bool = False
    """Whether `/v1/agent/host` answers while there is no access control."""
    prometheus_metrics: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the agent measures, as of now."""

    counters: Counters
    version: str
    health_score: int = 0
    queues: Mapping[str, int] = field(default_factory=dict)
    """Broadcasts that wait, by `claim` (of memberlist's), `intent`, `event` and `query` (of Serf's)."""
    clocks: Mapping[str, int] = field(default_factory=dict)
    """Lamport times, by `member`, `event` and `query`."""
    rpc: RpcCounters = field(default_factory=RpcCounters)
    """Of the RPC port; zero on an agent that has none."""
    ipc: RpcCounters = field(default_factory=RpcCounters)
    """Of Serf's client RPC."""
    log_lines: Mapping[str, int] = field(default_factory=dict)
    """Lines written to the log, by level."""
    machine: Mapping[str, float] = field(default_factory=dict)
    """Figures of the machine by the end of their name (`memory.total`), when they are published."""
    tasks: int = 0
    """Trio tasks that are alive."""
    client_nodes: Mapping[str, int] = field(default_factory=dict)
    """Client nodes that are registered here, by status."""


class NomadOperations(Protocol):
    """Keyring, log, machine, reload, figures. What fails raises `backend.BackendError`."""

    @property
    def settings(self) -> ApiSettings: ...

    @property
    def node_id(self) -> str:
        """The agent's own UUID, which it keeps in its data directory."""
        ...

    async def keyring(self, operation: KeyringOperation, key: bytes) -> KeyReport:
        """Carry out a key operation on every member, whatever comes of it; `list` has no key.

        Asked for only on an agent that is in the pool. Raises BackendError when it could not even be asked.
        """
        ...

    async def reload(self) -> None:
        """As on SIGHUP. Raises BackendError when the new configuration is not usable; the old one stays."""
        ...

    async def host(self) -> HostAnswer:
        """Facts of the machine and of the agent's environment, secrets left out."""
        ...

    def follow_log(
        self, sink: Callable[[str], None], *, level: LogLevel, as_json: bool, located: bool
    ) -> Callable[[], None]:
        """Hand every line of the log from `level` on to `sink`, without its line end, until the answer is called.

        `level` may be finer than that of the agent's own log. `sink` must not wait. With `located` lines say where
        in the code they come from.
        """
        ...

    def figures(self) -> Figures:
        """Called once a second, so it must be cheap."""
        ...
