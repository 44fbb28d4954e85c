"""Whatever the network says to a Swim, in whatever order, these hold."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from moot.gossip.errors import CommandError
from moot.gossip.record import Address, Ticket
from moot.gossip.swim import Status
from moot.gossip.swim.events import JoinFinished, MemberGone, MemberJoined, SpreadFinished
from moot.gossip.swim.member import VERSIONS, Member
from moot.gossip.swim.messages import (
    Ack,
    Alive,
    Dead,
    ErrorReply,
    IndirectPing,
    Nack,
    PacketMessage,
    Ping,
    PushPull,
    StreamMessage,
    Suspect,
)
from tests.support.swim import Desk

NAMES = ("me", "b", "c", "d", "")
names = st.sampled_from(NAMES)
incarnations = st.one_of(st.integers(0, 6), st.sampled_from([0xFFFF_FFFE, 0xFFFF_FFFF]))
addresses = st.builds(
    Address,
    st.sampled_from([bytes((127, 0, 0, last)) for last in (1, 2, 3, 4)] + [bytes(16), b""]),
    st.sampled_from([0, 7946]),
)
versions = st.sampled_from([VERSIONS, VERSIONS, b"", bytes(6), bytes((1, 2, 9, 1, 1, 1)), b"\x01"])
members = st.builds(
    Member, names, addresses, incarnations, st.sampled_from(Status), st.sampled_from([b"", b"x"]), versions
)
claims = st.one_of(
    st.builds(lambda member: Alive(member.became(Status.ALIVE, member.incarnation)), members),
    st.builds(Suspect, incarnations, names, names),
    st.builds(Dead, incarnations, names, names),
)
seqs = st.integers(0, 12)
packet_messages: st.SearchStrategy[PacketMessage] = st.one_of(
    claims,
    st.builds(Ping, seqs, names, st.none() | addresses, names),
    st.builds(IndirectPing, seqs, addresses, names, st.booleans(), st.none() | addresses, names),
    st.builds(Ack, seqs, st.binary(max_size=3)),
    st.builds(Nack, seqs),
)
stream_messages: st.SearchStrategy[StreamMessage] = st.one_of(
    st.builds(PushPull, st.booleans(), st.lists(members, max_size=4)),
    st.builds(Ping, seqs, names),
    st.builds(Ack, seqs),
    st.builds(ErrorReply, st.text(max_size=5)),
)


class SwimMachine(RuleBasedStateMachine):
    """One Swim among liars."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk()
        self.left = False
        self.joins: set[Ticket] = set()
        self.spreads: set[Ticket] = set()
        self.before: dict[str, Member] = {}
        self.there: set[str] = set()

    @initialize(more=st.lists(st.sampled_from(NAMES[1:4]), unique=True))
    def some_members(self, more: list[str]) -> None:
        for at, name in enumerate(more):
            self.desk.hear(Alive(Member(name, Address(bytes((127, 0, 0, 2 + at)), 7946), 1, Status.ALIVE)))

    @rule(messages=st.lists(packet_messages, max_size=4), source=addresses)
    def hear(self, messages: list[PacketMessage], source: Address) -> None:
        self.desk.hear(*messages, source=source)

    @rule(message=stream_messages)
    def be_asked(self, message: StreamMessage) -> None:
        self.desk.request(message)

    @precondition(lambda self: self.desk.out.streams)
    @rule(pick=st.integers(0, 30), reply=st.none() | stream_messages)
    def end_a_stream(self, pick: int, reply: StreamMessage | None) -> None:
        streams = self.desk.out.streams
        stream = streams.pop(pick % len(streams))
        if reply is None:
            self.desk.swim.on_stream_failed(self.desk.out.now, stream.ticket, "reset")
        else:
            self.desk.swim.on_stream_reply(self.desk.out.now, stream.ticket, reply)

    @rule(pick=st.integers(0, 30))
    def fire_any_timer(self, pick: int) -> None:
        """Late is allowed, in any order: the clock is moved to the timer's instant if that is ahead."""
        timers = self.desk.out.timers
        timer = timers.pop(pick % len(timers))
        self.desk.out.now = max(self.desk.out.now, timer.at)
        self.desk.swim.on_timer(self.desk.out.now, timer.kind, timer.token)

    @rule(seconds=st.floats(0, 40))
    def time_passes(self, seconds: float) -> None:
        self.desk.run(seconds)

    @rule(to=st.lists(addresses, min_size=1, max_size=3))
    def join(self, to: list[Address]) -> None:
        self.joins.add(self.desk.swim.join(self.desk.out.now, to))

    @precondition(lambda self: not self.left)
    @rule(meta=st.binary(max_size=3))
    def set_meta(self, meta: bytes) -> None:
        if self.desk.swim.me.incarnation < 0xFFFF_FFFF:
            self.spreads.add(self.desk.swim.set_meta(self.desk.out.now, meta, 5.0))
        else:
            with pytest.raises(CommandError):
                self.desk.swim.set_meta(self.desk.out.now, meta, 5.0)

    @rule()
    def leave(self) -> None:
        self.left = True
        self.spreads.add(self.desk.swim.leave(self.desk.out.now, 5.0))

    @invariant()
    def i_am_alive_until_i_leave(self) -> None:
        assert self.desk.swim.me.status is (Status.LEFT if self.left else Status.ALIVE)

    @invariant()
    def incarnation_never_falls_while_the_address_stays(self) -> None:
        now = {member.name: member for member in self.desk.swim.members}
        for name, member in now.items():
            old = self.before.get(name)
            assert old is None or old.address != member.address or member.incarnation >= old.incarnation
        self.before = now

    @invariant()
    def joined_and_gone_alternate(self) -> None:
        for event in self.desk.out.events:
            if isinstance(event, MemberJoined):
                assert event.member.name not in self.there
                self.there.add(event.member.name)
            elif isinstance(event, MemberGone):
                self.there.remove(event.member.name)
        for finished in self.desk.out.took(JoinFinished):
            self.joins.remove(finished.ticket)
        for spread in self.desk.out.took(SpreadFinished):
            self.spreads.remove(spread.ticket)
        self.desk.out.events.clear()
        alive = {m.name for m in self.desk.swim.members if m.status <= Status.SUSPECT}
        assert self.there == alive

    @invariant()
    def everything_sent_fits_the_wire(self) -> None:
        for packet in self.desk.out.packets:
            for message in packet.messages:
                if isinstance(message, Suspect | Dead):
                    assert 0 <= message.incarnation <= 0xFFFF_FFFF
                elif isinstance(message, Alive):
                    assert 0 < message.member.incarnation <= 0xFFFF_FFFF
        self.desk.out.packets.clear()

    def teardown(self) -> None:
        """Given time and an end of every stream, every command has ended."""
        for _ in range(len(self.joins) * 3 + 3):
            for stream in [*self.desk.out.streams]:
                self.desk.out.streams.remove(stream)
                self.desk.swim.on_stream_failed(self.desk.out.now, stream.ticket, "closed")
        self.desk.run(10.0)
        self.joined_and_gone_alternate()
        assert not self.joins
        assert not self.spreads


TestSwimMachine = SwimMachine.TestCase
TestSwimMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
