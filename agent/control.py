"""The control channel of an agent in a lab: a Unix socket by which the lab tells it how its world is.

Apart from the public API, and off unless `--control` names the socket. Only the user who runs the agent gets
in: the socket lies in a private directory, has mode 0600, and the kernel says who is at the other end. One JSON
object per line, each answered by one, `{"ok": true, …}` or `{"error": …}`:

- `{"do": "world", "version": 3, …}` (`world.World`) replaces the whole state. A version older than the present
  one is passed over: an agent that was stopped may hear of several at once.
- `{"do": "state"}` asks for the version in force and the words of what is active.
- `{"do": "history"}` is followed by a line per record of what the member sees and does (`sim.history`), until one
  hangs up or the records cannot be complete any more. Times are seconds on the machine's monotonic clock.

The newest world is also kept in a file beside the socket, so that an agent which starts is in it from its first
packet.
"""

import contextlib
import functools
import json
import os
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from moot.agent import world
from moot.agent.sockets import owner_of
from moot.agent.world import LINE_MAX, World
from moot.gossip.afflict import active
from moot.gossip.errors import CommandError, ConfigError, GossipError
from moot.gossip.net.faulty import Surroundings
from moot.gossip.net.feed import EventsLost
from moot.gossip.net.node import Node
from moot.gossip.serf.events import MemberChange, MemberEvent
from moot.gossip.sim.history import History, Sample, line_of
from moot.gossip.sim.recorder import Recorder

CONNECTIONS_MAX = 32
PATIENCE = 60.0
"""Seconds that a line may take to arrive, and an answer to be taken."""
READ_SIZE = 65_536
SAMPLE_INTERVAL = 1.0
"""Seconds between two samples of an agent's figures in its history."""

Tell = Callable[[Callable[[str], Awaitable[None]]], Awaitable[None]]
"""Given how to send a line, sends what the member sees and does as it happens."""


class Control:
    """One agent's end. It is bound once it is made; give `serve` a task, and `close` it at the end.

    Raises ConfigError when the directory is not private or the socket cannot be had.
    """

    def __init__(self, path: Path, me: str, *, relays: bool = False) -> None:
        self._path = path
        self._version = -1
        self._pids: dict[str, int] = {}
        self._open = 0
        self.surroundings = Surroundings(
            me, relays=relays, owner=lambda source, here: owner_of(source, here, self._pids)
        )
        world.check_private(path.parent)
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            with world.beside(path) as reachable:
                path.unlink(missing_ok=True)
                # before it is bound: at no moment may others reach it
                os.fchmod(self._socket.fileno(), 0o600)
                self._socket.bind(reachable)
            self._socket.listen(CONNECTIONS_MAX)
        except OSError as error:
            self._socket.close()
            raise ConfigError(f"control socket {path}: {error.strerror}") from error
        # not before: of what is written later we are told, now that we can be
        self.take(world.load(path.parent))

    def take(self, fresh: World) -> None:
        """Live in this world from now on, unless we know a newer one."""
        if fresh.version >= self._version:
            self._version = fresh.version
            self._pids = fresh.pids
            self.surroundings.become(fresh.conditions, fresh.addresses, frozenset(fresh.pids))

    async def serve(self, history: Tell | None = None) -> None:
        """Answer, for ever. Without a `history` there is none to be had."""
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(self._socket))
        async with trio.open_nursery() as nursery:
            while True:
                stream = await listener.accept()
                if self._open >= CONNECTIONS_MAX or peer_user(stream.socket) != os.getuid():
                    stream.socket.close()
                    continue
                self._open += 1
                nursery.start_soon(self._serve, stream, history)

    async def _serve(self, stream: trio.SocketStream, history: Tell | None) -> None:
        # whoever breaks off, stalls or sends no end is simply gone
        try:
            with contextlib.suppress(OSError, trio.BrokenResourceError, trio.TooSlowError):
                async with stream:
                    lines = _Lines(stream)
                    while (line := await lines.next()) is not None:
                        await self._answer(stream, line, history)
        finally:
            self._open -= 1

    async def _answer(self, stream: trio.SocketStream, line: bytes, history: Tell | None) -> None:
        try:
            asked = json.loads(line)
            wanted = asked.get("do") if isinstance(asked, dict) else None
            if wanted == "world":
                self.take(World.read(asked))
            elif wanted != "state" and (wanted != "history" or history is None):
                raise ConfigError("do must be world, state or history")
        except (ValueError, RecursionError, ConfigError) as error:
            await _tell(stream, json.dumps({"error": str(error)}))
            return
        words = active(self.surroundings.conditions)
        await _tell(stream, json.dumps({"ok": True, "version": self._version, "active": words}))
        if wanted == "history" and history is not None:
            await history(functools.partial(_tell, stream))
            await stream.aclose()

    async def beside(self, run: Callable[[], Awaitable[int]], node: Node | None) -> int:
        """Answer while an agent runs; its exit code. Raises what it raises."""
        failure: GossipError | None = None
        code = 1
        history = functools.partial(tell_history, node, self.surroundings.me) if node is not None else None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.serve, history)
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
        self._path.unlink(missing_ok=True)


async def tell_history(node: Node, me: str, send: Callable[[str], Awaitable[None]]) -> None:
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


def peer_user(sock: trio.socket.SocketType) -> int:
    """The user at the other end, as the kernel knows it."""
    form = "3i"
    _, uid, _ = struct.unpack(form, sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize(form)))
    return int(uid)


class _Lines:
    """The lines that arrive on a stream, bounded in length and time."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._held = bytearray()

    async def next(self) -> bytes | None:
        """The next one without its end, None after the last. Raises trio.TooSlowError, trio.BrokenResourceError."""
        with trio.fail_after(PATIENCE):
            while b"\n" not in self._held:
                if len(self._held) > LINE_MAX:
                    raise trio.BrokenResourceError("a line without end")
                data = await self._stream.receive_some(READ_SIZE)
                if not data:
                    return None
                self._held += data
        line, _, self._held = self._held.partition(b"\n")
        return bytes(line)


async def _tell(stream: trio.SocketStream, line: str) -> None:
    with trio.fail_after(PATIENCE):
        await stream.send_all(line.encode() + b"\n")
