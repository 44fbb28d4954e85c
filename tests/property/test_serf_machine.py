"""Whatever the network and the operators say to a Serf, in whatever order, these hold."""

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from moot.gossip.errors import CommandError
from moot.gossip.serf import MemberStatus, SerfState
from moot.gossip.serf.asking import Question
from moot.gossip.serf.events import (
    CommandDone,
    KeysDone,
    MemberChange,
    MemberEvent,
    QueryAcked,
    QueryAnswered,
    QueryDone,
    QueryReceived,
    UserEventReceived,
)
from moot.gossip.serf.lamport import LEAP, LTIME_MAX
from moot.gossip.serf.members import entry_size
from moot.gossip.serf.messages import EventSlot, NodeFilter, Query, QueryResponse
from moot.gossip.swim.effects import Timer
from moot.gossip.swim.member import Member, Status
from moot.gossip.swim.messages import Ack, Alive, Dead, Ping, Suspect
from moot.gossip.wire.serf_codec import encode_filter
from tests.support.serf import SerfDesk, push_pull
from tests.support.swim import address

NAMES = ("a", "b", "c", "me")
names = st.sampled_from(NAMES)
ltimes = st.one_of(
    st.integers(0, 12),
    st.integers(0, 12),
    st.sampled_from((600, 2**32, 2**63 - 1, 2**63 + LEAP, 2**63 + LEAP + 1, LTIME_MAX - 1, LTIME_MAX)),
)
incarnations = st.integers(0, 6)
query_names = st.sampled_from(("load", "_serf_ping", "_serf_conflict", "_serf_list-keys", "_serf_who-knows"))
payloads = st.sampled_from((b"", b"x"))


def record(name: str, inc: int, status: Status = Status.ALIVE) -> Member:
    """A member of the trial; `me` at its true address, so that claims about us are no conflicts."""
    return Member(name, address(1 if name == "me" else 2 + NAMES.index(name)), inc, status)


class SerfMachine(RuleBasedStateMachine):
    """Intents, claims, push/pulls, events, answers, commands and timers in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = SerfDesk()
        self.serf = self.desk.serf
        self.ltimes: dict[str, int] = {}
        self.clocks = (1, 1, 1)
        self.events: Counter[tuple[int, str, bytes]] = Counter()
        self.done: Counter[int] = Counter()
        self.asked: list[tuple[int, Query]] = []
        self.keys: list[int] = []
        self.heard: dict[tuple[int, int], Query] = {}
        self.answered: Counter[tuple[int, int]] = Counter()
        self.replies: Counter[tuple[type, int, str]] = Counter()
        self.over: Counter[int] = Counter()

    @rule(name=names, ltime=ltimes)
    def hear_join_intent(self, name: str, ltime: int) -> None:
        self.desk.join_intent(name, ltime)

    @rule(name=names, ltime=ltimes, prune=st.booleans())
    def hear_leave_intent(self, name: str, ltime: int, prune: bool) -> None:
        self.desk.leave_intent(name, ltime, prune)

    @rule(name=names, inc=incarnations)
    def hear_alive(self, name: str, inc: int) -> None:
        self.desk.hear(Alive(record(name, inc)))

    @rule(name=names, inc=incarnations, by=names)
    def hear_dead(self, name: str, inc: int, by: str) -> None:
        self.desk.hear(Dead(inc, name, by))

    @rule(name=names, inc=incarnations, by=names)
    def hear_suspect(self, name: str, inc: int, by: str) -> None:
        self.desk.hear(Suspect(inc, name, by))

    @rule(ltime=ltimes, payload=payloads)
    def hear_event(self, ltime: int, payload: bytes) -> None:
        self.desk.event(ltime, payload=payload)

    @rule(
        told=st.dictionaries(names, ltimes, max_size=4),
        left=st.lists(names, max_size=3),
        entries=st.dictionaries(names, st.tuples(incarnations, st.sampled_from(Status)), max_size=3),
        clocks=st.tuples(ltimes, ltimes, ltimes),
        slot=st.one_of(st.none(), st.builds(EventSlot, ltimes, st.just((("deploy", b"x"),)))),
        join=st.booleans(),
    )
    def sync(
        self,
        told: dict[str, int],
        left: list[str],
        entries: dict[str, tuple[int, Status]],
        clocks: tuple[int, int, int],
        slot: EventSlot | None,
        join: bool,
    ) -> None:
        state = push_pull(
            told, left=left, ltime=clocks[0], event_ltime=clocks[1], query_ltime=clocks[2], events=(slot,)
        )
        self.desk.sync(state, [record(name, inc, status) for name, (inc, status) in entries.items()], join=join)

    @rule(answers=st.booleans())
    def end_a_question(self, answers: bool) -> None:
        """The oldest open stream that asks a pruned member whether it is back ends; others stay open."""
        for stream in self.desk.out.streams:
            if isinstance(stream.first, Ping) and self.serf._revival.owns(stream.ticket):
                if answers:
                    self.serf.on_stream_reply(self.desk.now, stream.ticket, Ack(stream.first.seq))
                else:
                    self.serf.on_stream_failed(self.desk.now, stream.ticket, "refused")
                return

    @rule(
        ltime=ltimes,
        number=st.integers(0, 2),
        flags=st.integers(0, 3),
        relay_factor=st.integers(0, 3),
        name=query_names,
        for_us=st.booleans(),
        timeout=st.sampled_from((-(10**9), 0, 5 * 10**9, 2**62)),
    )
    def hear_query(
        self, ltime: int, number: int, flags: int, relay_factor: int, name: str, for_us: bool, timeout: int
    ) -> None:
        filters = [encode_filter(NodeFilter(("me",) if for_us else ("b",)))]
        asked = Query(ltime, number, address(9), "a", filters, flags, relay_factor, timeout, name, b"b")
        self.desk.told(asked)

    @rule(ack=st.booleans(), relay_factor=st.integers(0, 2), timeout=st.sampled_from((0.0, 1.0, 30.0)))
    def ask(self, ack: bool, relay_factor: int, timeout: float) -> None:
        question = Question("load", ack=ack, relay_factor=relay_factor, timeout=timeout)
        self.asked.append(self.serf.query(self.desk.now, question)[:2])

    @rule(pick=st.integers(0, 5), sender=names, flags=st.integers(0, 1), off=st.sampled_from((0, 0, 0, 1)))
    def hear_response(self, pick: int, sender: str, flags: int, off: int) -> None:
        if self.asked:
            _, query = self.asked[pick % len(self.asked)]
            self.desk.told(QueryResponse(query.ltime + off, query.id, sender, flags, b"x"))

    @rule(pick=st.integers(0, 5))
    def respond(self, pick: int) -> None:
        if self.heard:
            key, query = list(self.heard.items())[pick % len(self.heard)]
            try:
                self.serf.respond(self.desk.now, query, b"fine")
            except CommandError:
                return
            self.answered[key] += 1

    @rule(operation=st.sampled_from(("install", "use", "remove", "list")))
    def ask_for_keys(self, operation: str) -> None:
        self.keys.append(self.serf.keys(self.desk.now, operation, bytes(16)))

    @rule(seconds=st.sampled_from((0.3, 7.0, 140.0)))
    def serf_time_passes(self, seconds: float) -> None:
        """Only Serf's timers fire; Swim's own are covered by its own machine."""
        swims = [timer for timer in self.desk.out.timers if timer.kind < Timer.REAP]
        self.desk.only_serf_timers()
        self.desk.run(seconds)
        self.desk.out.timers += swims

    @rule(pick=st.integers(0, 30))
    def any_timer_fires(self, pick: int) -> None:
        timers = self.desk.out.timers
        timer = timers.pop(pick % len(timers))
        self.serf.on_timer(self.desk.now, timer.kind, timer.token)

    @rule(name=names, prune=st.booleans())
    def force_leave(self, name: str, prune: bool) -> None:
        self.serf.force_leave(self.desk.now, name, prune)

    @rule()
    def gossip(self) -> None:
        self.desk.gossip()

    @precondition(lambda self: self.desk.now > 100)
    @rule()
    def leave(self) -> None:
        try:
            self.serf.leave(self.desk.now)
        except CommandError:
            assert self.serf.state is SerfState.LEAVING

    @invariant()
    def lamport_times_of_a_listed_member_never_fall(self) -> None:
        reaped = {e.member.name for e in self.desk.out.took(MemberEvent) if e.change is MemberChange.REAP}
        now = {member.name: member.ltime for member in self.serf.members()}
        for name, before in self.ltimes.items():
            assert name in reaped or now[name] >= before
        self.ltimes = now

    @invariant()
    def the_clock_is_ahead_of_every_member_and_within_uint64(self) -> None:
        assert all(member.ltime < self.desk.clock() for member in self.serf.members())
        assert self.desk.clock() <= LTIME_MAX

    @invariant()
    def clocks_never_fall(self) -> None:
        now = (self.desk.clock(), self.desk.clock("event"), self.desk.clock("query"))
        assert all(new >= old for old, new in zip(self.clocks, now, strict=True))
        self.clocks = now

    @invariant()
    def counts_and_lists_agree_with_the_members(self) -> None:
        counted = Counter(member.status for member in self.serf.members())
        stats = self.serf.stats()
        assert int(stats["failed"]) == counted[MemberStatus.FAILED]
        assert int(stats["left"]) == counted[MemberStatus.LEFT]
        told = self.serf._membership
        assert told.table.alive_count == counted[MemberStatus.ALIVE]
        gone = (MemberStatus.FAILED, MemberStatus.LEFT)
        weights = [(member.status in gone, entry_size(member.name)) for member in self.serf.members()]
        assert told.table.size == sum(size * (1 + is_gone) for is_gone, size in weights)
        assert told.table.live_size == sum(size for is_gone, size in weights if not is_gone)
        assert dict(told.status_ltimes()) == {member.name: member.ltime for member in self.serf.members()}
        assert set(told.left_members()) == {
            member.name for member in self.serf.members() if member.status is MemberStatus.LEFT
        }

    @invariant()
    def who_is_listed_as_there_is_there(self) -> None:
        for member in self.serf.members():
            row = self.serf.swim.members.get(member.name)
            live = row is not None and row.status <= Status.SUSPECT
            assert live is (member.status in (MemberStatus.ALIVE, MemberStatus.LEAVING)), member

    @invariant()
    def who_is_there_is_listed_or_was_pruned(self) -> None:
        for row in self.serf.swim.members:
            if row.status <= Status.SUSPECT and self.serf.member(row.name) is None:
                assert self.serf._membership.pruned.get(row.name) is not None

    @invariant()
    def we_are_alive_until_we_leave(self) -> None:
        me = self.desk.held("me")
        if self.serf.state is SerfState.ALIVE:
            assert me.status is MemberStatus.ALIVE
        if self.serf.state is SerfState.LEFT:
            assert me.status is MemberStatus.LEFT

    @invariant()
    def nothing_is_delivered_or_ended_twice(self) -> None:
        for heard in self.desk.out.took(UserEventReceived):
            self.events[(heard.event.ltime, heard.event.name, heard.event.payload)] += 1
        for over in self.desk.out.took(CommandDone):
            self.done[over.ticket] += 1
        assert all(count == 1 for count in self.events.values())
        assert all(count == 1 for count in self.done.values())

    @invariant()
    def a_query_is_delivered_and_answered_at_most_once(self) -> None:
        for heard in self.desk.out.took(QueryReceived):
            key = (heard.query.ltime, heard.query.id)
            assert key not in self.heard
            assert not heard.query.name.startswith("_serf_")
            self.heard[key] = heard.query
        assert all(count == 1 for count in self.answered.values())

    @invariant()
    def every_member_replies_once_and_nothing_comes_after_the_end(self) -> None:
        for event in self.desk.out.log:
            if isinstance(event, QueryAcked | QueryAnswered):
                assert not self.over[event.ticket]
                self.replies[type(event), event.ticket, event.sender] += 1
            elif isinstance(event, QueryDone | KeysDone):
                self.over[event.ticket] += 1
        self.desk.out.log.clear()
        assert all(count == 1 for count in (self.replies + self.over).values())
        assert set(self.over) <= {ticket for ticket, _ in self.asked} | set(self.keys)


TestSerf = SerfMachine.TestCase
TestSerf.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
