"""Settings of an agent, typed and checked: what `config.load` makes of defaults, files, environment and flags."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from moot.agent.handlers import Handler
from moot.agent.key_table import Value
from moot.agent.nomad.registry import RegistrySettings
from moot.agent.tls import TlsSettings
from moot.gossip.config import SwimConfig
from moot.gossip.net.faulty import Surroundings
from moot.http.nomad_operations import ApiSettings

Pool = Literal["nomad", "serf"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPort:
    """An IP text and a port; 0 stands for any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRole:
    """What the block `client` says of the client role."""

    enabled: bool = False
    servers: tuple[str, ...] = ()
    """`HOST[:PORT]` each, to begin with."""
    retry_join: tuple[str, ...] = ()
    """Further ones, that are looked for until one of them is found."""
    retry_max: int = 0
    retry_interval: float = 30.0
    """Seconds."""
    node_class: str = ""
    state_dir: Path | None = None
    meta: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """The block `limits`. Durations are seconds; 0 is no limit."""

    http_max_conns_per_client: int = 100
    https_handshake_timeout: float = 5.0
    rpc_max_conns_per_client: int = 100
    rpc_handshake_timeout: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry:
    """The block `telemetry`: where figures are sent, and how they are named."""

    statsd_address: str = ""
    """`HOST:PORT`, empty for none, as the next two."""
    statsite_address: str = ""
    datadog_address: str = ""
    disable_hostname: bool = False
    use_node_name: bool = False
    collection_interval: float = 1.0
    """Seconds."""
    publish_node_metrics: bool = False
    publish_allocation_metrics: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All an agent needs to know. Made by `load`, read-only."""

    dev: bool
    name: str
    """Node name; the host name when none was given."""
    region: str
    datacenter: str
    data_dir: Path | None
    bind_addr: str
    bind: Mapping[str, HostPort]
    """By service (http, rpc, serf): where it listens, ports as asked for."""
    advertise: Mapping[str, HostPort | None]
    """By service: what others are told; None is the bind address."""
    is_server: bool
    """A member of the pool. One of this and `client.enabled` is set, or both."""
    client: ClientRole
    registry: RegistrySettings
    """Of the client nodes that register here: `server.heartbeat_grace` and its like."""
    limits: ConnectionLimits
    telemetry: Telemetry
    bootstrap_expect: int
    keys: tuple[bytes, ...] = field(repr=False)
    start_join: tuple[str, ...]
    retry_join: tuple[str, ...]
    retry_max: int
    retry_interval: float
    leave_on_interrupt: bool
    leave_on_terminate: bool
    log_level: str
    log_json: bool
    log_levels: Mapping[str, str]
    """Levels of single modules, by name; `nomad` counts for `nomad.rpc` too."""
    response_headers: Mapping[str, str]
    http_hosts: tuple[str, ...]
    """Names besides its own that the HTTP API answers to, as patterns."""
    pool: Pool
    profile: str
    label: str
    tags: Mapping[str, str]
    swim: SwimConfig
    """The profile, with what `moot.timing` and `moot.reclaim_after` say instead."""
    conflict: str
    replay: bool
    """Joins bring the pool's past user events."""
    ipc: HostPort | None
    """Where the client RPC listens; None is nowhere."""
    ipc_auth: str = field(repr=False)
    snapshot: Path | None
    rejoin_after_leave: bool
    keyring_file: Path | None
    """As given, or None; `identity.keyring_file` knows the place in the data directory."""
    handlers: tuple[Handler, ...]
    handler_timeout: float
    discover: str
    discover_interface: str
    api: ApiSettings
    """Of the HTTP API: tokens, debugging, Prometheus."""
    tls: TlsSettings
    files: tuple[Path, ...]
    values: Mapping[str, Value] = field(repr=False)
    """By dotted key, what files, variables and flags made of it. The gossip key is in it."""
    origins: Mapping[str, tuple[str, ...]]
    """By dotted key, where the value comes from: a file with its line, a variable, a flag, `layers.DEFAULT`."""
    foreign: tuple[str, ...]
    """Keys in the files that were accepted without effect."""
    notices: tuple[str, ...]
    """What was found odd while they were read."""
    surroundings: Surroundings | None = None
    """The lab that the agent lives in; None, unless its control channel is open."""
    tuning: Mapping[str, Any] = field(default_factory=dict)
    """Fields of SwimConfig and SerfConfig that a lab sets."""

    @property
    def name_given(self) -> str:
        """The name as configured, empty when it was taken from the host."""
        return cast(str, self.values["name"])

    @property
    def gossip_name(self) -> str:
        """Name in the pool: `NODE.REGION` among Nomad servers, else the plain name."""
        return f"{self.name}.{self.region}" if self.pool == "nomad" else self.name

    @property
    def serves_rpc(self) -> bool:
        """Other agents can call: servers among Nomad's do, serf agents have no RPC."""
        return self.is_server and self.pool == "nomad"

    @property
    def identity_dir(self) -> Path | None:
        """Where the agent keeps who it is."""
        return self.data_dir or (self.client.state_dir if self.client.enabled else None)

    @property
    def in_force(self) -> Mapping[str, object]:
        """The values by key, where what stands for nothing given is what it comes to."""
        resolved = {
            "name": self.name,
            "moot.profile": self.profile,
            "moot.conflict": self.conflict,
            "moot.ipc_addr": str(self.ipc or ""),
            "moot.snapshot": str(self.snapshot or ""),
        }
        return {**self.values, **resolved}

    def warnings(self) -> list[str]:
        """What is allowed but deserves a word at start."""
        found = [*self.notices, *(self._pool_warnings() if self.is_server else [])]
        if not (self.is_server or self.client.servers or self.client.retry_join):
            found.append("this client knows no server; give --servers, or set a list with PUT /v1/agent/servers")
        if self.api.acl.enabled and not self.values["acl.tokens"]:
            found.append("acl.enabled, and no token is known, so nobody may ask for anything: see `moot token`")
        http = self.bind["http"].host
        if not ipaddress.ip_address(http).is_loopback and not (self.api.acl.enabled or self.tls.verify_https_client):
            found.append(
                f"the HTTP API on {http} has no access control; keep it on loopback with --http-addr 127.0.0.1, or"
                " turn tokens on: acl.enabled, and `moot token`"
            )
        return found

    def _pool_warnings(self) -> list[str]:
        """The same about what only a member of the pool has."""
        found = []
        host = self.bind["serf"].host
        if ipaddress.ip_address(host).is_loopback and self.advertise["serf"] is None:
            found.append(
                f"only this machine can reach the pool address {host}; for other machines give --bind or --advertise"
            )
        if not ipaddress.ip_address(host).is_loopback and not self.keys:
            found.append(
                f"gossip on {host} is not encrypted: anybody who reaches the port can join; make a key with"
                " `moot keygen` and give it to every agent: server.encrypt in a file of mode 0600, or MOOT_ENCRYPT"
            )
        if self.ipc and not self.ipc_auth and not ipaddress.ip_address(self.ipc.host).is_loopback:
            found.append(
                f"the client RPC on {self.ipc} obeys anybody who reaches it; keep it on loopback, or ask for a key:"
                " moot.ipc_auth in a file of mode 0600, or MOOT_IPC_AUTH"
            )
        if self.bootstrap_expect and self.bootstrap_expect % 2 == 0:
            found.append(
                f"server.bootstrap_expect is {self.bootstrap_expect}: an odd number of servers is usual, for an even"
                " one survives no more failures"
            )
        elif self.bootstrap_expect == 1 and not self.dev:
            found.append(
                "server.bootstrap_expect is 1: others take this agent for the only server; for a pool give 3 or 5"
            )
        if self.rejoin_after_leave and self.snapshot is None:
            found.append("to rejoin after a leave takes a snapshot: give --data-dir or --snapshot")
        return found
