"""What Serf tells the embedding program. The order of events about one member is the order they happened in."""

import enum
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from moot.gossip.record import Address, Ticket, message
from moot.gossip.serf.keys import KeyReport
from moot.gossip.serf.members import MemberStatus, SerfMember
from moot.gossip.serf.messages import Query, UserEvent
from moot.gossip.swim.events import (
    MemberSuspected,
    MergeRefused,
    NameConflict,
    ProbeFailed,
    Refuted,
    StreamPingOnly,
    SuspicionExpired,
    SuspicionLifted,
    SyncFailed,
)


class MemberChange(enum.Enum):
    """Kinds of member events; the values are the names that Serf's handlers and RPC use."""

    JOIN = "member-join"
    LEAVE = "member-leave"
    FAILED = "member-failed"
    UPDATE = "member-update"
    REAP = "member-reap"


@message
class MemberEvent:
    """A member changed; `member` is how it stands now (for REAP: how it stood last).

    `accuser` is who declared one that failed or left dead, empty where nobody did: a leave intent has no sender.
    """

    change: MemberChange
    member: SerfMember
    accuser: str = ""


@message
class MemberLeaving:
    """An intent to leave was accepted, or withdrawn (`member.status` says which). Not an event of Serf's."""

    member: SerfMember


@message
class GivenUp:
    """A member that a snapshot named has not shown up for so long that it is not looked for any more."""

    name: str


@message
class QueueDeep:
    """More waits to be gossiped than is usual: peers are told slowly, or somebody floods the pool."""

    queue: str
    """intent, query or event."""
    depth: int
    """Messages that waited."""
    dropped: int
    """How many of them were dropped, since they were too many."""


@message
class UserEventReceived:
    """A user event passed de-duplication."""

    event: UserEvent


@message
class QueryReceived:
    """A query that means us: it is new, and its filters pass. `deadline` is when answers end (driver's clock)."""

    query: Query
    deadline: float


@message
class QueryAcked:
    """A member confirms that our query reached it."""

    ticket: Ticket
    sender: str


@message
class QueryAnswered:
    """A member answers our query."""

    ticket: Ticket
    sender: str
    payload: bytes


@message
class QueryDone:
    """The deadline of our query has come; nothing follows."""

    ticket: Ticket


@message
class OpinionsHeard:
    """The end of `Serf.opinions`: everybody answered, or the time is up.

    `asked` were alive, without the member in question, who has no say. An answer is None where nobody of that
    name is known.
    """

    ticket: Ticket
    asked: Sequence[str]
    answers: Mapping[str, MemberStatus | None]


@message
class KeysDone:
    """A key operation is over: everybody answered, or the time is up."""

    ticket: Ticket
    report: KeyReport


@message
class ConflictVoted:
    """Another member has our name, and the pool was asked which of us it means.

    `stays` False: not us (or nobody answered), and we must end without a leave.
    """

    stays: bool
    responses: int
    matching: int


@message
class JoinDone:
    """The end of `Serf.join`: an entry per address in the order asked; None is success."""

    ticket: Ticket
    results: tuple[tuple[Address, str | None], ...]


@message
class CommandDone:
    """The end of leave, force-leave or a tag change. `error` is a text for people, None when all went well."""

    ticket: Ticket
    error: str | None


SerfEvent: TypeAlias = (
    MemberEvent
    | MemberLeaving
    | GivenUp
    | QueueDeep
    | UserEventReceived
    | QueryReceived
    | QueryAcked
    | QueryAnswered
    | QueryDone
    | OpinionsHeard
    | KeysDone
    | ConflictVoted
    | JoinDone
    | CommandDone
    # passed up from Swim as they are, for logs
    | MemberSuspected
    | SuspicionLifted
    | SuspicionExpired
    | Refuted
    | ProbeFailed
    | StreamPingOnly
    | NameConflict
    | MergeRefused
    | SyncFailed
)
