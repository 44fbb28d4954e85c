"""Messages counted by kind."""

from collections import Counter

from moot.gossip.net.tally import kind_of, tally
from moot.gossip.record import Address
from moot.gossip.serf.messages import LeaveIntent, UserEvent
from moot.gossip.swim.member import Member, Status
from moot.gossip.swim.messages import Ack, Alive, ErrorReply, IndirectPing, Ping, PushPull, User

HERE = Address.parse("127.0.0.1", 1)


def test_messages_count_under_their_kind_and_those_of_serf_under_their_own() -> None:
    counts: Counter[str] = Counter()
    tally(counts, [Ping(1, "a"), Ping(2, "b"), Ack(1), Alive(Member("a", HERE, 1, Status.ALIVE))])
    tally(counts, [User(UserEvent(1, "deploy")), User(LeaveIntent(1, "a", False)), User(b"opaque")])
    tally(counts, [PushPull(True, []), ErrorReply("no")])
    assert counts == {
        "ping": 2,
        "ack": 1,
        "alive": 1,
        "user_event": 1,
        "leave_intent": 1,
        "bytes": 1,
        "push_pull": 1,
        "error_reply": 1,
    }
    assert kind_of(IndirectPing) == "indirect_ping"
