"""Rotation over a made-up pool: done step by step, stopped safely wherever it has to, taken up again."""

from collections.abc import Callable
from typing import Any, cast

import msgspec
import pytest
import trio

from moot.agent.keys import PoolKeys, key_id
from moot.agent.rotation import TRIES, Rotation, RotationStopped, Step
from moot.gossip.serf.members import MemberStatus
from moot.http import pool as operations
from moot.http.client import KeysRefused
from moot.http.pool import KeyOperation
from moot.http.pool_schema import KeyChangeAnswer, KeysAnswer
from tests.api.scripted import made
from tests.api.scripted_pool import NEW, OLD, OTHER, ScriptedKeys, text_of

OLD_ID, NEW_ID, OTHER_ID = map(key_id, (OLD, NEW, OTHER))
EVERYBODY = "abc"


class Client:
    """The API's client over a made-up pool; `before` may change the pool before an operation."""

    def __init__(self, node: ScriptedKeys) -> None:
        self.node = node
        self.before: Callable[[str], None] = lambda operation: None
        self._keys = PoolKeys(node, lambda member: False)

    def keys(self) -> dict[str, Any]:
        listing = trio.run(self._keys.listing)
        found: dict[str, Any] = msgspec.to_builtins(KeysAnswer.of(listing, show=False))
        return found

    def change_keys(self, operation: str, key: str, *, force: bool = False) -> dict[str, Any]:
        self.before(operation)

        async def change() -> operations.KeyChange:
            return await self._keys.change(cast("KeyOperation", operation), key, force=force)

        try:
            found: dict[str, Any] = msgspec.to_builtins(KeyChangeAnswer.of(trio.run(change)))
        except operations.KeysRefused as refusal:
            raise KeysRefused({"error": str(refusal), "blockers": [], "hints": refusal.hints}, "") from None
        return found


def client(*keys: bytes, third: MemberStatus = MemberStatus.ALIVE) -> Client:
    """Members a, b and c with these keys."""
    statuses = (MemberStatus.ALIVE, MemberStatus.ALIVE, third)
    table = [made(EVERYBODY[at], f"127.0.0.{at + 1}", {}, status) for at, status in enumerate(statuses)]
    return Client(ScriptedKeys.of(table, *(keys or (OLD,))))


def rotated(pool: Client, new: str, *, force: bool = False, keep_old: bool = False) -> list[str]:
    """Rotate; the names of the steps."""
    steps: list[Step] = []
    Rotation(pool, force=force, keep_old=keep_old, tell=steps.append).run(new)
    return [step.name for step in steps]


def stopped(pool: Client, new: str, *, force: bool = False) -> RotationStopped:
    """Rotate, and stop on the way."""
    with pytest.raises(RotationStopped) as caught:
        rotated(pool, new, force=force)
    return caught.value


def rings(pool: Client) -> list[list[bytes]]:
    return [pool.node.held(name) for name in EVERYBODY]


def test_all_keys_are_replaced_one_step_after_the_other() -> None:
    pool = client(OLD, OTHER)
    assert rotated(pool, text_of(NEW)) == ["check", "install", "use", "remove", "remove"]
    assert rings(pool) == [[NEW]] * 3


def test_no_operation_follows_another_without_a_list_between() -> None:
    pool = client()
    rotated(pool, text_of(NEW))
    changes = [at for at, operation in enumerate(pool.node.asked) if operation != "list"]
    assert all(pool.node.asked[at + 1] == "list" for at in changes)


def test_old_keys_can_be_kept() -> None:
    pool = client()
    assert rotated(pool, text_of(NEW), keep_old=True) == ["check", "install", "use"]
    assert rings(pool) == [[NEW, OLD]] * 3


def test_lost_answers_only_cost_repetitions() -> None:
    pool = client()

    def lose(operation: str) -> None:
        pool.node.lost = {"b": 2}

    pool.before = lose
    rotated(pool, text_of(NEW))
    assert rings(pool) == [[NEW]] * 3


def test_a_member_that_is_away_stops_it_before_anything_is_changed() -> None:
    pool = client(third=MemberStatus.FAILED)
    stop = stopped(pool, text_of(NEW))
    assert str(stop) == "nothing was changed: c failed, so nobody can give it the key"
    assert stop.hints[0] == "bring c back first, or let it go for good: moot force-leave c"
    assert "--force" in stop.hints[1]
    assert set(pool.node.asked) == {"list"}


def test_a_silent_member_stops_it_also_with_force() -> None:
    pool = client()
    pool.node.lost = {"b": 999}
    stop = stopped(pool, text_of(NEW), force=True)
    assert str(stop) == "nothing was changed: b did not answer"
    assert "moot reachability" in stop.hints[-1]


def test_force_passes_over_failed_members() -> None:
    pool = client(third=MemberStatus.FAILED)
    assert rotated(pool, text_of(NEW), force=True)[-1] == "remove"
    assert rings(pool) == [[NEW], [NEW], [OLD]]


def test_who_does_not_take_the_key_stops_it_with_the_old_one_in_use() -> None:
    pool = client()

    def break_b(operation: str) -> None:
        pool.node.broken = {"b": "keyring file not written: No space left on device"}

    pool.before = break_b
    stop = stopped(pool, text_of(NEW))
    assert str(stop) == (
        "stopped at install, no alive member is cut off: b says: keyring file not written: No space left on device"
    )
    assert stop.hints == [f"take it up again when that is mended: moot keys rotate --new {NEW_ID}"]
    assert pool.node.asked.count("install") == TRIES
    assert rings(pool) == [[OLD, NEW], [OLD], [OLD, NEW]]
    pool.before = lambda operation: None
    pool.node.broken = {}
    rotated(pool, NEW_ID)
    assert rings(pool) == [[NEW]] * 3


def test_a_key_that_nobody_took_cannot_be_taken_up_again() -> None:
    pool = client()

    def break_all(operation: str) -> None:
        pool.node.broken = dict.fromkeys(EVERYBODY, "disk full")

    pool.before = break_all
    assert stopped(pool, text_of(NEW)).hints == ["rotate anew when that is mended: moot keys rotate"]


def test_a_stop_between_two_keys_leaves_all_understanding_all_and_offers_both_ways() -> None:
    pool = client()

    def die(operation: str) -> None:
        if operation == "use":
            pool.node.lost = {"c": 999}

    pool.before = die
    stop = stopped(pool, text_of(NEW))
    assert str(stop).startswith("stopped at use, no alive member is cut off: ")
    assert stop.hints == [
        f"take it up again when that is mended: moot keys rotate --new {NEW_ID}",
        f"or go back to the old key: moot keys use {OLD_ID}",
    ]
    assert all(set(ring) == {OLD, NEW} for ring in rings(pool))
    pool.before, pool.node.lost = (lambda operation: None), {}
    rotated(pool, NEW_ID)
    assert rings(pool) == [[NEW]] * 3


def test_who_refuses_to_use_the_key_is_named_with_its_reason() -> None:
    pool = client()

    def lose_key(operation: str) -> None:
        if operation == "use":
            pool.node.rings["b"].remove(NEW)

    pool.before = lose_key
    stop = stopped(pool, text_of(NEW))
    assert f"b lacks {NEW_ID}" in str(stop)


def test_a_member_that_fails_on_the_way_stops_it() -> None:
    pool = client()

    def fail(operation: str) -> None:
        if operation == "remove":
            pool.node.table[2] = pool.node.table[2].became(MemberStatus.FAILED)

    pool.before = fail
    assert "c failed" in str(stopped(pool, text_of(NEW)))
    assert rings(pool) == [[NEW, OLD]] * 3


def test_who_joins_on_the_way_is_given_the_key_as_well() -> None:
    pool = client()
    newcomer = ScriptedKeys.of([made("d", "127.0.0.4", {})], OLD)

    def join(operation: str) -> None:
        if operation == "install" and "d" not in pool.node.rings:
            pool.node.table += newcomer.table
            pool.node.rings |= newcomer.rings

    pool.before = join
    rotated(pool, text_of(NEW))
    assert pool.node.held("d") == [NEW]
