"""AgentBackend: what the HTTP API sees of a running agent."""

import os
import platform
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import fields

import trio

from moot import __version__
from moot.agent.nomad.client_role import ClientAgent
from moot.agent.nomad_backend import NomadBackend
from moot.agent.pool_side import PoolSide
from moot.agent.settings import Settings
from moot.gossip.counters import Counters
from moot.gossip.errors import CommandError
from moot.gossip.record import Address
from moot.gossip.serf.members import SerfMember
from moot.http.backend import AgentInfo, BackendError, Identity, JoinAttempt
from moot.http.guard import configured_headers
from moot.http.pool import PoolOperations
from moot.http.remote import Remote
from moot.http.self_config import AgentSettings, build_config

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386"}
"""Go's names for what the kernel reports."""


class AgentBackend:
    """Answers from memory. `leave` is the agent's way to leave and then end."""

    def __init__(
        self,
        settings: Settings,
        pool: PoolSide,
        *,
        rpc: Address,
        nomad: NomadBackend,
        leave: Callable[[], Awaitable[None]],
    ) -> None:
        self._pool = pool
        self._settings = settings
        self._rpc = rpc
        self.nomad = nomad
        nomad.publish_machine(settings.telemetry.publish_node_metrics)
        self.remote: Remote | None = None
        """How to ask other servers; this and the next are set before HTTP listens."""
        self.client: ClientAgent | None = None
        self._leave = leave
        self._started = time.monotonic()
        self.http: Sequence[Address] = ()
        """Where HTTP listens; this and the next are set once it does, before the first request."""
        self.http_told: Address | None = None
        """Where others find it."""
        self.response_headers = configured_headers(settings.response_headers)
        self.identity = Identity(
            node_name=settings.name,
            gossip_name=settings.gossip_name if settings.is_server else settings.name,
            region=settings.region,
            datacenter=settings.datacenter,
            pool=settings.pool,
            is_server=settings.is_server,
        )

    def listening(self, bound: Sequence[Address], told: Address) -> None:
        """HTTP listens at `bound`; `told` is where others find it."""
        self.http, self.http_told = bound, told

    def told_by_http(self) -> str:
        """`ip:port` at which others find HTTP, once it listens."""
        return str(self.http_told)

    def reload(self, settings: Settings) -> None:
        """Take over what may change while the agent runs."""
        self._settings = settings
        self.nomad.settings = settings.api
        self.nomad.publish_machine(settings.telemetry.publish_node_metrics)
        self.response_headers = configured_headers(settings.response_headers)

    @property
    def operations(self) -> PoolOperations:
        return self._pool.operations

    @property
    def members_version(self) -> int:
        return self._pool.members_version

    def members(self) -> Sequence[SerfMember]:
        return self._pool.members()

    def self_member(self) -> SerfMember | None:
        return self._pool.self_member()

    def agent_config(self) -> Mapping[str, object]:
        settings = self._settings
        return build_config(
            AgentSettings(
                bind_addr=settings.bind_addr,
                http_bind=settings.bind["http"].host,
                rpc_bind=settings.bind["rpc"].host,
                serf_bind=settings.bind["serf"].host,
                http_advertise=str(self.http_told),
                rpc_advertise=str(self._rpc),
                serf_advertise=self._pool.gossip_address or str(settings.advertise["serf"] or ""),
                http_port=self.http[0].port,
                rpc_port=settings.bind["rpc"].port or self._rpc.port,
                serf_port=self._pool.gossip_port,
                region=settings.region,
                datacenter=settings.datacenter,
                node_name=settings.name_given,
                data_dir=str(settings.data_dir or ""),
                dev_mode=settings.dev,
                enable_debug=settings.api.enable_debug,
                log_level=settings.log_level.upper(),
                leave_on_interrupt=settings.leave_on_interrupt,
                leave_on_terminate=settings.leave_on_terminate,
                files=[str(path) for path in settings.files],
                response_headers=settings.response_headers,
                server_enabled=settings.is_server,
                client_enabled=settings.client.enabled,
                client_servers=settings.client.servers,
                client_node_class=settings.client.node_class,
                client_state_dir=str(settings.client.state_dir or ""),
                client_meta=settings.client.meta,
                bootstrap_expect=settings.bootstrap_expect,
                rejoin_after_leave=settings.rejoin_after_leave,
                start_join=settings.start_join,
                retry_join=settings.retry_join,
                retry_max=settings.retry_max,
                retry_interval=settings.retry_interval,
                version=__version__,
                tls_http=settings.tls.http,
                tls_rpc=settings.tls.rpc,
                ca_file=settings.tls.ca_file,
                cert_file=settings.tls.cert_file,
                key_file=settings.tls.key_file,
                verify_server_hostname=settings.tls.verify_server_hostname,
            )
        )

    def stats(self) -> Mapping[str, Mapping[str, str]]:
        """`goroutines` counts trio tasks, `version` is Python's: the nearest that this runtime has."""
        machine = platform.machine()
        runtime = {
            "arch": ARCHITECTURES.get(machine, machine),
            "cpu_count": str(os.cpu_count() or 1),
            "goroutines": str(trio.lowlevel.current_statistics().tasks_living),
            "kernel.name": platform.system().lower(),
            "max_procs": str(len(os.sched_getaffinity(0))),
            "version": platform.python_version(),
        }
        client = {} if self.client is None else {"client": self.client.stats()}
        return {**self._pool.stats(), **client, "runtime": runtime}

    def info(self) -> AgentInfo:
        return AgentInfo(
            version=__version__,
            pid=os.getpid(),
            uptime=time.monotonic() - self._started,
            profile=self._settings.profile,
            encrypted=self._pool.encrypted,
            label=self._settings.label,
            gossip_address=self._pool.gossip_address,
            http_addresses=[str(address) for address in self.http],
            counters=_flat(self._pool.counters),
        )

    async def join(self, addresses: Sequence[str]) -> Sequence[JoinAttempt]:
        return await self._pool.join(addresses)

    async def force_leave(self, name: str, prune: bool) -> None:
        await self._pool.force_leave(name, prune)

    async def leave(self) -> None:
        try:
            await self._leave()
        except CommandError as error:
            raise BackendError(str(error)) from error


def _flat(counters: Counters) -> dict[str, int]:
    """All counters by name; those by kind as their sum, and as `name.kind` each."""
    flat: dict[str, int] = {}
    for field in fields(counters):
        value = getattr(counters, field.name)
        if isinstance(value, Counter):
            flat[field.name] = value.total()
            flat |= {f"{field.name}.{kind}": number for kind, number in value.items()}
        elif isinstance(value, int):
            flat[field.name] = value
    return flat
