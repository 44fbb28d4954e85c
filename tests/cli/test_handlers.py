"""Event handlers: what scripts are told, what becomes of what they say, and that none of them can hold us up."""

import io
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import trio

from moot.agent.delivery import Delivery
from moot.agent.event_filter import parse_event_filters
from moot.agent.handlers import RUNNING_MAX, Handler, Handlers, environment, parse_handler, payload
from moot.agent.logs import Logs
from moot.agent.scripts import OUTPUT_MAX
from moot.gossip.config import LOCAL
from moot.gossip.counters import Counters
from moot.gossip.errors import CommandError, ConfigError
from moot.gossip.net.feed import EventFeed
from moot.gossip.net.node import Node, NodeSettings
from moot.gossip.record import Address
from moot.gossip.serf.coalesce import Coalescer, MemberEvents
from moot.gossip.serf.events import MemberChange, MemberEvent, QueryReceived, UserEventReceived
from moot.gossip.serf.members import MemberStatus, SerfMember
from moot.gossip.serf.messages import Query, UserEvent
from moot.gossip.serf.tags import encode_tags
from moot.gossip.swim.member import Member, Status
from tests.support.launching import Net
from tests.support.pool import until
from tests.support.processes import lab

SOON = 20.0
"""Seconds within which a script surely runs."""


def member(name: str, tags: Mapping[str, str] | None = None) -> SerfMember:
    record = Member(name, Address.parse("10.0.0.7", 7946), 1, Status.ALIVE, encode_tags(tags or {}))
    return SerfMember(record, MemberStatus.ALIVE)


def happened(name: str, data: bytes = b"", ltime: int = 5) -> UserEventReceived:
    return UserEventReceived(UserEvent(ltime, name, data))


def asked(name: str, data: bytes = b"", ltime: int = 6) -> QueryReceived:
    query = Query(ltime, 7, Address.parse("127.0.0.1", 7946), "a", (), 0, 0, 10**9, name, data)
    return QueryReceived(query, deadline=1.0)


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


# ---- what is written by the operator


@pytest.mark.parametrize(
    ("spec", "script", "kind", "name"),
    [
        ("./notify.sh now", "./notify.sh now", "query", "any"),
        ("*=A=1 ./run", "A=1 ./run", "member-reap", ""),
        ("=./run", "./run", "user", "any"),
        ("member-join,member-failed=./run", "./run", "member-failed", ""),
        ("user:deploy=./run --env=a=b", "./run --env=a=b", "user", "deploy"),
        ("query:load=uptime", "uptime", "query", "load"),
    ],
)
def test_a_handler_is_a_filter_and_a_script(spec: str, script: str, kind: str, name: str) -> None:
    handler = parse_handler(spec)
    assert handler.script == script
    assert handler.wanted.matches(kind, name)


def test_a_handler_leaves_out_what_its_filter_does_not_name() -> None:
    wanted = parse_handler("member-join,user:deploy=./run").wanted
    assert not wanted.matches("member-leave")
    assert not wanted.matches("user", "deploy2")


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ("A=1 ./run", r"'A' is no event filter; write \*=A=1 ./run"),
        ("member-join, user=./run", "' user' is no event filter"),
        ("USER=./run", "'USER' is no event filter"),
        ("user:deploy=", "names no script"),
        ("", "names no script"),
        ("a\0b", "holds a NUL byte"),
        ("\ud800", "cannot be encoded"),
    ],
)
def test_a_handler_that_cannot_work_is_refused(spec: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        parse_handler(spec)


# ---- what a script is told


def test_a_script_reads_a_line_per_member() -> None:
    event = MemberEvents(MemberChange.JOIN, (member("a", {"role": "web", "z": "1", "b": "2"}), member("b")))
    assert payload(event) == b"a\t10.0.0.7\tweb\tb=2,role=web,z=1\nb\t10.0.0.7\t\t\n"


def test_a_name_cannot_forge_a_line() -> None:
    event = MemberEvents(MemberChange.JOIN, (member("a\nb\t1", {"role": "x\ty", "k\n": "v\nw"}),))
    assert payload(event) == rb"a\nb\t1" + b"\t10.0.0.7\t" + rb"x\ty" + b"\t" + rb"k\n=v\nw,role=x\ty" + b"\n"


def test_a_name_that_is_no_utf8_is_told_as_the_bytes_it_is() -> None:
    assert payload(MemberEvents(MemberChange.JOIN, (member("a\udcff"),))).startswith(b"a\xff\t")


@pytest.mark.parametrize(("data", "read"), [(b"", b""), (b"x", b"x\n"), (b"x\n", b"x\n"), (b"a\0b\nc", b"a\0b\nc\n")])
def test_a_script_reads_the_payload_ended_by_a_newline(data: bytes, read: bytes) -> None:
    assert payload(happened("e", data)) == payload(asked("q", data)) == read


def test_the_environment_of_a_user_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INHERITED", "yes")
    monkeypatch.setenv("SERF_RPC_ADDR", "127.0.0.1:7373")
    for stale in ("SERF_QUERY_NAME", "SERF_TAG_OLD", "SERF_USER_EVENT"):
        monkeypatch.setenv(stale, "stale")
    told = environment("me", {"role": "web", "a-b.c": "1", "é": "2", "straße": "3"}, happened("deploy", ltime=12))
    assert {key: value for key, value in told.items() if key.startswith(("SERF", "INH"))} == {
        "INHERITED": "yes",
        "SERF_RPC_ADDR": "127.0.0.1:7373",
        "SERF_EVENT": "user",
        "SERF_SELF_NAME": "me",
        "SERF_SELF_ROLE": "web",
        "SERF_TAG_ROLE": "web",
        "SERF_TAG_A_B_C": "1",
        "SERF_TAG__": "2",
        "SERF_TAG_STRA_E": "3",
        "SERF_USER_EVENT": "deploy",
        "SERF_USER_LTIME": "12",
    }


def test_the_environment_of_a_query_and_of_members() -> None:
    query = environment("me", {}, asked("load", ltime=3))
    assert (query["SERF_EVENT"], query["SERF_QUERY_NAME"], query["SERF_QUERY_LTIME"]) == ("query", "load", "3")
    assert query["SERF_SELF_ROLE"] == ""
    failed = environment("me", {}, MemberEvents(MemberChange.FAILED, (member("a"),)))
    assert failed["SERF_EVENT"] == "member-failed"
    assert "SERF_QUERY_NAME" not in failed


def test_a_nul_in_a_name_is_told_in_two_characters() -> None:
    assert environment("me", {"t": "x\0"}, happened("a\0b"))["SERF_USER_EVENT"] == r"a\0b"


# ---- running them


class Desk:
    """Handlers that run, fed by hand. Scripts find `$D`, a folder of their own."""

    def __init__(self, nursery: trio.Nursery, folder: Path) -> None:
        self.folder = folder
        self.nursery = nursery
        self.feed = EventFeed(Counters())
        self.stream = io.StringIO()
        self._log = Logs(level="debug", as_json=False, stream=self.stream).logger("handlers")
        self.delivery = Delivery(self.feed, Coalescer(0, 0), self._log)
        self.tags = {"role": "web"}
        self.answers: list[tuple[str, bytes]] = []
        self.refusal = ""
        self.handlers: Handlers

    def respond(self, query: Query, payload: bytes) -> None:
        if self.refusal:
            raise CommandError(self.refusal)
        self.answers.append((query.name, payload))

    async def start(self, *specs: str, limit: float = SOON) -> None:
        chosen = [parse_handler(spec) for spec in specs]
        self.handlers = Handlers("me", self, self.delivery, self._log, chosen, timeout=limit)
        await self.nursery.start(self.delivery.run)
        await self.nursery.start(self.handlers.run)

    async def tell(self, *events: object) -> None:
        """Let it happen, and wait until the scripts are through."""
        self.happen(*events)
        await self.settle()

    def happen(self, *events: object) -> None:
        for event in events:
            self.feed.publish(event)

    async def settle(self) -> None:
        await self.delivery.flush()
        with trio.fail_after(SOON):
            await self.handlers.drain(2 * SOON)

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()

    def pids(self, name: str, count: int = 1) -> list[int]:
        """Numbers that scripts wrote to a file, once there are so many lines."""
        path = self.folder / name
        lines = path.read_text().splitlines() if path.exists() else []
        return [int(line) for line in lines] if len(lines) >= count else []

    def log_lines(self) -> list[str]:
        return [line[25:] for line in self.stream.getvalue().splitlines()]

    def said(self, text: str) -> bool:
        return any(text in line for line in self.log_lines())


@pytest.fixture
async def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    monkeypatch.setenv("D", str(tmp_path))
    async with trio.open_nursery() as nursery:
        yield Desk(nursery, tmp_path)
        nursery.cancel_scope.cancel()


async def test_a_script_gets_environment_and_payload(desk: Desk) -> None:
    await desk.start(
        'user:deploy=echo "$SERF_EVENT $SERF_USER_EVENT $SERF_SELF_NAME $SERF_TAG_ROLE" >$D/env; cat >$D/in'
    )
    await desk.tell(happened("deploy", b"v2"), happened("other"))
    assert (desk.read("env"), desk.read("in")) == ("user deploy me web\n", "v2\n")


async def test_the_agents_tags_are_told_as_they_are_now(desk: Desk) -> None:
    await desk.start('echo "$SERF_TAG_ROLE" >>$D/out')
    await desk.tell(happened("a"))
    desk.tags = {"role": "db"}
    await desk.tell(happened("b"))
    assert desk.read("out") == "web\ndb\n"


async def test_nothing_that_a_peer_sends_is_read_by_a_shell(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk.folder)
    evil = "$(touch pwned);`touch pwned`\n;touch pwned\0&"
    await desk.start('user=printf "%s|" "$SERF_USER_EVENT" >$D/out; cat >>$D/out', "member-join=cat >$D/joined")
    joined = MemberEvent(MemberChange.JOIN, member(evil, {"role": evil}))
    await desk.tell(happened(evil, evil.encode()), joined)
    assert not (desk.folder / "pwned").exists()
    assert desk.read("out") == evil.replace("\0", r"\0") + "|" + evil + "\n"
    assert desk.read("joined").count(evil.replace("\n", r"\n")) == 3


async def test_each_handler_keeps_the_order_of_events(desk: Desk) -> None:
    await desk.start('echo "$SERF_USER_EVENT" >>$D/one', 'sleep 0.01; echo "$SERF_USER_EVENT" >>$D/two')
    await desk.tell(*(happened(f"e{number}") for number in range(10)))
    assert desk.read("one") == desk.read("two") == "".join(f"e{number}\n" for number in range(10))


async def test_a_handler_with_two_fitting_filters_runs_once(desk: Desk) -> None:
    await desk.start("user,user:a=echo ran >>$D/out")
    await desk.tell(happened("a"))
    assert desk.read("out") == "ran\n"


async def test_a_slow_handler_holds_up_no_other_and_is_told(desk: Desk) -> None:
    await desk.start("user:a=sleep 600", "user:b=echo ran >$D/out")
    desk.happen(happened("a"), happened("b"))
    await until((desk.folder / "out").exists)
    await until(lambda: desk.said('[WARN]  handlers: event handler is slow: script="sleep 600" on=user:a'))


async def test_only_so_many_scripts_run_at_once(desk: Desk) -> None:
    script = "echo x >>$D/started; while [ ! -e $D/go ]; do sleep 0.02; done"
    await desk.start(*(f"*={script} #{number}" for number in range(RUNNING_MAX + 2)))
    desk.happen(happened("a"))
    await until(lambda: (desk.folder / "started").exists() and desk.read("started") == "x\n" * RUNNING_MAX)
    (desk.folder / "go").touch()
    await desk.settle()
    assert desk.read("started") == "x\n" * (RUNNING_MAX + 2)


async def test_a_script_need_not_read_what_it_is_told(desk: Desk) -> None:
    await desk.start("true")
    await desk.tell(happened("a", b"x" * 10_000_000))
    assert not desk.said("failed")


async def test_a_failure_is_told_with_the_end_of_the_output(desk: Desk) -> None:
    await desk.start("echo out; echo err >&2; exit 3")
    await desk.tell(happened("a"))
    failure, output = desk.log_lines()
    assert failure.startswith("[ERROR] handlers: event handler failed: ")
    assert "on=user:a exit_status=3 output=" in failure
    assert output.startswith("[DEBUG] handlers: event handler output: ")
    assert r"out\nerr" in failure
    assert r"out\nerr" in output


async def test_a_script_that_kills_itself_is_told(desk: Desk) -> None:
    await desk.start("kill -9 $$")
    await desk.tell(happened("a"))
    assert desk.said("event handler was ended by a signal")
    assert desk.said("signal=9")


async def test_an_event_that_is_too_large_for_the_system_stops_no_later_one(desk: Desk) -> None:
    await desk.start('echo "${#SERF_USER_EVENT}" >>$D/out')
    await desk.tell(happened("x" * 1_000_000), happened("y"))
    assert desk.said("[ERROR] handlers: event handler cannot be run")
    assert desk.read("out") == "1\n"


# ---- queries


async def test_the_output_of_a_query_handler_is_the_answer(desk: Desk) -> None:
    await desk.start("query:load=cat; echo 0.7; echo err >&2")
    await desk.tell(asked("load", b"pay"), asked("other"))
    assert desk.answers == [("load", b"pay\n0.7\nerr\n")]


@pytest.mark.parametrize("script", ["true", "echo no; exit 1", "echo no; kill -9 $$"])
async def test_a_silent_or_failed_query_handler_does_not_answer(desk: Desk, script: str) -> None:
    await desk.start(f"query:load={script}")
    await desk.tell(asked("load"))
    assert desk.answers == []


async def test_a_handler_that_took_too_long_does_not_answer(desk: Desk) -> None:
    await desk.start("query:load=trap 'exit 0' TERM; echo half; while :; do sleep 0.05; done", limit=0.5)
    await desk.tell(asked("load"))
    assert desk.answers == []
    assert desk.said("event handler took too long and was ended")
    assert desk.said("limit=0.5s")


async def test_an_answer_that_is_refused_is_told(desk: Desk) -> None:
    desk.refusal = "response is past the deadline"
    await desk.start("query:load=echo late")
    await desk.tell(asked("load"))
    assert desk.said(
        '[WARN]  handlers: query not answered: script="echo late" on=query:load '
        'reason="response is past the deadline"'
    )


# ---- bounds


async def test_of_much_output_the_end_is_kept(desk: Desk) -> None:
    await desk.start("query:big=head -c 3000000 /dev/zero | tr '\\0' x; echo end")
    await desk.tell(asked("big"))
    ((_, answer),) = desk.answers
    assert answer == b"x" * (OUTPUT_MAX - 4) + b"end\n"
    assert desk.said("event handler wrote more than is kept")
    assert desk.said("bytes=3000004")


async def test_output_without_end_leaves_us_time_and_is_ended(desk: Desk) -> None:
    await desk.start("yes", limit=1.0)
    desk.happen(happened("a"))
    begun = time.process_time()
    await desk.settle()
    assert desk.said("event handler took too long")
    assert time.process_time() - begun < 0.7  # 0.1; all of it without a pause between reads


async def test_a_script_that_takes_too_long_is_ended_with_all_it_started(desk: Desk) -> None:
    stubborn = "trap '' TERM; echo $$ >>$D/pids; while :; do sleep 0.05; done"
    await desk.start(f"({stubborn}) & sleep 600 & echo $! >>$D/pids; {stubborn}", limit=1.0)
    await desk.tell(happened("a"))
    pids = desk.pids("pids", 3)
    assert len(pids) == 3
    await until(lambda: not any(map(alive, pids)))


async def test_a_daemon_that_keeps_the_pipe_does_not_hold_us_up_and_lives_on(desk: Desk) -> None:
    await desk.start("query:load=sleep 600 & echo $! >$D/pids; echo answer")
    begun = time.monotonic()
    await desk.tell(asked("load"))
    assert time.monotonic() - begun < SOON / 2
    assert desk.answers == [("load", b"answer\n")]
    (pid,) = desk.pids("pids")
    assert alive(pid)
    os.kill(pid, signal.SIGKILL)


async def test_what_a_child_writes_right_after_the_end_still_counts(desk: Desk) -> None:
    await desk.start("query:load=(sleep 0.02; echo late) & echo first")
    await desk.tell(asked("load"))
    assert desk.answers == [("load", b"first\nlate\n")]


async def test_a_script_is_out_of_reach_of_the_terminals_signals_and_holds_none_of_our_files(desk: Desk) -> None:
    listing = "import os; print(os.getpid() == os.getsid(0), sorted(os.listdir('/proc/self/fd'))[:3])"
    held = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(held, True)
    await desk.start(f"query:load=exec {shlex.quote(sys.executable)} -c {shlex.quote(listing)}; true")
    await desk.tell(asked("load"))
    os.close(held)
    assert desk.answers[0][1].startswith(b"True ['0', '1', '2'")


# ---- replacing and ending


async def test_handlers_are_replaced_and_those_that_stay_keep_their_queue(desk: Desk) -> None:
    wait = "while [ ! -e $D/go ]; do sleep 0.02; done"
    stays = f"user:a=touch $D/stays; {wait}; echo stays >>$D/out"
    goes = f"user:a=touch $D/goes; {wait}; echo goes >>$D/out2"
    await desk.start(stays, goes)
    desk.happen(happened("a"), happened("a"))
    await until(lambda: (desk.folder / "stays").exists() and (desk.folder / "goes").exists())
    desk.handlers.replace([parse_handler(stays), parse_handler("user:b=echo new >>$D/out3")])
    desk.happen(happened("b"))
    (desk.folder / "go").touch()
    await desk.settle()
    await until(lambda: (desk.folder / "out2").exists())
    assert desk.read("out") == "stays\nstays\n"
    assert desk.read("out3") == "new\n"
    assert desk.read("out2") == "goes\n"  # the script that ran ends by itself, its queue is gone


async def test_the_same_handler_twice_runs_twice(desk: Desk) -> None:
    await desk.start("echo ran >>$D/out", "echo ran >>$D/out")
    desk.handlers.replace(desk.handlers.handlers)
    await desk.tell(happened("a"))
    assert desk.read("out") == "ran\nran\n"


async def test_the_end_of_the_agent_ends_running_scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D", str(tmp_path))
    async with trio.open_nursery() as nursery:
        desk = Desk(nursery, tmp_path)
        await desk.start("echo $$ >>$D/pids; sleep 600 & echo $! >>$D/pids; wait")
        desk.happen(happened("a"))
        await until(lambda: len(desk.pids("pids", 2)) == 2)
        nursery.cancel_scope.cancel()
    await until(lambda: not any(map(alive, desk.pids("pids", 2))))


async def test_a_flush_delivers_in_order_what_was_to_be_coalesced(tmp_path: Path, nursery: trio.Nursery) -> None:
    desk = Desk(nursery, tmp_path)
    desk.delivery = Delivery(desk.feed, Coalescer(3600, 3600), Logs(level="info", as_json=False).logger("x"))
    await nursery.start(desk.delivery.run)
    with desk.delivery.subscribe("test", parse_event_filters("*")) as events:
        desk.happen(*(MemberEvent(MemberChange.JOIN, member(name)) for name in "abc"))
        await desk.delivery.flush()
        event = events.receive_nowait()
        assert isinstance(event, MemberEvents)
        assert [one.name for one in event.members] == ["a", "b", "c"]


async def test_draining_waits_no_longer_than_it_is_told(desk: Desk) -> None:
    await desk.start("sleep 600")
    desk.happen(happened("a"))
    await desk.delivery.flush()
    begun = time.monotonic()
    await desk.handlers.drain(0.1)
    assert 0.1 <= time.monotonic() - begun < SOON / 2


def test_handlers_are_listed_as_in_serfs_statistics() -> None:
    log = Logs(level="info", as_json=False, stream=io.StringIO()).logger("handlers")
    delivery = Delivery(EventFeed(Counters()), Coalescer(), log)
    chosen: list[Handler] = [parse_handler(spec) for spec in ("./all", "member-join,user:deploy=./run")]
    listing = Handlers("me", Desk.__new__(Desk), delivery, log, chosen).listing()
    assert listing == {"*:": "./all", "member-join:": "./run", "user:deploy": "./run"}


# ---- as the real agent runs them

RECORD = """
{ env | grep -a ^SERF_ | grep -v ^SERF_RPC | sort; echo --; cat; echo --; pwd; } >$D/$SERF_SELF_NAME.$SERF_EVENT.tmp
mv $D/$SERF_SELF_NAME.$SERF_EVENT.tmp $D/$SERF_SELF_NAME.$SERF_EVENT
echo said; echo complained >&2
"""
"""Writes down all that a script is told, under a name that says by whom, and says something itself."""
TAGS = {"role": "w\teb", "a-b.c": "1", "ü": "2"}


@pytest.mark.live
@pytest.mark.peer
async def test_a_script_is_told_the_same_by_us_and_by_a_real_agent(
    serf_binary: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("D", str(tmp_path))
    kinds = ("member-failed", "user", "query")
    specs = [f"{kind}={RECORD}" for kind in kinds]

    def told(agent: str, kind: str) -> str:
        """What an agent told its script, its own name taken out, a member's tags in order."""
        lines = (tmp_path / f"{agent}.{kind}").read_text().replace(agent, "SELF").splitlines()
        return "\n".join(
            "\t".join([*line.split("\t")[:-1], ",".join(sorted(line.split("\t")[-1].split(",")))]) for line in lines
        )

    with lab(serf_binary) as running:
        options = [
            *(f"-event-handler={spec}" for spec in specs),
            *(f"-tag={key}={value}" for key, value in TAGS.items()),
        ]
        theirs = running.serf("theirs", *options)
        gone = running.serf("gone", *(f"-tag={key}={value}" for key, value in TAGS.items()))
        settings = NodeSettings(name="ours", bind_host=Net().host(), tags=TAGS, swim=LOCAL)
        async with trio.open_nursery() as nursery:
            node = Node(settings)
            log = Logs(level="info", as_json=False, stream=io.StringIO()).logger("x")
            delivery = Delivery(node, Coalescer(), log)
            ours = Handlers("ours", node, delivery, log, [parse_handler(spec) for spec in specs])
            for part in (delivery, ours, node):
                await nursery.start(part.run)
            assert [outcome.error for outcome in await node.join([f"{theirs.host}:7946", f"{gone.host}:7946"])] == [
                None
            ] * 2
            await until(lambda: len(node.members()) == 3)
            gone.kill()
            with trio.fail_after(SOON):
                done = await trio.to_thread.run_sync(theirs.ask, "query", "-format=json", "load", "pay\nload")
            await trio.to_thread.run_sync(theirs.ask, "event", "deploy", "v2")
            await until(
                lambda: all((tmp_path / f"{who}.{kind}").exists() for who in ("ours", "theirs") for kind in kinds)
            )
            nursery.cancel_scope.cancel()
    assert {kind: told("ours", kind) for kind in kinds} == {kind: told("theirs", kind) for kind in kinds}
    assert json.loads(done.out)["Responses"] == dict.fromkeys(("ours", "theirs"), "said\ncomplained\n")
