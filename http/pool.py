"""PoolOperations: what the API can do with the pool beyond membership. The agent implements it.

Keys are named by their **id**, eight hexadecimal digits of their SHA-256: an id can be printed, logged and
typed, the key itself goes out only to who asks to be shown it.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from moot.gossip.serf.asking import Question
from moot.gossip.serf.events import QueryAcked, QueryAnswered
from moot.gossip.serf.messages import Coordinate, Query
from moot.http.insight import Insight

KeyOperation = Literal["install", "use", "remove"]

HolderState = Literal["answered", "refused", "silent", "unreachable"]
"""What is known of a member's keys: it listed them; it said that it cannot; it is alive and said nothing; it is
not alive, so that nobody can know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyHolder:
    """A member that has not left, and its keys."""

    name: str
    status: str
    state: HolderState
    keys: Sequence[str] = ()
    """Ids, the primary one first."""
    primary: str = ""
    """Id of the key that it seals with; empty when it is not known."""
    text: str = ""
    """What it said besides: a refusal, or that its list was cut."""
    is_cut: bool = False
    """It holds more keys than its answer had room for."""
    locked_out: bool = False
    """It failed and is back, but sends what no key of ours opens."""

    def lacks(self, key: str) -> bool:
        """Whether it is known not to have a key. False also when nobody can know."""
        return self.state == "answered" and key not in self.keys and not self.is_cut


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyListing:
    """Who holds which key, as its members said."""

    asked: int
    """How many were alive when asked, ourselves included."""
    holders: Sequence[KeyHolder]
    """By name: everybody that has not left."""
    keys: Mapping[str, str]
    """Id to base64 text, of every key that anybody holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChange:
    """What became of one key operation."""

    operation: KeyOperation
    id: str
    asked: int
    done: Sequence[str]
    """Names of those that did it."""
    failed: Mapping[str, str]
    """Name to the reason of those that did not."""
    silent: Sequence[str]
    """Names of those that were alive and said nothing."""
    unreachable: Sequence[str]
    """Names of those that were not alive and not asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyBlocker:
    """A member on whose account a key operation is refused."""

    name: str
    status: str
    reason: str


class KeysRefused(Exception):
    """A key operation would cut members off; nothing was done (status 409). `hints` say how to go on."""

    def __init__(self, text: str, blockers: Sequence[KeyBlocker], hints: Sequence[str]) -> None:
        super().__init__(text)
        self.blockers = blockers
        self.hints = hints


class Answers(Protocol):
    """What comes back on a query; the iteration ends at its deadline, or before it when the agent stops."""

    @property
    def query(self) -> Query: ...

    @property
    def deadline(self) -> float:
        """On trio's clock."""
        ...

    def __aiter__(self) -> "Answers": ...

    async def __anext__(self) -> QueryAcked | QueryAnswered: ...


class PoolOperations(Protocol):
    """Events, queries, keys, tags and coordinates.

    What fails raises `backend.BackendError`, what cannot be whoever wishes it its child Unacceptable.
    """

    @property
    def insight(self) -> Insight:
        """What happened lately, and what is known of each member."""
        ...

    def user_event(self, name: str, payload: bytes, *, coalesce: bool) -> None:
        """Tell everybody. Raises Unacceptable when it is too large."""
        ...

    def query(self, question: Question) -> AbstractContextManager[Answers]:
        """Ask the pool; the answers are dropped when the block ends. Raises Unacceptable on entry."""
        ...

    async def list_keys(self) -> KeyListing:
        """Who holds which key; who says nothing is asked again. Raises BackendError in a pool without encryption."""
        ...

    async def change_keys(self, operation: KeyOperation, key: str, *, force: bool) -> KeyChange:
        """Have everybody install, use or remove a key, given as base64 text or by the id of one that is installed.

        Raises KeysRefused when that would cut a member off, unless `force`; Unacceptable for what is no key.
        """
        ...

    def tags(self) -> Mapping[str, str]:
        """Our own."""
        ...

    async def change_tags(self, changed: Mapping[str, str], deleted: Sequence[str]) -> Mapping[str, str]:
        """Announce other tags: our own without `deleted` and with `changed`. Answers with all of them.

        Raises Unacceptable when they are too large, or when they are not for the operator to change.
        """
        ...

    def coordinate(self, name: str) -> Coordinate | None:
        """The last known network coordinate of a member, also of ourselves."""
        ...

    def flaps(self, name: str) -> int:
        """How often the member came back soon after it had failed."""
        ...
