"""Relay: stands in front of a real serf agent of a cluster, which advertises the relay's address as its own.

So what others send to the agent comes by here, and what it answers goes back by here: the lab's faults reach it
although it knows nothing of them. What it sends by itself goes straight to the others, who judge it on receiving.

Started as `python -m moot.agent.relay … -- serf agent …`, it binds its sockets, forks, and the parent becomes the
serf agent: the process that was started *is* the agent. The child relays; the kernel ends it with the agent, and
it ends the agent when whoever started both is gone.
"""

import contextlib
import ctypes
import os
import signal
import socket
import sys
from collections import OrderedDict
from pathlib import Path
from typing import NoReturn

import click
import trio

from moot.agent.control import Control
from moot.gossip.counters import Counters
from moot.gossip.errors import GossipError
from moot.gossip.net.faulty import FaultyTransport
from moot.gossip.net.transport import PACKET_MAX, ByteStream
from moot.gossip.record import Address

ROUTES_MAX = 512
"""Peers whose packets are told apart; beyond it the one that was silent longest is forgotten."""
STREAMS_MAX = 256
STREAM_TIME = 120.0
"""Seconds that a connection may last: six times the longest timeout of its ends."""
READ_SIZE = 65_536
PR_SET_PDEATHSIG = 1


class Relay:
    """Carries packets and streams between `transport` and the agent at `to`."""

    def __init__(self, transport: FaultyTransport, to: Address) -> None:
        self._transport = transport
        self._to = to
        self._routes: OrderedDict[Address, socket.socket] = OrderedDict()
        """By peer: the socket from which the agent hears what that peer sent, and to which it answers."""
        self._streams = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._transport.receive_packets, self._forward)
            self._nursery.start_soon(self._transport.accept_streams, self._serve, self._nursery)
            task_status.started()

    def _forward(self, data: bytes, source: Address) -> None:
        route = self._routes.get(source)
        if route is None:
            route = self._routes[source] = self._open_route()
            self._nursery.start_soon(self._bring_back, route, source)
            if len(self._routes) > ROUTES_MAX:
                _close(self._routes.popitem(last=False)[1])
        self._routes.move_to_end(source)
        with contextlib.suppress(OSError):  # full, or nobody there: lost, as packets are
            route.send(data)

    def _open_route(self) -> socket.socket:
        route = socket.socket(socket.AF_INET6 if ":" in self._to.host else socket.AF_INET, socket.SOCK_DGRAM)
        route.setblocking(False)
        route.connect((self._to.host, self._to.port))
        return route

    async def _bring_back(self, route: socket.socket, peer: Address) -> None:
        try:
            while route.fileno() >= 0:
                await trio.lowlevel.wait_readable(route)
                with contextlib.suppress(OSError):  # the kernel's answer to a packet that found nobody
                    self._transport.send_packet(route.recv(PACKET_MAX), peer)
        except trio.ClosedResourceError:
            return
        finally:
            route.close()

    async def _serve(self, stream: ByteStream) -> None:
        if self._streams >= STREAMS_MAX:
            stream.socket.close()
            return
        self._streams += 1
        try:
            with trio.move_on_after(STREAM_TIME), contextlib.suppress(OSError, trio.BrokenResourceError):
                async with stream, await trio.open_tcp_stream(self._to.host, self._to.port) as agent:
                    await self._connect(stream, agent)
        finally:
            self._streams -= 1

    async def _connect(self, one: ByteStream, other: ByteStream) -> None:
        """Carry bytes both ways until one end closes: none of the protocol's streams goes on after that."""
        async with trio.open_nursery() as nursery:

            async def carry(source: ByteStream, to: ByteStream) -> None:
                with contextlib.suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                    while data := await source.receive_some(READ_SIZE):
                        await to.send_all(data)
                nursery.cancel_scope.cancel()

            nursery.start_soon(carry, one, other)
            nursery.start_soon(carry, other, one)


def _close(route: socket.socket) -> None:
    trio.lowlevel.notify_closing(route)
    route.close()


async def relay(transport: FaultyTransport, to: Address, control: Control, lifeline: int | None) -> None:
    """Relay until the lifeline ends; for ever when it lets the agent go on alone, or there is none."""
    async with trio.open_nursery() as nursery:
        await nursery.start(Relay(transport, to).run)
        nursery.start_soon(control.serve)
        if lifeline is not None:
            await trio.lowlevel.wait_readable(lifeline)
            if not os.read(lifeline, 1):
                nursery.cancel_scope.cancel()


def _address(_ctx: click.Context, _param: click.Parameter, value: str) -> Address:
    host, _, port = value.rpartition(":")
    try:
        return Address.parse(host.strip("[]"), int(port))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@click.option("--name", required=True, help="The agent's name in the lab.")
@click.option("--listen", required=True, callback=_address, metavar="IP:PORT", help="What the agent advertises.")
@click.option("--to", required=True, callback=_address, metavar="IP:PORT", help="Where the agent listens.")
@click.option("--control", "path", required=True, type=click.Path(path_type=Path), help="Socket of the channel.")
@click.option("--lifeline", type=int, help="A pipe; when it ends the agent is ended.")
@click.argument("command", nargs=-1, required=True)
def main(name: str, listen: Address, to: Address, path: Path, lifeline: int | None, command: tuple[str, ...]) -> None:
    """Become COMMAND, with a relay in front of it."""
    try:
        control = Control(path, name, relays=True)
        transport = FaultyTransport.bind(listen.host, listen.port, Counters())
    except GossipError as error:
        raise click.ClickException(str(error)) from None
    transport.surroundings = control.surroundings
    agent = os.pidfd_open(os.getpid())
    started = os.getpid()
    if os.fork():
        _become(command)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        if os.getppid() == started:  # else it has ended already
            trio.run(relay, transport, to, control, lifeline)
    finally:
        # without us it would be deaf, and nobody's
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(agent, signal.SIGKILL)


def _become(command: tuple[str, ...]) -> NoReturn:
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
