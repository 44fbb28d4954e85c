"""Claims: what Alive, Suspect and Dead messages do to the member they name.

The weigh functions decide, without state and clock; Claims carries the verdict out. Ties go
dead > suspect > alive, and only a strictly greater incarnation revives. Incarnations are raised by
their owner alone, when it refutes.
"""

import enum
import math
from collections.abc import Callable

from moot.gossip.record import Address
from moot.gossip.swim.effects import Timer
from moot.gossip.swim.events import (
    MemberGone,
    MemberJoined,
    MemberSuspected,
    MemberUpdated,
    NameConflict,
    Refuted,
    SuspicionExpired,
    SuspicionLifted,
)
from moot.gossip.swim.member import Member, Status
from moot.gossip.swim.messages import Alive, Dead, Suspect
from moot.gossip.swim.scaling import confirmations_needed, suspicion_timeout
from moot.gossip.swim.spread import Spread
from moot.gossip.swim.state import UINT32_MAX, State
from moot.gossip.swim.suspicion import Suspicion


class Verdict(enum.Enum):
    """What to do with a claim."""

    STALE = enum.auto()
    """Old, unknown or nothing new: no effect, not passed on."""
    APPLY = enum.auto()
    """Take it over and pass it on."""
    CONFIRM = enum.auto()
    """A further accusation of a suspect."""
    REFUTE = enum.auto()
    """It is about us and wrong."""
    CONFLICT = enum.auto()
    """The name is taken by another address."""


def weigh_alive(held: Member | None, heard: Member, me: str, reclaimable: bool) -> Verdict:
    """What an Alive message does (memberlist aliveNode). `reclaimable`: the held one is dead for long enough.

    A member that left may come back at another address with any incarnation; nobody else may. An unknown
    member needs an incarnation above 0. Deviation: with 0 the reference keeps a dead record that nobody
    sees; here nothing is kept.
    """
    if held is None:
        return Verdict.APPLY if heard.incarnation > 0 else Verdict.STALE
    if held.address != heard.address:
        if held.name != me and (held.status is Status.LEFT or (held.status is Status.DEAD and reclaimable)):
            return Verdict.APPLY
        return Verdict.CONFLICT
    if held.name == me:
        if heard.incarnation < held.incarnation:
            return Verdict.STALE
        same = held.meta == heard.meta and held.versions == heard.versions
        return Verdict.STALE if same and heard.incarnation == held.incarnation else Verdict.REFUTE
    return Verdict.APPLY if heard.incarnation > held.incarnation else Verdict.STALE


def weigh_suspect(held: Member | None, heard: Suspect, me: str) -> Verdict:
    """What a Suspect message does (memberlist suspectNode).

    An old incarnation loses before anything else is asked, and only an alive member can become suspect.
    """
    if held is None or heard.incarnation < held.incarnation:
        return Verdict.STALE
    if held.status is Status.SUSPECT:
        return Verdict.CONFIRM
    if held.status is not Status.ALIVE:
        return Verdict.STALE
    return Verdict.REFUTE if held.name == me else Verdict.APPLY


def weigh_dead(held: Member | None, heard: Dead, me: str, leaving: bool) -> Verdict:
    """What a Dead message does (memberlist deadNode). A dead member never turns into one that left this way."""
    if held is None or heard.incarnation < held.incarnation or held.status > Status.SUSPECT:
        return Verdict.STALE
    return Verdict.REFUTE if held.name == me and not leaving else Verdict.APPLY


class Claims:
    """Applies claims to the table, keeps the suspicions, refutes what is said about us."""

    def __init__(self, state: State, spread: Spread) -> None:
        self._state = state
        self._spread = spread
        self._suspicions: dict[str, Suspicion] = {}
        self._timers: dict[int, str] = {}
        """Timers that are set: their tokens, and the suspect whose suspicion is looked at then."""
        self._next_look: dict[str, float] = {}
        """When each suspect's next timer is due. A later need waits for it instead of setting another."""
        self._token = 0

    def alive(self, now: float, claim: Alive) -> None:
        """Somebody says that a member is alive."""
        state = self._state
        if not claim.member.address.port:
            claim = Alive(_at_port(claim.member, state.me.address.port))
        heard = claim.member
        held = state.members.get(heard.name)
        if heard.name == state.name and state.leaving:
            return
        if not versions_sane(heard.versions):
            return
        verdict = weigh_alive(held, heard, state.name, self._reclaimable(now, heard.name))
        if verdict is Verdict.REFUTE:
            self.refute(now, heard.incarnation, heard.name)
        elif verdict is Verdict.CONFLICT:
            assert held is not None
            state.upper.on_event(now, NameConflict(held, heard))
        elif verdict is Verdict.APPLY and self._admitted(held, heard):
            self._accept_alive(now, held, claim)

    def suspicion(self, name: str) -> Suspicion | None:
        """The running suspicion of a member, None when it is not suspected."""
        return self._suspicions.get(name)

    def suspect(self, now: float, claim: Suspect) -> None:
        """Somebody got no answer from a member."""
        state = self._state
        held = state.members.get(claim.node)
        verdict = weigh_suspect(held, claim, state.name)
        if verdict is Verdict.REFUTE:
            self.refute(now, claim.incarnation, claim.accuser)
        elif verdict is Verdict.CONFIRM:
            self._confirm(now, claim)
        elif verdict is Verdict.APPLY:
            assert held is not None
            member = held.became(Status.SUSPECT, claim.incarnation)
            state.members.put(now, member)
            state.counters.suspicions += 1
            self._spread.announce(now, claim, claim.node)
            self._begin_suspicion(now, claim)
            state.upper.on_event(now, MemberSuspected(member, claim.accuser))

    def dead(self, now: float, claim: Dead, done: Callable[[float], None] | None = None) -> None:
        """Somebody says that a member is gone. `done` is called when this was broadcast (only if applied)."""
        state = self._state
        held = state.members.get(claim.node)
        verdict = weigh_dead(held, claim, state.name, state.leaving)
        if verdict is Verdict.REFUTE:
            self.refute(now, claim.incarnation, claim.accuser)
        elif verdict is Verdict.APPLY:
            assert held is not None
            status = Status.LEFT if claim.accuser == claim.node else Status.DEAD
            member = held.became(status, claim.incarnation)
            state.members.put(now, member)
            self._end_suspicion(claim.node)
            self._spread.announce(now, claim, claim.node, done)
            state.upper.on_event(now, MemberGone(member, claim.accuser))

    def refute(self, now: float, accused: int, accuser: str) -> None:
        """Outbid a claim about us: a higher incarnation, announced to all. It costs a point of health.

        Deviation: one at the end of uint32 cannot be outbid. The reference wraps to 0 there, which everybody
        ignores; ours stays.
        """
        state = self._state
        state.awareness.change(+1)
        state.counters.refutations += 1
        self.announce_self(now, above=accused)
        state.upper.on_event(now, Refuted(state.incarnation, accuser))

    def announce_self(
        self, now: float, *, above: int = 0, meta: bytes | None = None, done: Callable[[float], None] | None = None
    ) -> None:
        """Tell everybody about us under a new incarnation, greater than `above`, with new meta if given."""
        state = self._state
        me = state.me
        state.incarnation = min(max(state.incarnation + 1, above + 1), UINT32_MAX)
        new = Member(
            me.name, me.address, state.incarnation, Status.ALIVE, me.meta if meta is None else meta, me.versions
        )
        state.members.put(now, new)
        self._spread.announce(now, Alive(new), new.name, done)

    def on_suspicion_timer(self, now: float, token: int) -> None:
        """Look at a suspicion: end it in death, or look again when it is due."""
        name = self._timers.pop(token)
        if self._next_look.get(name, math.inf) <= now:
            del self._next_look[name]
        suspicion = self._suspicions.get(name)
        if suspicion is None:
            return
        if suspicion.due > now:
            self._look(now, name, suspicion.due)
            return
        held = self._state.members.get(name)
        assert held is not None
        self._state.upper.on_event(now, SuspicionExpired(held, suspicion.confirmed))
        self.dead(now, Dead(held.incarnation, name, self._state.name))

    def forget(self, now: float, name: str) -> None:
        """Drop the row of a member that is dead or left, and what is still to be said of it."""
        self._state.members.drop(name)
        self._spread.withdraw(now, name)

    def _admitted(self, held: Member | None, heard: Member) -> bool:
        state = self._state
        if not state.members.has_room_for(heard):
            return False
        if (held is None or held.address != heard.address) and not state.admits(heard.address):
            return False
        if held is None and not versions_fit(heard.versions, state.me.versions):
            # Deviation: in the reference one such claim is gossiped, and then makes every push/pull fail
            return False
        if state.upper.guard_alive(heard) is not None:
            state.counters.guard_refusals += 1
            return False
        return True

    def _accept_alive(self, now: float, held: Member | None, claim: Alive) -> None:
        state = self._state
        heard = claim.member
        if held is not None and len(heard.versions) < 6:
            # a short vector does not replace a whole one that we have
            heard = Member(heard.name, heard.address, heard.incarnation, Status.ALIVE, heard.meta, held.versions)
        state.members.put(now, heard)
        self._end_suspicion(heard.name)
        self._spread.announce(now, claim, heard.name)
        if held is None or held.status > Status.SUSPECT:
            state.upper.on_event(now, MemberJoined(heard))
            return
        if held.status is Status.SUSPECT:
            state.upper.on_event(now, SuspicionLifted(heard))
        if held.meta != heard.meta:
            state.upper.on_event(now, MemberUpdated(heard, held))

    def _reclaimable(self, now: float, name: str) -> bool:
        after = self._state.config.dead_node_reclaim_time
        died_at = self._state.members.changed_at.get(name)
        return after > 0 and died_at is not None and now - died_at > after

    def _begin_suspicion(self, now: float, claim: Suspect) -> None:
        config = self._state.config
        n = len(self._state.members)
        shortest = suspicion_timeout(config.suspicion_mult, n, config.probe_interval)
        suspicion = Suspicion(
            now,
            claim.accuser,
            confirmations_needed(config.suspicion_mult, n),
            shortest,
            config.suspicion_max_timeout_mult * shortest,
        )
        self._suspicions[claim.node] = suspicion
        self._arm(now, claim.node, suspicion, suspicion.first_timeout())

    def _confirm(self, now: float, claim: Suspect) -> None:
        suspicion = self._suspicions[claim.node]
        if suspicion.confirm(claim.accuser):
            self._spread.announce(now, claim, claim.node)
            self._arm(now, claim.node, suspicion, suspicion.remaining(now))

    def _arm(self, now: float, name: str, suspicion: Suspicion, after: float) -> None:
        suspicion.due = now + after
        if suspicion.due < self._next_look.get(name, math.inf):
            self._look(now, name, suspicion.due)

    def _look(self, now: float, name: str, due: float) -> None:
        self._token += 1
        self._timers[self._token] = name
        self._next_look[name] = due
        self._state.effects.set_timer(due - now, Timer.SUSPICION, self._token)

    def _end_suspicion(self, name: str) -> None:
        self._suspicions.pop(name, None)


def versions_sane(versions: bytes) -> bool:
    """Whether the protocol range of an Alive makes sense. With less than three bytes nothing is known."""
    return len(versions) < 3 or 0 < versions[0] <= versions[1]


def versions_fit(theirs: bytes, ours: bytes) -> bool:
    """Whether two members can talk: each speaks what the other understands, in both protocols.

    A vector that is too short tells nothing and is let pass.
    """
    if len(theirs) < 6 or len(ours) < 6:
        return True
    return all(
        theirs[low] <= ours[current] <= theirs[high] and ours[low] <= theirs[current] <= ours[high]
        for low, high, current in ((0, 1, 2), (3, 4, 5))
    )


def _at_port(member: Member, port: int) -> Member:
    """The member at that port: an announced port 0 means the receiver's own, as in memberlist's handleAlive."""
    at = Address(member.address.ip, port)
    return Member(member.name, at, member.incarnation, member.status, member.meta, member.versions)
