"""Agent: its place in the pool, its RPC and its HTTP API, from start to stop, in one nursery.

It ends with the exit code of Nomad's agent: 0 after a graceful leave, 1 when it was simply stopped, when a
second signal cut a leave short, when retries to join were used up, or when the pool gave its name to another.
"""

import contextlib
import os
import signal
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial

import trio

from moot.agent import foreign_keys
from moot.agent.access_log import AccessLog, awake
from moot.agent.backend import AgentBackend
from moot.agent.greeting import start_facts
from moot.agent.identity import advertised_address, http_names, node_id
from moot.agent.joining import persist
from moot.agent.key_table import KEYS
from moot.agent.limits import http_limits, raise_descriptors
from moot.agent.logs import Logs
from moot.agent.no_pool import NoPool
from moot.agent.nomad.heartbeat import PATIENCE_FIRST
from moot.agent.nomad_backend import NomadBackend
from moot.agent.pool_member import PoolMember
from moot.agent.pool_side import PoolSide
from moot.agent.rpc_port import RpcPort, rpc_service
from moot.agent.settings import Settings
from moot.agent.statsd.exporter import Exporter
from moot.agent.text import printable
from moot.agent.tls import TlsContexts, build_contexts
from moot.gossip.errors import CommandError, ConfigError, GossipError
from moot.http.api import build_api
from moot.http.counters import HttpCounters
from moot.http.hosts import KnownHosts
from moot.http.metrics import Metrics
from moot.http.metrics_api import MemberCounts
from moot.http.server import HttpServer

LEAVE_TIMEOUT = 5.0
"""Seconds that a leave after a signal may take."""
SIGNAL_NAMES = {signal.SIGINT: "interrupt", signal.SIGTERM: "terminated", signal.SIGHUP: "hangup"}
WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
RELOADABLE = frozenset(name for name, key in KEYS.items() if key.reload)
"""Keys that take effect without a restart."""


class Agent:
    """One agent. `run` is its life; the rest are its parts.

    `reread` gives the settings anew when the agent is told to reload, or raises ConfigError. `lifeline` is a
    file descriptor; when it reads as ended, whoever started the agent is gone, and so is the agent. With `alone` the
    process is the agent's own, and its signals are for it.
    """

    def __init__(
        self,
        settings: Settings,
        logs: Logs,
        *,
        reread: Callable[[], Settings],
        lifeline: int | None = None,
        alone: bool = True,
    ) -> None:
        self.settings = settings
        self._alone = alone
        self.logs = logs
        self._reread = reread
        self._lifeline = lifeline
        self._log = logs.logger("agent")
        self._tls = self._read_tls(settings)
        self._too_few = raise_descriptors(serves_rpc=settings.serves_rpc)
        identifier = node_id(settings.identity_dir)
        self._rpc_port = RpcPort(settings)
        self.pool: PoolSide = NoPool(settings)
        if settings.is_server:
            told = self._rpc_port.told
            self.pool = PoolMember(settings, logs, rpc=told, identifier=identifier, end=self._end_with)
        nomad = NomadBackend(self.pool.node, logs, node_id=identifier, settings=settings.api, reload=self.reload)
        self.backend = AgentBackend(
            settings, self.pool, rpc=self._rpc_port.told, nomad=nomad, leave=self._leave_and_end
        )
        told_http = self.backend.told_by_http
        self._rpc = rpc_service(settings, logs.logger, self.backend, identifier=identifier, http_address=told_http)
        self.backend.remote = self._rpc.remote
        nomad.client_nodes = self._rpc.client_nodes
        nomad.rpc_counters, nomad.ipc_counters = self._rpc.counters, self.pool.ipc_counters
        counters = HttpCounters()
        self.metrics = Metrics(nomad.figures, counters)
        self._exporter = Exporter(
            self.metrics,
            MemberCounts(self.backend),
            logs.logger("telemetry"),
            settings=settings.telemetry,
            node_name=settings.name,
        )
        api = build_api(self.backend, counters=counters, metrics=self.metrics)
        self._hosts = KnownHosts(api, http_names(settings))
        app = awake(AccessLog(self._hosts, logs.logger("http")), settings.surroundings)
        self.server = HttpServer(
            app,
            report=self._report_fault,
            refused=self._report_refused,
            limits=http_limits(settings.limits),
            counters=counters,
        )
        self._secure()
        self._up = trio.Event()
        """All of the agent is there, whether it has found others or not."""
        self._reloading = trio.Lock()
        self._ended = trio.Event()
        self._exit_code = 1
        self._failure: GossipError | None = None

    async def run(self) -> int:
        """Live until a signal, a leave or a failure; the exit code. Raises GossipError when the start fails."""
        try:
            await self._live()
        finally:
            self._rpc_port.close()
        if self._failure is not None:
            raise self._failure
        return self._exit_code

    async def _live(self) -> None:
        with contextlib.ExitStack() as stack:
            signals = stack.enter_context(trio.open_signal_receiver(*WATCHED)) if self._alone else None
            async with trio.open_nursery() as nursery:
                if signals is not None:
                    nursery.start_soon(self._obey_signals, signals, nursery)
                if self._lifeline is not None:
                    nursery.start_soon(self._watch_lifeline, self._lifeline)
                nursery.start_soon(self._start, nursery)
                await self._ended.wait()
                await self._wind_up()
                nursery.cancel_scope.cancel()

    def end(self, exit_code: int) -> None:
        """Stop now: the pool first, without a word to it, then HTTP. The first call decides the exit code."""
        if not self._ended.is_set():
            self._exit_code = exit_code
            self._ended.set()

    def _end_with(self, failure: GossipError | None) -> None:
        """Stop now: because of a failure, or because it was asked for."""
        if not self._ended.is_set():
            self._failure = failure
            self.end(0 if failure is None else 1)

    async def _wind_up(self) -> None:
        """Stop the pool, then HTTP; handlers and log have their last events."""
        await self.pool.stop()
        await self._rpc.stop()
        await self.server.stop()
        await self.pool.last_words()

    # start

    async def _start(self, nursery: trio.Nursery) -> None:
        try:
            await self.pool.prepare(nursery)
            await self._listen_rpc()
            await self.pool.start(nursery)
            await self._listen()
            await nursery.start(self.server.serve)
            await self._rpc.serve(nursery)
            await self.pool.serve(nursery)
            self._say_configuration()
            nursery.start_soon(self.metrics.run)
            nursery.start_soon(self._exporter.run)
            self.pool.tell(self.metrics.hear)
            self._up.set()
            await self.pool.enter(nursery)
        except GossipError as failure:
            self._end_with(failure)  # unless it is the end that broke the start off
            return
        self._say_started()
        nursery.start_soon(self._keep_trying, self.pool.keep_joining)
        nursery.start_soon(self._keep_trying, self._find_servers)

    async def _keep_trying(self, what: Callable[[], Awaitable[bool]]) -> None:
        """End when it was tried often enough."""
        if not await what():
            self.end(1)

    async def _find_servers(self) -> bool:
        """Wait until a server takes the client role; False when it was waited for long enough.

        The role itself tries on by a clock of its own.
        """
        role, client = self.settings.client, self._rpc.client
        if client is None or not role.retry_join:
            return True
        attempt = partial(client.is_registered, within=min(PATIENCE_FIRST, role.retry_interval))
        return await persist(attempt, self._log, retry_max=role.retry_max, retry_interval=role.retry_interval)

    async def _listen_rpc(self) -> None:
        if self.settings.serves_rpc:
            await self._rpc_port.listen(self._rpc)
        self.backend.client = self._rpc.client

    async def _listen(self) -> None:
        wanted = self.settings.bind["http"]
        try:
            bound = await self.server.listen([(wanted.host, wanted.port)])
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise ConfigError(
                f"HTTP cannot listen on {wanted}: {reason}; give another --http-port or --http-addr"
            ) from error
        self.backend.listening(bound, advertised_address(self.settings, "http", bound[0].port))

    # signals, the end

    async def _obey_signals(self, signals: AsyncIterator[int], nursery: trio.Nursery) -> None:
        leaving = False
        async for number in signals:
            if number == signal.SIGHUP:
                nursery.start_soon(self._reload)
                continue
            self._say(f"Caught signal: {SIGNAL_NAMES[signal.Signals(number)]}")
            settings = self.settings
            graceful = settings.leave_on_interrupt if number == signal.SIGINT else settings.leave_on_terminate
            if leaving or not graceful:
                self.end(1)
            else:
                leaving = True
                self._say("Gracefully shutting down agent...")
                nursery.start_soon(self._leave_in_time)

    async def _leave_in_time(self) -> None:
        with trio.move_on_after(LEAVE_TIMEOUT):
            try:
                await self._leave_and_end()
            except CommandError as error:
                self._log.error("could not leave gracefully", reason=error)
        self.end(1)

    async def _leave_and_end(self) -> None:
        """Raises CommandError when the pool could not be told."""
        await self.pool.leave()  # when this fails, the agent goes on in all its roles
        await self._rpc.leave()
        self.end(0)

    async def _watch_lifeline(self, lifeline: int) -> None:
        """End with whoever started the agent, unless a byte in the pipe lets it go on alone."""
        await trio.lowlevel.wait_readable(lifeline)
        if os.read(lifeline, 1):
            os.close(lifeline)
            return
        self._log.info("whoever started this agent is gone, ending")
        self.end(1)

    async def _reload(self) -> None:
        """Take over what needs no restart. A broken new configuration keeps the old one, and the log says so."""
        with contextlib.suppress(ConfigError):
            await self.reload()

    async def reload(self) -> None:
        """The same for who wants to know. Raises ConfigError."""
        await self._up.wait()
        async with self._reloading:
            self._say("Reloading configuration...")
            try:
                # in a thread, for a large file may take a second
                fresh = await trio.to_thread.run_sync(self._reread)
                tls = self._read_tls(fresh)
                await self.pool.change_tags(self.settings.tags, fresh.tags)
            except ConfigError as error:
                self._log.error("configuration not reloaded, the old one stays", reason=error)
                raise
            held = self.settings
            before, after = held.in_force, fresh.in_force
            fixed = [key for key, value in after.items() if key not in RELOADABLE and value != before[key]]
            if fixed:
                self._log.warn("some changes need a restart of the agent", settings=", ".join(fixed))
            self.logs.set_level(fresh.log_level, fresh.log_levels)
            self._exporter.replace(fresh.telemetry)
            self.settings = replace(
                held,
                log_level=fresh.log_level,
                log_levels=fresh.log_levels,
                telemetry=fresh.telemetry,
                response_headers=fresh.response_headers,
                http_hosts=fresh.http_hosts,
                handlers=fresh.handlers,
                tags=fresh.tags,
                tls=fresh.tls,
                api=fresh.api,
                files=fresh.files,
            )
            self.server.limits = http_limits(fresh.limits)
            self._hosts.names = http_names(self.settings)
            self.pool.reload(self.settings)
            self.backend.reload(self.settings)
            self._tls = tls
            self._secure()
            self._warn_of_tls()
            self._log.info("configuration reloaded", log_level=fresh.log_level)

    def _read_tls(self, settings: Settings) -> TlsContexts:
        """Raises ConfigError."""
        return build_contexts(settings.tls, region=settings.region)

    def _secure(self) -> None:
        self.server.tls = self._tls.http
        optional = self.settings.tls.rpc_upgrade_mode
        self._rpc.secure(self._tls.rpc_server, self._tls.rpc_client, optional=optional)

    def _warn_of_tls(self) -> None:
        for warning in self._tls.warnings:
            self._log.warn(warning)

    def _report_fault(self, request: str, error: Exception) -> None:
        """A bug of ours in one request: the agent goes on, the log says all that helps to find it."""
        trace = "".join(traceback.format_exception(error))
        self.logs.logger("http").error("internal error", request=request, traceback=trace)

    def _report_refused(self, client: str, reason: str) -> None:
        self.logs.logger("http").warn("TLS handshake failed", client=client, reason=printable(reason))

    # what people see at start

    def _say(self, text: str) -> None:
        if self.logs.as_json:
            self._log.info(text)
        else:
            self.logs.write(f"==> {text}")

    def _say_configuration(self) -> None:
        if not self.logs.as_json:
            facts = start_facts(self.settings, self.backend, self.pool, self._rpc_port)
            width = max(map(len, facts)) + 4
            lines = [f"{title:>{width}}: {value}" for title, value in facts.items()]
            self.logs.write("\n".join(["==> moot agent configuration:", "", *lines, ""]))
        for what, path in self.pool.kept().items():
            self._log.info(f"{what} is kept", path=path)
        for warning in filter(None, (*self.settings.warnings(), *self.pool.warnings(), self._too_few)):
            self._log.warn(warning)
        notice = foreign_keys.notice(self.settings.foreign)
        if notice:
            self._log.info(notice)
        self._warn_of_tls()

    def _say_started(self) -> None:
        """The line that says where the agent is; with JSON logs it is made for programs to read."""
        if not self.logs.as_json:
            self.logs.write("==> moot agent started! Log data will stream in below:\n")
            return
        self._log.info(
            "agent started",
            name=self.backend.identity.gossip_name,
            http=str(self.backend.http[0]),
            pid=os.getpid(),
            **self.pool.addresses(),
            **({"rpc": str(self._rpc_port.told)} if self.settings.is_server else {}),
        )
