"""PoolMember: an agent's place in the pool. The gossip node, how it finds the others, and what runs around it."""

import os
from collections.abc import Callable, Mapping, Sequence

import trio

from moot.agent.config_rules import NOMAD_TAGS
from moot.agent.event_log import EventLog
from moot.agent.identity import node_settings, overruled_key, reloaded_tags
from moot.agent.joining import Joining, persist
from moot.agent.logs import Logs
from moot.agent.pool_backend import PoolBackend
from moot.agent.rpc.backend import NodeRpcBackend
from moot.agent.rpc.log_ring import LogRing
from moot.agent.services import LAST_WORDS, Services
from moot.agent.settings import Settings
from moot.agent.text import tag_text
from moot.gossip.counters import Counters
from moot.gossip.errors import CommandError, ConfigError, GossipError, NameTaken
from moot.gossip.net.node import Node
from moot.gossip.record import Address
from moot.gossip.serf.members import SerfMember
from moot.http.backend import BackendError, JoinAttempt, PoolClosed
from moot.http.counters import RpcCounters


class PoolMember:
    """Implements `pool_side.PoolSide`.

    `rpc` is the announced RPC address, `identifier` the agent's UUID. `end` stops the agent, with the failure that
    made it necessary, or None when somebody asked for it by the client RPC.
    """

    def __init__(
        self,
        settings: Settings,
        logs: Logs,
        *,
        rpc: Address,
        identifier: str,
        end: Callable[[GossipError | None], None],
    ) -> None:
        self._settings = settings
        self._logs = logs
        self._end = end
        self._log = logs.logger("agent")
        self._overruled_key = overruled_key(settings)
        self.node = Node(node_settings(settings, rpc, identifier))
        self._services = Services(
            self.node, logs.logger, handlers=settings.handlers, handler_timeout=settings.handler_timeout
        )
        self.operations = PoolBackend(self.node, NOMAD_TAGS if settings.pool == "nomad" else ())
        self._joining = Joining(self.node, self._log, replay=settings.replay)
        self._life = trio.CancelScope()
        self._hear: Callable[[object], None] = lambda event: None
        self._heard = trio.Event()
        """Somebody wants the events."""
        self._logged = trio.Event()
        """The log has all of them."""

    # ---- as the HTTP API sees it

    @property
    def members_version(self) -> int:
        return self.node.members_version

    def members(self) -> Sequence[SerfMember]:
        return self.node.members()

    def self_member(self) -> SerfMember | None:
        return self.node.member(self._settings.gossip_name)

    async def join(self, addresses: Sequence[str]) -> Sequence[JoinAttempt]:
        try:
            outcomes = await self.node.join(addresses, ignore_old=not self._settings.replay)
        except CommandError as error:
            raise PoolClosed(str(error)) from error
        return [JoinAttempt(given=each.target, ip=each.ip, error=each.cause or "") for each in outcomes]

    async def force_leave(self, name: str, prune: bool) -> None:
        try:
            await self.node.force_leave(name, prune=prune)
        except CommandError as error:
            raise BackendError(str(error)) from error

    def stats(self) -> Mapping[str, Mapping[str, str]]:
        return {"serf": self.node.stats(), "moot": self._own_stats()}

    def _own_stats(self) -> dict[str, str]:
        """What is on, and what Serf's statistics do not have. Empty is off."""
        node, services, settings = self.node, self._services, self._settings
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

    @property
    def gossip_address(self) -> str:
        return str(self.node.address)

    @property
    def gossip_port(self) -> int:
        return self.node.bind_address.port

    @property
    def encrypted(self) -> bool:
        return self.node.encrypted

    @property
    def counters(self) -> Counters:
        return self.node.counters

    @property
    def ipc_counters(self) -> RpcCounters:
        return self._services.ipc_counters

    # ---- start

    async def prepare(self, nursery: trio.Nursery) -> None:
        await self._services.prepare(nursery)
        await nursery.start(self._write_events)

    async def start(self, nursery: trio.Nursery) -> None:
        try:
            await nursery.start(self._run_node)
        except ConfigError as error:
            advice = "; give another --bind or --serf-port" if isinstance(error.__cause__, OSError) else ""
            raise ConfigError(f"{error}{advice}") from error

    async def _run_node(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with self._life:
            try:
                await self.node.run(task_status=task_status)
            except NameTaken as taken:
                self._end(NameTaken(f"{taken} with --node, or end the other"))

    async def serve(self, nursery: trio.Nursery) -> None:
        """Serf's client RPC, when it is wanted."""
        settings = self._settings
        if settings.ipc is None:
            return
        ring = LogRing()
        self._logs.copy = ring.write
        backend = NodeRpcBackend(
            self.node,
            self._services.delivery,
            ring,
            name=settings.gossip_name,
            end=lambda: self._end(None),
            set_tags=self._set_tags,
            handlers=self._services.handlers.listing,
        )
        host, port = settings.ipc.host, settings.ipc.port
        try:
            await self._services.serve_rpc(nursery, backend, host, port, auth_key=settings.ipc_auth)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise ConfigError(
                f"the client RPC cannot listen on {settings.ipc}: {reason}; give another --ipc-addr"
            ) from error

    async def _set_tags(self, tags: Mapping[str, str]) -> None:
        """What clients of the RPC make of our tags. Raises ConfigError, CommandError."""
        if self._settings.pool == "nomad":
            held = self.node.tags
            taken = sorted(name for name in NOMAD_TAGS if tags.get(name) != held.get(name))
            if taken:
                raise ConfigError(f"the tag {taken[0]} is the agent's own in a nomad pool; take another name")
        await self.node.set_tags(tags)

    async def enter(self, nursery: trio.Nursery) -> None:
        settings = self._settings
        if settings.discover:
            await self._services.discover(
                nursery, settings.discover, interface=settings.discover_interface, replay=settings.replay
            )
        if settings.start_join:
            await self._joining.at_start(settings.start_join)

    async def keep_joining(self) -> bool:
        settings = self._settings
        if not settings.retry_join:
            return True

        async def attempt() -> bool:
            return await self._joining.attempt(settings.retry_join)

        try:
            return await persist(
                attempt, self._log, retry_max=settings.retry_max, retry_interval=settings.retry_interval
            )
        except CommandError as refusal:  # a leave began meanwhile, or the end
            self._log.debug("no more attempts to join", reason=refusal)
            return True

    # ---- events

    def tell(self, hear: Callable[[object], None]) -> None:
        self._hear = hear
        self._heard.set()

    async def _write_events(self, task_status: trio.TaskStatus[None]) -> None:
        log = self._logs.logger("serf")
        event_log = EventLog(log, own_name=self._settings.gossip_name)
        with self.node.subscribe() as events:
            task_status.started()
            await self._heard.wait()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(event_log.report_refused, self.node.counters)
                async for event in events:
                    event_log(event)
                    self.operations.hear(event, log)
                    self._hear(event)
                nursery.cancel_scope.cancel()
        self._logged.set()

    # ---- changes, and the end

    async def change_tags(self, before: Mapping[str, str], after: Mapping[str, str]) -> None:
        tags = reloaded_tags(self.node.tags, before, after)
        if tags == self.node.tags:
            return
        try:
            await self.node.set_tags(tags)
        except CommandError as error:
            self._log.warn("the pool may not know of the new tags yet", reason=error)
        else:
            self._log.info("tags changed", tags=tag_text(tags))

    def reload(self, settings: Settings) -> None:
        self._settings = settings
        self._services.handlers.replace(settings.handlers)

    async def leave(self) -> None:
        await self.node.leave()

    async def stop(self) -> None:
        self._life.cancel()
        await self._services.wind_up()

    async def last_words(self) -> None:
        if self._heard.is_set():
            with trio.move_on_after(LAST_WORDS):
                await self._logged.wait()

    # ---- what people are told at the start

    def facts(self) -> Mapping[str, str]:
        settings, ipc = self._settings, self._services.rpc
        sealed = "encrypted" if self.node.encrypted else "not encrypted"
        found = {
            "Client RPC": f"{ipc}, {'with' if settings.ipc_auth else 'without'} a key" if ipc else "",
            "Discovery": settings.discover,
            "Event Handlers": str(len(settings.handlers) or ""),
            "Gossip": f"{settings.pool} pool, {settings.profile} profile, {sealed}",
            "Keyring": str(self.node.settings.keyring_file or ""),
            "Snapshot": str(self.node.settings.snapshot or ""),
        }
        return {title: value for title, value in found.items() if value}

    def addresses(self) -> Mapping[str, str]:
        ipc = self._services.rpc
        return {"gossip": str(self.node.address), **({"ipc": str(ipc)} if ipc else {})}

    def kept(self) -> Mapping[str, str]:
        kept = self.node.settings
        found = {"snapshot": kept.snapshot, "keyring": kept.keyring_file}
        return {what: str(path) for what, path in found.items() if path is not None}

    def warnings(self) -> Sequence[str]:
        return [self._overruled_key] if self._overruled_key else []
