"""What may be done to a cluster under test: one method per action, which says it in words (`gossip.actions`)."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Generic, Literal, TypeAlias, TypeVar

from moot.gossip.amounts import seconds_text, share_text

Members: TypeAlias = str | int | Iterable[str | int]
"""Who: a name, a number from 1, a range, a glob, a list of these with commas, `all`; or several of these."""
Share: TypeAlias = str | float
"""Of packets: `"10%"`, or 0.1."""
Seconds: TypeAlias = str | float
"""`"50ms"`, `"1m"`, or 0.05."""
Transport: TypeAlias = Literal["", "udp", "tcp"]
R_co = TypeVar("R_co", covariant=True)


def selector(members: Members) -> str:
    """The words for some members."""
    if isinstance(members, str | int):
        return str(members)
    return ",".join(map(str, members))


def _share(amount: Share) -> str:
    return amount if isinstance(amount, str) else share_text(amount)


def _seconds(amount: Seconds) -> str:
    return amount if isinstance(amount, str) else seconds_text(amount)


class Verbs(ABC, Generic[R_co]):
    """All of them raise GossipError when it cannot be done; what they answer is that of `do`.

    `way` is `"a>b"` for one direction, `"a<>b"` for both, or members for all their links; empty is everybody.
    """

    @abstractmethod
    def do(self, words: str) -> R_co:
        """Carry out an action, said as after `moot chaos`. It is in force when this is over."""

    # processes

    def kill(self, members: Members) -> R_co:
        """End agents without a goodbye."""
        return self.do(f"kill {selector(members)}")

    def stop(self, members: Members) -> R_co:
        """Let agents neither hear nor act, until `cont`."""
        return self.do(f"stop {selector(members)}")

    def cont(self, members: Members) -> R_co:
        """Let stopped agents go on, and do at once what they missed."""
        return self.do(f"cont {selector(members)}")

    def start(self, members: Members, *, via: Members = "", fresh: bool = False) -> R_co:
        """Start agents that ended; they join others, those of `via` if given. `fresh`: without their snapshot."""
        return self.do(f"start {selector(members)}{_starting(via, fresh=fresh)}")

    def restart(self, members: Members, *, via: Members = "", fresh: bool = False) -> R_co:
        """End agents in good order, without a leave, and start them again."""
        return self.do(f"restart {selector(members)}{_starting(via, fresh=fresh)}")

    def leave(self, members: Members) -> R_co:
        """Let agents leave the pool and end."""
        return self.do(f"leave {selector(members)}")

    # links

    def partition(self, *groups: Members) -> R_co:
        """Part the network into groups; who is in none forms one more. It replaces the partition before."""
        return self.do(f"partition {' '.join(map(selector, groups))}")

    def cut(self, way: str, transport: Transport = "") -> R_co:
        """Let nothing pass."""
        return self.do(f"cut {way or 'all'} {transport}")

    def loss(self, amount: Share, way: str = "", transport: Transport = "") -> R_co:
        """Lose packets; streams resend what is lost, and take longer."""
        return self.do(f"loss {_share(amount)} {way} {transport}")

    def delay(self, amount: Seconds, way: str = "", transport: Transport = "", *, swing: Seconds = 0.0) -> R_co:
        """Let everything arrive later, by `amount` plus or minus `swing`."""
        varied = f"{_seconds(amount)}±{_seconds(swing)}" if swing else _seconds(amount)
        return self.do(f"delay {varied} {way} {transport}")

    def duplicate(self, amount: Share, way: str = "") -> R_co:
        """Let packets arrive twice."""
        return self.do(f"duplicate {_share(amount)} {way}")

    def reorder(self, amount: Share, later: Seconds, way: str = "") -> R_co:
        """Hold packets back, so that others overtake them."""
        return self.do(f"reorder {_share(amount)} {_seconds(later)} {way}")

    def corrupt(self, amount: Share, way: str = "", transport: Transport = "") -> R_co:
        """Change bytes of packets, and reset streams."""
        return self.do(f"corrupt {_share(amount)} {way} {transport}")

    def bandwidth(self, rate: str, way: str = "", transport: Transport = "") -> R_co:
        """Narrow every link to so much, such as `"64KB/s"`."""
        return self.do(f"bandwidth {rate} {way} {transport}")

    def heal(self, what: str = "") -> R_co:
        """Lift the faults of links: all, `"partition"`, or one kind such as `"loss"`."""
        return self.do(f"heal {what}")

    # members

    def slow(self, members: Members, by: Seconds) -> R_co:
        """Let agents handle every message late; 0 is at once."""
        return self.do(f"slow {selector(members)} {_seconds(by) if by else 'off'}")

    def clock(self, members: Members, how: str) -> R_co:
        """Let clocks go wrong: `"+5s"`, `"drift 1%"`, both, or `"right"`."""
        return self.do(f"clock {selector(members)} {how}")

    def disk_full(self, members: Members, *, full: bool = True) -> R_co:
        """Let snapshots find no room, or room again."""
        return self.do(f"disk-full {selector(members)}{'' if full else ' off'}")

    def calm(self) -> R_co:
        """Everything back: links are well, nobody is stopped, slow, wrong or without room. Who ended stays ended."""
        return self.do("calm")

    # the pool

    def join(self, members: Members, targets: Members) -> R_co:
        """Let agents join others."""
        return self.do(f"join {selector(members)} {selector(targets)}")

    def force_leave(self, member: str | int, *, prune: bool = False, by: str | int = "") -> R_co:
        """Declare that a member left; with `prune` it is forgotten."""
        return self.do(f"{'prune' if prune else 'force-leave'} {member}{_by(by)}")

    def event(self, name: str, payload: str = "", *, by: str | int = "") -> R_co:
        """Send a user event; both are single words (`client` sends any bytes)."""
        return self.do(f"event {name} {payload}{_by(by)}")

    def key(self, operation: Literal["install", "use", "remove"], key: str, *, by: str | int = "") -> R_co:
        """Have all members do something with a key: base64, or a word that stands for a key of its own."""
        return self.do(f"key {operation} {key}{_by(by)}")


def _starting(via: Members, *, fresh: bool) -> str:
    chosen = selector(via)
    return f"{f' via {chosen}' if chosen else ''}{' fresh' if fresh else ''}"


def _by(by: str | int) -> str:
    return f" by {by}" if by else ""
