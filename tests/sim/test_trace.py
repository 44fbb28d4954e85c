"""The trace of a run, and where two runs part."""

from moot.gossip.faults import Fault
from moot.gossip.record import Address
from moot.gossip.serf.messages import LeaveIntent, UserEvent
from moot.gossip.sim import SimCluster
from moot.gossip.sim.compare import detours, lines_of, parting
from moot.gossip.sim.history import History, Record, Seen
from moot.gossip.sim.trace import Tracer, words
from moot.gossip.swim.messages import Ack, Dead, IndirectPing, Ping, User


def traced(*, wire: bool = False, members: frozenset[str] = frozenset()) -> Tracer:
    cluster = SimCluster(4, seed=3, wire=wire)
    tracer = Tracer(lambda: cluster.now, since=0.5, until=14.0, members=members)
    cluster.tap(tracer)
    cluster.boot_cold()
    cluster.run_for(6)
    cluster.conditions.put("loss", Fault(loss=0.3, duplicate=0.3, transport="packet"))
    cluster.crash("n2")
    cluster.crash("n3", dark=True)
    cluster.run_for(20)
    return tracer


def test_messages_are_told_with_what_became_of_them() -> None:
    found = traced().crossings
    assert all(0.5 <= crossing.at <= 14.0 for crossing in found)
    fates = {crossing.fate for crossing in found}
    assert {"", "lost", "refused", "nobody there"} <= fates
    assert all(bool(crossing.delays) == (crossing.fate == "") for crossing in found)
    assert any(len(crossing.delays) == 2 and crossing.end.endswith("2 copies") for crossing in found)
    assert any(crossing.transport == "tcp" and crossing.what.startswith("PushPull") for crossing in found)


def test_bytes_and_objects_leave_the_same_trace() -> None:
    assert [str(crossing) for crossing in traced().crossings] == [str(each) for each in traced(wire=True).crossings]


def test_listening_changes_nothing_and_can_be_limited_to_members() -> None:
    quiet, heard = SimCluster(4, seed=3), SimCluster(4, seed=3)
    heard.tap(Tracer(lambda: heard.now))
    for cluster in (quiet, heard):
        cluster.boot_cold()
        cluster.run_for(10)
    assert quiet.digest() == heard.digest()
    some = traced(members=frozenset({"n1"})).crossings
    assert some
    assert all("n1" in (crossing.source, crossing.to) for crossing in some)


def test_messages_are_said_in_words() -> None:
    relay = IndirectPing(4, Address(b"\x0a\0\0\1", 7946), "b", True)
    assert words(Ping(3, "b")) == "Ping 3 b"
    assert words(Ack(3, b"coordinate")) == "Ack 3"
    assert words(relay) == "IndirectPing 4 target 10.0.0.1:7946 b nack"
    assert words(Dead(0, "b", "a")) == "Dead incarnation 0 b accuser a"
    assert words(User(LeaveIntent(7, "b"))) == "LeaveIntent ltime 7 b"
    assert words(User(UserEvent(7, "deploy", b"v1"))) == "UserEvent ltime 7 deploy payload of 2 bytes"


def history(*seen: Record) -> History:
    return History(["a", "b"], records=list(seen))


def test_two_histories_part_where_they_differ() -> None:
    same: list[Record] = [Seen(float(at), "a", "b", "none", "alive") for at in range(5)]
    one = history(*same, Seen(5.0, "a", "b", "alive", "suspect"), Seen(6.0, "a", "b", "suspect", "alive"))
    other = history(*same, Seen(5.5, "a", "b", "alive", "suspect"), Seen(6.0, "a", "b", "suspect", "failed"))
    found = parting(one.records, other.records, (lines_of(one), lines_of(other)), 2)
    assert found is not None
    assert found.count == 5
    assert found.before == tuple(same[3:])
    assert [record.at for record in found.second] == [5.5, 6.0]
    assert parting(one.records, one.records, (lines_of(one), lines_of(one)), 2) is None
    shorter = history(*same)
    ended = parting(one.records, shorter.records, (lines_of(one), lines_of(shorter)), 2)
    assert ended is not None
    assert ended.second == ()


def test_views_that_went_otherwise_are_told_whenever_it_was() -> None:
    one = history(Seen(1.0, "a", "b", "none", "alive"), Seen(5.0, "a", "b", "alive", "suspect"))
    later = history(Seen(2.0, "a", "b", "none", "alive"), Seen(7.0, "a", "b", "alive", "suspect"))
    assert detours(one, later) == []
    other = history(*later.records, Seen(8.0, "a", "b", "suspect", "failed"))
    (found,) = detours(one, other)
    assert (found.at, found.observer, found.subject, found.first, found.second) == (8.0, "a", "b", (), ("failed",))
