"""A Serf on paper: what it hears is built in short, what it does is kept as values, time is turned by the test."""

from collections.abc import Mapping, Sequence
from random import Random

from moot.gossip.config import LAN, SerfConfig, SwimConfig
from moot.gossip.record import Address, Ticket
from moot.gossip.serf import MemberStatus, MergeGuard, Serf, SerfMember, SerfState
from moot.gossip.serf.events import MemberChange, MemberEvent
from moot.gossip.serf.messages import EventSlot, JoinIntent, LeaveIntent, SerfPushPull, UserEvent
from moot.gossip.swim.effects import Timer
from moot.gossip.swim.member import Member, Status
from moot.gossip.swim.messages import Alive, Dead, PacketMessage, PushPull, StreamMessage, User
from moot.gossip.wire import serf_codec
from tests.support.swim import PEER, Recorder, address, member


def size_of(message: object) -> int:
    """A stand-in for the codec where sizes do not matter."""
    return 60


def push_pull(
    ltimes: Mapping[str, int] | None = None,
    *,
    left: Sequence[str] = (),
    ltime: int = 1,
    events: Sequence[EventSlot | None] = (),
    event_ltime: int = 1,
    query_ltime: int = 1,
) -> SerfPushPull:
    """Serf's part of a push/pull, of a peer that has seen nothing unless told."""
    return SerfPushPull(ltime, ltimes or {}, left, event_ltime, events, query_ltime)


class SerfDesk:
    """A started Serf named `me` at 127.0.0.1 with its Recorder."""

    def __init__(
        self,
        *,
        config: SerfConfig | None = None,
        swim: SwimConfig = LAN,
        seed: int = 1,
        me: str = "me",
        tags: Mapping[str, str] | None = None,
        guard: MergeGuard | None = None,
    ) -> None:
        self.out = Recorder()
        self.serf = Serf(
            name=me,
            address=address(1),
            tags=tags or {},
            swim_config=swim,
            config=config or SerfConfig(),
            effects=self.out,
            rng=Random(seed),
            size_of=size_of,
            codec=serf_codec,
            guard=guard,
        )
        self.serf.start(0.0)
        self.out.events.clear()
        self._tickets = 1_000_000

    @property
    def now(self) -> float:
        return self.out.now

    def hear(self, *messages: PacketMessage, source: Address = PEER) -> None:
        """A packet arrives."""
        self.serf.on_packet(self.now, source, messages)

    def told(self, *bodies: object) -> None:
        """Serf messages arrive by gossip, each with bytes of its own."""
        self.hear(*(User(body, repr(body).encode()) for body in bodies))

    def join_intent(self, node: str, ltime: int) -> None:
        self.told(JoinIntent(ltime, node))

    def leave_intent(self, node: str, ltime: int, prune: bool = False) -> None:
        self.told(LeaveIntent(ltime, node, prune))

    def event(self, ltime: int, name: str = "deploy", payload: bytes = b"") -> None:
        self.told(UserEvent(ltime, name, payload))

    def alive(self, *names: str, inc: int = 1) -> None:
        """Members announce themselves."""
        self.hear(*(Alive(member(name, inc)) for name in names))

    def dies(self, name: str) -> None:
        """Somebody declares a member dead."""
        self.hear(Dead(self._incarnation(name), name, "judge"))

    def goes(self, name: str) -> None:
        """A member says itself that it is gone."""
        self.hear(Dead(self._incarnation(name), name, name))

    def in_status(self, name: str, status: MemberStatus) -> None:
        """Bring a new member into a status, by the way that real ones take. Its Lamport time is 5 at most."""
        self.alive(name)
        if status in (MemberStatus.LEAVING, MemberStatus.LEFT):
            self.leave_intent(name, 5)
        if status is MemberStatus.LEFT:
            self.goes(name)
        elif status is MemberStatus.FAILED:
            self.dies(name)
        assert self.status(name) is status
        self.out.events.clear()

    def sync(
        self, state: SerfPushPull, members: Sequence[Member] = (), *, join: bool = False
    ) -> StreamMessage | None:
        """A peer opens a push/pull; what it is answered."""
        self._tickets += 1
        ticket = Ticket(self._tickets)
        self.serf.on_stream(self.now, PEER, ticket, PushPull(join, members, state))
        return self.out.replies.get(ticket)

    def state(self) -> SerfPushPull:
        """What we tell in a push/pull."""
        reply = self.sync(push_pull())
        assert isinstance(reply, PushPull)
        assert isinstance(reply.state, SerfPushPull)
        return reply.state

    def run(self, seconds: float) -> None:
        """Let time pass: every timer that falls due fires, in order."""
        until = self.now + seconds
        while True:
            due = [timer for timer in self.out.timers if timer.at <= until]
            if not due:
                break
            timer = min(due, key=lambda armed: armed.at)
            self.out.timers.remove(timer)
            self.out.now = max(self.now, timer.at)
            self.serf.on_timer(self.now, timer.kind, timer.token)
        self.out.now = until

    def only_timers(self, *kinds: Timer) -> None:
        """Of the timers set so far, let only these fire: the rest of the world stands still."""
        self.out.timers = [timer for timer in self.out.timers if timer.kind in kinds]

    def only_serf_timers(self) -> None:
        """Let nothing of Swim's fire: nobody is probed, nothing is sent."""
        self.only_timers(*(kind for kind in Timer if kind >= Timer.REAP))

    def held(self, name: str) -> SerfMember:
        """A member that is listed."""
        found = self.serf.member(name)
        assert found is not None, f"{name} is not listed"
        return found

    def status(self, name: str) -> MemberStatus | None:
        """How it is listed, None when it is not."""
        found = self.serf.member(name)
        return None if found is None else found.status

    def ltime(self, name: str) -> int:
        """The Lamport time of the last intent applied."""
        return self.held(name).ltime

    def life(self) -> SerfState:
        """Where we are in our life; asked by a call, as it changes."""
        return self.serf.state

    def clock(self, which: str = "member") -> int:
        """One of the three clocks."""
        return int(self.serf.stats()[f"{which}_time"])

    def changes(self) -> list[tuple[str, str]]:
        """Member events since the last look: name of the event, name of the member."""
        return [(event.change.value, event.member.name) for event in self.out.took(MemberEvent)]

    def changed(self, change: MemberChange, name: str) -> bool:
        """Whether that one event was the only one since the last look."""
        return self.changes() == [(change.value, name)]

    def gossip(self) -> list[object]:
        """Serf messages for one packet; this counts as sending them once."""
        return [user.body for user in self.serf.broadcasts(self.now, 2, 1400)]

    def gossip_all(self) -> None:
        """Send what waits, until nothing does."""
        while self.gossip():
            continue

    def _incarnation(self, name: str) -> int:
        found = self.serf.swim.members.get(name)
        assert found is not None, name
        return found.incarnation


def left_record(name: str, inc: int = 1) -> Member:
    """A member as a push/pull carries it after it left."""
    return member(name, inc, Status.LEFT)
