"""SerfAgent: `moot serf agent` from start to stop: a node, its event handlers, the client RPC and discovery.

It ends as Serf's agent does: with 0 after a leave, and when the pool decided that another member is the one of our
name; with 1 when it was just stopped, could not start or join, or a leave took too long.
"""

import signal
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import fields, replace
from typing import Final

import trio

from moot.agent.event_filter import parse_event_filters
from moot.agent.serf.backend import SerfRpcBackend, TagsFile, load_tags
from moot.agent.serf.config import SECOND, SerfAgentSettings
from moot.agent.serf.event_lines import EventLines
from moot.agent.serf.gotext import duration_text
from moot.agent.serf.journal import Journal
from moot.agent.serf.start import StartFailed, check_protocol, listen_failure, node_settings, rpc_endpoint
from moot.agent.services import LAST_WORDS, Services
from moot.gossip.errors import CommandError, ConfigError, NameTaken
from moot.gossip.net.node import Node
from moot.gossip.record import Address
from moot.gossip.serf.announcer import SerfState

GRACEFUL_TIMEOUT: Final = 3.0
"""Seconds that a leave after a signal may take."""
SIGNAL_NAMES: Final = {signal.SIGINT: "interrupt", signal.SIGTERM: "terminated", signal.SIGHUP: "hangup"}
RELOADABLE: Final = frozenset({"log_level", "handlers", "tags", "notices"})


class SerfAgent:
    """One agent. `run` is its life. `reread` gives the settings anew for a reload, or raises ConfigError."""

    def __init__(
        self, settings: SerfAgentSettings, journal: Journal, *, reread: Callable[[], SerfAgentSettings]
    ) -> None:
        """Raises ConfigError when a file of tags or keys cannot be used."""
        self.settings = settings
        self.journal = journal
        self._reread = reread
        self.node = node = Node(node_settings(settings, journal))
        self._tags = TagsFile(node, settings.tags_file)
        self._lines = EventLines(journal, node, settings.serf)
        self.services = Services(node, journal.logger, handlers=settings.handlers)
        self.backend = SerfRpcBackend(
            node,
            self.services.delivery,
            journal,
            end=lambda: self.end(0),
            tags=self._tags,
            handlers=self.services.handlers.listing,
        )
        self._pool = trio.CancelScope()
        self._reloading = trio.Lock()
        self._started = False
        self._ended = trio.Event()
        self._written = trio.Event()
        self._exit_code = 1

    async def run(self) -> int:
        """Live until a signal, a leave or a failure; the exit code."""
        watched = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        with trio.open_signal_receiver(*watched) as signals, self.node.subscribe() as events:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._obey_signals, signals, nursery)
                nursery.start_soon(self._write_events, events)
                nursery.start_soon(self._live, nursery)
                await self._ended.wait()
                await self._wind_up()
                nursery.cancel_scope.cancel()
        return self._exit_code

    def end(self, exit_code: int) -> None:
        """Stop now, without a word to the pool. The first call decides the exit code."""
        if not self._ended.is_set():
            self._exit_code = exit_code
            self._ended.set()

    async def _wind_up(self) -> None:
        """Stop the node, and let the log and the handlers have their last events."""
        if not self._started:
            return
        self._note("INFO", "requesting serf shutdown")
        if self.node.state is not SerfState.LEFT:
            self.journal.write("WARN", "serf", "Shutdown without a Leave")
        self._pool.cancel()
        with trio.move_on_after(LAST_WORDS):
            await self._written.wait()
        await self.services.wind_up()
        self._note("INFO", "shutdown complete")

    def _note(self, level: str, text: str) -> None:
        self.journal.write(level, "agent", text)

    # start

    async def _live(self, nursery: trio.Nursery) -> None:
        try:
            await self._start(nursery)
        except StartFailed as failure:
            if not self._ended.is_set():  # else it is the end that broke the start off
                self.journal.say(str(failure))
                self._started = False  # nothing happened that the log should tell
                self.end(1)
            return
        self.journal.detail("")
        self.journal.say("Log data will now stream in as it occurs:\n")
        self.journal.release()
        if self.settings.retry_join:
            await self._join_with_retries()

    async def _start(self, nursery: trio.Nursery) -> None:
        """Raises StartFailed."""
        settings = self.settings
        try:
            check_protocol(settings.protocol)
            await self.services.prepare(nursery)
            await nursery.start(self._write_deliveries)
            self._note("INFO", "Serf agent starting")
            await nursery.start(self._run_node)
        except ConfigError as error:
            listening = isinstance(error.__cause__, OSError)
            text = listen_failure(str(settings.bind), error.__cause__) if listening else str(error)
            raise StartFailed(f"Failed to start the Serf agent: Error creating Serf: {text}") from error
        self._started = True
        where = await self._serve_rpc(nursery)
        self.journal.say("Starting Serf agent RPC...")
        if settings.discover:
            await self._discover(nursery)
        self._say_facts(where)
        if settings.start_join:
            await self._join_at_start()

    async def _run_node(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with self._pool:
            try:
                await self.node.run(task_status=task_status)
            except NameTaken as error:
                self._note("ERR", str(error))
                self._note("WARN", "Serf shutdown detected, quitting")
                self.end(0)

    async def _serve_rpc(self, nursery: trio.Nursery) -> Address:
        """Where the RPC listens. Raises StartFailed."""
        settings = self.settings
        host, port = await trio.to_thread.run_sync(rpc_endpoint, settings.rpc_addr)
        try:
            return await self.services.serve_rpc(
                nursery,
                self.backend,
                host,
                port,
                auth_key=settings.rpc_auth,
                accepted=lambda client: self.journal.write("INFO", "agent.ipc", f"Accepted client: {client}"),
            )
        except OSError as error:
            raise StartFailed(f"Error starting RPC listener: {listen_failure(settings.rpc_addr, error)}") from None

    async def _discover(self, nursery: trio.Nursery) -> None:
        settings = self.settings
        try:
            await self.services.discover(
                nursery, settings.discover, interface=settings.mdns_interface, replay=settings.replay
            )
        except ConfigError as error:
            raise StartFailed(f"Error starting mDNS listener: {error}") from error

    def _say_facts(self, rpc: Address) -> None:
        settings = self.settings
        facts = {
            "Node name": f"'{settings.node_name}'",
            "Bind addr": f"'{self.node.bind_address}'",
            **({"Advertise addr": f"'{self.node.address}'"} if settings.advertise else {}),
            "RPC addr": f"'{rpc}'",
            "Encrypted": str(self.node.encrypted).lower(),
            "Snapshot": str(settings.snapshot is not None).lower(),
            "Profile": settings.profile,
            "Message Compression Enabled": str(settings.compress).lower(),
            **({"mDNS cluster": f"'{settings.discover}'"} if settings.discover else {}),
        }
        self.journal.say("Serf agent running!")
        for title, value in facts.items():
            self.journal.detail(f"{title:>27}: {value}")

    # joining

    async def _join(self, targets: Sequence[str]) -> int:
        """How many were joined, with the lines that Serf's log has about it. Raises CommandError when none was."""
        return await self.backend.join(targets, replay=self.settings.replay)

    async def _join_at_start(self) -> None:
        """Raises StartFailed when nobody could be joined."""
        self.journal.say(f"Joining cluster...(replay: {str(self.settings.replay).lower()})")
        try:
            count = await self._join(self.settings.start_join)
        except CommandError as error:
            raise StartFailed(str(error)) from None
        self.journal.detail(f"Join completed. Synced with {count} initial agents")

    async def _join_with_retries(self) -> None:
        """Until somebody is joined, or, after the number of retries that is allowed, the end of the agent."""
        settings = self.settings
        attempts = 0
        while self.node.state is SerfState.ALIVE:
            self._note("INFO", f"Joining cluster...(replay: {str(settings.replay).lower()})")
            try:
                count = await self._join(settings.retry_join)
            except CommandError as error:
                reason = " ".join(str(error).split())
            else:
                self._note("INFO", f"Join completed. Synced with {count} initial agents")
                return
            attempts += 1
            if 0 < settings.retry_max < attempts:
                self._note("ERR", "maximum retry join attempts made, exiting")
                self.end(1)
                return
            pause = duration_text(round(settings.retry_interval * SECOND))
            self._note("WARN", f"Join failed: {reason}, retrying in {pause}")
            await trio.sleep(settings.retry_interval)

    # events

    async def _write_events(self, events: trio.MemoryReceiveChannel[object]) -> None:
        """The node's own log, to the node's end."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._lines.others.report_refused, self.node.counters)
            async for event in events:
                self._lines(event)
            nursery.cancel_scope.cancel()
        self._written.set()

    async def _write_deliveries(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """What handlers and streams get, as it is delivered."""
        with self.services.delivery.subscribe("log", parse_event_filters("*")) as delivered:
            task_status.started()
            async for event in delivered:
                self._lines.received(event)

    # signals

    async def _obey_signals(self, signals: AsyncIterator[int], nursery: trio.Nursery) -> None:
        leaving = False
        async for number in signals:
            self.journal.say(f"Caught signal: {SIGNAL_NAMES[signal.Signals(number)]}")
            if number == signal.SIGHUP:
                nursery.start_soon(self._reload)
                continue
            settings = self.settings
            graceful = (
                not settings.skip_leave_on_interrupt if number == signal.SIGINT else settings.leave_on_terminate
            )
            if leaving or not graceful:
                self.end(1)
            else:
                leaving = True
                self.journal.say("Gracefully shutting down agent...")
                nursery.start_soon(self._leave_in_time)

    async def _leave_in_time(self) -> None:
        with trio.move_on_after(GRACEFUL_TIMEOUT):
            self._note("INFO", "requesting graceful leave from Serf")
            try:
                await self.node.leave()
                self.end(0)
            except CommandError as error:
                self.journal.say(f"Error: {error}")
        self.end(1)

    async def _reload(self) -> None:
        """Take over log level, event handlers and tags. A configuration that is wrong changes nothing.

        Deviation: Serf resets the tags to those of the configuration also when a tags file keeps them.
        """
        self.journal.say("Reloading configuration...")
        async with self._reloading:
            try:
                fresh = await trio.to_thread.run_sync(self._reread)  # it may ask for the address of a name
                tags = fresh.tags if fresh.tags_file is None else load_tags(fresh.tags_file) or {}
                if dict(self.node.tags) != dict(tags):
                    await self._tags.set(tags)
            except (ConfigError, CommandError) as error:
                self.journal.say(f"Failed to reload: {error}")
                return
            self._take_over(fresh)

    def _take_over(self, fresh: SerfAgentSettings) -> None:
        """What takes effect without a restart; the tags are announced already."""
        held = self.settings
        fixed = [
            field.name
            for field in fields(fresh)
            if field.name not in RELOADABLE and getattr(fresh, field.name) != getattr(held, field.name)
        ]
        if fixed:
            self._note("WARN", f"some changes need a restart: {', '.join(fixed)}")
        self.journal.set_level(fresh.log_level)
        self.services.handlers.replace(fresh.handlers)
        self.settings = replace(held, **{name: getattr(fresh, name) for name in RELOADABLE})
