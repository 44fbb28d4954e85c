"""Events, views, joins and force-leaves with real agents: how a crash, a pause and a return look from outside."""

import json
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from moot.http.client_events import EventFollower
from tests.cli.running import MOOT, RunningAgent, agrees, launched, moot, pool, until

pytestmark = pytest.mark.live


class Watch:
    """What one agent tells, collected over as many connections as it takes."""

    def __init__(self, agent: RunningAgent, **options: Any) -> None:
        self._follower = EventFollower(agent.client, follow=False, **options)
        self.events: list[dict[str, Any]] = []

    def look(self) -> list[dict[str, Any]]:
        """All so far; each look is a connection of its own that goes on after the last one."""
        self.events += self._follower
        return self.events

    def kinds(self, name: str) -> list[str]:
        """What happened to a member."""
        return [it["kind"] for it in self.look() if it.get("member", {}).get("name") == name]


@pytest.fixture(scope="module")
def three() -> Iterator[list[RunningAgent]]:
    with pool(3) as agents:
        yield agents


def row(agent: RunningAgent, name: str) -> dict[str, Any]:
    """What an agent knows of a member."""
    found: dict[str, Any] = next(it for it in agent.client.view()["members"] if it["name"] == name)
    return found


def test_a_member_that_pauses_is_suspected_and_refutes(three: list[RunningAgent]) -> None:
    first, _, third = three
    watch = Watch(first, after="start")
    assert "joined" in watch.kinds("n3.global")

    def paused() -> bool:
        """Whether it was suspected and not given up; on a slow machine it may be."""
        begun = len(watch.kinds("n3.global"))
        third.process.send_signal(signal.SIGSTOP)
        try:
            until(lambda: "suspected" in watch.kinds("n3.global")[begun:], "a suspicion")
            held = row(first, "n3.global")["suspicion"]
        finally:
            third.process.send_signal(signal.SIGCONT)
        until(lambda: watch.kinds("n3.global")[begun:][-1] in ("refuted", "joined", "flapped"), "its return")
        if held is not None:
            assert set(held["accusers"]) <= {"n1.global", "n2.global"}
            assert held["since"] < held["until"]
        return watch.kinds("n3.global")[begun:] == ["suspected", "refuted"]

    before = row(first, "n3.global")["incarnation"]
    assert any(paused() for _ in range(3))
    after = row(first, "n3.global")
    assert after["incarnation"] > before
    assert after["suspicion"] is None
    suspected, refuted = [it for it in watch.events if it.get("member", {}).get("name") == "n3.global"][-2:]
    assert suspected["accuser"] in ("n1.global", "n2.global")
    assert refuted["member"]["incarnation"] > suspected["member"]["incarnation"]
    own = Watch(third, after="start", kinds=["refuted"], members=["n3.global"])
    until(lambda: bool(own.look()), "its own word for it")
    assert all(it.get("accuser", "n1.global") in ("n1.global", "n2.global") for it in own.events)


def test_the_view_tells_who_answers_and_how_fast(three: list[RunningAgent]) -> None:
    first = three[0]
    until(lambda: row(first, "n2.global")["udp"]["state"] == "answers", "a probe")
    held = row(first, "n2.global")
    assert held["udp"]["tried"] >= held["udp"]["answered"]
    assert 0 < held["rtt"]["measured"] < 5
    assert held["rtt"]["estimated"] > 0
    assert held["versions"]["protocol_max"] >= held["versions"]["protocol"] >= held["versions"]["protocol_min"]
    assert row(first, "n1.global")["udp"] == {"state": "self", "tried": None, "answered": None, "reason": ""}

    shown = moot("view", "n2", "--address", first.url)
    assert shown.returncode == 0, shown.stderr
    caption, head, line = shown.stdout.splitlines()
    assert caption == "n1.global sees 1 member, and is healthy"
    assert head.split()[:4] == ["Name", "Address", "Status", "Inc"]
    assert line.split()[0] == "n2.global"
    as_json = json.loads(moot("view", "--json", "--address", first.url).stdout)
    assert [it["name"] for it in as_json["members"]] == ["n1.global", "n2.global", "n3.global"]
    assert "knows no member of that name" in moot("view", "zzz", "--address", first.url).stderr


def test_events_follow_until_there_were_enough(three: list[RunningAgent]) -> None:
    first, second, _ = three
    wanted = ("--kind", "user-event", "--kind", "query")
    follow = subprocess.Popen(
        [*MOOT, "events", "--json", "--since", "1h", "--count", "3", "--address", first.url, *wanted],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        second.client.event("deploy", b"v7")
        second.client.event("odd", b"\xff")
        list(second.client.query("load", b"all", timeout=0.2))
        assert follow.wait(60) == 0
    finally:
        follow.kill()
        output, _ = follow.communicate()
    events = [json.loads(line) for line in output.splitlines()]
    told = {it["name"]: it for it in events}
    assert told["deploy"]["text"] == "v7"
    assert (told["odd"]["payload"], "text" in told["odd"]) == ("/w==", False)
    assert (told["load"]["kind"], told["load"]["sender"]) == ("query", "n2.global")
    rest = moot("events", "--no-follow", "--since", events[-1]["id"], "--kind", "user-event", "--address", first.url)
    assert (rest.returncode, rest.stdout) == (0, "")
    shown = moot("events", "--no-follow", "--kind", "user-event", "--address", first.url).stdout
    assert "user-event deploy 'v7'" in shown
    assert "odd with bytes that are no text" in shown
    other = moot("events", "--no-follow", "--since", "feed.7", "--kind", "query", "--address", first.url).stdout
    assert other.splitlines()[0].endswith("gap        events may be missing: the agent is another")


def test_a_crash_is_told_step_by_step_and_a_force_leave_says_who_agrees() -> None:
    with pool(3) as (first, second, third):
        watch = Watch(first, members=["n3.global"])
        watch.look()
        third.process.kill()
        third.process.wait()
        until(lambda: "failed" in watch.kinds("n3.global"), "the failure")
        assert watch.kinds("n3.global") == ["suspected", "failed"]
        until(lambda: row(first, "n3.global")["udp"]["state"] == "silent", "a probe without an answer")
        failed = row(first, "n3.global")
        assert (failed["status"], failed["change"]["kind"]) == ("failed", "failed")
        until(lambda: second.statuses().get("n3.global") == "failed", "the failure at the other")

        result = first.client.force_leave_each(["n3.global", "zzz.global"], wait=30.0)["results"]
        assert [(it["before"], it["after"], it["done"]) for it in result] == [
            ("failed", "left", True),
            ("unknown", "unknown", False),
        ]
        agreement = result[0]["agreement"]
        assert agreement["observers"] == [
            {"name": "n1.global", "status": "left"},
            {"name": "n2.global", "status": "left"},
        ]
        done = moot("force-leave", "n3", "--prune", "--wait", "--address", first.url)
        assert done.returncode == 0, done.stderr
        assert done.stdout == "n3.global: left -> gone, as n1 sees it; 2 of 2 members that answered agree\n"
        until(lambda: watch.kinds("n3.global")[-1] == "pruned", "the end")


def test_a_follower_finds_back_to_an_agent_that_was_restarted_and_tells_the_gap() -> None:
    with launched("--node", "n1") as agent:
        address = agent.started["http"]
        follow = subprocess.Popen(
            [*MOOT, "events", "--json", "--since", "start", "--address", f"http://{address}", "--count", "3"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert follow.stdout is not None
        first = json.loads(follow.stdout.readline())
        assert (first["kind"], first["member"]["name"]) == ("joined", "n1.global")
    try:
        port = address.rpartition(":")[2]
        with launched("--node", "n1", "--http-port", port) as again:
            output, errors = follow.communicate(timeout=60)
            assert agrees(again, "alive", 1)
    finally:
        follow.kill()
    gap, joined = map(json.loads, output.splitlines())
    assert (gap["kind"], gap["reason"], gap["lost"]) == ("gap", "restart", None)
    assert joined["kind"] == "joined"
    assert joined["id"].partition(".")[0] != first["id"].partition(".")[0]
    assert errors.count("Trying again.") >= 1


def test_a_join_tells_what_became_of_each_address() -> None:
    with launched("--node", "n1") as first, launched("--node", "n2") as second:
        done = moot("join", "127.0.0.1:9", second.started["gossip"], "--address", first.url)
        assert done.returncode == 0
        refused, joined, total = done.stdout.splitlines()
        assert refused.startswith("127.0.0.1:9: failed: dial tcp 127.0.0.1:9: connect: connection refused. Hint: ")
        assert joined == f"{second.started['gossip']}: joined"
        assert total == "joined 1 of 2 addresses"
