"""Conflict: another member has our name. The pool is asked which of the two it means.

(serf.go resolveNodeConflict)
"""

from moot.gossip.errors import CommandError, WireError
from moot.gossip.record import Address
from moot.gossip.serf.asking import Asking, Question
from moot.gossip.serf.events import ConflictVoted
from moot.gossip.serf.members import MemberStatus, SerfMember
from moot.gossip.serf.messages import ConflictMember, ConflictResponse
from moot.gossip.serf.state import State

CONFLICT = "_serf_conflict"
_STATUS = {
    MemberStatus.NONE: 0,
    MemberStatus.ALIVE: 1,
    MemberStatus.LEAVING: 2,
    MemberStatus.LEFT: 3,
    MemberStatus.FAILED: 4,
}


class ConflictVote:
    """At most one vote at a time, however often the other one shows up."""

    def __init__(self, state: State, asking: Asking) -> None:
        self._state = state
        self._asking = asking
        self._voting = False
        self._responses = 0
        self._matching = 0

    def begin(self, now: float) -> None:
        """Ask everybody; the one that is held to be us need not do anything, the other one ends."""
        if self._voting:
            return
        question = Question(name=CONFLICT, payload=self._state.name.encode(errors="surrogateescape"))
        self._responses = self._matching = 0
        try:
            self._asking.ask(now, question, self._count, self._decide)
        except CommandError:
            # too many queries are open; the conflict will be seen again
            return
        self._voting = True

    def _count(self, now: float, sender: str, payload: bytes | None) -> None:
        if payload is None:
            return
        try:
            response = self._state.codec.decode_serf(payload)
        except WireError:
            return
        if isinstance(response, ConflictResponse):
            self._responses += 1
            ours = self._state.swim.me.address
            self._matching += response.member is not None and _same(response.member.address, ours)

    def _decide(self, now: float) -> None:
        """Without a majority of those who answered, be it because nobody did, we are not the one."""
        self._voting = False
        stays = self._matching >= self._responses // 2 + 1
        self._state.effects.notify(ConflictVoted(stays, self._responses, self._matching))


def opinion(held: SerfMember | None) -> ConflictResponse:
    """What we know of the member in question."""
    if held is None:
        return ConflictResponse(None)
    versions = bytes(held.versions)
    return ConflictResponse(ConflictMember(held.name, held.address, held.tags, _STATUS[held.status], versions))


STATUS_OF = {number: status for status, number in _STATUS.items()}


def _same(one: Address, other: Address) -> bool:
    """The same place, be the IP in its 4-byte or its mapped form."""
    return one.host == other.host and one.port == other.port
