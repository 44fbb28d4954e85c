"""Upper: what a layer above Swim supplies. One protocol where memberlist has six delegates."""

from collections.abc import Sequence
from typing import Protocol

from moot.gossip.record import Address
from moot.gossip.swim.effects import Effects
from moot.gossip.swim.events import SwimEvent
from moot.gossip.swim.member import Member
from moot.gossip.swim.messages import User


class Upper(Protocol):
    """Calls from Swim to its owner. They may call commands of Swim only where it says so."""

    def on_event(self, now: float, event: SwimEvent, /) -> None:
        """Something happened. Commands of Swim are allowed here."""
        ...

    def on_user(self, now: float, source: Address | None, user: User, /) -> None:
        """A user message arrived, by packet or by stream (then without a source)."""
        ...

    def broadcasts(self, now: float, overhead: int, limit: int, /) -> list[User]:
        """User messages to gossip now: each costs `overhead` plus its encoded size, together at most `limit`."""
        ...

    def local_state(self, join: bool, /) -> object | None:
        """Our part of a push/pull."""
        ...

    def merge_state(self, now: float, state: object, join: bool, /) -> None:
        """The peer's part of a push/pull, after its members were merged."""
        ...

    def guard_merge(self, members: Sequence[Member], /) -> str | None:
        """Before a join push/pull is taken over: a reason to refuse all of it, or None."""
        ...

    def guard_alive(self, member: Member, /) -> str | None:
        """Before an alive claim is taken over: a reason to refuse it, or None."""
        ...

    def ack_payload(self) -> bytes:
        """Bytes to put into a direct ack; empty for none."""
        ...

    def on_rtt(self, now: float, member: Member, rtt: float, payload: bytes, /) -> None:
        """A direct probe was answered after `rtt` seconds, with the peer's payload."""
        ...


class Solo:
    """The layer above when there is none: events go out, nothing else happens."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects

    def on_event(self, now: float, event: SwimEvent, /) -> None:
        self._effects.notify(event)

    def on_user(self, now: float, source: Address | None, user: User, /) -> None:
        pass

    def broadcasts(self, now: float, overhead: int, limit: int, /) -> list[User]:
        return []

    def local_state(self, join: bool, /) -> object | None:
        return None

    def merge_state(self, now: float, state: object, join: bool, /) -> None:
        pass

    def guard_merge(self, members: Sequence[Member], /) -> str | None:
        return None

    def guard_alive(self, member: Member, /) -> str | None:
        return None

    def ack_payload(self) -> bytes:
        return b""

    def on_rtt(self, now: float, member: Member, rtt: float, payload: bytes, /) -> None:
        pass
