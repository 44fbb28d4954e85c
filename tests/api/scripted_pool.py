"""PoolOperations that play any situation: queries are answered by the test, keys live in made-up keyrings."""

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

import trio

from moot.agent.keys import PoolKeys
from moot.gossip.net.answers import Answers, Reply
from moot.gossip.record import Address, Ticket
from moot.gossip.serf.asking import Question
from moot.gossip.serf.events import QueryAcked, QueryAnswered
from moot.gossip.serf.keys import KeyReport, Tally, operate
from moot.gossip.serf.members import MemberStatus, SerfMember
from moot.gossip.serf.messages import Coordinate, KeyResponse, Query
from moot.gossip.wire.keyring import Keyring
from moot.gossip.wire.serf_codec import decode_serf, encode_serf
from moot.http.backend import Unacceptable
from moot.http.pool import KeyChange, KeyListing, KeyOperation
from tests.api.scripted_insight import ScriptedInsight
from tests.support.pool import until

OLD, NEW, OTHER = (bytes(range(start, start + 32)) for start in (0, 50, 100))


def text_of(key: bytes) -> str:
    """A key as operators write it."""
    return b64encode(key).decode()


@dataclass
class ScriptedKeys:
    """A node of a pool in which every member has the keyring that the test gives it.

    Members in `lost` do not answer that many times; those in `broken` refuse with the text; those without a keyring
    are not encrypted.
    """

    table: list[SerfMember]
    rings: dict[str, Keyring]
    lost: dict[str, int] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    encrypted: bool = True
    asked: list[str] = field(default_factory=list)
    """Operations in the order they came."""

    @classmethod
    def of(cls, table: Sequence[SerfMember], *keys: bytes) -> Self:
        """A pool in which all have the same keys, the primary one first."""
        return cls(list(table), {member.name: Keyring(keys, lambda: bytes(12)) for member in table})

    def members(self) -> Sequence[SerfMember]:
        return self.table

    def held(self, name: str) -> list[bytes]:
        """A member's keys, primary first."""
        return self.rings[name].keys

    async def list_keys(self) -> KeyReport:
        return self._ask("list", b"")

    async def install_key(self, key: bytes, /) -> KeyReport:
        return self._ask("install", key)

    async def use_key(self, key: bytes, /) -> KeyReport:
        return self._ask("use", key)

    async def remove_key(self, key: bytes, /) -> KeyReport:
        return self._ask("remove", key)

    def _ask(self, operation: str, key: bytes) -> KeyReport:
        self.asked.append(operation)
        alive = [it.name for it in self.table if it.status in (MemberStatus.ALIVE, MemberStatus.LEAVING)]
        tally = Tally(operation, alive, decode_serf)
        for name in alive:
            if self.lost.get(name, 0):
                self.lost[name] -= 1
            elif name in self.broken:
                tally.take(name, encode_serf(KeyResponse(False, self.broken[name])))
            else:
                tally.take(name, encode_serf(operate(self.rings.get(name), operation, key)))
        return tally.report()


@dataclass
class ScriptedPool:
    """A pool of which the test says what it answers; `replies` are sent as they are put in."""

    keys: ScriptedKeys
    events: list[tuple[str, bytes, bool]] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    open_queries: int = 0
    refusal: str = ""
    """When given, what events, queries and tags are refused with."""
    own_tags: dict[str, str] = field(default_factory=dict)
    known_coordinates: dict[str, Coordinate] = field(default_factory=dict)
    flapped: dict[str, int] = field(default_factory=dict)
    locked_out: frozenset[str] = frozenset()
    timeout: float = 30.0
    insight: ScriptedInsight = field(default_factory=ScriptedInsight)
    _send: trio.MemorySendChannel[Reply] | None = None

    def __post_init__(self) -> None:
        self._pool_keys = PoolKeys(self.keys, lambda member: member.name in self.locked_out)

    def _check(self) -> None:
        if self.refusal:
            raise Unacceptable(self.refusal)

    def user_event(self, name: str, payload: bytes, *, coalesce: bool) -> None:
        self._check()
        self.events.append((name, payload, coalesce))

    @contextmanager
    def query(self, question: Question) -> Iterator[Answers]:
        self._check()
        self.questions.append(question)
        self._send, receive = trio.open_memory_channel[Reply](1000)
        query = Query(7, 4711, Address.parse("127.0.0.2", 1), "s1", (), 1, 0, int(self.timeout * 1e9), question.name)
        self.open_queries += 1
        try:
            yield Answers(query, trio.current_time() + self.timeout, receive)
        finally:
            self.open_queries -= 1
            self._send.close()

    async def asked(self) -> None:
        """Wait until a query is open."""
        await until(lambda: self.open_queries > 0)

    def ack(self, sender: str) -> None:
        """A member confirms the open query."""
        assert self._send is not None
        self._send.send_nowait(QueryAcked(Ticket(1), sender))

    def answer(self, sender: str, payload: bytes) -> None:
        """A member answers the open query."""
        assert self._send is not None
        self._send.send_nowait(QueryAnswered(Ticket(1), sender, payload))

    def end(self) -> None:
        """The query ends: by its deadline if that is over, else because the agent stops."""
        assert self._send is not None
        self._send.close()

    async def list_keys(self) -> KeyListing:
        return await self._pool_keys.listing()

    async def change_keys(self, operation: KeyOperation, key: str, *, force: bool) -> KeyChange:
        return await self._pool_keys.change(operation, key, force=force)

    def tags(self) -> Mapping[str, str]:
        return self.own_tags

    async def change_tags(self, changed: Mapping[str, str], deleted: Sequence[str]) -> Mapping[str, str]:
        self._check()
        self.own_tags = {key: value for key, value in self.own_tags.items() if key not in deleted} | dict(changed)
        return self.own_tags

    def coordinate(self, name: str) -> Coordinate | None:
        return self.known_coordinates.get(name)

    def flaps(self, name: str) -> int:
        return self.flapped.get(name, 0)
