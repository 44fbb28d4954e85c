"""`/v1/moot/…` beyond membership: shapes, checks, streamed queries, keys by id, and the client's view of it all."""

import json
from base64 import b64encode
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
import trio

from moot.agent.keys import key_id
from moot.gossip.serf.members import MemberStatus
from moot.gossip.serf.messages import Coordinate
from moot.http.client import ApiClient, ApiError, KeysRefused, Unreachable
from tests.api.live import Live, serving_api
from tests.api.scripted import ScriptedBackend, identity
from tests.api.scripted_pool import NEW, OLD, OTHER, ScriptedKeys, ScriptedPool, text_of
from tests.api.situations import client, three
from tests.support.pool import until

PATHS = [
    ("PUT", "event"),
    ("PUT", "query"),
    ("GET", "keys"),
    ("PUT", "keys/install"),
    ("PUT", "keys/use"),
    ("PUT", "keys/remove"),
    ("GET", "tags"),
    ("PUT", "tags"),
    ("GET", "coordinates"),
    ("GET", "rtt"),
    ("GET", "flaps"),
]
OLD_ID, NEW_ID, OTHER_ID = map(key_id, (OLD, NEW, OTHER))


def keyed(third: MemberStatus = MemberStatus.ALIVE, *keys: bytes) -> ScriptedBackend:
    """s1, s2 and s3 with the same keyrings."""
    backend = three(third)
    backend.operations = ScriptedPool(ScriptedKeys.of(backend.table, *(keys or (OLD,))))
    return backend


async def put(live: Live, path: str, body: object) -> tuple[int, Any]:
    """PUT a JSON object; status and answer, as JSON if it is."""
    answer = await live.ask("PUT", f"/v1/moot/{path}", body=json.dumps(body).encode())
    return answer.status, answer.json() if answer.headers.get("content-type") == "application/json" else answer.text


@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_pages_of_other_sites_and_agents_outside_the_pool_are_refused(method: str, path: str) -> None:
    async with serving_api(keyed()) as live:
        answer = await live.ask(method, f"/v1/moot/{path}", [("Origin", "http://evil.example")])
        assert (answer.status, answer.text) == (403, "requests from other sites are refused")
        wrong = "DELETE" if path == "tags" else {"PUT": "GET", "GET": "PUT"}[method]
        assert (await live.ask(wrong, f"/v1/moot/{path}")).status == 405
    async with serving_api(client()) as live:
        assert (await live.ask(method, f"/v1/moot/{path}")).status == 501


@pytest.mark.parametrize("path", [path for method, path in PATHS if method == "PUT"])
@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"unknown": 1}', b'{"name": 1, "key": 1, "set": 1}', b"\xff"])
async def test_a_body_that_is_none_is_the_clients_mistake_and_named(path: str, body: bytes) -> None:
    async with serving_api(keyed()) as live:
        answer = await live.ask("PUT", f"/v1/moot/{path}", body=body)
        assert answer.status == 400
        assert answer.text.startswith("the body must be a JSON object with ")


# events


async def test_events_are_sent_with_payloads_in_base64_or_as_text() -> None:
    backend = keyed()
    async with serving_api(backend) as live:
        raw = b64encode(b"\x00\xff").decode()
        assert await put(live, "event", {"name": "deploy", "payload": raw}) == (
            200,
            {"coalesce": False, "name": "deploy", "size": 2},
        )
        await put(live, "event", {"name": "deploy", "text": "grün", "coalesce": True})
        await put(live, "event", {"name": "bare"})
    assert backend.operations.events == [
        ("deploy", b"\x00\xff", False),
        ("deploy", "grün".encode(), True),
        ("bare", b"", False),
    ]


@pytest.mark.parametrize("path", ["event", "query"])
async def test_events_and_queries_that_cannot_be_are_refused_with_a_reason(path: str) -> None:
    backend = keyed()
    async with serving_api(backend) as live:
        status, text = await put(live, path, {"name": ""})
        assert (status, text.rpartition(": ")[2]) == (400, "Expected `str` of length >= 1 - at `$.name`")
        assert (await put(live, path, {"name": "x", "payload": "?"}))[1].startswith("payload must be base64")
        both = {"name": "x", "payload": "AA==", "text": "x"}
        assert await put(live, path, both) == (400, "give either payload (base64) or text, not both")
        backend.operations.refusal = "it exceeds limit of 512 bytes"
        assert await put(live, path, {"name": "x"}) == (400, "it exceeds limit of 512 bytes")
    assert backend.operations.open_queries == 0


# queries


async def read_line(stream: trio.SocketStream, rest: bytearray) -> dict[str, Any]:
    """One line of a chunked answer; chunk heads are skipped, for every line here is a chunk of its own."""
    while b"}\n\r\n" not in rest:
        rest += await stream.receive_some(65_536)
    chunk, _, after = bytes(rest).partition(b"}\n\r\n")
    rest[:] = after
    line: dict[str, Any] = json.loads(chunk[chunk.rindex(b"\r\n") + 2 :] + b"}")
    return line


async def test_replies_to_a_query_arrive_one_by_one() -> None:
    backend = keyed()
    pool = backend.operations
    pool.timeout = 0.2
    wish = {"name": "load", "text": "?", "nodes": ["s2.global"], "tags": {"role": "web"}, "relay_factor": 2}
    body = json.dumps({**wish, "timeout": 1.5, "ack": True}).encode()
    async with serving_api(backend) as live, await live.connect() as stream:
        head = f"POST /v1/moot/query HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        await stream.send_all(head.encode() + body)
        rest = bytearray()
        assert await read_line(stream, rest) == {"type": "asked", "id": 4711, "ltime": 7, "timeout": 0.2}
        pool.ack("s2.global")
        assert await read_line(stream, rest) == {"type": "ack", "from": "s2.global"}
        pool.answer("s2.global", b"0.5")
        assert await read_line(stream, rest) == {
            "type": "response",
            "from": "s2.global",
            "payload": "MC41",
            "text": "0.5",
        }
        pool.answer("caf\udce9", b"\xff")
        assert await read_line(stream, rest) == {"type": "response", "from": "caf\ufffd", "payload": "/w=="}
        await trio.sleep(0.2)
        pool.end()
        assert await read_line(stream, rest) == {"type": "done", "acks": 1, "responses": 2}
        while len(rest) < 5:
            rest += await stream.receive_some(65_536)
        assert rest == b"0\r\n\r\n"
    (question,) = pool.questions
    assert (question.name, question.payload, list(question.nodes)) == ("load", b"?", ["s2.global"])
    assert (dict(question.tags), question.ack) == ({"role": "web"}, True)
    assert (question.relay_factor, question.timeout) == (2, 1.5)
    assert pool.open_queries == 0


async def test_a_query_that_the_agents_end_cuts_short_says_so() -> None:
    backend = keyed()
    async with serving_api(backend) as live:
        async with trio.open_nursery() as nursery:

            async def stop() -> None:
                await backend.operations.asked()
                backend.operations.end()

            nursery.start_soon(stop)
            answer = await live.ask("PUT", "/v1/moot/query", body=b'{"name": "x"}')
        last = json.loads(answer.text.splitlines()[-1])
        assert last == {"type": "error", "error": "the agent stopped before the time was up"}


async def test_a_client_that_hangs_up_drops_its_query() -> None:
    backend = keyed()
    async with serving_api(backend) as live:
        stream = await live.connect()
        body = b'{"name": "x"}'
        await stream.send_all(
            b"PUT /v1/moot/query HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        await backend.operations.asked()
        await stream.aclose()
        await until(lambda: not backend.operations.open_queries)


# keys


async def test_keys_are_listed_by_id_and_shown_only_to_who_asks() -> None:
    backend = keyed(MemberStatus.FAILED, OLD, NEW)
    pool = backend.operations
    pool.locked_out = frozenset({"s3.global"})
    pool.keys.rings["s2.global"].remove(NEW)
    async with serving_api(backend) as live:
        answer = await live.ask("GET", "/v1/moot/keys")
        for key in (OLD, NEW):
            assert text_of(key) not in answer.text
        found = answer.json()
        assert found["asked"] == 2
        assert found["keys"] == [
            {
                "id": OLD_ID,
                "holders": ["s1.global", "s2.global"],
                "lacking": [],
                "unknown": ["s3.global"],
                "primary_of": ["s1.global", "s2.global"],
            },
            {
                "id": NEW_ID,
                "holders": ["s1.global"],
                "lacking": ["s2.global"],
                "unknown": ["s3.global"],
                "primary_of": [],
            },
        ]
        assert found["members"] == [
            {
                "name": "s1.global",
                "status": "alive",
                "state": "answered",
                "keys": [OLD_ID, NEW_ID],
                "primary": OLD_ID,
                "text": "",
                "locked_out": False,
            },
            {
                "name": "s2.global",
                "status": "alive",
                "state": "answered",
                "keys": [OLD_ID],
                "primary": OLD_ID,
                "text": "",
                "locked_out": False,
            },
            {
                "name": "s3.global",
                "status": "failed",
                "state": "unreachable",
                "keys": [],
                "primary": "",
                "text": "",
                "locked_out": True,
            },
        ]
        shown = (await live.ask("GET", "/v1/moot/keys?show")).json()
        assert {it["id"]: it["key"] for it in shown["keys"]} == {OLD_ID: text_of(OLD), NEW_ID: text_of(NEW)}


async def test_keys_are_installed_used_and_removed_everywhere() -> None:
    backend = keyed()
    keys = backend.operations.keys
    everybody = ["s1.global", "s2.global", "s3.global"]
    async with serving_api(backend) as live:
        for operation, key in (("install", text_of(NEW)), ("use", NEW_ID), ("remove", text_of(OLD))):
            status, answer = await put(live, f"keys/{operation}", {"key": key})
            assert (status, answer["operation"], answer["done"]) == (200, operation, everybody)
    assert [keys.held(name) for name in everybody] == [[NEW]] * 3


async def test_what_would_cut_members_off_is_a_conflict_that_names_them() -> None:
    backend = keyed(MemberStatus.ALIVE, OLD, NEW)
    keys = backend.operations.keys
    keys.rings["s2.global"].remove(NEW)
    async with serving_api(backend) as live:
        status, answer = await put(live, "keys/use", {"key": NEW_ID})
        assert status == 409
        assert answer == {
            "error": f"key {NEW_ID} not used, it could cut off 1 of 3 members: s2.global lacks {NEW_ID}",
            "blockers": [{"name": "s2.global", "status": "alive", "reason": f"lacks {NEW_ID}"}],
            "hints": [
                f"install it there first: moot keys install {NEW_ID}",
                "or go on without them with --force; whoever lacks the key is cut off then",
            ],
        }
        assert "use" not in keys.asked
        status, answer = await put(live, "keys/use", {"key": NEW_ID, "force": True})
        assert (status, answer["failed"]) == (200, {"s2.global": "Requested key is not in the keyring"})


@pytest.mark.parametrize("key", ["", "secret", text_of(bytes(5)), "0123456", OTHER_ID])
async def test_what_is_no_key_is_refused_and_never_repeated(key: str) -> None:
    backend = keyed()
    async with serving_api(backend) as live:
        status, answer = await put(live, "keys/use", {"key": key})
        assert status == 400
        assert not key or key == OTHER_ID or key not in answer


async def test_without_encryption_there_are_no_keys() -> None:
    backend = keyed()
    backend.operations.keys.encrypted = False
    async with serving_api(backend) as live:
        answer = await live.ask("GET", "/v1/moot/keys")
        assert (answer.status, answer.text[:30]) == (400, "this pool is not encrypted, so")
        assert (await put(live, "keys/install", {"key": text_of(NEW)}))[0] == 400


async def test_what_is_wrong_with_a_body_is_told_in_short() -> None:
    async with serving_api(keyed()) as live:
        status, text = await put(live, "event", {"k" * 100_000: 1})
        assert status == 400
        assert len(str(text)) < 400


# tags, coordinates, flaps


async def test_tags_are_read_and_changed() -> None:
    backend = keyed()
    backend.operations.own_tags = {"rack": "7", "zone": "a"}
    async with serving_api(backend) as live:
        assert (await live.ask("GET", "/v1/moot/tags")).json() == {
            "name": "s1.global",
            "tags": {"rack": "7", "zone": "a"},
        }
        changed = await put(live, "tags", {"set": {"rack": "8", "new": ""}, "delete": ["zone", "missing"]})
        assert changed == (200, {"name": "s1.global", "tags": {"rack": "8", "new": ""}})
        backend.operations.refusal = "Encoded length of tags exceeds limit of 512 bytes"
        assert (await put(live, "tags", {"set": {"x": "y"}}))[0] == 400


async def test_round_trips_come_from_coordinates_and_missing_ones_are_named() -> None:
    backend = keyed()
    near, far = (Coordinate((x, *[0.0] * 7), 0.5, 0.0, 1e-5) for x in (0.0, 0.02))
    backend.operations.known_coordinates = {"s1.global": near, "s2.global": far}
    async with serving_api(backend) as live:
        answer = (await live.ask("GET", "/v1/moot/rtt?from=s2.global")).json()
        assert answer == {"from": "s2.global", "to": "s1.global", "seconds": pytest.approx(0.02002)}
        assert (await live.ask("GET", "/v1/moot/rtt?from=s1.global&to=s2.global")).json()["to"] == "s2.global"
        assert (await live.ask("GET", "/v1/moot/rtt")).status == 400
        missing = await live.ask("GET", "/v1/moot/rtt?from=s3.global")
        assert (missing.status, missing.text[:33]) == (404, "no coordinate of s3.global is known"[:33])
        unknown = await live.ask("GET", "/v1/moot/rtt?from=zzz")
        assert (unknown.status, unknown.text) == (404, "no member is called zzz")
        everything = (await live.ask("GET", "/v1/moot/coordinates")).json()
        assert everything["name"] == "s1.global"
        assert everything["coordinates"]["s2.global"] == {
            "vec": [0.02, *[0.0] * 7],
            "error": 0.5,
            "adjustment": 0.0,
            "height": 1e-5,
        }


async def test_flaps_name_only_who_flapped() -> None:
    backend = keyed()
    backend.operations.flapped = {"s2.global": 3}
    async with serving_api(backend) as live:
        assert (await live.ask("GET", "/v1/moot/flaps")).json() == {"flaps": {"s2.global": 3}}


# the client


def api(live: Live) -> ApiClient:
    """A client with little patience."""
    return ApiClient(f"http://{live.address}", timeout=10)


async def test_the_client_speaks_every_endpoint() -> None:
    backend = keyed()
    pool = backend.operations
    pool.own_tags = {"rack": "7"}
    pool.flapped = {"s3.global": 1}
    pool.known_coordinates = {name: Coordinate((0.0,) * 8, 1.5, 0.0, 1e-5) for name in ("s1.global", "s2.global")}

    def talk(client: ApiClient) -> None:
        client.event("deploy", b"\xff", coalesce=True)
        assert client.change_keys("install", text_of(NEW))["id"] == NEW_ID
        assert [it["id"] for it in client.keys()["keys"]] == [OLD_ID, NEW_ID]
        assert client.keys(show=True)["keys"][1]["key"] == text_of(NEW)
        assert client.tags() == {"name": "s1.global", "tags": {"rack": "7"}}
        assert client.change_tags({"a": "b"}, ["rack"])["tags"] == {"a": "b"}
        assert client.round_trip("s2.global")["to"] == "s1.global"
        assert client.round_trip("s2.global", "s1.global")["seconds"] == pytest.approx(2e-5)
        assert client.flaps() == {"s3.global": 1}

    async with serving_api(backend) as live:
        await trio.to_thread.run_sync(talk, api(live))
    assert pool.events == [("deploy", b"\xff", True)]


async def test_the_client_reads_replies_as_they_come_and_drops_a_query_by_closing() -> None:
    backend = keyed()

    def talk(client: ApiClient) -> list[str]:
        with closing(client.query("load", b"?", nodes=["s2.global"], tags={"a": "b"}, timeout=9)) as lines:
            return [next(lines)["type"], next(lines)["from"]]

    async with serving_api(backend) as live, trio.open_nursery() as nursery:

        async def answer() -> None:
            await backend.operations.asked()
            backend.operations.ack("s2.global")

        nursery.start_soon(answer)
        assert await trio.to_thread.run_sync(talk, api(live)) == ["asked", "s2.global"]
        await until(lambda: not backend.operations.open_queries)


async def test_the_client_tells_a_broken_query_from_one_that_is_over() -> None:
    backend = keyed()

    def talk(client: ApiClient) -> None:
        for _ in client.query("load"):
            continue

    async with serving_api(backend) as live, trio.open_nursery() as nursery:

        async def stop() -> None:
            await backend.operations.asked()
            await live.server.stop()

        nursery.start_soon(stop)
        with pytest.raises(Unreachable, match="its answer broke off"):
            await trio.to_thread.run_sync(talk, api(live))


async def test_a_refused_key_change_reaches_the_caller_with_names_and_hints() -> None:
    backend = keyed(MemberStatus.FAILED)
    async with serving_api(backend) as live:
        with pytest.raises(KeysRefused, match="it is the primary key of") as refused:
            await trio.to_thread.run_sync(api(live).change_keys, "remove", OLD_ID)
    assert [it["name"] for it in refused.value.blockers] == ["s1.global", "s2.global"]
    assert refused.value.hints[0].startswith("make another key the primary one first")


async def test_an_agent_that_has_no_such_endpoint_is_called_so() -> None:
    backend = keyed()
    async with serving_api(backend) as live:
        with pytest.raises(ApiError, match=r"is no agent of moot, or an older one: no /v1/moot/nothing$"):
            await trio.to_thread.run_sync(api(live).request, "GET", "/v1/moot/nothing")


async def test_a_serf_pool_names_its_agent_without_a_region() -> None:
    backend = keyed()
    backend.identity = replace(identity(pool="serf"), gossip_name="s1")
    async with serving_api(backend) as live:
        assert (await live.ask("GET", "/v1/moot/tags")).json()["name"] == "s1"
