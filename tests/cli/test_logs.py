"""Log lines, and which events become which."""

import io
import json
import re
from pathlib import Path

import click.testing
import pytest
import trio

from moot.agent.checks import MODULES
from moot.agent.cli import cli
from moot.agent.event_log import DIFFERENT_MAX, REPEAT_AFTER, EventLog
from moot.agent.logs import REPEATS_MAX, REPEATS_WITHIN, TEXTS_MAX, Logs
from moot.gossip.counters import Counters
from moot.gossip.net.feed import EventsLost
from moot.gossip.net.streams import StreamRefused
from moot.gossip.record import Address, Ticket
from moot.gossip.serf.events import (
    CommandDone,
    MemberChange,
    MemberEvent,
    MemberLeaving,
    QueryReceived,
    QueueDeep,
    UserEventReceived,
)
from moot.gossip.serf.members import MemberStatus, SerfMember
from moot.gossip.serf.messages import Query, UserEvent
from moot.gossip.swim.events import (
    MemberSuspected,
    MergeRefused,
    NameConflict,
    ProbeFailed,
    Refuted,
    StreamPingOnly,
    SuspicionLifted,
    SyncFailed,
)
from moot.gossip.swim.member import Member, Status

HERE = Address.parse("127.0.0.1", 4648)
WEB = Member("web", HERE, 1, Status.ALIVE)


def logs(level: str = "info", *, as_json: bool = False) -> tuple[Logs, io.StringIO]:
    stream = io.StringIO()
    return Logs(level=level, as_json=as_json, stream=stream), stream


def test_a_line_has_nomads_form() -> None:
    made, stream = logs()
    made.logger("serf").info("member joined", name="web", note="two words")
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    assert re.fullmatch(stamp + r' \[INFO\]  serf: member joined: name=web note="two words"\n', stream.getvalue())


def test_levels_line_up_in_columns() -> None:
    made, stream = logs("trace")
    log = made.logger("m")
    for write in (log.trace, log.debug, log.info, log.warn, log.error):
        write("x")
    assert {line[25:].index("m:") for line in stream.getvalue().splitlines()} == {8}


def test_the_level_can_change_while_loggers_are_in_use() -> None:
    made, stream = logs("warn")
    log = made.logger("m")
    log.info("one")
    made.set_level("debug")
    log.debug("two")
    made.set_level("error")
    log.warn("three")
    assert [line.rpartition(" ")[2] for line in stream.getvalue().splitlines()] == ["two"]


def test_modules_have_levels_of_their_own_and_those_below_them_share_it() -> None:
    stream = io.StringIO()
    made = Logs(level="warn", as_json=False, stream=stream, levels={"agent": "debug", "agent.ipc": "error"})
    for module in ("agent", "agent.mdns", "agent.ipc", "agentx", "serf"):
        made.logger(module).info(f"by {module}")
    assert [line.split(": ")[1] for line in stream.getvalue().splitlines()] == ["by agent", "by agent.mdns"]
    made.set_level("error", {"serf": "trace"})
    for module in ("agent", "serf"):
        made.logger(module).debug(f"then by {module}")
    assert stream.getvalue().count("then by") == 1
    made.set_level("info")
    made.logger("serf").debug("nothing")
    assert "nothing" not in stream.getvalue()


def test_every_module_can_be_given_a_level() -> None:
    used = set[str]()
    for folder in ("agent", "http"):
        for path in (Path(__file__).parents[2] / folder).rglob("*.py"):
            used.update(re.findall(r'logger\("([a-z.]+)"\)', path.read_text()))
    assert used <= MODULES
    assert {module for module in MODULES if "." not in module} >= {module.partition(".")[0] for module in used}


def test_whoever_registers_client_nodes_cannot_fill_a_disk_with_lines() -> None:
    stream = io.StringIO()
    made = Logs(level="info", as_json=False, stream=stream, clock=lambda: 100.0)
    for number in range(REPEATS_MAX + 500):
        made.logger("nomad.rpc").info("client node ready", node=number)
    assert stream.getvalue().count("client node ready") == REPEATS_MAX


@pytest.mark.parametrize(("given", "said"), [("serv=debug", "no module"), ("serf=loud", "log level"), ("a,b", "two")])
def test_levels_that_do_not_exist_are_refused(given: str, said: str) -> None:
    done = click.testing.CliRunner().invoke(cli, ["agent", "--log-level", given])
    assert done.exit_code == 2
    assert said in done.output


def test_many_warnings_of_one_text_are_held_back_and_counted_later() -> None:
    stream, now = io.StringIO(), [100.0]
    made = Logs(level="info", as_json=False, stream=stream, clock=lambda: now[0])
    log = made.logger("http")
    for number in range(REPEATS_MAX + 500):
        log.warn("TLS handshake failed", client=number)
        log.info("member joined")
    log.error("something else")
    assert stream.getvalue().count("TLS handshake failed") == REPEATS_MAX
    assert stream.getvalue().count("member joined") == REPEATS_MAX + 500
    assert stream.getvalue().count("something else") == 1
    now[0] += REPEATS_WITHIN
    log.warn("TLS handshake failed", client="x")
    assert stream.getvalue().splitlines()[-1].endswith("http: TLS handshake failed: client=x held_back=500")
    log.warn("TLS handshake failed", client="y")
    assert stream.getvalue().splitlines()[-1].endswith("client=y")
    assert made.written["warn"] == REPEATS_MAX + 2


def test_texts_without_end_take_no_memory_without_end() -> None:
    made, _ = logs()
    for number in range(10_000):
        made.logger("serf").warn(f"text {number}")
    assert len(made.repeats._windows) == TEXTS_MAX


def test_json_lines_carry_the_documented_keys_and_the_fields() -> None:
    made, stream = logs(as_json=True)
    made.logger("agent").warn("hm", pid=3, address=HERE)
    line = json.loads(stream.getvalue())
    assert line.pop("@timestamp").endswith("Z")
    assert line == {"@level": "warn", "@message": "hm", "@module": "agent", "pid": 3, "address": "127.0.0.1:4648"}


def test_names_from_the_network_cannot_forge_lines_or_colours() -> None:
    made, stream = logs()
    made.logger("serf").info("member joined", name="a\n2026 [ERROR] \x1b[31m\udcff")
    assert len(stream.getvalue().splitlines()) == 1
    assert r'name="a\n2026 [ERROR] \u001b[31m\udcff"' in stream.getvalue()


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("web", "web"),
        ("wéb", "wéb"),
        ("127.0.0.1:4648", "127.0.0.1:4648"),
        ("", '""'),
        ("a b", '"a b"'),
        ("a=b", '"a=b"'),
        ('a" address=10.0.0.1 x="', r'"a\" address=10.0.0.1 x=\""'),
        ('"', r'"\""'),
        ("a\\", r'"a\\"'),
        (r"a\nb", r'"a\\nb"'),
        ("a\tb", r'"a\tb"'),
        ("a\x7f\u2028\u202e\xa0b", r'"a\u007f\u2028\u202e\u00a0b"'),
        ("\U000e0001", r'"\udb40\udc01"'),
        (7, "7"),
        (None, "None"),
    ],
)
def test_a_value_is_one_word_or_quoted_as_in_json(value: object, written: str) -> None:
    made, stream = logs()
    made.logger("serf").info("member joined", name=value, address=HERE)
    line = stream.getvalue()
    assert line.endswith(f"serf: member joined: name={written} address=127.0.0.1:4648\n")
    if written.startswith('"'):
        assert json.loads(written) == value


def serf_member(status: MemberStatus = MemberStatus.ALIVE) -> SerfMember:
    return SerfMember(WEB, status)


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (
            MemberEvent(MemberChange.JOIN, serf_member()),
            "[INFO]  serf: member joined: name=web address=127.0.0.1:4648",
        ),
        (MemberEvent(MemberChange.FAILED, serf_member()), "[INFO]  serf: member failed: name=web"),
        (MemberEvent(MemberChange.LEAVE, serf_member()), "[INFO]  serf: member left: name=web"),
        (MemberEvent(MemberChange.REAP, serf_member()), "[INFO]  serf: member forgotten: name=web"),
        (MemberLeaving(serf_member(MemberStatus.LEAVING)), "[DEBUG] serf: member is leaving: name=web"),
        (MemberLeaving(serf_member()), "[DEBUG] serf: member stays after all: name=web"),
        (MemberSuspected(WEB, "db"), "[DEBUG] serf: member is suspected: name=web accuser=db"),
        (SuspicionLifted(WEB), "[DEBUG] serf: suspicion is lifted: name=web"),
        (ProbeFailed(WEB, 1, 0), "[DEBUG] serf: no answer to a probe: name=web"),
        (Refuted(7, "db"), "[WARN]  serf: a member took us for dead, refuted: accuser=db incarnation=7"),
        (Refuted(7, "me"), "[WARN]  serf: heard by hearsay that we are dead or different, refuted: incarnation=7"),
        (StreamPingOnly(WEB), "[WARN]  serf: member answers over TCP but not over UDP; is UDP blocked?: name=web"),
        (NameConflict(WEB, WEB), "[ERROR] serf: two members have the same name; the first is kept: name=web"),
        (MergeRefused(HERE, "no"), "[WARN]  serf: refused to merge with a pool: peer=127.0.0.1:4648 reason=no"),
        (SyncFailed(HERE, "no"), "[WARN]  serf: could not exchange state: peer=127.0.0.1:4648 reason=no"),
        (
            StreamRefused(HERE, "the label is not ours"),
            "[WARN]  serf: refused a stream: label or key differ from ours: peer=127.0.0.1:4648"
            ' reason="the label is not ours"',
        ),
        (CommandDone(Ticket(1), "late"), "[WARN]  serf: command failed: reason=late"),
        (UserEventReceived(UserEvent(3, "deploy")), "[DEBUG] serf: user event: name=deploy ltime=3"),
        (
            QueryReceived(Query(3, 1, HERE, "db", (), 0, 0, 1, "load"), 9.0),
            "[DEBUG] serf: query: name=load ltime=3 sender=db",
        ),
        (QueueDeep("event", 130, 0), "[WARN]  serf: much waits to be gossiped: queue=event depth=130\n"),
        (
            QueueDeep("query", 5000, 904),
            "[WARN]  serf: much waits to be gossiped: queue=query depth=5000 dropped=904",
        ),
        (EventsLost(4), "[WARN]  serf: too many events at once, some are not in this log: count=4"),
    ],
)
async def test_an_event_becomes_one_line(event: object, said: str) -> None:
    made, stream = logs("trace")
    EventLog(made.logger("serf"), own_name="me")(event)
    assert said in stream.getvalue()
    assert stream.getvalue().count("\n") == 1


async def test_success_and_unknown_events_are_silent() -> None:
    made, stream = logs("trace")
    event_log = EventLog(made.logger("serf"), own_name="me")
    event_log(CommandDone(Ticket(1), None))
    event_log(object())
    assert stream.getvalue() == ""


async def test_the_same_warning_is_held_back_for_a_while(autojump_clock: trio.testing.MockClock) -> None:
    made, stream = logs()
    event_log = EventLog(made.logger("serf"), own_name="me")
    for _ in range(5):
        event_log(StreamPingOnly(WEB))
    assert stream.getvalue().count("\n") == 1
    await trio.sleep(REPEAT_AFTER)
    event_log(StreamPingOnly(WEB))
    assert stream.getvalue().count("\n") == 2


async def test_names_from_the_network_cannot_flood_the_log(autojump_clock: trio.testing.MockClock) -> None:
    made, stream = logs()
    event_log = EventLog(made.logger("serf"), own_name="me")
    for number in range(3000):
        event_log(MergeRefused(HERE, f"member '{number}' is not a server"))
    event_log(StreamPingOnly(WEB))
    assert stream.getvalue().count("refused to merge") == DIFFERENT_MAX
    assert stream.getvalue().count("is UDP blocked") == 1
    assert sum(map(len, event_log._said.values())) == DIFFERENT_MAX + 1
    with trio.move_on_after(2.5 * REPEAT_AFTER):
        await event_log.report_refused(Counters())
    assert stream.getvalue().count(f'more warnings than are written: kinds="merge {3000 - DIFFERENT_MAX}"') == 1
    event_log(MergeRefused(HERE, "member 'x' is not a server"))
    assert "'x'" in stream.getvalue()


async def test_refused_packets_are_told_once_in_a_while_by_kind(autojump_clock: trio.testing.MockClock) -> None:
    made, stream = logs()
    counters = Counters()
    with trio.move_on_after(4.5 * REPEAT_AFTER):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(EventLog(made.logger("serf"), own_name="me").report_refused, counters)
            await trio.sleep(1.5 * REPEAT_AFTER)
            counters.refused["truncated"] += 3
            counters.refused["no key"] += 1
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1
    assert 'refused what peers sent: count=4 kinds="truncated 3, no key 1"' in lines[0]
