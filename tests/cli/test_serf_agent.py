"""`moot serf agent` beside the real one: log lines, signals, exit codes, files."""

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.launching import until
from tests.support.serf_cli import MOOT, SerfAgent, SerfPool, run, serf_pool

pytestmark = [pytest.mark.live, pytest.mark.peer]

KEY = "HvY8ubRZMgafUOWvrOadwOckVa1wN3QWAo46FVKbVN8="
LOG_LINE = re.compile(r" {4}\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[(TRACE|DEBUG|INFO|WARN|ERR)\] [a-z.]+: .+")
TOLD = re.compile(
    r"\[\w+\] (?:serf: (?:Event|Shutdown)|memberlist: (?:Suspect|Marking)"
    r"|agent: (?:Received|[Jj]oin|Serf agent|Force|Init|req|shut)|agent\.ipc: Accepted).*"
)
"""What is compared between the two agents: the lines that programs look for."""


@pytest.fixture
def running() -> Iterator[SerfPool]:
    with serf_pool("-profile=local") as started:
        yield started


@pytest.fixture(params=["serf", "moot"])
def program(request: pytest.FixtureRequest, serf_binary: str) -> tuple[str, ...]:
    """Either agent: what holds for the real one holds for ours."""
    return (serf_binary,) if request.param == "serf" else MOOT


def config(running: SerfPool, **keys: object) -> str:
    """The flag for a file with these keys."""
    path = running.folder / "config.json"
    path.write_text(json.dumps(keys))
    return f"-config-file={path}"


def told(agent: SerfAgent) -> list[str]:
    """The comparable lines of its log, each once, without what differs by chance."""
    found = TOLD.findall(agent.log_text())
    lines = [re.sub(r"127[.\d]+(:\d{5})?", "IP", re.sub(r"\(\d peer", "(N peer", line)) for line in found]
    return sorted(set(lines))


def everything_that_happens(agent: SerfAgent, running: SerfPool, serf: str) -> None:
    """Members of a real pool come, change, fail, leave and are pruned; events and queries pass; then we leave."""
    b = running.start((serf,), "b")
    agent.ask("join", b.address)
    c = running.start((serf,), "c", f"-join={agent.address}")
    until("all are there", lambda: all(len(each.view()) == 3 for each in (agent, b, c)), 30)
    agent.wait_for("Received event: member-join")
    b.ask("event", "deploy", "now")
    b.ask("event", "-coalesce=false", "instant")

    def asked() -> bool:
        b.ask("query", "-timeout=300ms", "load")
        return "Received event: query: load" in agent.log_text()

    until("a query is heard; packets may be lost", asked, 30)
    b.ask("tags", "-set=x=y")
    agent.wait_for("Received event: member-update")
    agent.wait_for("Received event: user-event: deploy")
    c.process.kill()
    agent.wait_for("Received event: member-failed")
    agent.ask("force-leave", "c")
    until("b has heard it", lambda: b.view()["c"] == "left", 30)
    agent.ask("force-leave", "-prune", "c")
    agent.wait_for("Received event: member-reap")
    agent.ask("keys", "-list")
    b.ask("leave")
    agent.wait_for("EventMemberLeave: b")
    agent.process.send_signal(signal.SIGINT)
    assert agent.process.wait(20) == 0


def test_the_log_has_the_lines_of_serfs(serf_binary: str) -> None:
    logs = {}
    for name, program in (("serf", (serf_binary,)), ("moot", MOOT)):
        with serf_pool("-profile=local") as running:
            agent = running.start(program, "a", "-tag=x=y", "-log-level=debug")
            everything_that_happens(agent, running, serf_binary)
            logs[name] = told(agent)
            if name == "moot":
                _, lines = agent.log_text().split("stream in as it occurs:\n\n")
                others = ("==> Caught signal: interrupt", "==> Gracefully shutting down agent...")
                assert [line for line in lines.splitlines() if not LOG_LINE.fullmatch(line)] == list(others)
    # a suspicion may also have been another member's, or be told once more
    chance = {line for line in logs["serf"] + logs["moot"] if "memberlist:" in line or "member-leave" in line}
    assert {line for line in logs["moot"] if line not in chance} == {
        line for line in logs["serf"] if line not in chance
    }
    assert "[INFO] memberlist: Suspect c has failed, no acks received" in logs["moot"]


def test_who_declares_a_member_dead_says_so(running: SerfPool, program: tuple[str, ...]) -> None:
    a = running.start(program, "a")
    b = running.start(program, "b", f"-join={a.address}")
    b.process.kill()
    a.wait_for("EventMemberFailed: b")
    assert "[INFO] memberlist: Suspect b has failed, no acks received" in a.log_text()
    assert "[INFO] memberlist: Marking b as failed, suspect timeout reached (0 peer confirmations)" in a.log_text()


@pytest.mark.parametrize(
    ("number", "keys", "code", "left"),
    [
        (signal.SIGINT, {}, 0, True),
        (signal.SIGINT, {"skip_leave_on_interrupt": True}, 1, False),
        (signal.SIGTERM, {}, 1, False),
        (signal.SIGTERM, {"leave_on_terminate": True}, 0, True),
    ],
)
def test_a_signal_ends_it_with_or_without_a_leave(
    running: SerfPool,
    program: tuple[str, ...],
    number: signal.Signals,
    keys: dict[str, object],
    code: int,
    left: bool,
) -> None:
    agent = running.start(program, "a", config(running, **keys))
    agent.process.send_signal(number)
    assert agent.process.wait(20) == code
    assert ("Gracefully shutting down" in agent.log_text()) == left
    assert ("Shutdown without a Leave" in agent.log_text()) != left


def test_a_second_signal_cuts_the_leave_short(running: SerfPool, program: tuple[str, ...]) -> None:
    a = running.start(program, "a")
    running.start(program, "b", f"-join={a.address}")
    a.process.send_signal(signal.SIGINT)
    a.wait_for("Gracefully")
    a.process.send_signal(signal.SIGINT)
    assert a.process.wait(20) == 1


def test_a_join_that_reaches_nobody_is_an_error(running: SerfPool, program: tuple[str, ...]) -> None:
    agent = running.launch(program, "a", "-join=127.255.0.1:1", "-join=127.255.0.2:1")
    assert agent.process.wait(30) == 1
    assert "2 errors occurred:\n\t* Failed to join 127.255.0.1: " in agent.log_text()


def test_a_join_that_reaches_one_is_enough(running: SerfPool, program: tuple[str, ...]) -> None:
    a = running.start(program, "a")
    b = running.start(program, "b", f"-join={a.address}", "-join=127.255.0.1:1", "-replay")
    assert "==> Joining cluster...(replay: true)" in b.log_text()
    assert "    Join completed. Synced with 1 initial agents" in b.log_text()


def test_retries_end_with_an_error_when_they_are_used_up(running: SerfPool, program: tuple[str, ...]) -> None:
    agent = running.launch(program, "a", "-retry-join=127.255.0.1:1", "-retry-interval=1ms", "-retry-max=1")
    assert agent.process.wait(30) == 1
    text = agent.log_text()
    assert "==> Warning: 'RetryInterval' is too low. Setting to 1s" in text
    assert text.count("[INFO] agent: Joining cluster...(replay: false)") == 2
    assert "[ERR] agent: maximum retry join attempts made, exiting" in text


def test_retries_go_on_until_somebody_is_there(running: SerfPool, program: tuple[str, ...]) -> None:
    late = running.host()
    agent = running.start(program, "a", f"-retry-join={late}", "-retry-interval=1s")
    agent.wait_for("retrying in 1s")
    peer = SerfAgent(program, "b", late, running.folder, ["-profile=local"])
    peer.launch()
    try:
        agent.wait_for("Join completed. Synced with 1 initial agents")
    finally:
        peer.kill()


def test_the_member_whose_name_is_taken_ends(running: SerfPool, program: tuple[str, ...]) -> None:
    a = running.start(program, "a")
    b = running.start(program, "b", f"-join={a.address}")
    twin = running.start(program, "a", f"-join={b.address}")
    assert twin.process.wait(30) == 0
    assert "Serf shutdown detected, quitting" in twin.log_text()
    assert "minority in name conflict resolution, quitting" in twin.log_text()
    assert a.process.poll() is None


def test_tags_are_kept_in_their_file(running: SerfPool, program: tuple[str, ...]) -> None:
    path = running.folder / "tags.json"
    a = running.start(program, "a", f"-tags-file={path}")
    assert a.ask("tags", "-set=x=1", "-set=y=ü").code == 0
    assert json.loads(path.read_bytes()) == {"x": "1", "y": "ü"}
    assert path.stat().st_mode & 0o777 == 0o600
    a.kill()
    again = running.start(program, "a", f"-tags-file={path}")
    assert f"[INFO] agent: Restored 2 tag(s) from {path}" in again.log_text()
    assert json.loads(again.ask("members", "-format=json").out)["members"][0]["tags"] == {"x": "1", "y": "ü"}


def test_keys_come_from_the_keyring_file_and_go_there(running: SerfPool, program: tuple[str, ...]) -> None:
    path = running.folder / "keys.json"
    path.write_text(json.dumps([KEY]))
    a = running.start(program, "a", f"-keyring-file={path}")
    assert "Encrypted: true" in a.log_text()
    assert f"[INFO] agent: Restored keyring with 1 keys from {path}" in a.log_text()
    new = run(MOOT, "keygen").out.strip()
    assert a.ask("keys", f"-install={new}").code == 0
    assert sorted(json.loads(path.read_text())) == sorted([KEY, new])


def test_sighup_takes_over_level_tags_and_handlers(running: SerfPool, program: tuple[str, ...]) -> None:
    heard = running.folder / "heard"
    flag = config(running, tags={"x": "1"}, log_level="warn", event_handlers=["user:a=true"])
    agent = running.start(program, "a", flag)
    config(running, tags={"y": "2"}, log_level="info", event_handlers=[f"user:hello=cat >{heard}"])
    agent.process.send_signal(signal.SIGHUP)
    agent.wait_for("Reloading configuration...")
    until("the tags are new", lambda: agent.ask("members").out.rstrip().endswith("  y=2"), 30)
    agent.ask("event", "-coalesce=false", "hello", "world")
    agent.wait_for("[INFO] agent: Received event: user-event: hello")
    until("the handler has run", lambda: heard.exists() and heard.read_text() == "world\n", 30)


def test_a_broken_configuration_is_not_taken_over(running: SerfPool, program: tuple[str, ...]) -> None:
    agent = running.start(program, "a", config(running, tags={"x": "1"}))
    config(running, tags={"x": 1})
    agent.process.send_signal(signal.SIGHUP)
    agent.wait_for("'tags[x]' expected type 'string'")
    assert agent.ask("members").out.rstrip().endswith("  x=1")


def test_a_snapshot_brings_it_back_to_its_pool(running: SerfPool, program: tuple[str, ...], tmp_path: Path) -> None:
    a = running.start(program, "a")
    options = ("-profile=local", f"-snapshot={tmp_path / 'snapshot'}", "-rejoin")
    b = running.launch(program, "b", *options, f"-join={a.address}")
    b.wait_for("EventMemberJoin: a")
    assert "Snapshot: true" in b.log_text()
    b.ask("leave")
    assert b.process.wait(20) == 0
    back = SerfAgent(program, "b", b.host, tmp_path, options)
    back.launch()
    try:
        until("a is found again", lambda: back.view().get("a") == "alive", 30)
    finally:
        back.kill()


def test_two_agents_cannot_have_one_address(running: SerfPool, program: tuple[str, ...]) -> None:
    a = running.start(program, "a")
    bound = run(program, "agent", f"-bind={a.address}", "-rpc-addr=127.255.0.1:0", within=20)
    assert (bound.code, bound.err) == (1, "")
    assert "Failed to start the Serf agent: " in bound.out
    assert f"listen tcp {a.address}: bind: address already in use" in bound.out
    host = running.host()
    taken = run(program, "agent", f"-bind={host}", f"-rpc-addr={a.rpc}", within=20)
    assert taken.code == 1
    assert taken.out.endswith(f"==> Error starting RPC listener: listen tcp {a.rpc}: bind: address already in use\n")


def test_a_query_whose_agent_dies_has_failed(running: SerfPool) -> None:
    """Serf says nothing about it, and ends with 0."""
    agent = running.start(MOOT, "a")
    with subprocess.Popen(
        [*MOOT, "query", f"-rpc-addr={agent.rpc}", "-timeout=50s", "load"], stdout=subprocess.PIPE, text=True
    ) as query:
        assert query.stdout is not None
        assert query.stdout.readline() == "Query 'load' dispatched\n"
        assert query.stdout.readline() == "Ack from 'a'\n"
        agent.process.kill()
        rest = query.stdout.read()
    assert rest == "Total Acks: 1\nTotal Responses: 0\nError sending query: client closed\n"
    assert query.returncode == 1


def test_protocol_2_is_not_spoken(running: SerfPool) -> None:
    done = run(MOOT, "agent", f"-bind={running.host()}", "-protocol=2", "-role=x")
    assert done.code == 1
    assert done.out.endswith("Protocol version '2' too low. Must be in range: [3, 5]\n")


def test_what_is_not_done_is_said(running: SerfPool) -> None:
    agent = running.start(
        MOOT, "a", "-syslog", config(running, statsd_addr="127.0.0.1:8125", mdns={"disable_ipv6": True})
    )
    assert "Warning: no syslog here" in agent.log_text()
    assert "Warning: no statistics are sent to '127.0.0.1:8125'" in agent.log_text()
    assert "Warning: mdns.disable_ipv6 has no effect" in agent.log_text()


BROKEN = [
    {"bogus": 1, "also": 2, "node_name": "x"},
    {"node_name": 1},
    {"node_name": "x", "Node_Name": "y"},
    {"node_name": [True, None, 1.5]},
    {"tags": {"a": 1, "b": {"c": 1}}},
    {"tags": []},
    {"tags": "x"},
    {"retry_interval": "x"},
    {"broadcast_timeout": "5"},
    {"retry_interval": 5},
    {"protocol": "5"},
    {"leave_on_terminate": "true"},
    {"leave_on_terminate": 1},
    {"start_join": "x"},
    {"retry_join": {"a": 1}, "bogus": 1, "start_join": [1]},
    {"event_handlers": [["x"]]},
    {"log_level": "loud"},
    {"profile": "moon"},
    {"encrypt_key": "abc"},
    {"encrypt_key": "AA=A"},
    [],
    "x",
    1.5,
    True,
]


@pytest.mark.parametrize("tree", BROKEN, ids=json.dumps)
def test_a_broken_file_is_refused_in_the_same_words(tree: object, serf_binary: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(tree))
    words = ("agent", "-bind=127.255.0.1", f"-config-file={path}")
    assert run(MOOT, *words) == run((serf_binary,), *words)
