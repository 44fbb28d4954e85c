"""LAN discovery: agents of one pool find each other by multicast DNS, without a word of configuration.

Each announces itself as an instance of `_serf_NAME._tcp` and asks for the others, at once and then every minute,
as Serf's agent does with -discover. Who is found is joined as soon as no more are found for a moment.

Deviation: Serf joins an address once in its life, its own included. Here what counts is whether an alive member
has the address: a failed join is tried again at the next poll, and so is a member that failed.

Multicast DNS proves nothing: whoever is on the network can have us dial addresses, a bounded number a minute.
Only the pool's encryption decides who gets in.
"""

import contextlib
import importlib.util
import ipaddress
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import trio

from moot.agent.logs import Log
from moot.gossip.errors import CommandError, ConfigError
from moot.gossip.net.targets import JoinOutcome
from moot.gossip.record import Address
from moot.gossip.serf.members import MemberStatus, SerfMember

if TYPE_CHECKING:
    from moot.agent.mdns import Mdns

POLL_INTERVAL = 60.0
QUIET = 0.1
"""Seconds without anything new after which who was found is joined."""
QUIET_MAX = 2.0
"""A busy network does not put that off for longer."""
JOIN_MAX = 64
"""Addresses that are dialled after one poll."""
GOODBYE = 3.0
"""Seconds that taking back our announcement may take."""
_POOL = re.compile(r"[A-Za-z0-9_-]{1,57}")


class Joining(Protocol):
    """What discovery needs of a Node."""

    @property
    def address(self) -> Address: ...

    @property
    def bind_address(self) -> Address: ...

    def members(self) -> list[SerfMember]: ...

    async def join(self, targets: Sequence[str]) -> list[JoinOutcome]: ...


def check_discovery(pool: str) -> None:
    """Raises ConfigError when this name cannot be discovered by, or zeroconf is not installed."""
    if not _POOL.fullmatch(pool):
        raise ConfigError(f"discovery name {pool!r}: needs 1 to 57 of the characters A-Z, a-z, 0-9, - and _")
    if importlib.util.find_spec("zeroconf") is None:
        raise ConfigError("discovery needs the package zeroconf: pip install 'moot[discover]'")


def interface_of(bound: Address) -> str | None:
    """The IP of the interface that a node's discovery uses unless told: where it listens; None is all.

    An agent on loopback says nothing to the network.
    """
    return None if ipaddress.ip_address(bound.host).is_unspecified else bound.host


class Discovery:
    """Give `run` a task once the node runs. `pool` is the name that agents have in common."""

    def __init__(
        self,
        pool: str,
        name: str,
        node: Joining,
        log: Log,
        *,
        interface: str | None = None,
        poll: float = POLL_INTERVAL,
    ) -> None:
        """`name` is the node's. `interface` is the IP of the interface to use; see `interface_of` for None.

        Raises ConfigError as `check_discovery` does.
        """
        check_discovery(pool)
        self._pool = pool
        self._name = name
        self._node = node
        self._log = log
        self._interface = interface
        self._poll = poll
        self._changed = trio.Event()
        self._refused: set[Address] = set()
        """Whom we could not join and said so."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Announce, look and join until cancelled, or until the node joins nobody any more because it leaves.

        Raises ConfigError when there is no network that multicast works on.
        """
        mdns = self._load()
        try:
            try:
                await trio.to_thread.run_sync(mdns.open)
            except OSError as error:
                raise ConfigError(f"discovery cannot use the network: {error}") from error
            task_status.started()
            while True:
                await trio.to_thread.run_sync(mdns.poll)
                next_poll = trio.current_time() + self._poll
                while await self._change(next_poll):
                    await self._join(await trio.to_thread.run_sync(mdns.found))
        except CommandError as error:
            self._log.info("discovery ends", reason=error)
        finally:
            with trio.move_on_after(GOODBYE, shield=True):
                await trio.to_thread.run_sync(mdns.close, abandon_on_cancel=True)

    def _load(self) -> "Mdns":
        """The part that needs zeroconf, which takes 10 MB that other agents do without."""
        from moot.agent.mdns import Mdns

        token = trio.lowlevel.current_trio_token()

        def on_change() -> None:
            """Called by zeroconf's thread. However often it is, at most one wake-up waits."""
            with contextlib.suppress(trio.RunFinishedError):
                token.run_sync_soon(self._wake, idempotent=True)

        interface = self._interface or interface_of(self._node.bind_address)
        return Mdns(self._pool, self._name, self._node.address, interface, on_change)

    def _wake(self) -> None:
        self._changed.set()

    async def _change(self, until: float) -> bool:
        """Wait until something changed, and then no more for a moment; False if nothing did by then."""
        with trio.move_on_at(until) as limit:
            await self._changed.wait()
        if limit.cancelled_caught:
            return False
        with trio.move_on_after(QUIET_MAX):
            while self._changed.is_set():
                self._changed = trio.Event()
                with trio.move_on_after(QUIET):
                    await self._changed.wait()
        self._changed = trio.Event()
        return True

    async def _join(self, found: Sequence[Address]) -> None:
        there = {member.address for member in self._node.members() if member.status is MemberStatus.ALIVE}
        new = [address for address in found if address != self._node.address and address not in there]
        # those that failed come last, so that made-up addresses cannot keep the others out for long
        chosen = sorted(new, key=self._refused.__contains__)[:JOIN_MAX]
        if not chosen:
            return
        outcomes = await self._node.join([str(address) for address in chosen])
        joined = [outcome.target for outcome in outcomes if outcome.error is None]
        if joined:
            self._log.info("joined discovered agents", count=len(joined), agents=", ".join(joined))
        failed = {outcome.address: outcome.error for outcome in outcomes if outcome.address and outcome.error}
        fresh = [(address, error) for address, error in failed.items() if address not in self._refused]
        if fresh:
            address, error = fresh[0]
            self._log.warn("discovered agents that cannot be joined", count=len(fresh), agent=address, reason=error)
        self._refused = (self._refused | failed.keys()) & set(new)
