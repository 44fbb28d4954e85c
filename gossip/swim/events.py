"""What Swim tells the layer above, and through it the world."""

from typing import TypeAlias

from moot.gossip.record import Address, Ticket, message
from moot.gossip.swim.member import Member


@message
class MemberJoined:
    """A member is alive that was unknown, dead or left."""

    member: Member


@message
class MemberUpdated:
    """An alive member's meta changed."""

    member: Member
    before: Member


@message
class MemberGone:
    """A member was alive or suspect and is now DEAD or LEFT; `member.status` says which."""

    member: Member
    accuser: str


@message
class MemberSuspected:
    """A member is suspected as of now. It may still refute."""

    member: Member
    accuser: str


@message
class SuspicionLifted:
    """A suspect member showed that it is alive."""

    member: Member


@message
class SuspicionExpired:
    """Our own suspicion of a member ran out: we declare it dead. `confirmed` others accused it, too."""

    member: Member
    confirmed: int


@message
class MemberForgotten:
    """A dead member's row was dropped after the gossip-to-the-dead time."""

    member: Member


@message
class Refuted:
    """Somebody claimed that we are suspect, dead or different; we announced ourselves anew."""

    incarnation: int
    accuser: str


@message
class ProbeFailed:
    """Neither direct, indirect nor TCP ping of this member was answered."""

    member: Member
    nacks_expected: int
    nacks_heard: int


@message
class StreamPingOnly:
    """A member answers TCP pings but no UDP: look at its firewall."""

    member: Member


@message
class NameConflict:
    """Two addresses claim one name. The held one stays."""

    held: Member
    offered: Member


@message
class MergeRefused:
    """A push/pull was not taken over: versions do not fit, or the guard above said no."""

    peer: Address
    reason: str


@message
class SyncFailed:
    """A periodic push/pull did not come about."""

    peer: Address
    reason: str


@message
class JoinFinished:
    """The end of a join: one entry for each address in the order asked; None is success."""

    ticket: Ticket
    results: tuple[tuple[Address, str | None], ...]


@message
class SpreadFinished:
    """The broadcast of a leave or of new meta was sent as often as it will be, or `timed_out`."""

    ticket: Ticket
    timed_out: bool


SwimEvent: TypeAlias = (
    MemberJoined
    | MemberUpdated
    | MemberGone
    | MemberSuspected
    | SuspicionLifted
    | SuspicionExpired
    | MemberForgotten
    | Refuted
    | ProbeFailed
    | StreamPingOnly
    | NameConflict
    | MergeRefused
    | SyncFailed
    | JoinFinished
    | SpreadFinished
)
