"""Whatever happened and whatever is in the file: the lines, a fresh file and the recorder say the same."""

from hypothesis import given, settings
from hypothesis import strategies as st

from moot.gossip.record import Address
from moot.gossip.serf.events import GivenUp, MemberChange, MemberEvent, QueryReceived, UserEventReceived
from moot.gossip.serf.members import MemberStatus, SerfMember
from moot.gossip.serf.messages import Query, UserEvent
from moot.gossip.serf.snapshot import Recorder, Restored, replay
from tests.support.swim import PEER, member

names = st.binary(max_size=6).map(lambda raw: raw.decode("utf-8", "surrogateescape")) | st.sampled_from(
    ("a", "b", "a b", " ", "leave", "x 127.0.0.1:1", "x\nalive: forged 127.0.0.1:1", "\n", "alive: a")
)
addresses = st.builds(
    Address,
    st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16) | st.just(b""),
    st.integers(0, 70000),
)
ltimes = st.integers(0, 20) | st.integers(0, 2**64 - 1)
member_events = st.builds(
    lambda change, name, at: MemberEvent(change, SerfMember(member(name, at=at), MemberStatus.ALIVE)),
    st.sampled_from(MemberChange),
    names,
    addresses,
)
user_events = ltimes.map(lambda ltime: UserEventReceived(UserEvent(ltime, "deploy")))
queries = ltimes.map(lambda ltime: QueryReceived(Query(ltime, 1, PEER, "a", (), 0, 0, 0, "load"), 0.0))
moments = st.lists(
    st.tuples(member_events | user_events | queries | st.sampled_from(("tick", "leave", GivenUp("a"))), ltimes),
    max_size=30,
)
lines = st.sampled_from(
    (
        b"alive: a 127.0.0.1:7946",
        b"not-alive: a",
        b"# moot failed: a 127.0.0.1:7946",
        b"clock: 7",
        b"event-clock: 18446744073709551615",
        b"query-clock: 3",
        b"leave",
        b"#",
        b"coordinate: x",
    )
)
junk = st.binary(max_size=40) | lines | lines.flatmap(lambda line: st.integers(0, len(line)).map(lambda n: line[:n]))
files = st.lists(junk, max_size=20).map(b"\n".join)


def said(restored: Restored) -> tuple[object, ...]:
    """What a snapshot says, without how it was written. Mapped IPv4 counts as IPv4, as in text."""
    return (
        {name: str(at) for name, at in restored.alive.items()},
        {name: str(at) for name, at in restored.failed.items()},
        restored.clock,
        restored.event_clock,
        restored.query_clock,
    )


def play(recorder: Recorder, history: list[tuple[object, int]]) -> bytes:
    """The lines of a history; each moment has the time that the clocks show."""
    written = []
    for moment, time in history:
        match moment:
            case "tick":
                written.append(recorder.advance(time, time // 2, time // 3))
            case "leave":
                written.append(recorder.leave())
            case _:
                written.append(recorder.record(moment, time))
    return b"".join(written)


@given(moments, moments, st.booleans())
@settings(deadline=None)
def test_a_fresh_file_says_what_the_lines_say_and_so_do_lines_added_to_it(
    before: list[tuple[object, int]], after: list[tuple[object, int]], rejoins: bool
) -> None:
    recorder = Recorder()
    appended = play(recorder, before)
    fresh = recorder.content()
    first = replay([appended], rejoin_after_leave=rejoins)
    assert said(replay([fresh], rejoin_after_leave=rejoins)) == said(first)
    assert first.complaints == []
    more = play(recorder, after)
    whole = said(replay([appended, more], rejoin_after_leave=rejoins))
    assert said(replay([fresh, more], rejoin_after_leave=rejoins)) == whole
    assert said(replay([recorder.content()], rejoin_after_leave=rejoins)) == whole


@given(files, moments)
@settings(deadline=None)
def test_a_recorder_goes_on_where_a_file_left_off(found: bytes, history: list[tuple[object, int]]) -> None:
    restored = replay([found], rejoin_after_leave=False)
    recorder = Recorder(restored)
    assert said(replay([recorder.content()], rejoin_after_leave=False)) == said(restored)
    whole = found[: len(found) - restored.torn_size] + play(recorder, history)
    after = replay([whole], rejoin_after_leave=False)
    assert said(after) == said(replay([recorder.content()], rejoin_after_leave=False))
    assert after.torn_size == 0


@given(files, st.integers(1, 50), st.booleans())
def test_the_pieces_in_which_a_file_is_read_do_not_matter(found: bytes, size: int, rejoins: bool) -> None:
    pieces = [found[start : start + size] for start in range(0, len(found), size)]
    assert replay(pieces, rejoin_after_leave=rejoins) == replay([found], rejoin_after_leave=rejoins)


@given(st.lists(member_events, max_size=20))
def test_no_name_forges_a_line(events: list[MemberEvent]) -> None:
    recorder = Recorder()
    written = b"".join(recorder.record(event, 1) for event in events)
    for text in (written, recorder.content()):
        restored = replay([text], rejoin_after_leave=False)
        assert {*restored.alive, *restored.failed} <= {event.member.name for event in events}
        assert restored.complaints == []
