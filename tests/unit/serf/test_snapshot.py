"""Snapshots as lines: what they say when replayed, what is written when something happens."""

import pytest

from moot.gossip.record import Address
from moot.gossip.serf import snapshot
from moot.gossip.serf.events import (
    GivenUp,
    MemberChange,
    MemberEvent,
    MemberLeaving,
    QueryReceived,
    UserEventReceived,
)
from moot.gossip.serf.members import MemberStatus, SerfMember
from moot.gossip.serf.messages import Query, UserEvent
from moot.gossip.serf.snapshot import LINE_MAX, Recorder, Restored, replay
from tests.support.swim import PEER, address, member

A, B = address(1), address(2)
JOIN, LEAVE, FAILED = MemberChange.JOIN, MemberChange.LEAVE, MemberChange.FAILED
UPDATE, REAP = MemberChange.UPDATE, MemberChange.REAP


def read(*lines: str | bytes, rejoin: bool = False) -> Restored:
    """Replay lines, each with its end."""
    raw = [line if isinstance(line, bytes) else line.encode() for line in lines]
    return replay([b"".join(line + b"\n" for line in raw)], rejoin_after_leave=rejoin)


def clocks(restored: Restored) -> tuple[int, int, int]:
    return restored.clock, restored.event_clock, restored.query_clock


def changed(change: MemberChange, name: str, at: Address = A) -> MemberEvent:
    return MemberEvent(change, SerfMember(member(name, at=at), MemberStatus.ALIVE))


def recorded(*events: object, recorder: Recorder | None = None) -> list[str]:
    """The lines that these events make, the member clock standing still."""
    recorder = recorder or Recorder()
    return b"".join(recorder.record(event, 1) for event in events).decode().splitlines()


# replay


def test_nothing_is_known_from_nothing() -> None:
    for chunks in ([], [b""]):
        assert replay(chunks, rejoin_after_leave=False) == Restored()


def test_the_last_line_about_a_member_counts() -> None:
    restored = read(
        "alive: a 127.0.0.1:7946",
        "alive: b 127.0.0.2:7946",
        "not-alive: a",
        "alive: c 127.0.0.1:1",
        "alive: c 127.0.0.2:7946",
    )
    assert restored.alive == {"b": B, "c": B}
    assert list(restored.alive) == ["b", "c"]


def test_clocks_are_what_the_last_lines_say() -> None:
    restored = read("clock: 5", "event-clock: 6", "query-clock: 18446744073709551615", "clock: 3")
    assert clocks(restored) == (3, 6, 2**64 - 1)
    assert restored.complaints == []


def test_ipv6_stands_in_brackets() -> None:
    restored = read("alive: a [fd00::1]:7946", "alive: b [::ffff:127.0.0.2]:7946")
    assert restored.alive == {"a": Address.parse("fd00::1", 7946), "b": Address.parse("::ffff:127.0.0.2", 7946)}


def test_names_may_contain_blanks_and_any_bytes() -> None:
    restored = read("alive:  two  words  127.0.0.1:7946", b"alive: \xff\r 127.0.0.1:7946", "alive:  127.0.0.1:7946")
    assert list(restored.alive) == [" two  words ", "\udcff\r", ""]
    assert read("alive: a  127.0.0.1:7946", "not-alive: a ").alive == {}


def test_comments_and_lines_of_old_versions_say_nothing() -> None:
    restored = read("# alive: a 127.0.0.1:7946", "#", "coordinate: {}", "# moot", "# moot failed:")
    assert restored == Restored()


def test_a_failed_member_is_remembered_until_something_newer_is_said() -> None:
    said = ("alive: a 127.0.0.1:7946", "not-alive: a", "# moot failed: a 127.0.0.1:7946")
    assert read(*said) == Restored(failed={"a": A})
    assert read(*said, "not-alive: a") == Restored()
    assert read(*said, "alive: a 127.0.0.2:7946") == Restored(alive={"a": B})


def test_a_failed_member_is_not_alive_whatever_was_said_before() -> None:
    assert read("alive: a 127.0.0.1:7946", "# moot failed: a 127.0.0.1:7946") == Restored(failed={"a": A})


LEFT = (
    "alive: a 127.0.0.1:7946",
    "# moot failed: b 127.0.0.2:7946",
    "clock: 5",
    "event-clock: 6",
    "query-clock: 7",
    "leave",
    "clock: 8",
)


def test_after_a_leave_nobody_is_known_and_only_later_clocks_count() -> None:
    assert read(*LEFT) == Restored(clock=8)
    assert read(*LEFT, "alive: c 127.0.0.1:7946").alive == {"c": A}


def test_a_leave_does_not_count_for_who_rejoins_but_is_told() -> None:
    restored = read(*LEFT, rejoin=True)
    assert restored.alive == {"a": A}
    assert restored.failed == {"b": B}
    assert clocks(restored) == (8, 6, 7)
    assert restored.overruled_leave


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("alive: a", "no address"),
        ("alive: 127.0.0.1:7946", "no address"),
        ("alive: a 127.0.0.1", "no address"),
        ("alive: a 127.0.0.1:", "no address"),
        ("alive: a 127.0.0.1:0", "no address"),
        ("alive: a 127.0.0.1:65536", "no address"),
        ("alive: a 127.0.0.1:7946x", "no address"),
        ("alive: a 127.0.0.256:7946", "no address"),
        ("alive: a localhost:7946", "no address"),
        ("alive: a [127.0.0.1:7946", "no address"),
        ("alive: a [127.0.0.1]x:7946", "no address"),
        ("alive: a :7946", "no address"),
        ("# moot failed: a", "no address"),
        ("clock: ", "no number"),
        ("clock: -1", "no number"),
        ("clock: +1", "no number"),
        ("clock: 1_0", "no number"),
        ("clock: \u0661", "no number"),
        ("clock: 1 ", "no number"),
        ("clock: 18446744073709551616", "no number"),
        ("event-clock: " + "9" * 5000, "no number"),
        ("query-clock: x", "no number"),
        ("", "not a line"),
        ("leave ", "not a line"),
        ("alive:", "not a line"),
        (" alive: a 127.0.0.1:7946", "not a line"),
        ("\0\0\0alive: a 127.0.0.1:7946", "not a line"),
    ],
)
def test_a_line_that_cannot_be_read_is_left_out_and_told(line: str, why: str) -> None:
    restored = read("alive: x 127.0.0.1:7946", "clock: 3", line, "alive: y 127.0.0.2:7946")
    assert restored.alive == {"x": A, "y": B}
    assert clocks(restored) == (3, 0, 0)
    (complaint,) = restored.complaints
    assert complaint.startswith(f"line 3 is left out, {why}")


def test_leading_zeros_are_a_number_as_in_go() -> None:
    assert read("clock: " + "0" * 100 + "7").clock == 7


def test_a_last_line_without_an_end_is_left_out_whatever_it_says() -> None:
    whole = b"alive: a 127.0.0.1:7946\n"
    torn = b"alive: b 127.0.0.2:79"
    restored = replay([whole + torn], rejoin_after_leave=False)
    assert restored.alive == {"a": A}
    assert restored.torn_size == len(torn)
    assert restored.complaints == ["the last line has no end, as after a crash; it is left out"]


def test_control_characters_of_a_faulty_line_do_not_reach_the_log() -> None:
    (complaint,) = read(b"\x1b[31m\xff\n"[:-1]).complaints
    assert complaint == "line 1 is left out, not a line of a snapshot: '\\x1b[31m\\xff'"


def test_many_faulty_lines_are_counted_and_long_ones_cut() -> None:
    restored = read(*["junk" * 100] * 1000, "clock: 4")
    assert restored.clock == 4
    assert len(restored.complaints) == snapshot.COMPLAINTS_MAX + 1
    assert restored.complaints[-1] == "990 more lines are left out"
    assert max(map(len, restored.complaints)) < 130


def test_a_line_of_any_length_costs_no_more_memory_than_the_longest_allowed() -> None:
    pieces = [b"clock: 3\n", *[b"x" * 65536] * 64, b"\nclock: 4\n", *[b"y" * 65536] * 64]
    restored = replay(pieces, rejoin_after_leave=False)
    assert restored.clock == 4
    assert restored.torn_size == 64 * 65536
    assert restored.complaints[0].startswith(f"line 2 is left out, longer than {LINE_MAX} bytes: 'xxx")


def test_the_oldest_of_too_many_members_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "LISTED_BYTES_MAX", 10 * (snapshot.LINE_COST + 3))
    lines = [f"alive: n{number} 127.0.0.1:7946" for number in range(20, 60)]
    restored = read(*lines)
    assert list(restored.alive) == [f"n{number}" for number in range(50, 60)]
    recorder = Recorder()
    recorded(*(changed(JOIN, f"n{number}") for number in range(20, 60)), recorder=recorder)
    assert list(replay([recorder.content()], rejoin_after_leave=False).alive) == list(restored.alive)


# record


def test_who_joins_is_alive_and_who_leaves_is_not() -> None:
    assert recorded(changed(JOIN, "a"), changed(LEAVE, "a")) == ["alive: a 127.0.0.1:7946", "not-alive: a"]


def test_who_fails_is_not_alive_and_remembered_in_a_comment() -> None:
    assert recorded(changed(FAILED, "a")) == ["not-alive: a", "# moot failed: a 127.0.0.1:7946"]


def test_an_update_changes_nothing() -> None:
    assert recorded(changed(UPDATE, "a")) == []


def test_who_is_reaped_is_forgotten_if_it_was_known() -> None:
    assert recorded(changed(FAILED, "a"), changed(REAP, "a"))[2:] == ["not-alive: a"]
    assert recorded(changed(JOIN, "a"), changed(REAP, "a"))[1:] == ["not-alive: a"]
    assert recorded(changed(JOIN, "a"), changed(LEAVE, "a"), changed(REAP, "a"))[2:] == []


def test_who_cannot_be_addressed_is_not_alive() -> None:
    nowhere = [Address(b"", 7946), Address(b"123", 7946), Address(bytes(4), 0), Address(bytes(4), 65536)]
    for where in nowhere:
        events = (changed(JOIN, "a"), changed(JOIN, "a", where), changed(FAILED, "b", where))
        assert recorded(*events)[1:] == ["not-alive: a", "not-alive: b"]


def test_a_name_with_a_line_end_is_not_written_at_all() -> None:
    forged = "a 127.0.0.1:7946\nalive: evil"
    recorder = Recorder()
    assert recorded(*(changed(change, forged) for change in MemberChange), recorder=recorder) == []
    assert b"evil" not in recorder.content()


def test_other_names_are_written_as_their_bytes() -> None:
    recorder = Recorder()
    line = recorder.record(changed(JOIN, "ü \udcff\r\t"), 1)
    assert line == b"alive: \xc3\xbc \xff\r\t 127.0.0.1:7946\n"
    assert list(replay([line], rejoin_after_leave=False).alive) == ["ü \udcff\r\t"]


def test_the_clock_is_written_one_behind_and_only_when_it_moved() -> None:
    recorder = Recorder()
    assert recorder.advance(1, 1, 1) == b""
    assert recorder.record(changed(JOIN, "a"), 5) == b"alive: a 127.0.0.1:7946\nclock: 4\n"
    assert recorder.record(changed(UPDATE, "a"), 6) == b"clock: 5\n"
    assert recorder.advance(6, 3, 1) == b"event-clock: 2\n"
    assert recorder.advance(6, 3, 9) == b"query-clock: 8\n"
    assert recorder.advance(6, 3, 9) == b""


def test_events_and_queries_write_their_time_unless_a_later_one_was_written() -> None:
    events = [
        UserEventReceived(UserEvent(5, "deploy")),
        UserEventReceived(UserEvent(5, "other")),
        UserEventReceived(UserEvent(4, "old")),
        QueryReceived(Query(7, 1, PEER, "a", (), 0, 0, 0, "load"), 1.0),
        QueryReceived(Query(7, 2, PEER, "a", (), 0, 0, 0, "load"), 1.0),
        MemberLeaving(SerfMember(member("a"), MemberStatus.LEAVING)),
    ]
    assert recorded(*events) == ["event-clock: 5", "query-clock: 7"]


def test_after_a_leave_only_the_member_clock_is_written() -> None:
    recorder = Recorder()
    recorded(changed(JOIN, "a"), recorder=recorder)
    assert recorder.leave() == b"leave\n"
    assert recorder.leave() == b""
    assert recorder.record(changed(JOIN, "b"), 9) == b""
    assert recorder.record(UserEventReceived(UserEvent(5, "deploy")), 9) == b""
    assert recorder.record(GivenUp("a"), 1) == b""
    assert recorder.advance(10, 11, 12) == b"clock: 9\n"


def test_a_member_that_is_no_longer_looked_for_is_forgotten() -> None:
    recorder = Recorder(Restored(alive={"a": A}, failed={"b": B}))
    assert recorder.record(GivenUp("b"), 1) == b"not-alive: b\n"
    assert recorder.record(GivenUp("a"), 1) == b"not-alive: a\n"
    assert recorder.record(GivenUp("a"), 1) == b""


def test_a_fresh_file_says_who_is_alive_who_failed_and_the_clocks() -> None:
    recorder = Recorder(Restored(alive={"a": A}, failed={"b": B}, clock=3, event_clock=4))
    assert recorder.content().decode().splitlines() == [
        "alive: a 127.0.0.1:7946",
        "# moot failed: b 127.0.0.2:7946",
        "clock: 3",
        "event-clock: 4",
        "query-clock: 0",
    ]


def test_a_fresh_file_keeps_that_we_left() -> None:
    recorder = Recorder(Restored(alive={"a": A}, clock=3))
    recorder.leave()
    recorder.advance(6, 1, 1)
    assert recorder.content().decode().splitlines()[1:] == [
        "clock: 3",
        "event-clock: 0",
        "query-clock: 0",
        "leave",
        "clock: 5",
    ]


def test_a_file_may_have_twice_the_size_of_a_fresh_one_and_never_less_than_serf_allows() -> None:
    recorder = Recorder()
    assert recorder.size_max == 128 * 1024
    for number in range(1000):
        recorder.record(changed(JOIN, f"n{number}"), 1)
    assert recorder.size_max == 256 * 1000
    for number in range(1000):
        recorder.record(changed(FAILED, f"{'long' * 100}{number}"), 1)
    assert recorder.size_max >= 2 * len(recorder.content())
