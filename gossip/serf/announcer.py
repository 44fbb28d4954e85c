"""Announcer: what we say about ourselves and, when an operator asks for it, about others."""

import enum
from collections.abc import Callable

from moot.gossip.errors import CommandError
from moot.gossip.pack import check_text
from moot.gossip.record import Ticket
from moot.gossip.serf.events import CommandDone
from moot.gossip.serf.membership import Membership
from moot.gossip.serf.messages import JoinIntent, LeaveIntent
from moot.gossip.serf.outbox import Outbox
from moot.gossip.serf.state import State
from moot.gossip.swim.effects import Timer
from moot.gossip.swim.messages import User


class SerfState(enum.Enum):
    """Where we are in our life as a member."""

    ALIVE = "alive"
    LEAVING = "leaving"
    LEFT = "left"


class Announcer:
    """Our join intents, our leave, force-leaves of others.

    A leave intent is made of the clock's time, and the clock moves on; a join intent is made of the clock's
    time, and applying it moves the clock on.
    """

    def __init__(self, state: State, membership: Membership, outbox: Outbox) -> None:
        self.state = SerfState.ALIVE
        self._name = state.name
        self._config = state.config
        self._refute_after = state.swim_config.gossip_interval
        self._swim = state.swim
        self._alarms = state.alarms
        self._effects = state.effects
        self._membership = membership
        self._outbox = outbox
        self._refuting = False
        self._leave_ticket = Ticket(0)
        self._leave_spread: Ticket | None = None

    def say_here(self, now: float) -> None:
        """Tell everybody that we are here, later than anything we have heard (serf.go broadcastJoin)."""
        if self.state is SerfState.ALIVE:
            intent = JoinIntent(self._membership.clock.time, self._name)
            self._membership.on_join_intent(now, intent)
            self._outbox.put(now, self._outbox.intents, User(intent))

    def refute(self, now: float) -> None:
        """Somebody says that we leave: contradict, once per gossip round however often it is said.

        Deviation: the reference answers every such intent with an intent of its own, at once, so that a flood
        of them makes a flood of ours. One that is later than all of them contradicts them all.
        """
        if not self._refuting:
            self._refuting = True
            self._alarms.set(self._refute_after, Timer.REFUTE_INTENT, self._refute_due)

    def leave(self, now: float) -> Ticket:
        """Say that we leave, leave Swim, let the news travel; ends in CommandDone without an error.

        What cannot be told in time is left unsaid, as in the newer reference. Raises CommandError while a
        leave is under way; once we left, it is done at once.
        """
        if self.state is SerfState.LEAVING:
            raise CommandError("Leave already in progress")
        ticket = self._swim.new_ticket()
        if self.state is SerfState.LEFT:
            self._effects.notify(CommandDone(ticket, None))
            return ticket
        self.state = SerfState.LEAVING
        self._membership.staying = False
        self._leave_ticket = ticket
        self._say_leaves(now, self._name, False, Timer.LEAVE_INTENT_TIMEOUT, self._leave_swim)
        return ticket

    def force_leave(self, now: float, name: str, prune: bool) -> Ticket:
        """Say that a member left, with `prune` that it be forgotten; ends in CommandDone. Raises CommandError."""
        check_text(name)
        ticket = self._swim.new_ticket()

        def said(at: float, timed_out: bool) -> None:
            error = "timed out broadcasting node removal" if timed_out else None
            self._effects.notify(CommandDone(ticket, error))

        self._say_leaves(now, name, prune, Timer.FORCE_LEAVE_TIMEOUT, said)
        return ticket

    def on_spread_finished(self, ticket: Ticket) -> bool:
        """Swim told the others that we are gone, or could not. False when the ticket is not ours."""
        if ticket != self._leave_spread:
            return False
        self._alarms.set(self._config.leave_propagate_delay, Timer.LEAVE_PROPAGATED, self._left)
        return True

    def _refute_due(self, now: float) -> None:
        self._refuting = False
        self.say_here(now)

    def _leave_swim(self, now: float, timed_out: bool) -> None:
        self._leave_spread = self._swim.leave(now, self._config.broadcast_timeout)

    def _left(self, now: float) -> None:
        self.state = SerfState.LEFT
        self._effects.notify(CommandDone(self._leave_ticket, None))

    def _say_leaves(
        self, now: float, name: str, prune: bool, kind: Timer, then: Callable[[float, bool], None]
    ) -> None:
        """Apply a leave intent and tell it. `then(now, timed_out)` follows, at once if nobody is there to hear."""
        clock = self._membership.clock
        intent = LeaveIntent(clock.time, name, prune)
        clock.increment()
        self._membership.on_leave_intent(now, intent)
        if not self._membership.others_alive():
            then(now, False)
            return
        alarms = self._alarms
        late = alarms.set(self._config.broadcast_timeout, kind, lambda at: then(at, True))

        def sent(at: float) -> None:
            # Swim is packing a packet at this moment: go on when it is done
            if alarms.cancel(late):
                alarms.set(0.0, kind, lambda later: then(later, False))

        self._outbox.put(now, self._outbox.intents, User(intent), sent)
