"""`moot events`, `view`, `join` and `force-leave`: what they print, and what they do with agents of Nomad."""

import json
from collections.abc import Mapping
from typing import Any, get_args

import pytest
import trio

from moot.agent import cli
from moot.agent.commands import events, view
from moot.gossip.serf.members import MemberStatus
from moot.http.acl import Acl
from moot.http.api import build_api
from moot.http.client import ApiClient
from moot.http.client_events import EventFollower
from moot.http.counters import HttpCounters
from moot.http.event_ring import Kind
from moot.http.exchange import Request, Response
from moot.http.nomad_operations import ApiSettings
from tests.api.live import serving, serving_api
from tests.api.scripted import ScriptedBackend
from tests.api.situations import three

MEMBER = {"name": "b\x1b[31m", "address": "127.0.0.2:7946", "status": "alive", "incarnation": 1}
TIME = "2026-11-24T00:07:26.123Z"


def test_the_kinds_are_those_of_the_api() -> None:
    assert get_args(Kind) == events.KINDS


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"kind": "joined", "member": MEMBER}, "joined     b\\x1b[31m 127.0.0.2:7946"),
        ({"kind": "failed", "member": MEMBER, "accuser": "a"}, "failed     b\\x1b[31m 127.0.0.2:7946 accused by a"),
        (
            {"kind": "conflict", "member": MEMBER, "other": "[::1]:1"},
            "b\\x1b[31m 127.0.0.2:7946 claimed by [::1]:1, too",
        ),
        ({"kind": "flapped", "member": MEMBER, "flaps": 2}, "flapped    b\\x1b[31m 127.0.0.2:7946 2 times so far"),
        ({"kind": "user-event", "name": "deploy", "text": "a\nb"}, "user-event deploy 'a\\nb'"),
        (
            {"kind": "query", "name": "load", "sender": "a", "payload": "/w=="},
            "load from a with bytes that are no text",
        ),
        ({"kind": "gap", "lost": 1}, "gap        1 event is missing"),
        ({"kind": "gap", "lost": 70}, "gap        70 events are missing"),
        ({"kind": "gap", "lost": None}, "gap        events may be missing: the agent is another"),
    ],
)
def test_an_event_is_a_line_without_control_characters(event: Mapping[str, Any], words: str) -> None:
    line = events.line_of({"time": TIME, **event})
    assert words in line
    assert line.isprintable()


@pytest.mark.parametrize("since", ["yesterday", "5", "feed", "-5m", "feed.x"])
def test_a_time_that_cannot_be_meant_is_wrong_usage(since: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["events", "--since", since]) == 2
    assert "must be a duration such as 5m" in capsys.readouterr().err


async def run(backend: ScriptedBackend, *arguments: str, nomad: bool = False) -> int:
    """One command against an agent; `nomad` is one that has nothing of ours."""
    api = build_api(backend, counters=HttpCounters())

    async def application(request: Request) -> Response:
        if nomad and request.target.startswith("/v1/moot/"):
            return Response(404, [])
        return await api(request)

    async with serving(application) as live:
        return await trio.to_thread.run_sync(cli.run, [*arguments, "--address", f"http://{live.address}"])


async def test_events_end_with_the_newest_one_when_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    backend = three()
    for kind in ("joined", "suspected"):
        backend.operations.insight.happen(kind)
    assert await run(backend, "events", "--no-follow", "--json", "--member", "s2") == 0
    assert [json.loads(line)["kind"] for line in capsys.readouterr().out.splitlines()] == ["joined", "suspected"]
    assert await run(backend, "events", "--no-follow", "--member", "new") == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "waiting for one all the same" in said.err
    assert await run(backend, "events", "--no-follow", nomad=True) == 1
    assert "is no agent of moot" in capsys.readouterr().err


async def test_the_follower_knows_where_to_go_on_after_each_connection() -> None:
    backend = three()
    insight = backend.operations.insight

    def follow(url: str) -> list[str]:
        follower = EventFollower(ApiClient(url), after="start", follow=False, kinds=["failed"])
        insight_kinds = [it["kind"] for it in follower]
        trio.from_thread.run_sync(insight.happen, "joined")
        trio.from_thread.run_sync(insight.happen, "failed")
        assert follower.is_connected
        return insight_kinds + [it["kind"] for it in follower] + [follower.last.partition(".")[2]]

    insight.happen("failed")
    async with serving_api(backend) as live:
        assert await trio.to_thread.run_sync(follow, f"http://{live.address}") == ["failed", "failed", "3"]


async def test_the_client_views_joins_and_makes_leave() -> None:
    backend = three(MemberStatus.FAILED)
    backend.operations.insight.rounds = [{"s1.global": "left", "s2.global": "left"}]

    def talk(url: str) -> None:
        client = ApiClient(url)
        assert [it["name"] for it in client.view()["members"]] == ["s1.global", "s2.global", "s3.global"]
        assert client.join_each(["127.0.0.2"])["joined"] == 1
        (result,) = client.force_leave_each(["s3.global"], wait=10.0)["results"]
        assert (result["after"], result["agreement"]["agreeing"]) == ("left", 2)
        (result,) = client.force_leave_each(["s3.global"], prune=True)["results"]
        assert result["after"] == "gone"

    async with serving_api(backend) as live:
        await trio.to_thread.run_sync(talk, f"http://{live.address}")


async def test_a_join_says_what_became_of_each(capsys: pytest.CaptureFixture[str]) -> None:
    backend = three()
    backend.join_errors = {"x": ("", "lookup x: no such host")}
    assert await run(backend, "join", "127.0.0.2", "x") == 0
    assert capsys.readouterr().out.splitlines() == [
        "127.0.0.2 (127.0.0.1): joined",
        "x: failed: lookup x: no such host",
        "joined 1 of 2 addresses",
    ]
    assert await run(backend, "join", "x", "--json") == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["results"][0]["status"] == "failed"
    assert said.err.startswith(
        "moot: nothing joined: Failed to resolve x: lookup x: no such host. Hint: check the name"
    )


async def test_agents_of_nomad_are_joined_and_made_to_leave_as_ever(capsys: pytest.CaptureFixture[str]) -> None:
    backend = three(MemberStatus.FAILED)
    backend.join_errors = {"x": ("", "lookup x: no such host")}
    assert await run(backend, "join", "127.0.0.2", nomad=True) == 0
    assert capsys.readouterr().out == "joined 1 of 1 address\n"
    assert await run(backend, "join", "x", nomad=True) == 1
    assert "nothing joined: Failed to resolve x: lookup x: no such host" in capsys.readouterr().err
    assert await run(backend, "force-leave", "s3", "--wait", nomad=True) == 0
    assert capsys.readouterr().out == "s3.global: failed -> left, as s1 sees it\n"


async def test_joining_stays_open_where_tokens_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    backend = three()
    backend.nomad.settings = ApiSettings(acl=Acl(enabled=True))
    assert await run(backend, "join", "127.0.0.2") == 0
    assert capsys.readouterr().out == "joined 1 of 1 address\n"
    assert await run(backend, "view") == 1
    assert "Permission denied" in capsys.readouterr().err


async def test_a_force_leave_of_several_has_a_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    backend = three(MemberStatus.FAILED)
    insight = backend.operations.insight
    insight.rounds = [{"s1.global": "left"}]
    assert await run(backend, "force-leave", "s3", "--wait", "--timeout", "0.1") == 0
    assert capsys.readouterr().out == (
        "s3.global: failed -> left, as s1 sees it; 1 of 1 member that answered agree, 1 did not answer\n"
    )
    backend.set_status("s2.global", MemberStatus.LEFT)
    assert await run(backend, "force-leave", "s3", "s2", "--json") == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["name"], first["after"], second["name"], second["pruned"]) == (
        "s3.global",
        "left",
        "s2.global",
        False,
    )
    assert await run(backend, "force-leave", "s3", "zzz") == 1
    assert "s1 knows no member of that name" in capsys.readouterr().err


REACH = {"state": "unknown", "tried": None, "answered": None, "reason": ""}


def row(**more: Any) -> dict[str, Any]:
    """A member in a view."""
    return {
        "name": "b",
        "address": "127.0.0.2:7946",
        "status": "alive",
        "incarnation": 4,
        "ltime": 7,
        "flaps": 0,
        "suspicion": None,
        "change": None,
        "udp": REACH,
        "tcp": REACH,
        "rtt": {"measured": None, "estimated": None},
        "versions": {"protocol": 2, "protocol_min": 1, "protocol_max": 5},
        **more,
    }


def answer(*rows: Mapping[str, Any], score: int = 0) -> dict[str, Any]:
    return {"name": "a", "time": TIME, "health_score": score, "members": list(rows)}


def test_a_row_says_what_is_known_and_what_is_not() -> None:
    silent = {**REACH, "state": "silent", "answered": "2026-11-24T00:07:20.123Z"}
    change = {"kind": "joined", "time": "2026-11-23T23:47:26.123Z", "accuser": ""}
    plain, odd, own = view.layout(
        answer(
            row(),
            row(
                udp=silent, tcp={**REACH, "state": "answers"}, rtt={"measured": 0.0009, "estimated": 2}, change=change
            ),
            row(udp={**REACH, "state": "self"}, tcp={**REACH, "state": "silent"}),
        )
    )
    assert plain == ["b", "127.0.0.2:7946", "alive", "4", "7", "?", "?", "", "", "2 (1-5)", ""]
    assert odd[5:9] == ["silent (answered 6 s ago)", "answers", "0.9 ms", "2000.0 ms"]
    assert odd[-1] == "joined 20 min ago"
    assert own[5:7] == ["-", "silent"]


def test_a_suspicion_is_a_status_and_a_line() -> None:
    held = {"accusers": ["a", "c\x1b"], "since": TIME, "until": "2026-11-24T00:07:30.000Z"}
    shown = answer(row(suspicion=held), score=3)
    assert next(view.layout(shown))[2] == "suspect"
    assert list(view.suspicions(shown)) == ["b is suspected by a, c\\x1b, and has 3.9 s left to refute"]
    assert "not well (health score 3)" in view.caption(shown)


def test_watching_tells_what_matters_and_not_each_ping() -> None:
    before = {"b": row(), "c": row(name="c")}
    pinged = {**REACH, "tried": TIME}
    quiet = {"b": row(udp=pinged), "c": row(name="c")}
    assert list(view.changes(before, quiet, as_json=False)) == []
    (line, gone) = view.changes(before, {"b": row(incarnation=5)}, as_json=False)
    assert line.endswith("b: alive, incarnation 5, UDP unknown, TCP unknown")
    assert gone.endswith("c: gone")
    assert [json.loads(it)["name"] for it in view.changes({}, before, as_json=True)] == ["b", "c"]
