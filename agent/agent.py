"""Agent: a gossip node, its HTTP API and what else runs around it, from start to stop, in one nursery.

It ends with the exit code of Nomad's agent: 0 after a graceful leave, 1 when it was simply stopped, when a
second signal cut a leave short, when retries to join were used up, or when the pool gave its name to another.
"""

import contextlib
import os
import signal
import socket
import traceback
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace

import trio

from moot.agent.backend import AgentBackend
from moot.agent.config import NOMAD_TAGS, Settings
from moot.agent.event_log import EventLog
from moot.agent.greeting import start_facts
from moot.agent.identity import advertised_address, http_names, node_id, node_settings, overruled_key, reloaded_tags
from moot.agent.join_hints import hint, hints
from moot.agent.logs import Logs
from moot.agent.nomad.service import RpcService
from moot.agent.nomad_backend import NomadBackend
from moot.agent.rpc.backend import NodeRpcBackend
from moot.agent.rpc.log_ring import LogRing
from moot.agent.schema import KEYS
from moot.agent.services import LAST_WORDS, Services
from moot.agent.text import printable, tag_text
from moot.agent.tls import TlsContexts, build_contexts
from moot.gossip.errors import CommandError, ConfigError, GossipError, NameTaken
from moot.gossip.net.node import Node
from moot.gossip.net.targets import JoinOutcome
from moot.http.api import build_api
from moot.http.counters import HttpCounters
from moot.http.hosts import KnownHosts
from moot.http.metrics import Metrics
from moot.http.server import HttpServer

LEAVE_TIMEOUT = 5.0
"""Seconds that a leave after a signal may take."""
RETRY_FIRST = 1.0
"""Seconds before the second attempt of a retried join; doubles up to the retry interval."""
SIGNAL_NAMES = {signal.SIGINT: "interrupt", signal.SIGTERM: "terminated", signal.SIGHUP: "hangup"}
RELOADABLE = frozenset(
    {
        *("log_level", "http_api_response_headers", "moot.event_handlers", "moot.tags", "moot.http_hosts"),
        *("acl.enabled", "acl.tokens", "enable_debug", "telemetry.prometheus_metrics"),
        *(key for key in KEYS if key.startswith("tls.")),
    }
)
"""Keys that take effect without a restart."""


class Agent:
    """One agent. `run` is its life; the rest are its parts.

    `reread` gives the settings anew when the agent is told to reload, or raises ConfigError. `lifeline` is a
    file descriptor; when it reads as ended, whoever started the agent is gone, and so is the agent.
    """

    def __init__(
        self, settings: Settings, logs: Logs, *, reread: Callable[[], Settings], lifeline: int | None = None
    ) -> None:
        self.settings = settings
        self.logs = logs
        self._reread = reread
        self._lifeline = lifeline
        self._log = logs.logger("agent")
        self._tls = self._read_tls(settings)
        self._rpc_holder: socket.socket | None = None
        self.rpc = advertised_address(settings, "rpc", self._rpc_port())
        identifier = node_id(settings.data_dir)
        self._overruled_key = overruled_key(settings)
        self.node = Node(node_settings(settings, self.rpc, identifier))
        self.services = Services(
            self.node, logs.logger, handlers=settings.handlers, handler_timeout=settings.handler_timeout
        )
        nomad = NomadBackend(self.node, logs, node_id=identifier, settings=settings.api, reload=self.reload)
        self.backend = AgentBackend(
            self.node, settings, self.services, rpc=self.rpc, nomad=nomad, leave=self._leave_and_end
        )
        self._rpc_service: RpcService | None = None
        if settings.pool == "nomad":
            told = self.backend.told_by_http
            self._rpc_service = RpcService(settings.region, logs.logger, pool=self.backend, http_address=told)
            self.backend.remote = self._rpc_service.remote
            nomad.client_nodes = self._rpc_service.client_nodes
        counters = HttpCounters()
        self.metrics = Metrics(nomad.figures, counters)
        api = build_api(self.backend, counters=counters, metrics=self.metrics)
        self._hosts = KnownHosts(api, http_names(settings))
        self.server = HttpServer(
            self._hosts, report=self._report_fault, refused=self._report_refused, counters=counters
        )
        self._secure()
        self._pool = trio.CancelScope()
        self._in_pool = trio.Event()
        self._advised: set[str] = set()
        """Failures to join that were told with advice."""
        self._logged = trio.Event()
        self._reloading = trio.Lock()
        self._ended = trio.Event()
        self._exit_code = 1
        self._failure: GossipError | None = None

    async def run(self) -> int:
        """Live until a signal, a leave or a failure; the exit code. Raises GossipError when the start fails."""
        try:
            await self._live()
        finally:
            if self._rpc_holder is not None:
                self._rpc_holder.close()
        if self._failure is not None:
            raise self._failure
        return self._exit_code

    async def _live(self) -> None:
        watched = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        with trio.open_signal_receiver(*watched) as signals, self.node.subscribe() as events:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._obey_signals, signals, nursery)
                if self._lifeline is not None:
                    nursery.start_soon(self._watch_lifeline, self._lifeline)
                nursery.start_soon(self._start, nursery, events)
                await self._ended.wait()
                await self._wind_up()
                nursery.cancel_scope.cancel()

    def end(self, exit_code: int) -> None:
        """Stop now: the pool first, without a word to it, then HTTP. The first call decides the exit code."""
        if not self._ended.is_set():
            self._exit_code = exit_code
            self._ended.set()

    async def _wind_up(self) -> None:
        """Stop the pool, then HTTP; handlers and log have their last events."""
        self._pool.cancel()
        await self.services.wind_up()
        if self._rpc_service is not None:
            await self._rpc_service.stop()
        await self.server.stop()
        if self._in_pool.is_set():
            with trio.move_on_after(LAST_WORDS):
                await self._logged.wait()

    # start

    async def _start(self, nursery: trio.Nursery, events: trio.MemoryReceiveChannel[object]) -> None:
        try:
            await self.services.prepare(nursery)
            await self._listen_rpc()
            await self._start_node(nursery)
            await self._listen()
            await nursery.start(self.server.serve)
            if self._rpc_service is not None:
                await self._rpc_service.serve(nursery)
            await self._serve_rpc(nursery)
            self._say_configuration()
            nursery.start_soon(self._write_events, events)
            self._in_pool.set()
            await self._discover(nursery)
            if self.settings.start_join:
                await self._join_at_start()
        except GossipError as failure:
            if not self._ended.is_set():  # else it is the end that broke the start off
                self._failure = failure
                self.end(1)
            return
        self._say_started()
        if self.settings.retry_join:
            await self._join_with_retries()

    async def _start_node(self, nursery: trio.Nursery) -> None:
        try:
            await nursery.start(self._run_node)
        except ConfigError as error:
            hint = "; give another --bind or --serf-port" if isinstance(error.__cause__, OSError) else ""
            raise ConfigError(f"{error}{hint}") from error

    async def _run_node(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with self._pool:
            try:
                await self.node.run(task_status=task_status)
            except NameTaken as taken:
                self._failure = NameTaken(f"{taken} with --node, or end the other")
                self.end(1)

    async def _listen_rpc(self) -> None:
        if self._rpc_service is None:
            return
        wanted = self.settings.bind["rpc"]
        try:
            await self._rpc_service.listen(wanted.host, wanted.port, bound=self._rpc_holder)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise ConfigError(f"RPC cannot listen on {wanted}: {reason}; give another --rpc-port") from error

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

    async def _serve_rpc(self, nursery: trio.Nursery) -> None:
        """Serf's client RPC, when it is wanted."""
        settings = self.settings
        if settings.ipc is None:
            return
        ring = LogRing()
        self.logs.copy = ring.write
        backend = NodeRpcBackend(
            self.node,
            self.services.delivery,
            ring,
            name=settings.gossip_name,
            end=lambda: self.end(0),
            set_tags=self._set_tags,
            handlers=self.services.handlers.listing,
        )
        host, port = settings.ipc.host, settings.ipc.port
        try:
            await self.services.serve_rpc(nursery, backend, host, port, auth_key=settings.ipc_auth)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise ConfigError(
                f"the client RPC cannot listen on {settings.ipc}: {reason}; give another --ipc-addr"
            ) from error

    async def _set_tags(self, tags: Mapping[str, str]) -> None:
        """What clients of the RPC make of our tags. Raises ConfigError, CommandError."""
        if self.settings.pool == "nomad":
            held = self.node.tags
            taken = sorted(name for name in NOMAD_TAGS if tags.get(name) != held.get(name))
            if taken:
                raise ConfigError(f"the tag {taken[0]} is the agent's own in a nomad pool; take another name")
        await self.node.set_tags(tags)

    async def _discover(self, nursery: trio.Nursery) -> None:
        settings = self.settings
        if settings.discover:
            await self.services.discover(
                nursery, settings.discover, interface=settings.discover_interface, replay=settings.replay
            )

    def _rpc_port(self) -> int:
        """The RPC port to announce; a free one is held from now on, so that nobody else gets it."""
        wanted = self.settings.bind["rpc"]
        if wanted.port:
            return wanted.port
        try:
            self._rpc_holder = socket.socket(socket.AF_INET6 if ":" in wanted.host else socket.AF_INET)
            self._rpc_holder.bind((wanted.host, 0))
        except OSError as error:
            if self._rpc_holder is not None:
                self._rpc_holder.close()
            raise ConfigError(f"no RPC port to be had on {wanted.host}: {error.strerror}") from error
        port: int = self._rpc_holder.getsockname()[1]
        return port

    # joining

    async def _join_at_start(self) -> None:
        """Raises ConfigError when nobody could be joined."""
        outcomes = await self._join(self.settings.start_join)
        joined = sum(outcome.error is None for outcome in outcomes)
        if not joined:
            reasons = "; ".join(printable(str(outcome.error)) for outcome in outcomes)
            raise ConfigError(f"nobody joined: {reasons}{hints(str(outcome.error) for outcome in outcomes)}")
        self._log.info("join completed", agents=joined)

    async def _join_with_retries(self) -> None:
        """Until one attempt joins somebody; the pause grows from a second to the retry interval."""
        settings = self.settings
        pause = min(RETRY_FIRST, settings.retry_interval)
        attempt = 0
        while True:
            try:
                outcomes = await self._join(settings.retry_join)
            except CommandError as refusal:  # a leave began meanwhile, or the end
                self._log.debug("no more attempts to join", reason=refusal)
                return
            joined = sum(outcome.error is None for outcome in outcomes)
            if joined:
                self._log.info("join completed", agents=joined)
                return
            attempt += 1
            if settings.retry_max and attempt > settings.retry_max:
                self._log.error("max join retry exhausted, exiting", attempts=attempt)
                self.end(1)
                return
            self._log.warn("join failed, trying again", attempt=attempt, retry_in=f"{pause:g}s")
            await trio.sleep(pause)
            pause = min(2 * pause, settings.retry_interval)

    async def _join(self, targets: Sequence[str]) -> list[JoinOutcome]:
        """One attempt at all targets at once; every result goes to the log."""
        outcomes = await self.node.join(targets, ignore_old=not self.settings.replay)
        for outcome in outcomes:
            if outcome.error is None:
                self._log.info("joined", target=outcome.target, address=outcome.address)
            else:
                advice = "" if outcome.error in self._advised else hint(outcome.error)
                more = {"hint": advice} if advice else {}
                self._log.warn("not joined", target=outcome.target, reason=outcome.error, **more)
        self._advised = {outcome.error for outcome in outcomes if outcome.error is not None}
        return outcomes

    # events, signals

    async def _write_events(self, events: trio.MemoryReceiveChannel[object]) -> None:
        log = self.logs.logger("serf")
        event_log = EventLog(log, own_name=self.settings.gossip_name)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(event_log.report_refused, self.node.counters)
            nursery.start_soon(self.metrics.run)
            async for event in events:
                event_log(event)
                self.backend.operations.hear(event, log)
                self.metrics.hear(event)
            nursery.cancel_scope.cancel()
        self._logged.set()

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
        await self.node.leave()
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
        await self._in_pool.wait()
        async with self._reloading:
            self._say("Reloading configuration...")
            try:
                fresh = self._reread()
                tls = self._read_tls(fresh)
                await self._change_tags(self.settings.tags, fresh.tags)
            except ConfigError as error:
                self._log.error("configuration not reloaded, the old one stays", reason=error)
                raise
            held = self.settings
            before, after = held.in_force, fresh.in_force
            fixed = [key for key, value in after.items() if key not in RELOADABLE and value != before[key]]
            if fixed:
                self._log.warn("some changes need a restart of the agent", settings=", ".join(fixed))
            self.logs.set_level(fresh.log_level)
            self.services.handlers.replace(fresh.handlers)
            self.settings = replace(
                held,
                log_level=fresh.log_level,
                response_headers=fresh.response_headers,
                http_hosts=fresh.http_hosts,
                handlers=fresh.handlers,
                tags=fresh.tags,
                tls=fresh.tls,
                api=fresh.api,
                files=fresh.files,
            )
            self._hosts.names = http_names(self.settings)
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
        if self._rpc_service is not None:
            optional = self.settings.tls.rpc_upgrade_mode
            self._rpc_service.secure(self._tls.rpc_server, self._tls.rpc_client, optional=optional)

    def _warn_of_tls(self) -> None:
        for warning in self._tls.warnings:
            self._log.warn(warning)

    async def _change_tags(self, before: Mapping[str, str], after: Mapping[str, str]) -> None:
        """Announce what the settings say otherwise than before. Raises ConfigError when it is too much."""
        tags = reloaded_tags(self.node.tags, before, after)
        if tags == self.node.tags:
            return
        try:
            await self.node.set_tags(tags)
        except CommandError as error:
            self._log.warn("the pool may not know of the new tags yet", reason=error)
        else:
            self._log.info("tags changed", tags=tag_text(tags))

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
            facts = start_facts(self.settings, self.backend, self.node, self.services, self.rpc)
            width = max(map(len, facts)) + 4
            lines = [f"{title:>{width}}: {value}" for title, value in facts.items()]
            self.logs.write("\n".join(["==> moot agent configuration:", "", *lines, ""]))
        kept = self.node.settings
        for what, path in (("snapshot", kept.snapshot), ("keyring", kept.keyring_file)):
            if path is not None:
                self._log.info(f"{what} is kept", path=path)
        for warning in filter(None, [*self.settings.warnings(), self._overruled_key]):
            self._log.warn(warning)
        self._warn_of_tls()

    def _say_started(self) -> None:
        """The line that says where the agent is; with JSON logs it is made for programs to read."""
        if not self.logs.as_json:
            self.logs.write("==> moot agent started! Log data will stream in below:\n")
            return
        self._log.info(
            "agent started",
            name=self.settings.gossip_name,
            gossip=str(self.node.address),
            http=str(self.backend.http[0]),
            rpc=str(self.rpc),
            pid=os.getpid(),
            **({"ipc": str(self.services.rpc)} if self.services.rpc else {}),
        )
