"""Membership: what Swim's events and Serf's intents make of the members.

Swim knows who answers. Whether somebody who does not has left or failed is decided here, and only by
intents: a leave intent that came before makes a departure a leave, one that comes after makes a failure a
leave, too.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from moot.gossip.serf.events import MemberChange, MemberEvent, MemberLeaving
from moot.gossip.serf.intents import RecentIntents, Verdict, weigh_join, weigh_leave
from moot.gossip.serf.lamport import LTIME_MAX, LamportClock
from moot.gossip.serf.members import MemberStatus, SerfMember, SerfTable, entry_size
from moot.gossip.serf.messages import JoinIntent, LeaveIntent, SerfPushPull
from moot.gossip.serf.prune import Pruned, PruneMemory
from moot.gossip.serf.state import State
from moot.gossip.swim.effects import Timer
from moot.gossip.swim.member import Member, Status
from moot.gossip.swim.messages import User
from moot.gossip.swim.table import MEMBERS_MAX

TABLE_BYTES_MAX = 3328 * 1024
"""Most that our part of a push/pull may take for members: 80,000 names of 26 bytes. With the event ring's
4.6 MiB and Swim's 12 MiB it stays below the 20 MiB that a peer accepts."""


REMINDERS = 50
"""How many members of a large pool remind one that seems to be leaving, each time."""


class Membership:
    """The member table, the member clock, and the memories beside them.

    `refute(now)` is called when somebody says that we leave while we do not, `forgotten(name)` when a member
    is not listed any more.
    """

    def __init__(self, state: State, refute: Callable[[float], None], forgotten: Callable[[str], None]) -> None:
        self.clock = LamportClock()
        self.table = SerfTable(state.listed)
        self.recent = RecentIntents()
        self.pruned = PruneMemory()
        self.staying = True
        """False from the moment that we leave on purpose."""
        self._name = state.name
        self._config = state.config
        self._swim = state.swim
        self._effects = state.effects
        self._alarms = state.alarms
        self._counters = state.counters
        self._rng = state.rng
        self._refute = refute
        self._forgotten = forgotten
        self.flaps: Counter[str] = Counter()
        """How often each came back within the flap timeout after it had failed."""
        self._prunes: dict[str, int] = {}
        """Prunes that wait until a leaving member had its chance to refute, with their alarms."""

    # what Swim saw

    def joined(self, now: float, record: Member) -> None:
        """A member is there that was not (serf.go handleNodeJoin)."""
        name = record.name
        held = self.table.get(name)
        pruned = self.pruned.pop(name)
        intent = self.recent.pop(name)
        if held is not None:
            if held.status is MemberStatus.FAILED and now - held.gone_at < self._config.flap_timeout:
                self.flaps[name] += 1
                self._counters.flaps += 1
            member = held.became(MemberStatus.ALIVE, record=record)
        elif intent is not None:
            status = MemberStatus.LEAVING if intent.leave else MemberStatus.ALIVE
            member = SerfMember(record, status, intent.ltime)
        else:
            # Deviation: in the reference a pruned member that comes back while the intent that pruned it still
            # goes round is leaving everywhere, until it sends a newer join intent; it may never do so
            member = SerfMember(record, MemberStatus.ALIVE, pruned.ltime if pruned is not None else 0)
        self._cancel_prune(name)
        self._change(MemberChange.JOIN, member)
        self._make_room()

    def updated(self, now: float, record: Member) -> None:
        """A member changed its tags (serf.go handleNodeUpdate)."""
        held = self.table.get(record.name)
        if held is not None:
            member = SerfMember(record, held.status, held.ltime, held.gone_at)
            self._change(MemberChange.UPDATE, member)

    def gone(self, now: float, record: Member, accuser: str = "") -> None:
        """A member does not answer any more, or said that it left: Swim's word for it does not matter here.

        (serf.go handleNodeLeave)
        """
        held = self.table.get(record.name)
        if held is None:
            return
        if held.status is MemberStatus.LEAVING or record.name == self._name:
            self._change(MemberChange.LEAVE, held.became(MemberStatus.LEFT, gone_at=now, record=record), accuser)
        elif held.status is MemberStatus.ALIVE:
            self._change(MemberChange.FAILED, held.became(MemberStatus.FAILED, gone_at=now, record=record), accuser)
        self._make_room()

    # what members and operators say

    def on_leave_intent(self, now: float, heard: LeaveIntent) -> bool:
        """Apply a leave intent. True when it is news and to be passed on."""
        if not self._witness(heard.ltime):
            return False
        held = self.table.get(heard.node)
        if held is None:
            return self._note_unknown(now, heard.node, True, heard.ltime)
        verdict = weigh_leave(held, heard, self.staying and heard.node == self._name)
        if verdict is Verdict.STALE:
            return False
        if verdict is Verdict.REFUTE:
            self._refute(now)
            return False
        if verdict is Verdict.LEAVING:
            member = held.became(MemberStatus.LEAVING, ltime=heard.ltime)
            self.table.put(member)
            self._effects.notify(MemberLeaving(member))
        elif verdict is Verdict.FORCED:
            member = held.became(MemberStatus.LEFT, ltime=heard.ltime, gone_at=held.gone_at)
            self._change(MemberChange.LEAVE, member)
        else:
            member = SerfMember(held.record, held.status, heard.ltime, held.gone_at)
            self.table.put(member)
        if heard.prune and heard.node != self._name:
            self._prune(now, member)
        return True

    def on_join_intent(self, now: float, heard: JoinIntent) -> bool:
        """Apply a join intent. True when it is news and to be passed on."""
        if not self._witness(heard.ltime):
            return False
        held = self.table.get(heard.node)
        if held is None:
            return self._note_unknown(now, heard.node, False, heard.ltime)
        verdict = weigh_join(held, heard)
        if verdict is Verdict.STALE:
            return False
        if verdict is Verdict.BACK:
            member = held.became(MemberStatus.ALIVE, ltime=heard.ltime)
            self._cancel_prune(heard.node)
            self.table.put(member)
            self._effects.notify(MemberLeaving(member))
        else:
            self.table.put(SerfMember(held.record, held.status, heard.ltime, held.gone_at))
        return True

    def merge(self, now: float, remote: SerfPushPull) -> list[LeaveIntent]:
        """Take over what a peer's push/pull says about members (delegate.go MergeRemoteState).

        Those it lists as left count as newer than its own last intent of them, so that a failed one
        becomes left here, too. Deviation: only a failed one, and we ourselves, who refute. In the reference
        this raises the Lamport time of one that left with every push/pull, on both sides in turn; and one
        that left, came back and is alive here, but not yet at the peer, becomes leaving, with a time that
        may be as high as its join intent's, so that it stays leaving for good. If it really left, Swim's
        part of the same push/pull says so, and it has failed when we come here.

        Answers the intents to gossip again, because the peer has missed that a member was pruned. Deviation:
        the reference gossips nothing because of a push/pull, so that whom the prune did not reach keeps the
        member, and lists it for others, until it is reaped there.
        """
        if self._believes(remote.ltime):
            self.clock.witness(remote.ltime - 1)
        ltimes = remote.status_ltimes
        get = self.table.get
        for name in remote.left_members:
            held = get(name)
            if held is None or held.status is MemberStatus.FAILED or name == self._name:
                self.on_leave_intent(now, LeaveIntent(ltimes.get(name, 0) + 1, name))
        left = set(remote.left_members)
        missed = []
        for name, ltime in self.table.news(ltimes):
            held = get(name)
            if held is not None and ltime <= held.ltime:
                # most entries of most push/pulls: nothing new, and the clock is past it
                continue
            pruned = self.pruned.get(name)
            if pruned is not None and ltime < pruned.ltime:
                missed.append(LeaveIntent(pruned.ltime, name, True))
            elif name not in left:
                self.on_join_intent(now, JoinIntent(ltime, name))
        return missed

    # what we tell others

    def status_ltimes(self) -> Mapping[str, int]:
        """Everybody's last Lamport time."""
        return self.table.ltimes()

    def left_members(self) -> Sequence[str]:
        """Names of those that left."""
        return self.table.left

    def others_alive(self) -> bool:
        """Whether anybody else is ALIVE, hence worth telling."""
        me = self.table.get(self._name)
        mine = me is not None and me.status is MemberStatus.ALIVE
        return self.table.alive_count > mine

    # what time does

    def reap(self, now: float) -> None:
        """Forget those who failed or left too long ago, and intents that nobody came for."""
        for names, timeout in (
            (self.table.failed, self._config.reconnect_timeout),
            (self.table.left, self._config.tombstone_timeout),
        ):
            for name in names:
                member = self.table.get(name)
                if member is not None and now - member.gone_at > timeout and name != self._name:
                    self._reap_one(name)
        self._remind(now)
        self.recent.expire(now - self._config.recent_intent_timeout)
        for name, pruned in self.pruned.expire(now):
            if self._reveal(name, pruned.ltime):
                self.pruned.pop(name)

    def _remind(self, now: float) -> None:
        """Tell those who are about to leave, but do not, that we think so; then they contradict.

        Deviation: in the reference a leave intent and a join intent of one Lamport time that cross each other
        make a member leaving for whoever heard the former first, for ever: nobody takes the latter any more,
        and the member takes the former for old.
        """
        share = REMINDERS / max(1, self.table.alive_count)
        for name in list(self.table.leaving):
            held = self.table.get(name)
            record = self._swim.members.get(name)
            if held is None or record is None or record.status > Status.SUSPECT or name == self._name:
                continue
            if held.ltime < LTIME_MAX and self._rng.random() < share:
                intent = LeaveIntent(held.ltime + 1, name)
                self._swim.send_user(now, record.address, User(intent))

    def lost_one(self) -> SerfMember | None:
        """A failed member to try to reach again, or None: the more of them, the likelier (serf.go reconnect)."""
        table = self.table
        failed_count = table.failed_count
        if not failed_count:
            return None
        others = max(1, len(table) - failed_count - table.left_count)
        if self._rng.random() > failed_count / others:
            return None
        return table.get(table.failed[int(self._rng.random() * failed_count)])

    # the rest

    def has_room(self, name: str) -> bool:
        """Whether that one could be listed as there, even if nobody could be forgotten for it.

        Deviation: the reference lists everybody, see `_make_room`.
        """
        held = self.table.get(name)
        if held is not None and held.status in (MemberStatus.ALIVE, MemberStatus.LEAVING):
            return True
        return self.table.live_size + entry_size(name) <= TABLE_BYTES_MAX

    def _believes(self, ltime: int) -> bool:
        if self.clock.believes(ltime):
            return True
        self._counters.refused["lamport-time"] += 1
        return False

    def _witness(self, ltime: int) -> bool:
        if not self._believes(ltime):
            return False
        self.clock.witness(ltime)
        return True

    def _note_unknown(self, now: float, name: str, leave: bool, ltime: int) -> bool:
        """An intent about a name that we do not list."""
        pruned = self.pruned.get(name)
        if pruned is not None:
            if ltime <= pruned.ltime:
                return False
            if leave:
                self.pruned.advance(name, ltime)
                return True
            self.pruned.pop(name)
        if not leave and self._reveal(name, ltime):
            return True
        return self.recent.keep(now, name, leave, ltime)

    def _make_room(self) -> None:
        """Forget who is longest gone, while there are too many or their names are too long.

        Deviation: the reference lists as many as ever die within a day, so that made-up names fill its memory
        and make its push/pulls longer than a peer accepts. For those who are there see `has_room`.
        """
        table = self.table
        while len(table) > MEMBERS_MAX or table.size > TABLE_BYTES_MAX:
            gone = table.longest_gone()
            if gone is None or gone == self._name:
                return
            self._reap_one(gone)

    def _reveal(self, name: str, ltime: int) -> bool:
        """List a member again that was pruned while it was there all the time.

        Deviation: in the reference it stays a ghost, gossiping with everybody and listed by nobody, until
        it restarts.
        """
        record = self._swim.members.get(name)
        if record is None or record.status > Status.SUSPECT or self.table.get(name) is not None:
            return False
        if not self.has_room(name):
            return False
        self._change(MemberChange.JOIN, SerfMember(record, MemberStatus.ALIVE, ltime))
        return True

    def _prune(self, now: float, member: SerfMember) -> None:
        """Forget a member that left; one that is only leaving gets the time to say that it is not.

        Deviation: the reference sleeps meanwhile with its member lock held, and then forgets the member
        even when it has refuted.
        """
        if member.status is not MemberStatus.LEAVING:
            self._forget(now, member)
        elif member.name not in self._prunes:
            name = member.name
            after = self._config.broadcast_timeout + self._config.leave_propagate_delay
            self._prunes[name] = self._alarms.set(after, Timer.PRUNE, lambda at: self._prune_due(at, name))

    def _prune_due(self, now: float, name: str) -> None:
        del self._prunes[name]
        member = self.table.get(name)
        if member is not None and member.status in (MemberStatus.LEAVING, MemberStatus.LEFT):
            self._forget(now, member)

    def _cancel_prune(self, name: str) -> None:
        token = self._prunes.pop(name, None)
        if token is not None:
            self._alarms.cancel(token)

    def _forget(self, now: float, member: SerfMember) -> None:
        name = member.name
        self._cancel_prune(name)
        record = self._swim.members.get(name) or member.record
        config = self._config
        until, reveal_at = now + config.prune_memory, now + config.ghost_timeout
        self.pruned.remember(name, Pruned(record.incarnation, member.ltime, until, reveal_at))
        self._reap_one(name)

    def _reap_one(self, name: str) -> None:
        member = self.table.remove(name)
        self.flaps.pop(name, None)
        self._forgotten(name)
        self._effects.notify(MemberEvent(MemberChange.REAP, member))

    def _change(self, change: MemberChange, member: SerfMember, accuser: str = "") -> None:
        self.table.put(member)
        self._effects.notify(MemberEvent(change, member, accuser))
