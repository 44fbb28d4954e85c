"""Sync: whole tables exchanged over TCP: joins, and push/pull now and then with a random member.

Gossip is fast and forgets; push/pull is slow and complete. A remote entry that is not alive counts only as
a suspicion, so that nobody is killed by hearsay.
"""

from collections.abc import Collection, Sequence

from moot.gossip.errors import CommandError
from moot.gossip.record import Address, Ticket
from moot.gossip.swim.claims import Claims
from moot.gossip.swim.effects import Timer
from moot.gossip.swim.events import JoinFinished, MergeRefused, SyncFailed
from moot.gossip.swim.member import Member, Status
from moot.gossip.swim.messages import Alive, Dead, ErrorReply, PushPull, StreamMessage, Suspect
from moot.gossip.swim.scaling import push_pull_scale
from moot.gossip.swim.state import State
from moot.gossip.swim.table import Roll, is_versioned


class Join:
    """A join under way: the addresses asked for, and what became of each so far."""

    __slots__ = ("addresses", "done_count", "next_index", "results", "ticket")

    def __init__(self, ticket: Ticket, addresses: Sequence[Address]) -> None:
        self.ticket = ticket
        self.addresses = tuple(addresses)
        self.results: list[str | None] = [None] * len(self.addresses)
        self.next_index = 0
        self.done_count = 0


class Sync:
    """Push/pull of both kinds, on both sides."""

    def __init__(self, state: State, claims: Claims) -> None:
        self._state = state
        self._claims = claims
        self._joining: dict[Ticket, tuple[Join, int]] = {}
        self._syncing: dict[Ticket, Member] = {}

    def start(self, now: float) -> None:
        """Begin: a random stagger, then a whole interval."""
        state = self._state
        stagger = state.rng.random() * state.config.push_pull_interval
        state.effects.set_timer(stagger + self._interval(), Timer.PUSH_PULL, 0)

    def on_tick(self, now: float) -> None:
        """Push/pull with one random alive member."""
        state = self._state
        me = state.name
        for peer in state.members.choose(
            state.rng, 1, lambda member: member.status is Status.ALIVE and member.name != me
        ):
            state.counters.push_pulls += 1
            ticket = state.open_stream(peer.address, self._local_state(join=False), state.config.stream_timeout, self)
            self._syncing[ticket] = peer
        state.effects.set_timer(self._interval(), Timer.PUSH_PULL, 0)

    def join(self, now: float, addresses: Sequence[Address]) -> Ticket:
        """Push/pull with all of them, a bounded number at a time; ends in JoinFinished.

        Deviation: the reference goes from one to the next, and waits for each that does not answer.
        Raises CommandError when there is no address.
        """
        if not addresses:
            raise CommandError("no address to join")
        join = Join(self._state.next_ticket(), addresses)
        for _ in range(self._state.config.join_parallel_max):
            self._next_of(join)
        return join.ticket

    def peer_of(self, ticket: Ticket) -> Member | None:
        """With whom we exchange tables on that stream now and then; None when it is none, or one of a join."""
        return self._syncing.get(ticket)

    def on_request(self, now: float, source: Address, ticket: Ticket, request: PushPull) -> None:
        """A peer sent its table: answer with ours as it is now, then take its over."""
        self._state.counters.push_pulls += 1
        self._state.effects.reply_stream(ticket, self._local_state(join=request.join))
        reason = self._merge(now, request, request.join)
        if reason is not None:
            self._state.upper.on_event(now, MergeRefused(source, reason))

    def on_stream_end(self, now: float, ticket: Ticket, reply: StreamMessage | None, reason: str) -> None:
        """A push/pull that we began is over."""
        joining = self._joining.pop(ticket, None)
        if joining is not None:
            join, index = joining
            error = self._take(now, reply, reason, join.addresses[index], join=True)
            self._join_ended(now, join, index, error)
            return
        peer = self._syncing.pop(ticket)
        contacts = self._state.contacts
        if contacts is not None:
            contacts.note_stream(now, peer.name, reply is not None, reason)
        error = self._take(now, reply, reason, peer.address, join=False)
        if error is not None:
            self._state.upper.on_event(now, SyncFailed(peer.address, error))

    def _interval(self) -> float:
        return push_pull_scale(self._state.config.push_pull_interval, len(self._state.members))

    def _local_state(self, *, join: bool) -> PushPull:
        return PushPull(join, self._state.members.roll(), self._state.upper.local_state(join))

    def _next_of(self, join: Join) -> None:
        index = join.next_index
        if index >= len(join.addresses):
            return
        join.next_index += 1
        state = self._state
        ticket = state.open_stream(
            join.addresses[index], self._local_state(join=True), state.config.stream_timeout, self
        )
        self._joining[ticket] = (join, index)

    def _join_ended(self, now: float, join: Join, index: int, error: str | None) -> None:
        join.results[index] = error
        join.done_count += 1
        self._next_of(join)
        if join.done_count == len(join.addresses):
            results = tuple(zip(join.addresses, join.results, strict=True))
            self._state.upper.on_event(now, JoinFinished(join.ticket, results))

    def _take(self, now: float, reply: StreamMessage | None, reason: str, peer: Address, *, join: bool) -> str | None:
        """Take a reply over; answers what was wrong with it, None if nothing. `join` is what we asked for."""
        if isinstance(reply, PushPull):
            refused = self._merge(now, reply, join)
            if refused is not None:
                self._state.upper.on_event(now, MergeRefused(peer, refused))
            return refused
        if isinstance(reply, ErrorReply):
            return f"remote error: {reply.text}"
        return reason if reply is None else "the peer answered with something other than its state"

    def _merge(self, now: float, remote: PushPull, join: bool) -> str | None:
        """Take a remote table over (memberlist mergeRemoteState); answers why not, None if done."""
        state = self._state
        reason = versions_conflict(remote.members, state.members.roll())
        if reason is None and join:
            reason = state.upper.guard_merge(remote.members)
            state.counters.guard_refusals += reason is not None
        if reason is not None:
            return reason
        for member in state.members.unlike(remote.members):
            self._merge_member(now, member)
        if remote.state is not None:
            state.upper.merge_state(now, remote.state, join)
        return None

    def _merge_member(self, now: float, member: Member) -> None:
        if member.status is Status.ALIVE:
            if self._state.members.get(member.name) is not member:
                self._claims.alive(now, Alive(member))
        elif member.status is Status.LEFT:
            self._claims.dead(now, Dead(member.incarnation, member.name, member.name))
        else:
            self._claims.suspect(now, Suspect(member.incarnation, member.name, self._state.name))


def _kinds(members: Sequence[Member]) -> Collection[tuple[bytes, bool]]:
    """The version vectors of those that a push/pull is about, and whether such a one is ALIVE."""
    if isinstance(members, Roll):
        return members.kinds
    return {(member.versions, member.status is Status.ALIVE) for member in members if is_versioned(member)}


def versions_conflict(remote: Sequence[Member], local: Sequence[Member]) -> str | None:
    """Why two tables cannot be merged, None if they can (memberlist verifyProtocol).

    The ranges of all alive members must overlap, and the current versions of **every** entry, dead ones
    too, must lie in the overlap.
    """
    kinds = {*_kinds(remote), *_kinds(local)}
    alive = [versions for versions, is_alive in kinds if is_alive]
    for what, low, high, current in (("protocol", 0, 1, 2), ("delegate protocol", 3, 4, 5)):
        lowest = max((versions[low] for versions in alive), default=0)
        highest = min((versions[high] for versions in alive), default=255)
        if all(lowest <= versions[current] <= highest for versions, _ in kinds):
            continue
        for member in filter(is_versioned, (*remote, *local)):
            speaks = member.versions[current]
            if not lowest <= speaks <= highest:
                return f"member '{member.name}' speaks {what} {speaks}, which is not within [{lowest}, {highest}]"
    return None
