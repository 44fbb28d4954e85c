"""`config` in /v1/agent/self: the documented keys, filled from the few settings that this agent has.

Every key of the documented sample is there with its type. What the agent does not run (Consul, Vault,
allocations, telemetry sinks) has the value of an agent on which it is switched off or left at its default.
Durations are integer nanoseconds for some keys and Go's text for others, as documented. Secrets never get
here: the gossip key has no field.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

MICROSECOND = 1_000
MILLISECOND = 1_000_000
SECOND = 1_000_000_000
"""Nanoseconds in each."""

CIRCONUS = (
    *("APIApp", "APIToken", "APIURL", "BrokerID", "BrokerSelectTag", "CheckDisplayName"),
    *("CheckForceMetricActivation", "CheckID", "CheckInstanceID", "CheckSearchTag", "CheckSubmissionURL"),
    *("CheckTags", "SubmissionInterval"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """The effective settings, after defaults, files and flags were merged."""

    bind_addr: str = "0.0.0.0"
    """Bind IPs of the listeners come next; empty ones take `bind_addr`."""
    http_bind: str = ""
    rpc_bind: str = ""
    serf_bind: str = ""
    http_advertise: str
    """`ip:port` as announced; so are the next two. `serf_advertise` is empty when not in the pool."""
    rpc_advertise: str
    serf_advertise: str
    http_port: int = 4646
    rpc_port: int = 4647
    serf_port: int = 4648
    region: str = "global"
    datacenter: str = "dc1"
    node_name: str = ""
    """As configured; empty when it was taken from the host."""
    data_dir: str = ""
    dev_mode: bool = False
    log_level: str = "INFO"
    """Upper case."""
    enable_debug: bool = False
    leave_on_interrupt: bool = False
    leave_on_terminate: bool = False
    files: Sequence[str] = ()
    """The configuration files loaded, in order."""
    response_headers: Mapping[str, str] = field(default_factory=dict)
    server_enabled: bool
    bootstrap_expect: int = 0
    rejoin_after_leave: bool = False
    start_join: Sequence[str] = ()
    retry_join: Sequence[str] = ()
    retry_max: int = 0
    retry_interval: float = 30.0
    """Seconds."""
    client_enabled: bool = False
    client_servers: Sequence[str] = ()
    client_node_class: str = ""
    client_state_dir: str = ""
    client_meta: Mapping[str, str] = field(default_factory=dict)
    tls_http: bool = False
    tls_rpc: bool = False
    ca_file: str = ""
    """Paths only, as are the next two."""
    cert_file: str = ""
    key_file: str = ""
    verify_server_hostname: bool = False
    version: str
    version_prerelease: str = ""
    revision: str = ""


def duration_text(seconds: float) -> str:
    """A duration as Go writes it: `30s`, `1m30s`, `1h0m0s`, `500ms`, `70.977µs`, `0s`."""
    nanos = round(abs(seconds) * SECOND)
    sign = "-" if seconds < 0 and nanos else ""
    if nanos == 0:
        return "0s"
    for unit, size in (("ns", 1), ("µs", MICROSECOND), ("ms", MILLISECOND)):
        if nanos < size * 1000:
            return f"{sign}{_decimal(nanos, size)}{unit}"
    minutes, rest = divmod(nanos, 60 * SECOND)
    hours, minutes = divmod(minutes, 60)
    front = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{front}{_decimal(rest, SECOND)}s"


def _decimal(nanos: int, size: int) -> str:
    whole, part = divmod(nanos, size)
    digits = f"{part:0{len(str(size)) - 1}d}".rstrip("0") if part else ""
    return f"{whole}.{digits}" if digits else str(whole)


def build_config(settings: AgentSettings) -> dict[str, object]:
    """The `config` object."""
    return {
        "Addresses": {
            "HTTP": settings.http_bind or settings.bind_addr,
            "RPC": settings.rpc_bind or settings.bind_addr,
            "Serf": settings.serf_bind or settings.bind_addr,
        },
        "AdvertiseAddrs": {
            "HTTP": settings.http_advertise,
            "RPC": settings.rpc_advertise,
            "Serf": settings.serf_advertise,
        },
        "BindAddr": settings.bind_addr,
        "Client": _client(settings),
        "Consul": _consul(),
        "DataDir": settings.data_dir,
        "Datacenter": settings.datacenter,
        "DevMode": settings.dev_mode,
        "DisableAnonymousSignature": True,
        "DisableUpdateCheck": False,
        "EnableDebug": settings.enable_debug,
        "EnableSyslog": False,
        "Files": list(settings.files) or None,
        "HTTPAPIResponseHeaders": dict(settings.response_headers),
        "LeaveOnInt": settings.leave_on_interrupt,
        "LeaveOnTerm": settings.leave_on_terminate,
        "LogLevel": settings.log_level,
        "NodeName": settings.node_name,
        "Ports": {"HTTP": settings.http_port, "RPC": settings.rpc_port, "Serf": settings.serf_port},
        "Region": settings.region,
        "Revision": settings.revision,
        "Server": _server(settings),
        "SyslogFacility": "LOCAL0",
        "TLSConfig": {
            "CAFile": settings.ca_file,
            "CertFile": settings.cert_file,
            "EnableHTTP": settings.tls_http,
            "EnableRPC": settings.tls_rpc,
            "KeyFile": settings.key_file,
            "VerifyServerHostname": settings.verify_server_hostname,
        },
        "Telemetry": _telemetry(),
        "Vault": _vault(),
        "Version": settings.version,
        "VersionPrerelease": settings.version_prerelease,
    }


def _client(settings: AgentSettings) -> dict[str, object]:
    threshold = (99, 99) if settings.dev_mode else (80, 70)
    return {
        "AllocDir": "",
        "ChrootEnv": {},
        "ClientMaxPort": 14512,
        "ClientMinPort": 14000,
        "Enabled": settings.client_enabled,
        "GCDiskUsageThreshold": threshold[0],
        "GCInodeUsageThreshold": threshold[1],
        "GCInterval": (600 if settings.dev_mode else 60) * SECOND,
        "MaxKillTimeout": "30s",
        "Meta": dict(settings.client_meta),
        "NetworkInterface": "",
        "NetworkSpeed": 0,
        "NodeClass": settings.client_node_class,
        "Options": {},
        "Reserved": {
            "CPU": 0,
            "DiskMB": 0,
            "IOPS": 0,
            "MemoryMB": 0,
            "ParsedReservedPorts": None,
            "ReservedPorts": "",
        },
        "Servers": list(settings.client_servers) or None,
        "StateDir": settings.client_state_dir,
    }


def _server(settings: AgentSettings) -> dict[str, object]:
    return {
        "BootstrapExpect": settings.bootstrap_expect,
        "DataDir": "",
        "Enabled": settings.server_enabled,
        "EnabledSchedulers": None,
        "EvalGCThreshold": "",
        "HeartbeatGrace": "",
        "JobGCThreshold": "",
        "NodeGCThreshold": "",
        "NumSchedulers": 0,
        "ProtocolVersion": 0,
        "RejoinAfterLeave": settings.rejoin_after_leave,
        "RetryInterval": duration_text(settings.retry_interval),
        "RetryJoin": list(settings.retry_join),
        "RetryMaxAttempts": settings.retry_max,
        "StartJoin": list(settings.start_join),
    }


def _consul() -> dict[str, object]:
    """Nomad's defaults as documented; there is no Consul here to act on them."""
    return {
        "Addr": "",
        "Auth": "",
        "AutoAdvertise": True,
        "CAFile": "",
        "CertFile": "",
        "ChecksUseAdvertise": False,
        "ClientAutoJoin": True,
        "ClientServiceName": "nomad-client",
        "EnableSSL": False,
        "KeyFile": "",
        "ServerAutoJoin": True,
        "ServerServiceName": "nomad",
        "Timeout": 5 * SECOND,
        "Token": "",
        "VerifySSL": False,
    }


def _telemetry() -> dict[str, object]:
    return {
        **{f"Circonus{key}": "" for key in CIRCONUS},
        "CollectionInterval": "1s",
        "DataDogAddr": "",
        "DisableHostname": False,
        "PublishAllocationMetrics": False,
        "PublishNodeMetrics": False,
        "StatsdAddr": "",
        "StatsiteAddr": "",
        "UseNodeName": False,
    }


def _vault() -> dict[str, object]:
    return {
        "Addr": "https://vault.service.consul:8200",
        "AllowUnauthenticated": True,
        "ConnectionRetryIntv": 30 * SECOND,
        "Enabled": None,
        "Role": "",
        "TLSCaFile": "",
        "TLSCaPath": "",
        "TLSCertFile": "",
        "TLSKeyFile": "",
        "TLSServerName": "",
        "TLSSkipVerify": None,
        "TaskTokenTTL": "",
        "Token": "",
    }


def config_schema() -> dict[str, object]:
    """The JSON schema of `config`: every key, and the types of values that it is given."""
    bare = AgentSettings(http_advertise="", rpc_advertise="", serf_advertise="", server_enabled=True, version="")
    full = replace(bare, files=("a",), client_servers=("a",), start_join=("a",), retry_join=("a",))
    return _schema_of([build_config(bare), build_config(full)])


_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null", list: "array"}


def _schema_of(values: Sequence[object]) -> dict[str, object]:
    """What values of one key have in common. An empty object is one whose keys the operator chooses."""
    blocks = [value for value in values if isinstance(value, dict)]
    if blocks and not blocks[0]:
        return {"type": "object", "additionalProperties": {"type": "string"}}
    if blocks:
        keys = {key: _schema_of([block[key] for block in blocks]) for key in blocks[0]}
        return {"type": "object", "properties": keys, "required": list(keys)}
    names = sorted({_TYPES[type(value)] for value in values})
    schema: dict[str, object] = {"type": names if len(names) > 1 else names[0]}
    return {**schema, "items": {"type": "string"}} if "array" in names else schema
