"""Shapes of the answers as typed structs, and how they become JSON.

Keys are sent sorted. Strings that came from the network may hold bytes that are no UTF-8 (as surrogate
escapes); each such byte is sent as U+FFFD, as Go does.
"""

import re
from typing import Annotated

import msgspec

from moot.gossip.serf.members import SerfMember
from moot.http.self_config import config_schema

SURROGATE = re.compile("[\ud800-\udfff]")


class MemberAnswer(msgspec.Struct, rename="pascal"):
    """One member. Without a member, in `self` of an agent outside the pool, everything is zero."""

    addr: str | None = None
    delegate_cur: int = 0
    delegate_max: int = 0
    delegate_min: int = 0
    name: str = ""
    port: int = 0
    protocol_cur: int = 0
    protocol_max: int = 0
    protocol_min: int = 0
    status: str = "none"
    tags: dict[str, str] | None = None

    @classmethod
    def of(cls, member: SerfMember) -> "MemberAnswer":
        """What is known of the member, its tags decoded."""
        protocol_min, protocol_max, protocol_cur, delegate_min, delegate_max, delegate_cur = member.versions
        return cls(
            addr=member.address.host,
            delegate_cur=delegate_cur,
            delegate_max=delegate_max,
            delegate_min=delegate_min,
            name=member.name,
            port=member.address.port,
            protocol_cur=protocol_cur,
            protocol_max=protocol_max,
            protocol_min=protocol_min,
            status=member.status.value,
            tags=dict(member.tags),
        )


class MembersAnswer(msgspec.Struct):
    """GET /v1/agent/members."""

    members: list[MemberAnswer] = msgspec.field(name="Members")
    server_dc: str = msgspec.field(name="ServerDC")
    server_name: str = msgspec.field(name="ServerName")
    server_region: str = msgspec.field(name="ServerRegion")


class SelfAnswer(msgspec.Struct):
    """/v1/agent/self."""

    config: Annotated[dict[str, object], msgspec.Meta(extra_json_schema=config_schema())]
    """The effective configuration; secrets never show."""
    member: MemberAnswer
    stats: dict[str, dict[str, str]]
    """Blocks by name, in them everything as text."""


class JoinAnswer(msgspec.Struct):
    """PUT /v1/agent/join. `error` is empty as soon as one address was joined."""

    error: str
    num_joined: int


class HealthAnswer(msgspec.Struct):
    """One role in GET /v1/agent/health."""

    message: str
    ok: bool


class KeyringAnswer(msgspec.Struct):
    """/v1/agent/keyring/…. `keys` are only there for `list`: base64 text to the number of members that hold it."""

    keys: dict[str, int] = msgspec.field(name="Keys")
    messages: dict[str, str] = msgspec.field(name="Messages")
    """What members said besides, by name."""
    num_nodes: int = msgspec.field(name="NumNodes")
    """Members that were alive and asked."""


class DiskAnswer(msgspec.Struct):
    """One file system, in mebibytes."""

    disk_mb: int = msgspec.field(name="DiskMB")
    used_mb: int = msgspec.field(name="UsedMB")


class HostAnswer(msgspec.Struct):
    """GET /v1/agent/host."""

    os: str = msgspec.field(name="OS")
    network: list[dict[str, str]] = msgspec.field(name="Network")
    resolv_conf: str = msgspec.field(name="ResolvConf")
    hosts: str = msgspec.field(name="Hosts")
    environment: dict[str, str] = msgspec.field(name="Environment")
    disk: dict[str, DiskAnswer] = msgspec.field(name="Disk")
    """By mount point."""


class TargetedHostAnswer(msgspec.Struct):
    """GET /v1/agent/host with an id in the query."""

    agent_id: str = msgspec.field(name="AgentID")
    host_data: HostAnswer = msgspec.field(name="HostData")


class SchedulersAnswer(msgspec.Struct):
    """GET /v1/agent/schedulers. No agent has any."""

    schedulers: list[str]
    server_id: str


class SchedulersConfigAnswer(msgspec.Struct):
    """/v1/agent/schedulers/config."""

    enabled_schedulers: list[str]
    num_schedulers: int
    server_id: str


class GaugeAnswer(msgspec.Struct, rename="pascal"):
    """A value as of now, in GET /v1/metrics."""

    labels: dict[str, str]
    name: str
    value: float


class SampledAnswer(msgspec.Struct, rename="pascal"):
    """What happened in one interval, in GET /v1/metrics."""

    count: int
    labels: dict[str, str]
    max: float
    mean: float
    min: float
    name: str
    rate: float
    """`sum` per second."""
    stddev: float
    sum: float


class MetricsAnswer(msgspec.Struct, rename="pascal"):
    """GET /v1/metrics."""

    counters: list[SampledAnswer]
    gauges: list[GaugeAnswer]
    points: list[str]
    """Always empty, as with Nomad's agents."""
    samples: list[SampledAnswer]
    timestamp: str
    """When the interval began."""


class AgentAnswer(msgspec.Struct):
    """GET /v1/moot/agent."""

    counters: dict[str, int]
    datacenter: str
    encrypted: bool
    gossip_address: str
    gossip_name: str
    http: dict[str, int]
    """Counts of the HTTP server: `HttpCounters`."""
    http_addresses: list[str]
    label: str
    members: dict[str, int]
    """How many members there are in each status; statuses without a member are left out."""
    name: str
    pid: int
    pool: str
    profile: str
    region: str
    uptime: float
    version: str


class LeaveAnswer(msgspec.Struct):
    """PUT /v1/moot/leave: the pool has heard that the agent leaves; the agent ends after this answer."""

    gossip_name: str


_ENCODER = msgspec.json.Encoder(order="sorted")


def encode(answer: object, *, pretty: bool = False) -> bytes:
    """JSON: compact without a final newline, or indented by four blanks with one."""
    try:
        compact = _ENCODER.encode(answer)
    except UnicodeEncodeError:  # rare, so only then every string is looked at
        compact = _ENCODER.encode(_cleaned(msgspec.to_builtins(answer)))
    return msgspec.json.format(compact, indent=4) + b"\n" if pretty else compact


def _cleaned(value: object) -> object:
    match value:
        case str():
            return SURROGATE.sub("\N{REPLACEMENT CHARACTER}", value)
        case list():
            return [_cleaned(item) for item in value]
        case dict():
            return {_cleaned(key): _cleaned(item) for key, item in value.items()}
    return value
