"""The log in Serf's form."""

import re
from pathlib import Path

import pytest

from moot.agent.serf.backend import load_tags
from moot.agent.serf.event_lines import EventLines
from moot.agent.serf.journal import HELD_MAX, Journal
from moot.agent.serf.ui import Ui
from moot.gossip.config import SerfConfig
from moot.gossip.errors import ConfigError
from moot.gossip.net.node import Node
from moot.gossip.net.settings import NodeSettings
from moot.gossip.record import Address
from moot.gossip.serf.coalesce import MemberEvents
from moot.gossip.serf.events import (
    ConflictVoted,
    MemberChange,
    MemberEvent,
    MemberLeaving,
    QueryReceived,
    QueueDeep,
    UserEventReceived,
)
from moot.gossip.serf.members import MemberStatus, SerfMember
from moot.gossip.serf.messages import Query, UserEvent
from moot.gossip.swim.events import NameConflict, ProbeFailed, Refuted, StreamPingOnly, SuspicionExpired
from moot.gossip.swim.member import Member, Status

STAMP = re.compile(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d ")


class Page(Ui):
    """Keeps what is printed."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def out(self, text: str) -> None:
        self.lines.append(text)


def journal(level: str = "INFO", *, released: bool = True) -> tuple[Journal, Page]:
    page = Page()
    made = Journal(page, level)
    if released:
        made.release()
    return made, page


def remembered(made: Journal) -> list[str]:
    """The lines that a monitor gets, without their time."""
    with made.ring.follow("TRACE") as (lines, _):
        return [STAMP.sub("", line) for line in lines]


def test_a_line_has_time_level_and_module_and_stands_in_by_four() -> None:
    made, page = journal()
    made.write("WARN", "agent", "text")
    (line,) = page.lines
    assert line.startswith("    ")
    assert STAMP.sub("", line[4:]) == "[WARN] agent: text"
    assert STAMP.match(line[4:])


def test_lines_below_the_level_are_for_monitors_only() -> None:
    made, page = journal("WARN")
    made.write("INFO", "agent", "quiet")
    made.set_level("INFO")
    made.write("INFO", "agent", "loud")
    assert [line.endswith("loud") for line in page.lines] == [True]
    assert remembered(made) == ["[INFO] agent: quiet", "[INFO] agent: loud"]


def test_lines_are_kept_back_until_the_agent_runs() -> None:
    made, page = journal(released=False)
    for number in range(HELD_MAX + 10):
        made.write("INFO", "agent", str(number))
    made.say("Starting")
    assert page.lines == ["==> Starting"]
    made.release()
    assert len(page.lines) == 1 + HELD_MAX
    assert page.lines[1].endswith("] agent: 0")


def test_nothing_from_the_network_makes_a_line_of_its_own() -> None:
    made, page = journal()
    made.write("INFO", "serf", "EventMemberJoin: x\n2026/01/01 00:00:00 [INFO] serf: EventMemberFailed: y\x1b[0m")
    assert len(page.lines) == 1
    assert "\n" not in page.lines[0]
    assert "\x1b" not in page.lines[0]


def test_a_part_of_the_agent_logs_a_text_and_fields() -> None:
    made, _ = journal("TRACE")
    log = made.logger("agent.ipc")
    log.trace("one")
    log.debug("two", key="value", number=3)
    log.info("three", text='a "b"', none="")
    log.warn("four", line="a\nb")
    log.error("five", equals="a=b")
    assert remembered(made) == [
        "[TRACE] agent.ipc: one",
        "[DEBUG] agent.ipc: two: key=value number=3",
        r'[INFO] agent.ipc: three: text="a \"b\"" none=""',
        r'[WARN] agent.ipc: four: line="a\nb"',
        '[ERR] agent.ipc: five: equals="a=b"',
    ]


class Broken(Ui):
    """A log without a reader."""

    def out(self, text: str) -> None:
        raise BrokenPipeError


def test_a_log_without_a_reader_ends_nothing() -> None:
    made = Journal(Broken(), "INFO")
    made.release()
    made.write("INFO", "agent", "text")
    made.say("text")
    assert remembered(made) == ["[INFO] agent: text"]


# ---- events

AT = Address(bytes((127, 0, 0, 9)), 7946)


def serf_member(status: MemberStatus = MemberStatus.ALIVE, gone_at: float = 0.0, name: str = "web") -> SerfMember:
    record = Member(name, AT, 1, Status.ALIVE, b"\xff\x80", bytes((1, 5, 2, 2, 5, 5)))
    return SerfMember(record, status, 0, gone_at)


def lines_of(*events: object, config: SerfConfig | None = None) -> list[str]:
    made, _ = journal("TRACE")
    lines = EventLines(made, Node(NodeSettings(name="me")), config or SerfConfig())
    for event in events:
        lines(event)
    return remembered(made)


RECORD = serf_member().record
QUERY = Query(1, 7, AT, "db", (), 0, 0, 10**9, "load", b"")


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (MemberEvent(MemberChange.JOIN, serf_member()), "[INFO] serf: EventMemberJoin: web 127.0.0.9"),
        (MemberEvent(MemberChange.FAILED, serf_member()), "[INFO] serf: EventMemberFailed: web 127.0.0.9"),
        (MemberEvent(MemberChange.LEAVE, serf_member()), "[INFO] serf: EventMemberLeave: web 127.0.0.9"),
        (MemberEvent(MemberChange.UPDATE, serf_member()), "[INFO] serf: EventMemberUpdate: web"),
        (MemberLeaving(serf_member(MemberStatus.LEAVING)), "[DEBUG] serf: messageLeaveType: web"),
        (MemberLeaving(serf_member()), "[DEBUG] serf: messageJoinType: web"),
        (ProbeFailed(RECORD, 1, 0), "[INFO] memberlist: Suspect web has failed, no acks received"),
        (
            SuspicionExpired(RECORD, 2),
            "[INFO] memberlist: Marking web as failed, suspect timeout reached (2 peer confirmations)",
        ),
        (Refuted(3, "db"), "[WARN] memberlist: Refuting a suspect message (from: db)"),
        (
            NameConflict(RECORD, RECORD),
            "[WARN] serf: Name conflict for 'web' both 127.0.0.9:7946 and 127.0.0.9:7946 are claiming",
        ),
        (ConflictVoted(True, 3, 2), "[INFO] serf: majority in name conflict resolution [2 / 3]"),
        (ConflictVoted(False, 3, 1), "[WARN] serf: minority in name conflict resolution, quitting [1 / 3]"),
        (UserEventReceived(UserEvent(1, "deploy", b"")), "[DEBUG] serf: messageUserEventType: deploy"),
        (QueryReceived(QUERY, 0.0), "[DEBUG] serf: messageQueryType: load"),
        (QueueDeep("event", 130, 0), "[WARN] serf: Event queue depth: 130"),
    ],
)
async def test_an_event_has_serfs_line(event: object, line: str) -> None:
    assert lines_of(event) == [line]


async def test_other_events_are_told_in_our_words() -> None:
    (line,) = lines_of(StreamPingOnly(RECORD))
    assert line.startswith("[WARN] serf: member answers over TCP but not over UDP")


async def test_who_leaves_after_a_failure_was_forced_to() -> None:
    failed, left, join = (
        MemberEvent(change, serf_member()) for change in (MemberChange.FAILED, MemberChange.LEAVE, MemberChange.JOIN)
    )
    assert lines_of(failed, left, left)[1:] == [
        "[INFO] serf: EventMemberLeave (forced): web 127.0.0.9",
        "[INFO] serf: EventMemberLeave: web 127.0.0.9",
    ]
    assert lines_of(failed, join, left)[-1] == "[INFO] serf: EventMemberLeave: web 127.0.0.9"


async def test_who_is_forgotten_before_time_was_pruned(autojump_clock: object) -> None:
    config = SerfConfig(reconnect_timeout=10.0, tombstone_timeout=1e9)
    due = MemberEvent(MemberChange.REAP, serf_member(MemberStatus.FAILED, gone_at=-1e9))
    early = MemberEvent(MemberChange.REAP, serf_member(MemberStatus.LEFT, gone_at=0.0))
    alive = MemberEvent(MemberChange.REAP, serf_member(MemberStatus.LEAVING))
    forced = "[INFO] serf: EventMemberReap (forced): web 127.0.0.9"
    assert lines_of(due, early, alive, config=config) == ["[INFO] serf: EventMemberReap: web", forced, forced]


async def test_what_is_delivered_is_told_as_received() -> None:
    made, _ = journal()
    lines = EventLines(made, Node(NodeSettings(name="me")), SerfConfig())
    lines.received(MemberEvents(MemberChange.JOIN, (serf_member(), serf_member(name="db"))))
    lines.received(UserEventReceived(UserEvent(1, "deploy", b"")))
    lines.received(QueryReceived(QUERY, 0.0))
    assert remembered(made) == [
        "[INFO] agent: Received event: member-join",
        "[INFO] agent: Received event: user-event: deploy",
        "[INFO] agent: Received event: query: load",
    ]


# ---- tags file


def test_tags_are_read_from_their_file(tmp_path: Path) -> None:
    path = tmp_path / "tags.json"
    assert load_tags(path) is None
    path.write_text('{"a": "b"}')
    assert load_tags(path) == {"a": "b"}


@pytest.mark.parametrize("text", ["", "x", "[]", '{"a": 1}', "[" * 100_000])
def test_a_tags_file_that_holds_no_tags_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tags.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"^Failed to decode tags file: "):
        load_tags(path)
