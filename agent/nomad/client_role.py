"""ClientAgent: an agent's client role. It keeps a list of servers, is registered with one of them, and turns to the
next one when that fails.

What it says and when is decided in `heartbeat`, whom it turns to in `servers`; here are connections and time.
"""

import contextlib
import ipaddress
import itertools
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

import trio

from moot.agent.logs import Log
from moot.agent.nomad.client import Dialer, Link
from moot.agent.nomad.errors import Refused, RpcError, Unreached
from moot.agent.nomad.heartbeat import Heartbeat
from moot.agent.nomad.registry import DOWN, NOT_FOUND, READY, NodeFacts
from moot.agent.nomad.servers import SERVERS_MAX, ServerList, endpoint, literal, parse_server
from moot.agent.nomad.structures import Beat, Granted, decode_granted, encode_beat, encode_register
from moot.gossip.errors import WireError
from moot.http.self_config import duration_text

PING_TIMEOUT: Final = 5.0
PINGS_MAX: Final = 16
"""Pings at a time when a list is set."""
LOOKUP_TIMEOUT: Final = 5.0
RELEASE_TIMEOUT: Final = 2.0
RELEASE_PAUSE: Final = 1.0
"""Seconds between two looks at who is to be told of a move; a TTL once there is one."""
GOODBYE_TIMEOUT: Final = 1.0
HOLD_MIN: Final = 10.0
"""Seconds for which a list that an operator set stands at least, before servers may replace it; else a TTL."""
CALLS_MAX: Final = 3
"""Servers that a passed-on call tries."""
NEVER: Final = "2562047h47m16.854775807s"
"""How Go writes the time since something that never was: its longest duration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """Who the client node is, and where it begins."""

    node_id: str
    secret: str = field(repr=False)
    name: str
    region: str
    datacenter: str
    version: str
    servers: Sequence[str] = ()
    """`client.servers`: `HOST[:PORT]` each."""
    node_class: str = ""


class ClientAgent:
    """Use: `run` in a nursery; `leave` before the agent ends gracefully.

    `http_address` tells the `ip:port` at which others find the agent's HTTP API; it is asked when `run` runs. Until
    then the list has those configured servers that are given by their IP.
    """

    def __init__(
        self,
        settings: ClientSettings,
        dialer: Dialer,
        log: Log,
        *,
        http_address: Callable[[], str],
        random: Random | None = None,
    ) -> None:
        self._settings = settings
        self._dialer = dialer
        self._log = log
        self._http_address = http_address
        drawn = random or Random()
        self._servers = ServerList(drawn)
        self._heart = Heartbeat(drawn)
        self._wake = trio.Event()
        self._scope = trio.CancelScope()
        self._taken = trio.Event()
        """A server took this node, once."""
        self._node_count = 0
        self._hold_until = 0.0
        self._former: dict[str, None] = {}
        """Servers that may still list this node, though it moved away."""
        self._alone = False
        """No server answered, and the log says so."""
        self._replace(_literals(settings.servers))

    # ---- the client role, as the HTTP API sees it

    def known_servers(self) -> Sequence[str]:
        """The present list, reachable or not, the preferred one in front."""
        return self._servers.known

    async def set_servers(self, addresses: Sequence[str]) -> Sequence[str]:
        """Replace the list by those that answer a ping; the errors of the others. The old one stays if none does."""
        if len(addresses) > SERVERS_MAX:
            return [f"more than {SERVERS_MAX} servers"] * len(addresses)
        found: list[str | None] = [None] * len(addresses)
        errors = [""] * len(addresses)
        limiter = trio.CapacityLimiter(PINGS_MAX)

        async def ping(at: int, text: str) -> None:
            async with limiter:
                try:
                    address = await _resolve(text)
                except ValueError as error:
                    errors[at] = str(error)
                    return
                try:
                    await self._dialer.ping(address, within=PING_TIMEOUT)
                    found[at] = address
                except RpcError as error:
                    errors[at] = f"Server at address {address} failed ping: rpc error: {error}"

        async with trio.open_nursery() as nursery:
            for at, text in enumerate(addresses):
                nursery.start_soon(ping, at, text)
        good = [address for address in found if address]
        if good:
            self._hold_until = trio.current_time() + max(self._heart.ttl, HOLD_MIN)
            if self._replace(good):
                self._rouse()
        return [error for error in errors if error]

    def stats(self) -> dict[str, str]:
        """The block `client` of /v1/agent/self."""
        heart = self._heart
        heard_at = heart.heard_at
        return {
            "heartbeat_ttl": duration_text(heart.ttl),
            "known_servers": ",".join(sorted(self._servers.known)),
            "last_heartbeat": NEVER if heard_at is None else duration_text(trio.current_time() - heard_at),
            "node_id": self._settings.node_id,
            "num_allocations": "0",
            "server": heart.home,
        }

    async def call(self, method: str, body: bytes) -> bytes:
        """A call that is passed on to the servers; the body of the answer. Raises RpcError, worded as by Nomad."""
        if not self._servers.known:
            raise Refused("no servers")
        failure = ""
        for address in self._servers.known[:CALLS_MAX]:
            try:
                return await self._dialer.call(address, method, body)
            except Unreached as error:
                failure = str(error)
            except Refused as refusal:
                raise Refused(f"rpc error: {refusal}") from None
        raise Unreached(f"rpc error: {failure}")

    # ---- life

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Be registered, until cancelled or `leave`."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._rebalance)
                nursery.start_soon(self._release_former)
                task_status.started()
                await self._keep_registered()

    def stop(self) -> None:
        """End `run`, without a word to the server."""
        self._scope.cancel()

    async def is_registered(self, *, within: float) -> bool:
        """Whether a server has taken this node since the start, or does within so many seconds."""
        with trio.move_on_after(within):
            await self._taken.wait()
        return self._taken.is_set()

    async def leave(self) -> None:
        """End `run`, and tell the server that this node is down. Does not take long, whatever the server does."""
        self._scope.cancel()
        home = self._heart.home
        if home:
            beat = Beat(self._settings.node_id, self._settings.secret, DOWN)
            with contextlib.suppress(RpcError):
                body = encode_beat(beat, self._settings.region)
                await self._dialer.call(home, "Node.UpdateStatus", body, within=GOODBYE_TIMEOUT)

    async def _keep_registered(self) -> None:
        configured = await self._configured()
        if not self._hold_until:  # else an operator was faster
            self._replace(configured)
        while True:
            address = self._servers.next()
            if address is None:
                await self._begin_round()
                continue
            try:
                link = await self._dialer.connect(address, within=self._heart.patience)
            except Unreached as error:
                self._give_up(address, error)
                continue
            async with link:
                await self._stay(link, address)

    async def _begin_round(self) -> None:
        """No server takes us: wait a little, and try all again, those too that the configuration names."""
        if not self._alone:
            self._alone = True
            self._log.warn("no server takes this client node, trying on", servers=",".join(self._servers.known))
        with trio.move_on_after(self._heart.round_failed()):
            await self._wake.wait()
        configured = await self._configured()
        if not self._servers.known:
            self._replace(configured)
        self._servers.begin_round(configured)

    async def _stay(self, link: Link, address: str) -> None:
        """Be registered with this server, until it fails or another one is wanted."""
        try:
            while await self._say(link, address):
                if not await self._rest(link, address):
                    break
        except (RpcError, WireError) as error:
            self._give_up(address, error)

    async def _say(self, link: Link, address: str) -> bool:
        """Register, or beat where we are registered. False when the answer names other servers to turn to.

        Raises RpcError, WireError.
        """
        settings, heart = self._settings, self._heart
        body: bytes | None = None
        if heart.home == address:
            beat = encode_beat(Beat(settings.node_id, settings.secret, READY), settings.region)
            try:
                body = await link.call("Node.UpdateStatus", beat, within=heart.patience)
            except Refused as refusal:
                if str(refusal) != NOT_FOUND:
                    raise
                heart.unknown()
        if body is not None:
            return self._granted(address, decode_granted(body))
        granted = decode_granted(await link.call("Node.Register", self._registration(), within=heart.patience))
        self._log.info("registered with server", server=address)
        return self._granted(address, granted)

    def _registration(self) -> bytes:
        settings, http = self._settings, self._http_address()
        facts = NodeFacts(
            node_id=settings.node_id,
            secret=settings.secret,
            name=settings.name,
            datacenter=settings.datacenter,
            address=parse_server(http)[0],
            version=settings.version,
            node_class=settings.node_class,
        )
        return encode_register(facts, settings.region, http)

    def _granted(self, address: str, granted: Granted) -> bool:
        """Take over what the answer says; whether this server is still the one to turn to.

        It is not when its region's servers are others, or have other addresses. If none of those can be reached, we
        come back to it by the configuration, and stay.
        """
        heart = self._heart
        if heart.home and heart.home != address:
            self._former[heart.home] = None
        self._former.pop(address, None)
        now = trio.current_time()
        heart.answered(now, address, granted.ttl)
        self._alone = False
        self._taken.set()
        self._node_count = granted.node_count
        changed = now >= self._hold_until and self._replace(_literals(told for told, _ in granted.servers))
        self._servers.works(address)
        if changed:
            self._log.debug("servers changed", servers=",".join(self._servers.known))
        return not changed or address in self._servers.known

    async def _rest(self, link: Link, address: str) -> bool:
        """Until the next heartbeat is due. False when the connection ended, or another server is wanted."""

        async def lost() -> None:
            await link.wait_lost()
            self._heart.hung_up(trio.current_time())
            nursery.cancel_scope.cancel()

        async def unwanted() -> None:
            while True:
                await self._wake.wait()
                if self._servers.next() != address:
                    nursery.cancel_scope.cancel()
                    return

        with trio.move_on_at(self._heart.due_at) as clock:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lost)
                nursery.start_soon(unwanted)
        due = clock.cancelled_caught
        if not due and self._servers.next() == address:  # it hung up: look again, but not all clients at once
            await trio.sleep_until(self._heart.due_at)
        return due

    def _give_up(self, address: str, error: Exception) -> None:
        """Turn to the next server."""
        say = self._log.warn if self._heart.home == address else self._log.debug
        say("server failed", server=address, reason=error)
        self._servers.failed(address)

    def _replace(self, addresses: Sequence[str]) -> bool:
        """Whether the list is another one now. One with nothing in it is none."""
        return bool(addresses) and self._servers.replace(addresses)

    def _rouse(self) -> None:
        """Who waits looks at the list again."""
        self._wake.set()
        self._wake = trio.Event()

    async def _configured(self) -> list[str]:
        """The servers that the configuration names, looked up anew; what cannot be found is left out."""
        found = []

        async def look_up(text: str) -> None:
            try:
                found.append(await _resolve(text))
            except ValueError as error:
                self._log.debug("server not found", given=text, reason=error)

        async with trio.open_nursery() as nursery:
            for text in self._settings.servers[:SERVERS_MAX]:
                nursery.start_soon(look_up, text)
        return found

    async def _rebalance(self) -> None:
        """Now and then, move to another server that answers, so that the clients stay spread over the servers."""
        while True:
            await trio.sleep(self._servers.rebalance_interval(self._node_count))
            for address in self._servers.shuffled():
                if address == self._heart.home:
                    break
                try:
                    await self._dialer.ping(address, within=PING_TIMEOUT)
                except RpcError as error:
                    self._log.debug("server does not answer a ping", server=address, reason=error)
                    continue
                self._servers.works(address)
                self._rouse()
                break

    async def _release_former(self) -> None:
        """Tell servers that held this node that it moved, so that it is not listed as down there."""
        settings = self._settings
        body = encode_beat(Beat(settings.node_id, settings.secret, DOWN), settings.region)
        while True:
            await trio.sleep(self._heart.ttl or RELEASE_PAUSE)
            for address in list(self._former):
                if address not in self._servers.known:
                    del self._former[address]
                    continue
                with contextlib.suppress(Unreached):
                    try:
                        await self._dialer.call(address, "Moot.Release", body, within=RELEASE_TIMEOUT)
                    except Refused as refusal:  # it does not list us, or is no agent of ours
                        self._log.debug("not released", server=address, reason=refusal)
                    self._former.pop(address, None)


def _literals(texts: Iterable[str]) -> list[str]:
    """`ip:port` of those that are given by their IP; the others are left out."""
    found = []
    for text in itertools.islice(texts, SERVERS_MAX):
        with contextlib.suppress(ValueError):
            address = literal(text)
            if address is not None:
                found.append(address)
    return found


async def _resolve(text: str) -> str:
    """`ip:port` of a server as people write it, IPv4 if it has one. Raises ValueError with the reason."""
    found = literal(text)
    if found is not None:
        return found
    host, port = parse_server(text)
    try:
        with trio.fail_after(LOOKUP_TIMEOUT):
            entries = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except trio.TooSlowError:
        raise ValueError(f"lookup {host}: i/o timeout") from None
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ValueError(f"lookup {host}: {reason.lower()}") from error
    ips = [str(entry[4][0]).partition("%")[0] for entry in entries]
    return endpoint(min(ips, key=lambda ip: ipaddress.ip_address(ip).version), port)
