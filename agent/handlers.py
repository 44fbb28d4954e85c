"""Event handlers: scripts that the agent runs when something happens in the pool, as Serf's agent runs them.

A handler is written `SCRIPT`, or `FILTER=SCRIPT` with the words of `event_filter`: `member-join,member-failed=…`,
`user:deploy=…`, `query:load=…`. What happened is told in the environment and on stdin, never on the command
line, so that nothing a peer sends is ever read by a shell.

Deviation: Serf runs one script at a time. Here each handler has a queue of its own, in which order is kept, and
a slow one holds up no other. Also, a handler with two filters that both fit runs once.
"""

import contextlib
import math
import os
import re
from collections.abc import Mapping, Sequence
from typing import Protocol

import trio

from moot.agent.delivery import Deliverable, Delivery, kind_and_name
from moot.agent.event_filter import EventFilter, parse_event_filters
from moot.agent.logs import Log
from moot.agent.scripts import OUTPUT_MAX, Outcome, run_script
from moot.gossip.errors import CommandError, ConfigError
from moot.gossip.record import message
from moot.gossip.serf.coalesce import MemberEvents
from moot.gossip.serf.events import QueryReceived, UserEventReceived
from moot.gossip.serf.members import SerfMember
from moot.gossip.serf.messages import Query

TIMEOUT = 60.0
"""Seconds after which a script is ended. Deviation: Serf waits for ever, and runs no other handler meanwhile."""
RUNNING_MAX = 8
"""Scripts that run at once, of all handlers."""
SAID_MAX = 400
"""Characters of a failed script's output that go to the log."""
_OURS = ("SERF_EVENT", "SERF_SELF_", "SERF_TAG_", "SERF_USER_", "SERF_QUERY_")
"""Variables that only we set. Inherited ones, of an agent that was itself started by a handler, would lie."""
_NO_VARIABLE = re.compile("[^A-Z0-9_]")


@message
class Handler:
    """A script and the events it is for."""

    wanted: EventFilter
    script: str


def parse_handler(spec: str) -> Handler:
    """From `SCRIPT` (all events) or `FILTER=SCRIPT`. Raises ConfigError, which quotes the fault.

    As in Serf the first `=` divides, so a command that holds one needs a filter: `*=A=1 ./run`.
    """
    filters, divided, script = spec.partition("=")
    if not divided:
        filters, script = "", spec
    try:
        wanted = parse_event_filters(filters)
    except ValueError as error:
        raise ConfigError(f"event handler {spec!r}: {error}; write *={spec} to run it for all events") from None
    if not script.strip():
        raise ConfigError(f"event handler {spec!r} names no script")
    try:
        os.fsencode(script)
    except UnicodeEncodeError:
        raise ConfigError(f"event handler {spec!r} cannot be encoded") from None
    if "\0" in script:
        raise ConfigError(f"event handler {spec!r} holds a NUL byte")
    return Handler(wanted, script)


# ---- what a script is told


def environment(name: str, tags: Mapping[str, str], event: Deliverable) -> dict[str, str]:
    """The variables of a script: the agent's own, and what Serf adds. `name` and `tags` are the local member's.

    No variable can hold a NUL; one in a name is told as `\\0`. Deviation: Serf does not run the script then.
    """
    kind, about = kind_and_name(event)
    told = {
        "SERF_EVENT": kind,
        "SERF_SELF_NAME": name,
        "SERF_SELF_ROLE": tags.get("role", ""),
        **{f"SERF_TAG_{_variable(tag)}": value for tag, value in sorted(tags.items())},
    }
    if isinstance(event, UserEventReceived):
        told |= {"SERF_USER_EVENT": about, "SERF_USER_LTIME": str(event.event.ltime)}
    elif isinstance(event, QueryReceived):
        told |= {"SERF_QUERY_NAME": about, "SERF_QUERY_LTIME": str(event.query.ltime)}
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(_OURS)}
    # as os.environ has it: the very bytes, whatever encoding the locale asks for
    return inherited | {key: os.fsdecode(_octets(value.replace("\0", r"\0"))) for key, value in told.items()}


def payload(event: Deliverable) -> bytes:
    """What a script reads: a line per member, or the payload, ended by a newline unless it is empty."""
    if isinstance(event, MemberEvents):
        return b"".join(_line(member) for member in event.members)
    data = event.event.payload if isinstance(event, UserEventReceived) else event.query.payload
    return data if not data or data.endswith(b"\n") else data + b"\n"


def _line(member: SerfMember) -> bytes:
    """`name TAB ip TAB role TAB k=v,k=v`, with tabs and newlines in these as `\\t` and `\\n`."""
    tags = member.tags
    listed = ",".join(f"{key}={value}" for key, value in sorted(tags.items()))
    fields = (member.name, member.address.host, tags.get("role", ""), listed)
    return _octets("\t".join(field.replace("\t", r"\t").replace("\n", r"\n") for field in fields) + "\n")


def _variable(tag: str) -> str:
    """A tag's name as part of a variable's: upper case, and `_` for whatever is not A-Z, 0-9 or _."""
    upper = "".join(big if len(big := char.upper()) == 1 else "_" for char in tag)
    return _NO_VARIABLE.sub("_", upper)


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


# ---- running them


class Local(Protocol):
    """What handlers need of a Node."""

    @property
    def tags(self) -> Mapping[str, str]: ...

    def respond(self, query: Query, payload: bytes) -> None: ...


class _Worker:
    """A handler and the events that wait for it."""

    def __init__(self, handler: Handler, delivery: Delivery) -> None:
        self.handler = handler
        self._subscription = contextlib.ExitStack()
        about = f"event handler {handler.script}"
        self._events = self._subscription.enter_context(delivery.subscribe(about, handler.wanted))

    @property
    def busy(self) -> bool:
        """Whether it does anything else but wait for an event."""
        return self._events.statistics().tasks_waiting_receive == 0

    async def next(self) -> Deliverable | None:
        """The next event; None when there will be no more, or the worker was retired."""
        try:
            return await self._events.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            return None

    def retire(self) -> None:
        """Drop what waits, and take nothing more."""
        self._subscription.close()


class Handlers:
    """Runs the handlers of one agent. Give `run` a task before the node starts."""

    def __init__(
        self,
        name: str,
        local: Local,
        delivery: Delivery,
        log: Log,
        handlers: Sequence[Handler] = (),
        *,
        timeout: float = TIMEOUT,
    ) -> None:
        """`name` is the local member's. A `timeout` of 0 or less is none."""
        self.handlers = tuple(handlers)
        self._name = name
        self._local = local
        self._delivery = delivery
        self._log = log
        self._timeout = timeout if timeout > 0 else math.inf
        self._slots = trio.Semaphore(RUNNING_MAX)
        self._workers: list[_Worker] = []
        self._nursery: trio.Nursery | None = None
        self._settled = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled; scripts that still run are ended then."""
        async with trio.open_nursery() as self._nursery:
            try:
                self.replace(self.handlers)
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._nursery = None
                for worker in self._workers:
                    worker.retire()

    def replace(self, handlers: Sequence[Handler]) -> None:
        """From now on these are the handlers.

        One that is in both lists keeps its queue. One that goes loses its queue; a script of it that runs ends
        by itself.
        """
        self.handlers = tuple(handlers)
        if self._nursery is None:
            return
        held, self._workers = self._workers, []
        for handler in handlers:
            kept = next((worker for worker in held if worker.handler == handler), None)
            if kept is not None:
                held.remove(kept)
            else:
                kept = _Worker(handler, self._delivery)
                self._nursery.start_soon(self._work, kept)
            self._workers.append(kept)
        for worker in held:
            worker.retire()

    def listing(self) -> dict[str, str]:
        """Scripts by `EVENT:NAME`, as Serf's statistics show them; the last one of those with the same filter."""
        return {
            f"{kind}:{name}": handler.script
            for handler in self.handlers
            for kind, name in sorted(handler.wanted.words)
        }

    async def drain(self, within: float) -> None:
        """Wait until all that was delivered is handled, at most `within` seconds. For the end of an agent."""
        with trio.move_on_after(within):
            while any(worker.busy for worker in self._workers):
                await self._settled.wait()

    async def _work(self, worker: _Worker) -> None:
        while True:
            self._settle()
            event = await worker.next()
            if event is None:
                break
            async with self._slots:
                await self._handle(worker.handler.script, event)
        with contextlib.suppress(ValueError):  # one that was retired is not listed any more
            self._workers.remove(worker)
        self._settle()

    def _settle(self) -> None:
        """Wake whoever waits for a worker to become idle."""
        settled, self._settled = self._settled, trio.Event()
        settled.set()

    async def _handle(self, script: str, event: Deliverable) -> None:
        kind, name = kind_and_name(event)
        about = {"script": script, "on": f"{kind}:{name}" if name else kind}

        def on_slow() -> None:
            self._log.warn("event handler is slow", **about)

        variables = environment(self._name, self._local.tags, event)
        try:
            outcome = await run_script(script, variables, payload(event), self._timeout, on_slow)
        except OSError as error:
            self._log.error("event handler cannot be run", **about, reason=error)
            return
        self._report(outcome, about)
        if isinstance(event, QueryReceived) and outcome.code == 0 and outcome.output and not outcome.timed_out:
            try:
                self._local.respond(event.query, outcome.output)
            except CommandError as error:
                self._log.warn("query not answered", **about, reason=error)

    def _report(self, outcome: Outcome, about: Mapping[str, str]) -> None:
        text = outcome.output.decode("utf-8", "replace").strip()
        if outcome.written_count > OUTPUT_MAX:
            self._log.warn("event handler wrote more than is kept", **about, bytes=outcome.written_count)
        if outcome.timed_out:
            self._log.error("event handler took too long and was ended", **about, limit=f"{self._timeout:g}s")
        elif outcome.code < 0:
            self._log.error("event handler was ended by a signal", **about, signal=-outcome.code)
        elif outcome.code > 0:
            said = text[-SAID_MAX:]
            self._log.error("event handler failed", **about, exit_status=outcome.code, output=said)
        self._log.debug("event handler output", **about, output=text)
