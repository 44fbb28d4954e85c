"""Server-Sent Events: what is sent, filters, resuming, gaps, heartbeats, and readers that do not read."""

import json
from typing import Any

import pytest
import trio

from moot.http import events_api
from moot.http.server import Limits
from tests.api.live import Live, read_stream, serving_api
from tests.api.scripted import ScriptedBackend
from tests.api.scripted_insight import RUN, ScriptedInsight
from tests.api.situations import client, three

URL = "/v1/moot/events"


def told(body: bytes) -> list[dict[str, Any]]:
    """The events of a body, without what is not whole yet."""
    blocks = body.decode().split("\n\n")[:-1]
    found = []
    for block in blocks:
        fields = dict(line.partition(": ")[::2] for line in block.splitlines())
        if "data" in fields:
            event = json.loads(fields["data"])
            assert fields["id"] == event["id"]
            assert "event" not in fields
            found.append(event)
    return found


def insight_of(backend: ScriptedBackend) -> ScriptedInsight:
    return backend.operations.insight


def brief(body: bytes) -> list[tuple[str, str]]:
    """Kind and number of each event."""
    return [(it["kind"], it["id"].partition(".")[2]) for it in told(body)]


async def read_to_end(live: Live, query: str, last: str = "") -> bytes:
    headers = [("Last-Event-ID", last)] if last else []
    answer = await live.ask("GET", f"{URL}?follow=false&{query}", headers)
    assert answer.status == 200, answer.text
    return answer.body


async def test_only_what_is_new_comes_and_comes_at_once() -> None:
    backend = three()
    insight = insight_of(backend)
    insight.happen("joined")
    async with serving_api(backend) as live, read_stream(live, "GET", URL) as answer:
        assert answer.head.headers["content-type"] == "text/event-stream"
        assert "content-encoding" not in answer.head.headers
        begin = await answer.more()
        assert begin == f"retry: 2000\nid: {RUN}.1\n\n".encode()
        insight.happen("suspected", accuser="s1.global")
        body = await answer.until(lambda body: bool(told(body)))
        (event,) = told(body)
        assert event["id"] == f"{RUN}.2"
        assert (event["kind"], event["accuser"], event["member"]["name"]) == ("suspected", "s1.global", "s2.global")


async def test_a_client_goes_on_after_the_last_id_it_has_seen() -> None:
    backend = three()
    insight = insight_of(backend)
    async with serving_api(backend) as live:
        async with read_stream(live, "GET", URL) as answer:
            await answer.more()
            insight.happen("suspected")
            seen = told(await answer.until(lambda body: bool(told(body))))[-1]["id"]
        insight.happen("failed")
        insight.happen("joined")
        for query, last in ((f"after={seen}", ""), ("", seen), (f"after={RUN}.0", seen)):
            assert brief(await read_to_end(live, query, last)) == [("failed", "2"), ("joined", "3")], (query, last)
        assert brief(await read_to_end(live, "", f"{RUN}.3")) == []
        assert [kind for kind, _ in brief(await read_to_end(live, "after=start"))] == [
            "suspected",
            "failed",
            "joined",
        ]
        assert len(told(await read_to_end(live, "since=1h"))) == 3
        assert told(await read_to_end(live, "since=0")) == []


async def test_what_is_not_kept_any_more_is_told_as_a_gap_that_can_be_resumed_from() -> None:
    backend = three()
    insight = insight_of(backend)
    insight.events = type(insight.events)(RUN, events_max=3)
    for _ in range(10):
        insight.happen("joined")
    async with serving_api(backend) as live:
        gap, *rest = told(await read_to_end(live, f"after={RUN}.2&kind=failed"))
        assert rest == []
        assert (gap["kind"], gap["reason"], gap["lost"], gap["id"]) == ("gap", "overrun", 5, f"{RUN}.7")
        assert brief(await read_to_end(live, "", gap["id"])) == [("joined", "8"), ("joined", "9"), ("joined", "10")]


@pytest.mark.parametrize("last", ["feed.3", f"{RUN}.9", f"{RUN}.", "nonsense", f"{RUN}.99999999999999999999", "\xe9"])
async def test_an_id_of_another_run_is_a_gap_and_then_all_of_this_run(last: str) -> None:
    backend = three()
    insight = insight_of(backend)
    insight.happen("joined")
    async with serving_api(backend) as live:
        gap, event = told(await read_to_end(live, "", last))
        assert (gap["reason"], gap["lost"], gap["id"]) == ("restart", None, f"{RUN}.0")
        assert event["id"] == f"{RUN}.1"


async def test_filters_by_kind_and_member() -> None:
    backend = three()
    insight = insight_of(backend)
    for kind in ("joined", "suspected", "failed"):
        for name in ("a", "b"):
            insight.happen(kind, name)
    insight.events.message("user-event", "deploy", b"", ltime=1)
    async with serving_api(backend) as live:
        found = {
            query: brief(await read_to_end(live, f"after=start&{query}"))
            for query in ("kind=failed", "kind=joined,failed&member=a", "kind=failed&kind=user-event", "member=b")
        }
    assert found == {
        "kind=failed": [("failed", "5"), ("failed", "6")],
        "kind=joined,failed&member=a": [("joined", "1"), ("failed", "5")],
        "kind=failed&kind=user-event": [("failed", "5"), ("failed", "6"), ("user-event", "7")],
        "member=b": [("joined", "2"), ("suspected", "4"), ("failed", "6")],
    }


async def test_a_heartbeat_moves_the_client_past_what_it_did_not_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_api.EventsApi.__init__, "__kwdefaults__", {"heartbeat": 0.05})
    backend = three()
    insight = insight_of(backend)
    async with serving_api(backend) as live, read_stream(live, "GET", f"{URL}?kind=failed") as answer:
        await answer.until(lambda body: b": still here\n\n" in body)
        insight.happen("joined")
        body = await answer.until(lambda body: f": still here\nid: {RUN}.1\n\n".encode() in body)
        assert told(body) == []


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("kind=jioned", "there is no kind jioned; the kinds are joined, suspected, "),
        ("after=zzz", "after must be the id of an event, or start"),
        ("since=soon", "since must be a duration such as 5m"),
        ("since=-5m", "since must be a duration such as 5m"),
        ("since=5m&after=start", "give either after or since, not both"),
        ("follow=perhaps", "follow must be true or false"),
        ("&".join(f"member={number}" for number in range(300)), "more than 256 members"),
    ],
)
async def test_what_cannot_be_meant_is_refused(query: str, text: str) -> None:
    async with serving_api(three()) as live:
        answer = await live.ask("GET", f"{URL}?{query}")
        assert answer.status == 400
        assert answer.text.startswith(text)


async def test_pages_of_other_sites_and_clients_out_of_the_pool_get_nothing() -> None:
    async with serving_api(three()) as live:
        answer = await live.ask("GET", URL, [("Sec-Fetch-Site", "cross-site")])
        assert answer.status == 403
        assert (await live.ask("POST", URL)).status == 405
    async with serving_api(client("127.0.0.2:4647")) as live:
        assert (await live.ask("GET", URL)).status == 501


async def test_a_reader_that_does_not_read_holds_up_nobody_and_is_let_go() -> None:
    backend = three()
    insight = insight_of(backend)
    async with serving_api(backend, limits=Limits(write_timeout=0.5)) as live, read_stream(live, "GET", URL):
        async with read_stream(live, "GET", f"{URL}?kind=failed") as fast:
            while len(live.server.streams) == 2:
                for _ in range(50):
                    insight.events.message("user-event", "big", bytes(8000), ltime=1)
                await trio.sleep(0.01)
            insight.happen("failed")
            body = await fast.until(lambda body: b'"failed"' in body)
            assert [it["kind"] for it in told(body) if it["kind"] != "gap"] == ["failed"]
        assert insight.events.size <= 4 * 1024 * 1024
