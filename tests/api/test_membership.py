"""Joins and force-leaves that say what became of them: a result for each, the reason, and what others hold."""

from typing import Any

import pytest
import trio

from moot.gossip.serf.members import MemberStatus
from moot.http import membership_api
from tests.api.live import Live, serving_api
from tests.api.scripted import ScriptedBackend, made
from tests.api.situations import client, three


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REFUTES_WITHIN", "ASK_EVERY", "ROUND_MAX"):
        monkeypatch.setattr(membership_api, name, 0.1)


async def leave(live: Live, query: str) -> list[dict[str, Any]]:
    answer = await live.ask("POST", f"/v1/moot/force-leave?{query}")
    assert answer.status == 200, answer.text
    assert answer.json()["observer"] == "s1.global"
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


async def let_go(backend: ScriptedBackend, query: str) -> dict[str, Any]:
    """The result of one name."""
    async with serving_api(backend) as live:
        (result,) = await leave(live, query)
    return result


# joins


async def test_a_join_has_a_result_for_every_address_and_says_what_to_do() -> None:
    backend = three()
    backend.join_errors = {
        "127.0.0.9": ("127.0.0.9", "dial tcp 127.0.0.9:4648: connect: connection refused"),
        "nope": ("", "lookup nope: no such host"),
    }
    async with serving_api(backend) as live:
        answer = await live.ask("PUT", "/v1/moot/join?address=127.0.0.2&address=127.0.0.9&address=nope")
        assert answer.json() == {
            "joined": 1,
            "results": [
                {"address": "127.0.0.2", "ip": "127.0.0.1", "status": "joined", "error": "", "hint": ""},
                {
                    "address": "127.0.0.9",
                    "ip": "127.0.0.9",
                    "status": "failed",
                    "error": "dial tcp 127.0.0.9:4648: connect: connection refused",
                    "hint": "start them first",
                },
                {
                    "address": "nope",
                    "ip": "",
                    "status": "failed",
                    "error": "lookup nope: no such host",
                    "hint": "",
                },
            ],
        }


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("join", 400, "missing address to join"),
        ("join?" + "&".join(["address=x"] * 65), 400, "more than 64 addresses"),
        ("force-leave", 400, "missing name of a member"),
        ("force-leave?name=", 400, "missing name of a member"),
        ("force-leave?" + "&".join(f"name={number}" for number in range(65)), 400, "more than 64 names"),
        ("force-leave?name=a&wait=soon", 400, "wait must be a duration such as 10s, at most 120s"),
        ("force-leave?name=a&wait=3m", 400, "wait must be a duration such as 10s, at most 120s"),
    ],
)
async def test_what_cannot_be_meant_is_refused(path: str, status: int, text: str) -> None:
    backend = three()
    async with serving_api(backend) as live:
        answer = await live.ask("POST", f"/v1/moot/{path}")
        assert (answer.status, answer.text) == (status, text)
    assert backend.calls == []


async def test_after_a_leave_nobody_is_joined() -> None:
    backend = three()
    backend.left = True
    async with serving_api(backend) as live:
        answer = await live.ask("POST", "/v1/moot/join?address=x")
        assert (answer.status, answer.text) == (500, "Serf can't Join after Leave or Shutdown")


@pytest.mark.parametrize("path", ["join?address=x", "force-leave?name=x"])
async def test_pages_of_other_sites_and_clients_out_of_the_pool_change_nothing(path: str) -> None:
    backend = three()
    async with serving_api(backend) as live:
        answer = await live.ask("POST", f"/v1/moot/{path}", [("Origin", "http://evil.example")])
        assert answer.status == 403
        assert (await live.ask("GET", f"/v1/moot/{path}")).status == 405
    assert backend.calls == []
    async with serving_api(client("127.0.0.2:4647")) as live:
        assert (await live.ask("POST", f"/v1/moot/{path}")).status == 501


# force-leaves


async def test_a_failed_member_has_left_afterwards() -> None:
    result = await let_go(three(MemberStatus.FAILED), "name=s3.global")
    assert result == {
        "name": "s3.global",
        "before": "failed",
        "after": "left",
        "done": True,
        "note": "",
        "agreement": None,
    }


async def test_a_pruned_member_is_gone() -> None:
    backend = three(MemberStatus.FAILED)
    result = await let_go(backend, "name=s3.global&prune")
    assert (result["before"], result["after"], result["done"]) == ("failed", "gone", True)
    assert backend.calls == [("force_leave", "s3.global", True)]


async def test_a_live_member_contradicts_and_the_answer_says_so() -> None:
    result = await let_go(three(), "name=s2.global&wait=100ms")
    assert (result["before"], result["after"], result["done"]) == ("alive", "alive", False)
    assert result["note"] == "it is alive and refutes; stop that agent first, or have it leave itself"
    assert result["agreement"] is None


@pytest.mark.parametrize(
    ("query", "status", "done", "note"),
    [
        ("name=s1.global", "alive", False, "that is the agent you asked"),
        ("name=zzz", "unknown", False, "no member of that name is known here, so nothing was sent"),
        (
            "name=s3",
            "unknown",
            False,
            "no member of that name is known here, so nothing was sent; did you mean s3.global",
        ),
        ("name=s3.global", "left", True, "it had left already, so nothing was sent"),
    ],
)
async def test_what_can_have_no_effect_is_not_sent_and_explained(
    query: str, status: str, done: bool, note: str
) -> None:
    backend = three(MemberStatus.LEFT)
    result = await let_go(backend, f"{query}&wait=100ms")
    assert (result["before"], result["after"], result["done"]) == (status, status, done)
    assert result["note"].startswith(note)
    assert backend.calls == []


async def test_a_member_that_left_is_pruned_when_that_is_asked_for() -> None:
    result = await let_go(three(MemberStatus.LEFT), "name=s3.global&prune=1")
    assert (result["before"], result["after"], result["done"]) == ("left", "gone", True)


async def test_what_could_not_be_sent_in_time_is_told() -> None:
    backend = three(MemberStatus.FAILED)
    backend.broadcast_fails = True
    result = await let_go(backend, "name=s3.global")
    assert (result["after"], result["done"]) == ("failed", False)
    assert result["note"].startswith("timed out broadcasting node removal")


async def test_names_are_taken_exactly_and_once_each_in_the_order_given() -> None:
    backend = three(MemberStatus.FAILED)
    async with serving_api(backend) as live:
        results = await leave(live, "name=s3.global&name=zzz&name=s3.global&name=caf%E9")
    assert [it["name"] for it in results] == ["s3.global", "zzz", "caf\N{REPLACEMENT CHARACTER}"]
    assert backend.calls == [("force_leave", "s3.global", False)]


# what others hold


async def test_with_wait_the_others_are_asked_until_they_agree() -> None:
    backend = three(MemberStatus.FAILED)
    insight = backend.operations.insight
    insight.rounds = [{"s1.global": "left"}, {"s2.global": "failed"}, {"s2.global": "left"}]
    result = await let_go(backend, "name=s3.global&wait=20s")
    assert result["done"]
    assert result["note"] == ""
    assert result["agreement"] == {
        "asked": 2,
        "answered": 2,
        "agreeing": 2,
        "observers": [{"name": "s1.global", "status": "left"}, {"name": "s2.global", "status": "left"}],
    }
    assert insight.asked == ["s3.global"] * 3


async def test_who_disagrees_and_who_is_silent_is_named_when_the_time_is_up() -> None:
    backend = three(MemberStatus.FAILED)
    insight = backend.operations.insight
    insight.observers = ("a", "b", "c", "s1.global")
    insight.rounds = [{"s1.global": "left", "c": "gone", "b": "alive"}]
    result = await let_go(backend, "name=s3.global&wait=300ms")
    assert (result["after"], result["done"]) == ("left", False)
    assert result["note"] == (
        "not everybody holds it so yet: b (alive); it spreads on, ask again; 1 of 4 did not answer"
    )
    agreement = result["agreement"]
    assert (agreement["asked"], agreement["answered"], agreement["agreeing"]) == (4, 3, 2)
    assert [(it["name"], it["status"]) for it in agreement["observers"]] == [
        ("b", "alive"),
        ("a", "no answer"),
        ("c", "gone"),
        ("s1.global", "left"),
    ]


async def test_silence_alone_is_no_disagreement() -> None:
    backend = three(MemberStatus.FAILED)
    backend.operations.insight.rounds = [{"s1.global": "left"}]
    result = await let_go(backend, "name=s3.global&wait=50ms")
    assert result["done"]
    assert result["note"] == "1 of 2 did not answer"


async def test_a_large_pool_is_counted_whole_and_listed_in_part() -> None:
    backend = three(MemberStatus.FAILED)
    insight = backend.operations.insight
    insight.observers = tuple(f"m{number:03}" for number in range(300))
    insight.rounds = [
        dict.fromkeys(insight.observers[:200], "left") | dict.fromkeys(insight.observers[200:], "failed")
    ]
    result = await let_go(backend, "name=s3.global&wait=50ms")
    assert (result["agreement"]["asked"], result["agreement"]["agreeing"]) == (300, 200)
    assert [it["status"] for it in result["agreement"]["observers"]] == ["failed"] * 100
    assert "m204 (failed) and 95 more" in result["note"]


async def test_when_nobody_can_be_asked_it_is_said() -> None:
    backend = three(MemberStatus.FAILED)
    backend.operations.insight.refusal = "1024 queries are open already"
    result = await let_go(backend, "name=s3.global&wait=1s")
    assert result["note"].startswith("nobody could be asked")
    assert result["agreement"]["asked"] == 0


async def test_few_names_are_asked_for_at_a_time() -> None:
    backend = three(MemberStatus.FAILED)
    insight = backend.operations.insight
    busy, most = 0, 0
    plain = insight.opinions

    async def opinions(name: str, within: float) -> object:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await trio.sleep(0.02)
        busy -= 1
        return await plain(name, within)

    insight.rounds = [{"s1.global": "left", "s2.global": "left"}]
    names = [f"f{number}" for number in range(20)]
    backend.table += [made(name, "127.0.0.9", status=MemberStatus.FAILED) for name in names]
    insight.opinions = opinions  # type: ignore[method-assign, assignment]  # to look on
    async with serving_api(backend) as live:
        results = await leave(live, "wait=20s&" + "&".join(f"name={name}" for name in names))
    assert all(it["done"] for it in results)
    assert most == membership_api.ASKING_MAX
