"""AgentBackend: what the HTTP API sees of a running agent."""

import os
import platform
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import fields

import trio

from moot import __version__
from moot.agent.config import NOMAD_TAGS, Settings
from moot.agent.nomad_backend import NomadBackend
from moot.agent.pool_backend import PoolBackend
from moot.agent.services import Services
from moot.gossip.counters import Counters
from moot.gossip.errors import CommandError
from moot.gossip.net.node import Node
from moot.gossip.record import Address
from moot.gossip.serf.members import SerfMember
from moot.http.backend import AgentInfo, BackendError, Identity, JoinAttempt, PoolClosed
from moot.http.guard import configured_headers
from moot.http.remote import Remote
from moot.http.self_config import AgentSettings, build_config

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386"}
"""Go's names for what the kernel reports."""


class AgentBackend:
    """Answers from the node's memory. `leave` is the agent's way to leave and then end."""

    client = None

    def __init__(
        self,
        node: Node,
        settings: Settings,
        services: Services,
        *,
        rpc: Address,
        nomad: NomadBackend,
        leave: Callable[[], Awaitable[None]],
    ) -> None:
        self._node = node
        self._services = services
        self._settings = settings
        self._rpc = rpc
        self.nomad = nomad
        self.remote: Remote | None = None
        self._leave = leave
        self._started = time.monotonic()
        self.http: Sequence[Address] = ()
        """Where HTTP listens; this and the next are set once it does, before the first request."""
        self.http_told: Address | None = None
        """Where others find it."""
        self.response_headers = configured_headers(settings.response_headers)
        self.operations = PoolBackend(node, NOMAD_TAGS if settings.pool == "nomad" else ())
        self.identity = Identity(
            node_name=settings.name,
            gossip_name=settings.gossip_name,
            region=settings.region,
            datacenter=settings.datacenter,
            pool=settings.pool,
            is_server=True,
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
        self.response_headers = configured_headers(settings.response_headers)

    @property
    def members_version(self) -> int:
        return self._node.members_version

    def members(self) -> Sequence[SerfMember]:
        return self._node.members()

    def self_member(self) -> SerfMember | None:
        return self._node.member(self.identity.gossip_name)

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
                serf_advertise=str(self._node.address),
                http_port=self.http[0].port,
                rpc_port=settings.bind["rpc"].port or self._rpc.port,
                serf_port=self._node.bind_address.port,
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
                server_enabled=True,
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
        return {"serf": self._node.stats(), "runtime": runtime, "moot": self._own_stats()}

    def _own_stats(self) -> dict[str, str]:
        """What is on, and what Serf's statistics do not have. Empty is off."""
        node, services, settings = self._node, self._services, self._settings
        coordinate = node.coordinate()
        return {
            "conflict": settings.conflict,
            "coordinate_error": f"{coordinate.error:.3f}" if coordinate else "",
            "discover": settings.discover,
            "event_handlers": str(len(services.handlers.handlers)),
            "events_not_delivered": str(services.delivery.dropped_count),
            "flaps": str(sum(node.flaps(member.name) for member in node.members())),
            "ipc_addr": str(services.rpc or ""),
            "ipc_auth": str(bool(settings.ipc_auth)).lower(),
            "keyring_file": str(node.settings.keyring_file or ""),
            "rejoin_after_leave": str(settings.rejoin_after_leave).lower(),
            "snapshot": str(node.settings.snapshot or ""),
        }

    def info(self) -> AgentInfo:
        return AgentInfo(
            version=__version__,
            pid=os.getpid(),
            uptime=time.monotonic() - self._started,
            profile=self._settings.profile,
            encrypted=self._node.encrypted,
            label=self._settings.label,
            gossip_address=str(self._node.address),
            http_addresses=[str(address) for address in self.http],
            counters=_flat(self._node.counters),
        )

    async def join(self, addresses: Sequence[str]) -> Sequence[JoinAttempt]:
        try:
            outcomes = await self._node.join(addresses, ignore_old=not self._settings.replay)
        except CommandError as error:
            raise PoolClosed(str(error)) from error
        return [JoinAttempt(given=each.target, ip=each.ip, error=each.cause or "") for each in outcomes]

    async def force_leave(self, name: str, prune: bool) -> None:
        try:
            await self._node.force_leave(name, prune=prune)
        except CommandError as error:
            raise BackendError(str(error)) from error

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
