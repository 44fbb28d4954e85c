"""Events, queries, keys, coordinates and names between nodes on loopback."""

import json
import os
from base64 import b64encode
from pathlib import Path

import pytest
import trio
import trio.testing

from moot.gossip.errors import CommandError, ConfigError, NameTaken
from moot.gossip.net import Node
from moot.gossip.net.answers import Reply
from moot.gossip.serf.asking import OPEN_MAX, Question
from moot.gossip.serf.coordinate import distance
from moot.gossip.serf.events import ConflictVoted, QueryAcked, QueryAnswered, QueryReceived, UserEventReceived
from tests.support.pool import PATIENCE, Pool, open_pool, settings_of, until

KEY, NEW = bytes(range(32)), bytes(range(16))


def text(key: bytes) -> str:
    return b64encode(key).decode()


async def next_of(events: trio.MemoryReceiveChannel[object], kind: type) -> object:
    """The next event of a kind."""
    with trio.fail_after(PATIENCE):
        async for event in events:
            if isinstance(event, kind):
                return event
    raise AssertionError("the feed ended")


async def replies(node: Node, question: Question) -> list[Reply]:
    with trio.fail_after(PATIENCE), node.query(question) as answers:
        return [reply async for reply in answers]


async def answer_all(node: Node, payload: bytes) -> None:
    """Answer every query that reaches a node."""
    with node.subscribe() as events:
        async for event in events:
            if isinstance(event, QueryReceived):
                node.respond(event.query, payload)


@pytest.fixture(params=[(), (KEY,)], ids=["plain", "encrypted"])
def keys(request: pytest.FixtureRequest) -> tuple[bytes, ...]:
    found: tuple[bytes, ...] = request.param
    return found


async def joined(pool: Pool) -> None:
    await pool.join_all()
    await until(pool.converged)


async def test_an_event_reaches_all_and_whoever_asks_for_the_past_later(keys: tuple[bytes, ...]) -> None:
    async with open_pool(*[settings_of(name, keys=keys) for name in "ab"]) as pool:
        await joined(pool)
        with pool["b"].subscribe() as events:
            pool["a"].user_event("deploy", b"v2", coalesce=True)
            heard = await next_of(events, UserEventReceived)
        assert isinstance(heard, UserEventReceived)
        assert (heard.event.name, heard.event.payload, heard.event.coalesce) == ("deploy", b"v2", True)
        late = await pool.start(settings_of("late", keys=keys))
        with late.subscribe() as events:
            await late.join([str(pool["a"].address)], ignore_old=False)
            heard = await next_of(events, UserEventReceived)
        assert isinstance(heard, UserEventReceived)
        assert heard.event.payload == b"v2"


async def test_who_joins_without_the_past_is_not_told_it() -> None:
    async with open_pool(*[settings_of(name) for name in "ab"]) as pool:
        await joined(pool)
        pool["a"].user_event("deploy", b"v1")
        late = await pool.start(settings_of("late"))
        with late.subscribe() as events:
            await late.join([str(pool["a"].address)])
            pool["a"].user_event("deploy", b"v2")
            heard = await next_of(events, UserEventReceived)
        assert isinstance(heard, UserEventReceived)
        assert heard.event.payload == b"v2"


async def test_an_event_too_large_is_refused() -> None:
    async with open_pool(settings_of("a")) as pool:
        with pytest.raises(CommandError, match="user event exceeds configured limit of 512 bytes before encoding"):
            pool["a"].user_event("deploy", bytes(600))


async def test_a_query_brings_acks_and_answers_until_its_deadline(keys: tuple[bytes, ...]) -> None:
    async with open_pool(*[settings_of(name, keys=keys) for name in "abc"]) as pool:
        await joined(pool)
        async with trio.open_nursery() as nursery:
            for name in "bc":
                nursery.start_soon(answer_all, pool[name], name.encode())
            await trio.testing.wait_all_tasks_blocked()
            got = await replies(pool["a"], Question("who", ack=True, timeout=2.0))
            nursery.cancel_scope.cancel()
        assert {reply.sender for reply in got if isinstance(reply, QueryAcked)} == {"a", "b", "c"}
        answers = {reply.sender: reply.payload for reply in got if isinstance(reply, QueryAnswered)}
        assert answers == {"b": b"b", "c": b"c"}


@pytest.mark.parametrize(
    ("question", "asked"),
    [
        (Question("who", nodes=("b",), ack=True, timeout=1.0), {"b"}),
        (Question("who", tags={"role": "^d"}, ack=True, timeout=1.0), {"b", "c"}),
        (Question("who", tags={"role": "["}, ack=True, timeout=0.3), set()),
        (Question("_serf_ping", ack=True, timeout=1.0, relay_factor=1), {"a", "b", "c"}),
    ],
    ids=["node", "tag", "bad expression", "ping with relays"],
)
async def test_filters_choose_who_is_asked(question: Question, asked: set[str]) -> None:
    async with open_pool(
        *[settings_of(name, tags={"role": "web" if name == "a" else "db"}) for name in "abc"]
    ) as pool:
        await joined(pool)
        assert {reply.sender for reply in await replies(pool["a"], question)} == asked


async def test_a_question_that_is_dropped_or_outlives_its_node_ends() -> None:
    async with open_pool(settings_of("a"), settings_of("b")) as pool:
        with pool["a"].query(Question("who", ack=True, timeout=60.0)) as answers:
            with trio.fail_after(PATIENCE):
                assert (await anext(answers)).sender == "a"
        assert pool["a"]._asking == {}
        node = pool["b"]
        with node.query(Question("who", timeout=60.0)) as answers:
            pool.kill("b")
            with trio.fail_after(PATIENCE):
                assert [reply async for reply in answers] == []
        with pytest.raises(CommandError, match="stopped"), node.query(Question("who")):
            pass


async def test_questions_that_were_dropped_do_not_stand_in_the_way_of_others() -> None:
    async with open_pool(settings_of("a")) as pool:
        for _ in range(OPEN_MAX + 1):
            with pool["a"].query(Question("who", timeout=3600.0)):
                pass


async def test_keys_are_changed_everywhere_and_kept_in_files(tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.json" for name in "abc"}
    pools = [settings_of(name, keys=(KEY,), keyring_file=path) for name, path in files.items()]
    async with open_pool(*pools) as pool:
        await joined(pool)
        for report in (
            await pool["a"].install_key(NEW),
            await pool["b"].use_key(NEW),
            await pool["c"].remove_key(KEY),
        ):
            assert (report.error, sorted(report.answers), report.silent) == ("", ["a", "b", "c"], ())
        listed = await pool["a"].list_keys()
        assert {name: (answer.keys, answer.primary) for name, answer in listed.answers.items()} == dict.fromkeys(
            "abc", ([text(NEW)], text(NEW))
        )
        await until(pool.converged)
    for path in files.values():
        assert json.loads(path.read_text()) == [text(NEW)]
        assert path.stat().st_mode & 0o777 == 0o600
    # what the file says counts more than the key that was once given
    async with open_pool(settings_of("a", keys=(KEY,), keyring_file=files["a"])) as pool:
        listed = await pool["a"].list_keys()
        assert listed.answers["a"].keys == [text(NEW)]


async def test_a_key_that_cannot_be_kept_is_not_taken(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    path = folder / "keyring"
    async with open_pool(settings_of("a", keys=(KEY,), keyring_file=path)) as pool:
        path.unlink()
        folder.rmdir()
        report = await pool["a"].install_key(NEW)
        assert report.error == "1/1 nodes reported failure"
        assert "keyring file not written: No such file or directory" in report.answers["a"].text
        assert (await pool["a"].list_keys()).answers["a"].keys == [text(KEY)]
        folder.mkdir()
        assert (await pool["a"].install_key(NEW)).error == ""
        assert os.listdir(folder) == ["keyring"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file"),
        ("", "not a JSON array"),
        ("{}", "not a JSON array"),
        ("[1]", "not a JSON array"),
        ("[]", "0 keys, must be from 1 to 256"),
        ('["!!!!"]', "key 1 is no base64"),
        ('["AAAA"]', "key 1 has 3 bytes, must be 16, 24 or 32"),
        ("[" * 100_000, "larger than 65536 bytes"),
        ("[" * 60_000, "not a JSON array"),
    ],
)
def test_a_keyring_file_that_cannot_be_used_is_named(tmp_path: Path, content: str | None, why: str) -> None:
    path = tmp_path / "keyring"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        Node(settings_of("a", keyring_file=path))
    assert why in str(caught.value)
    assert str(path) in str(caught.value)


async def test_nodes_find_out_how_far_apart_they_are() -> None:
    async with open_pool(settings_of("a"), settings_of("b")) as pool:
        await joined(pool)
        await until(lambda: pool["a"].coordinate("b") is not None and pool["b"].coordinate("a") is not None)
        here, there = pool["a"].coordinate(), pool["a"].coordinate("b")
        assert here is not None
        assert there is not None
        assert 0 < distance(here, there) < 1.0
        assert pool["a"].coordinate("nobody") is None


async def test_of_two_with_one_name_the_later_one_ends() -> None:
    async with open_pool(*[settings_of(name) for name in ("a", "b", "c")]) as pool:
        await joined(pool)
        twin = Node(settings_of("b", bind_host="127.41.0.2"))
        with pytest.RaisesGroup(NameTaken), twin.subscribe() as events:
            async with trio.open_nursery() as nursery:
                await nursery.start(twin.run)
                with trio.fail_after(PATIENCE):
                    await twin.join([str(pool["a"].address)])
                    voted = await next_of(events, ConflictVoted)
                    assert isinstance(voted, ConflictVoted)
                    assert not voted.stays
                    await trio.sleep_forever()
        assert pool["b"].state.value == "alive"
