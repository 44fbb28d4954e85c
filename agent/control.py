"""The control channel of an agent in a lab: a Unix socket by which the lab tells it how its world is.

Apart from the public API, and off unless `--control` names the socket. Only the user who runs the agent gets
in: the socket lies in a private directory, has mode 0600, and the kernel says who is at the other end. One JSON
object per line, each answered by one, `{"ok": true, …}` or `{"error": …}`:

- `{"do": "world", "version": 3, …}` (`world.World`) replaces the whole state. A version older than the present
  one is passed over: an agent that was stopped may hear of several at once.
- `{"do": "state"}` asks for the version in force, the words of what is active, and how many members a running agent
  sees alive.
- `{"do": "history"}` is followed by a line per record of what the member sees and does (`sim.history`), until one
  hangs up or the records cannot be complete any more. Times are seconds on the machine's monotonic clock.

The newest world is also kept in a file beside the socket, so that an agent which starts is in it from its first
packet.
"""

import contextlib
import functools
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio

from moot.agent import world
from moot.agent.control_socket import ControlSocket, Later, Send
from moot.agent.sockets import owner_of
from moot.agent.world import World
from moot.gossip.afflict import active
from moot.gossip.errors import CommandError, ConfigError, GossipError
from moot.gossip.net.faulty import Surroundings
from moot.gossip.net.feed import EventsLost
from moot.gossip.net.node import Node
from moot.gossip.serf.events import MemberChange, MemberEvent
from moot.gossip.serf.members import MemberStatus
from moot.gossip.sim.history import History, Sample, line_of
from moot.gossip.sim.recorder import Recorder

SAMPLE_INTERVAL = 1.0
"""Seconds between two samples of an agent's figures in its history."""


class Control:
    """One agent's end. It is bound once it is made; give `serve` a task, and `close` it at the end.

    Raises ConfigError when the directory is not private or the socket cannot be had.
    """

    def __init__(self, path: Path, me: str, *, relays: bool = False) -> None:
        self._version = -1
        self._pids: dict[str, int] = {}
        self._node: Node | None = None
        self.surroundings = Surroundings(
            me, relays=relays, owner=lambda source, here: owner_of(source, here, self._pids)
        )
        self._socket = ControlSocket(path)
        # not before: of what is written later we are told, now that we can be
        self.take(world.load(path.parent))

    def take(self, fresh: World) -> None:
        """Live in this world from now on, unless we know a newer one."""
        if fresh.version >= self._version:
            self._version = fresh.version
            self._pids = fresh.pids
            self.surroundings.become(fresh.conditions, fresh.addresses, frozenset(fresh.pids))

    async def serve(self) -> None:
        """Answer, for ever."""
        await self._socket.serve(self._answer)

    async def _answer(self, asked: dict[str, Any]) -> tuple[dict[str, Any], Later | None]:
        wanted, node = asked.get("do"), self._node
        if wanted == "world":
            self.take(World.read(asked))
        elif wanted != "state" and (wanted != "history" or node is None):
            raise ConfigError("do must be world, state or history")
        found: dict[str, Any] = {"version": self._version, "active": active(self.surroundings.conditions)}
        if wanted == "history" and node is not None:
            return found, functools.partial(tell_history, node, self.surroundings.me)
        if node is not None:
            with contextlib.suppress(CommandError):  # it is about to start
                found["alive"] = sum(member.status is MemberStatus.ALIVE for member in node.members())
        return found, None

    async def beside(self, run: Callable[[], Awaitable[int]], node: Node | None) -> int:
        """Answer while an agent runs; its exit code. Raises what it raises."""
        failure: GossipError | None = None
        code = 1
        self._node = node
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.serve)
                try:
                    code = await run()
                except GossipError as error:
                    failure = error
                nursery.cancel_scope.cancel()
        finally:
            self.close()
        if failure is not None:
            raise failure
        return code

    def close(self) -> None:
        """Take the socket away."""
        self._socket.close()


async def tell_history(node: Node, me: str, send: Send) -> None:
    """Send what the member `me` knows now, then what it sees and does, until the node stops or records are lost."""
    found = History()
    recorder = Recorder(found)
    with node.subscribe() as events:
        with contextlib.suppress(CommandError):  # it is about to start, and will tell of all of them
            for member in node.members():
                recorder.event(time.monotonic(), me, MemberEvent(MemberChange.JOIN, member))
        sample_at = trio.current_time()
        while True:
            for record in found.records:
                await send(line_of(record))
            found.records.clear()
            with trio.move_on_at(sample_at):
                try:
                    event = await events.receive()
                except trio.EndOfChannel:
                    return
                if isinstance(event, EventsLost):
                    return
                recorder.event(time.monotonic(), me, event)
            if trio.current_time() >= sample_at:
                sample_at += SAMPLE_INTERVAL
                with contextlib.suppress(CommandError):
                    found.add(_sample(node, me))
                recorder.keys(time.monotonic(), me, node.keys)


def _sample(node: Node, me: str) -> Sample:
    stats, counters = node.stats(), node.counters
    return Sample(
        time.monotonic(),
        me,
        bytes=counters.bytes_out,
        messages=counters.packets_out,
        health=int(stats["health_score"]),
        ltime=int(stats["member_time"]),
    )
