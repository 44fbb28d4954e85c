"""A Backend that plays any situation: members are made up, operations act on the list as the pool would."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from moot.gossip.record import Address
from moot.gossip.serf.members import MemberStatus, SerfMember
from moot.gossip.serf.tags import encode_tags
from moot.gossip.swim.member import Member, Status
from moot.http.backend import AgentInfo, BackendError, Identity, JoinAttempt, PoolClosed
from moot.http.exchange import Headers
from moot.http.guard import configured_headers
from moot.http.self_config import AgentSettings, build_config
from tests.api.scripted_nomad import ScriptedClientRole, ScriptedNomad, ScriptedRemote
from tests.api.scripted_pool import ScriptedKeys, ScriptedPool

VERSIONS = bytes((1, 5, 2, 2, 5, 4))


def server_tags(region: str = "global", **more: str) -> dict[str, str]:
    """The tags of a server."""
    tags = {"role": "nomad", "region": region, "dc": "dc1", "vsn": "1", "mvn": "1", "build": "0.5.5"}
    return {**tags, "port": "4647", **more}


def made(
    name: str,
    ip: str,
    tags: Mapping[str, str] | None = None,
    status: MemberStatus = MemberStatus.ALIVE,
    port: int = 4648,
) -> SerfMember:
    """A member, a server unless `tags` say otherwise."""
    meta = encode_tags(server_tags() if tags is None else tags)
    lower = Status.ALIVE if status in (MemberStatus.ALIVE, MemberStatus.LEAVING) else Status.DEAD
    return SerfMember(Member(name, Address.parse(ip, port), 1, lower, meta, VERSIONS), status)


@dataclass
class ScriptedBackend:
    """An agent named by `identity` that holds `table`; joins succeed unless `join_errors` names the address."""

    identity: Identity
    table: list[SerfMember] = field(default_factory=list)
    client: ScriptedClientRole | None = None
    header_settings: Mapping[str, str] = field(default_factory=dict)
    """`http_api_response_headers`."""
    settings: AgentSettings | None = None
    encrypted: bool = False
    join_errors: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Address as given → (ip dialled or empty, cause)."""
    left: bool = False
    broadcast_fails: bool = False
    members_version: int = 0
    members_calls: int = 0
    calls: list[tuple[object, ...]] = field(default_factory=list)
    operations: ScriptedPool = field(default_factory=lambda: ScriptedPool(ScriptedKeys.of(())))
    nomad: ScriptedNomad = field(default_factory=lambda: ScriptedNomad(ScriptedKeys.of(())))
    remote: ScriptedRemote | None = None

    @property
    def response_headers(self) -> Headers:
        return configured_headers(self.header_settings)

    def members(self) -> Sequence[SerfMember]:
        self.members_calls += 1
        return self.table

    def self_member(self) -> SerfMember | None:
        return next((it for it in self.table if it.name == self.identity.gossip_name), None)

    def set_status(self, name: str, status: MemberStatus) -> None:
        self.table = [it.became(status) if it.name == name else it for it in self.table]
        self.members_version += 1

    def agent_config(self) -> Mapping[str, object]:
        settings = self.settings or AgentSettings(
            http_advertise="127.0.0.1:4646",
            rpc_advertise="127.0.0.1:4647",
            serf_advertise="127.0.0.1:4648" if self.identity.is_server else "",
            server_enabled=self.identity.is_server,
            client_enabled=self.client is not None,
            version="0.5.5",
            version_prerelease="dev",
        )
        return build_config(replace(settings, response_headers=self.header_settings))

    def stats(self) -> Mapping[str, Mapping[str, str]]:
        runtime = {"cpu_count": "8", "kernel.name": "linux", "arch": "amd64", "version": "CPython 3.11"}
        blocks = {"runtime": {**runtime, "max_procs": "1", "goroutines": "12"}}
        if self.identity.is_server:
            statuses = [it.status for it in self.table]
            zeros = dict.fromkeys(("intent_queue", "event_queue", "query_queue", "health_score"), "0")
            ones = dict.fromkeys(("member_time", "event_time", "query_time"), "1")
            blocks["serf"] = {
                **zeros,
                **ones,
                "encrypted": "true" if self.encrypted else "false",
                "members": str(len(statuses)),
                "failed": str(statuses.count(MemberStatus.FAILED)),
                "left": str(statuses.count(MemberStatus.LEFT)),
            }
        if self.client is not None:
            blocks["client"] = {
                "heartbeat_ttl": "17.79568937s",
                "known_servers": ",".join(self.client.known_servers()),
                "last_heartbeat": "10.107423052s",
                "node_id": self.nomad.node_id,
                "num_allocations": "0",
            }
        return blocks

    def info(self) -> AgentInfo:
        return AgentInfo(
            version="0.1.0",
            pid=4711,
            uptime=12.3456,
            profile="wan",
            encrypted=self.encrypted,
            label="",
            gossip_address="127.0.0.1:4648",
            http_addresses=["127.0.0.1:4646"],
            counters={"packets_in": 7},
        )

    async def join(self, addresses: Sequence[str]) -> Sequence[JoinAttempt]:
        self.calls.append(("join", *addresses))
        if self.left:
            raise PoolClosed("Serf can't Join after Leave or Shutdown")
        attempts = []
        for given in addresses:
            ip, error = self.join_errors.get(given, ("127.0.0.1", ""))
            attempts.append(JoinAttempt(given=given, ip=ip, error=error))
        return attempts

    async def force_leave(self, name: str, prune: bool) -> None:
        self.calls.append(("force_leave", name, prune))
        if self.broadcast_fails:
            raise BackendError("timed out broadcasting node removal")
        found = next((it for it in self.table if it.name == name), None)
        if found is None or name == self.identity.gossip_name:
            return
        alive = [it for it in self.table if it.status is MemberStatus.ALIVE]
        if found.status is MemberStatus.FAILED:
            self.set_status(name, MemberStatus.LEFT)
        elif found.status is MemberStatus.ALIVE and len(alive) == 2:  # nobody is there to be told, so no refutation
            self.set_status(name, MemberStatus.LEAVING)
        if prune:
            self.table = [it for it in self.table if it.name != name]
            self.members_version += 1

    async def leave(self) -> None:
        self.calls.append(("leave",))
        if self.left:
            raise PoolClosed("the agent has left the pool already")
        self.left = True
        self.set_status(self.identity.gossip_name, MemberStatus.LEFT)


def identity(node: str = "s1", region: str = "global", *, is_server: bool = True, pool: str = "nomad") -> Identity:
    """Who the scripted agent is."""
    nomad = pool == "nomad"
    return Identity(
        node_name=node,
        gossip_name=f"{node}.{region}" if nomad else node,
        region=region,
        datacenter="dc1",
        pool="nomad" if nomad else "serf",
        is_server=is_server,
    )
