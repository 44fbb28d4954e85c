"""PoolBackend over real nodes: what the API asks of a pool, and who is noticed that was away while keys changed."""

from base64 import b64encode

import pytest
import trio

from moot.agent.keys import key_id
from moot.agent.pool_backend import PoolBackend
from moot.gossip.net import Node
from moot.gossip.serf.asking import Question
from moot.gossip.serf.events import QueryAcked
from moot.http.backend import Unacceptable
from moot.http.pool import KeysRefused
from tests.support.pool import Pool, open_pool, settings_of, until

OLD, NEW = bytes(range(32)), bytes(range(100, 132))


def text(key: bytes) -> str:
    return b64encode(key).decode()


async def joined(pool: Pool) -> None:
    await pool.join_all()
    await until(pool.converged)


class Lines:
    """A log that keeps its lines."""

    def __init__(self) -> None:
        self.warned: list[dict[str, object]] = []

    def trace(self, text: str, /, **fields: object) -> None:
        raise AssertionError(text)

    debug = info = error = trace

    def warn(self, text: str, /, **fields: object) -> None:
        self.warned.append({"text": text, **fields})


async def listen(backend: PoolBackend, node: Node, log: Lines) -> None:
    """What an agent does with its node's events."""
    with node.subscribe() as events:
        async for event in events:
            backend.hear(event, log)


async def test_keys_change_over_the_pool_and_a_member_that_is_away_stands_in_the_way() -> None:
    names = "abc"
    async with open_pool(*[settings_of(name, keys=(OLD,)) for name in names]) as pool:
        await joined(pool)
        backend = PoolBackend(pool["a"], ())
        assert (await backend.change_keys("install", text(NEW), force=False)).done == ["a", "b", "c"]
        pool.kill("c")
        await until(lambda: pool.view("a")["c"] == "failed")
        with pytest.raises(KeysRefused, match="c failed, its keys are unknown"):
            await backend.change_keys("use", key_id(NEW), force=False)
        await pool["a"].force_leave("c")
        assert (await backend.change_keys("use", key_id(NEW), force=False)).done == ["a", "b"]
        assert (await backend.change_keys("remove", key_id(OLD), force=False)).done == ["a", "b"]
        listing = await backend.list_keys()
        assert [(it.name, it.keys, it.primary) for it in listing.holders] == [
            (name, [key_id(NEW)], key_id(NEW)) for name in "ab"
        ]


@pytest.mark.parametrize("how", ["packets", "streams"])
async def test_a_member_that_was_away_while_the_key_changed_is_named_when_it_is_back(how: str) -> None:
    log = Lines()
    async with open_pool(*[settings_of(name, keys=(OLD,)) for name in "ab"]) as pool, trio.open_nursery() as nursery:
        await joined(pool)
        backend = PoolBackend(pool["a"], ())
        nursery.start_soon(listen, backend, pool["a"], log)
        place = pool["b"].address
        pool.kill("b")
        await until(lambda: pool.view("a")["b"] == "failed")
        await backend.change_keys("install", text(NEW), force=True)
        await backend.change_keys("use", key_id(NEW), force=True)
        await backend.change_keys("remove", key_id(OLD), force=True)
        # another pool is what a member is that nobody understands; it speaks by itself, or answers when it is called
        again = settings_of("b", keys=(OLD,), bind_host=place.host, bind_port=place.port)
        back = await pool.start(again)
        if how == "packets":
            assert back._transport is not None
            back._transport.send_packet(b"\1" + bytes(100), pool["a"].address)
        await until(lambda: bool(log.warned))
        assert log.warned[0]["name"] == "b"
        assert log.warned[0]["text"] == "a failed member is back, but sends what no key here opens"
        (holder,) = [it for it in (await backend.list_keys()).holders if it.name == "b"]
        assert (holder.state, holder.locked_out) == ("unreachable", True)
        nursery.cancel_scope.cancel()


async def test_queries_come_back_and_wrong_ones_are_refused_before_they_are_asked() -> None:
    async with open_pool(*[settings_of(name) for name in "ab"]) as pool:
        await joined(pool)
        backend = PoolBackend(pool["a"], ())
        with backend.query(Question(name="load", ack=True)) as answers, trio.fail_after(30):
            got = {answer.sender async for answer in answers if isinstance(answer, QueryAcked)}
        assert got == {"a", "b"}
        wrong: list[tuple[Question, str]] = [
            (Question(name="x", tags={"role": "("}), "tag role: no regular expression"),
            (Question(name="x", tags={str(n): "x" for n in range(64)}), "at most 64 filters"),
            (Question(name="x" * 2000), "exceeds limit of 1024 bytes; send less"),
            (Question(name="_serf_x"), "Queries cannot contain"),
        ]
        for question, words in wrong:
            with pytest.raises(Unacceptable, match=words.replace("(", r"\(")), backend.query(question):
                raise AssertionError("it was asked")
        with pytest.raises(Unacceptable, match="before encoding; send less"):
            backend.user_event("x", bytes(600), coalesce=False)


async def test_tags_change_for_the_whole_pool_but_not_those_of_the_agent() -> None:
    async with open_pool(*[settings_of(name, tags={"role": "nomad", "rack": "7"}) for name in "ab"]) as pool:
        await joined(pool)
        backend = PoolBackend(pool["a"], {"role"})

        def seen_by_b() -> dict[str, str]:
            member = pool["b"].member("a")
            assert member is not None
            return dict(member.tags)

        wanted = {"role": "nomad", "zone": "x"}
        assert await backend.change_tags({"zone": "x"}, ["rack", "missing"]) == wanted
        await until(lambda: seen_by_b() == wanted)
        for changed, deleted in (({"role": "x"}, []), ({}, ["role"])):
            with pytest.raises(Unacceptable, match="the tag role is the agent's own"):
                await backend.change_tags(changed, deleted)
        with pytest.raises(Unacceptable, match="exceeds limit of 512 bytes"):
            await backend.change_tags({"big": "x" * 600}, [])
        assert seen_by_b() == wanted


async def test_coordinates_and_flaps_come_from_the_node() -> None:
    async with open_pool(*[settings_of(name) for name in "ab"]) as pool:
        await joined(pool)
        backend = PoolBackend(pool["a"], ())
        await until(lambda: backend.coordinate("b") is not None)
        assert backend.coordinate("a") == pool["a"].coordinate()
        assert backend.coordinate("zzz") is None
        assert backend.flaps("b") == 0
