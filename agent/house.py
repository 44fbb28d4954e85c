"""House: many agents in one process, on sockets of their own; for clusters of more agents than one wants processes.

Its tenants are agents as `moot agent` runs them, each with its name, addresses, log and control channel. What
signals do to a process is done to a tenant by order, on the house's own control socket (`control_socket`):

- `{"do": "start", "agents": [{"name": …, "arguments": […]}, …]}`: start these, in order, with the words that would
  stand after `moot agent`; the answer has the number of each one's life.
- `{"do": "kill", "name": …, "life": …}`: it is gone, its sockets closed, without a goodbye. `end`: it stops in
  good order, without a leave. `stop` and `cont`: it neither hears nor acts, then goes on. The answer says whether
  it is `there`.
- `{"do": "watch", …}`: the connection is closed when the agent has ended.

The house ends with its lifeline, and then all in it do.
"""

import os
import resource
import traceback
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import click
import trio

from moot.agent import cluster_state
from moot.agent.agent import Agent
from moot.agent.cluster_start import control_of, log_of
from moot.agent.commands import agent as agent_command
from moot.agent.control import Control
from moot.agent.control_socket import ControlSocket, Later, Send
from moot.agent.tenants import ENDED, RUNNING, STOPPED, note_of
from moot.gossip.errors import ConfigError, GossipError

BREATH, LATE, BREATHING_MAX = 0.005, 0.02, 0.25
"""Seconds between the starts of two agents, at least and at most; in between it goes on once the process is so late
and no later."""


class _Life:
    """One tenant, from the order to start it to its end."""

    def __init__(self, name: str, number: int, arguments: Sequence[str]) -> None:
        self.name = name
        self.number = number
        self.arguments = arguments
        self.scope = trio.CancelScope()
        self.ended = trio.Event()
        self.agent: Agent | None = None
        self.control: Control | None = None


class House:
    """Give `run` a task. `path` is its control socket; its tenants' files are beside that."""

    def __init__(self, path: Path) -> None:
        self._directory = path.parent
        self._socket = ControlSocket(path, connections_max=1024)
        self._lives: dict[str, _Life] = {}
        self._started = 0
        self._nursery: trio.Nursery | None = None

    async def run(self, lifeline: int | None) -> None:
        """Take orders until the lifeline ends; for ever when it lets the house go on alone, or there is none."""
        try:
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(self._socket.serve, self._answer)
                if lifeline is not None:
                    await trio.lowlevel.wait_readable(lifeline)
                    if not os.read(lifeline, 1):
                        self._nursery.cancel_scope.cancel()
        finally:
            self._socket.close()

    async def _answer(self, asked: dict[str, Any]) -> tuple[dict[str, Any], Later | None]:
        verb = asked.get("do")
        if verb == "start":
            return {"lives": self._start(asked.get("agents"))}, None
        if verb not in ("kill", "end", "stop", "cont", "watch"):
            raise ConfigError("do must be start, kill, end, stop, cont or watch")
        life = self._lives.get(str(asked.get("name")))
        if life is None or life.number != asked.get("life") or life.ended.is_set():
            return {"there": False}, None if verb != "watch" else _nothing
        if verb == "watch":
            return {"there": True}, partial(_await_end, life)
        self._obey(verb, life)
        return {"there": True}, None

    def _start(self, wanted: object) -> list[int]:
        if not isinstance(wanted, list):
            raise ConfigError("agents must be a list")
        lives = []
        for each in wanted:
            name = str(each["name"])
            if name in self._lives and not self._lives[name].ended.is_set():
                raise ConfigError(f"{name} is running already")
            self._started += 1
            lives.append(_Life(name, self._started, [str(word) for word in each["arguments"]]))
        for life in lives:
            self._lives[life.name] = life
            self._note(life, RUNNING)
        assert self._nursery is not None
        self._nursery.start_soon(self._begin, lives)
        return [life.number for life in lives]

    def _obey(self, verb: str, life: _Life) -> None:
        if verb == "kill" or life.agent is None or life.control is None:
            life.scope.cancel()
        elif verb == "end":
            life.control.surroundings.thaw()
            life.agent.end(1)
        elif verb == "stop":
            life.control.surroundings.freeze()
            self._note(life, STOPPED)
        else:
            life.control.surroundings.thaw()
            self._note(life, RUNNING)

    def _note(self, life: _Life, word: str) -> None:
        cluster_state.write(note_of(self._directory, life.name), {"life": life.number, "is": word})

    async def _begin(self, lives: Sequence[_Life]) -> None:
        """One after the other, in order: who comes later joins those that came before."""
        assert self._nursery is not None
        for life in lives:
            begun = trio.Event()
            self._nursery.start_soon(self._live, life, begun)
            await begun.wait()
            await _breathe()

    async def _live(self, life: _Life, begun: trio.Event) -> None:
        with log_of(self._directory, life.name).open("a", errors="backslashreplace") as log:
            try:
                run = self._make(life, log)
                begun.set()
                with life.scope:
                    await run()
            except (GossipError, click.ClickException) as error:
                log.write(f"moot: {error}\n")
            except Exception:  # the outermost frame of an agent: a bug costs one of them, not the house
                log.write(traceback.format_exc())
            finally:
                begun.set()
                life.ended.set()
                life.agent = life.control = None
                self._note(life, ENDED)

    def _make(self, life: _Life, log: TextIO) -> Callable[[], Awaitable[int]]:
        words = ["--control", str(control_of(self._directory, life.name)), *life.arguments]
        context = agent_command.command.make_context("moot agent", words)
        life.agent, life.control = agent_command.make(context.params, stream=log, alone=False)
        assert life.control is not None
        return partial(life.control.beside, life.agent.run, life.agent.pool.node)


async def _breathe() -> None:
    """Let those that are there take in the one that came: so many at once would be late for each other's probes."""
    deadline = trio.current_time() + BREATHING_MAX
    while (began := trio.current_time()) < deadline:
        await trio.sleep(BREATH)
        if trio.current_time() - began < BREATH + LATE:
            return


async def _await_end(life: _Life, _send: Send) -> None:
    await life.ended.wait()


async def _nothing(_send: Send) -> None:
    await trio.lowlevel.checkpoint()


@click.command()
@click.option("--control", "path", required=True, type=click.Path(path_type=Path), help="The house's own socket.")
@click.option("--lifeline", type=int, help="A pipe; when it ends, so does the house.")
def main(path: Path, lifeline: int | None) -> None:
    """Let agents live in this process."""
    # each of them has half a dozen files and sockets
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        trio.run(House(path).run, lifeline)
    except GossipError as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()
