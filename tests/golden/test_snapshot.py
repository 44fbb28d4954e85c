"""The snapshot of a real agent: what it says, and that we would have written the same."""

import json
from pathlib import Path

from moot.gossip.record import Address
from moot.gossip.serf.events import MemberChange, MemberEvent, QueryReceived, UserEventReceived
from moot.gossip.serf.members import MemberStatus, SerfMember
from moot.gossip.serf.messages import Query, UserEvent
from moot.gossip.serf.snapshot import FAILED, Recorder, replay
from tests.support.swim import PEER, member

CONTENT: bytes = json.loads((Path(__file__).parent.parent / "vectors" / "snapshot.json").read_text())[
    "content"
].encode()
NODES = {f"n{number}": Address(bytes((127, 0, 1, number)), 7946) for number in (1, 2, 3)}


def changed(change: MemberChange, name: str) -> MemberEvent:
    return MemberEvent(change, SerfMember(member(name, at=NODES[name]), MemberStatus.ALIVE))


def event(ltime: int) -> UserEventReceived:
    return UserEventReceived(UserEvent(ltime, "deploy"))


def query(ltime: int) -> QueryReceived:
    return QueryReceived(Query(ltime, 1, PEER, "n1", (), 0, 0, 0, "load"), 1.0)


def test_the_snapshot_of_a_real_agent_is_replayed() -> None:
    restored = replay([CONTENT], rejoin_after_leave=True)
    assert restored.alive == {"n1": NODES["n1"], "n3": NODES["n3"]}
    assert (restored.clock, restored.event_clock, restored.query_clock) == (6, 3, 4)
    assert restored.complaints == []


def test_after_a_leave_a_real_snapshot_says_nothing_but_the_clock_that_followed() -> None:
    restored = replay([CONTENT], rejoin_after_leave=False)
    assert restored.alive == {}
    assert (restored.clock, restored.event_clock, restored.query_clock) == (6, 0, 0)
    assert restored.complaints == []


def test_the_same_events_make_the_same_lines_but_for_our_own_about_failed_members() -> None:
    recorder = Recorder()
    join, failed, leave = MemberChange.JOIN, MemberChange.FAILED, MemberChange.LEAVE
    lines = [
        recorder.record(changed(join, "n1"), 1),
        recorder.record(changed(join, "n2"), 1),
        recorder.record(changed(join, "n3"), 1),
        recorder.advance(2, 1, 1),
        *(recorder.record(event(ltime), 2) for ltime in (1, 2)),
        *(recorder.record(query(ltime), 2) for ltime in (1, 2, 3, 4)),
        recorder.record(event(3), 2),
        recorder.record(changed(failed, "n3"), 2),
        recorder.record(changed(leave, "n3"), 3),
        recorder.advance(4, 4, 5),
        recorder.advance(5, 4, 5),
        recorder.record(changed(join, "n3"), 6),
        recorder.record(changed(leave, "n2"), 6),
        recorder.leave(),
        recorder.record(changed(leave, "n1"), 6),
        recorder.advance(7, 9, 9),
    ]
    written = b"".join(lines).splitlines(keepends=True)
    assert [line for line in written if line.startswith(FAILED)] == [FAILED + b"n3 127.0.1.3:7946\n"]
    assert b"".join(line for line in written if not line.startswith(FAILED)) == CONTENT
