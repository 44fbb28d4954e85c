"""A node with a snapshot comes back to its pool by itself."""

import dataclasses
from pathlib import Path

import trio

from moot.gossip.net.snapshotter import FLUSH_INTERVAL
from moot.gossip.serf.announcer import SerfState
from moot.gossip.serf.events import UserEventReceived
from tests.support.pool import FAST_SERF, open_pool, settings_of, until


async def test_a_node_that_was_killed_finds_back_without_being_told(tmp_path: Path) -> None:
    snapshot = tmp_path / "a.snapshot"
    async with open_pool(settings_of("b"), settings_of("c")) as pool:
        a = settings_of("a", snapshot=snapshot)
        await pool.start(a)
        await pool.join_all()
        await until(pool.converged)
        pool["b"].user_event("deploy", b"v1")
        await until(lambda: int(pool["a"].stats()["event_time"]) > 1)
        await trio.sleep(2 * FLUSH_INTERVAL)
        clock = int(pool["a"].stats()["member_time"])
        where = pool["a"].address
        pool.kill("a")
        await until(lambda: pool.all_see(a="failed"))
        assert f"clock: {clock - 1}" in snapshot.read_text().splitlines()
        back = await pool.start(dataclasses.replace(a, bind_port=where.port))
        with back.subscribe() as events:
            await until(pool.converged)
            assert int(back.stats()["member_time"]) >= clock
            with trio.move_on_after(1.0):
                async for event in events:
                    # what happened before the restart is not told again
                    assert not isinstance(event, UserEventReceived)


async def test_a_node_that_left_stays_away_unless_it_is_to_come_back(tmp_path: Path) -> None:
    snapshot = tmp_path / "a.snapshot"
    async with open_pool(settings_of("b")) as pool:
        await pool.start(settings_of("a", snapshot=snapshot))
        await pool.join_all()
        await until(pool.converged)
        await pool["a"].leave()
        pool.kill("a")
        kept = snapshot.read_bytes()
        await pool.start(settings_of("a", snapshot=snapshot))
        await trio.sleep(2.5 * FAST_SERF.reconnect_interval)
        assert pool.view("a") == {"a": "alive"}
        pool.kill("a")
        snapshot.write_bytes(kept)
        await pool.start(settings_of("a", snapshot=snapshot, rejoin_after_leave=True))
        await until(pool.converged)


async def test_who_restarts_during_an_outage_finds_those_who_come_back_later(tmp_path: Path) -> None:
    snapshot = tmp_path / "a.snapshot"
    async with open_pool(settings_of("b")) as pool:
        a = settings_of("a", snapshot=snapshot)
        await pool.start(a)
        await pool.join_all()
        await until(pool.converged)
        where = pool["b"].address
        pool.kill("b")
        await until(lambda: pool.all_see(b="failed"))
        pool.kill("a")
        await pool.start(a)
        assert pool.view("a") == {"a": "alive"}
        # nobody tells b where the pool is
        await pool.start(settings_of("b", bind_host=where.host, bind_port=where.port))
        await until(pool.converged)


async def test_a_leave_that_is_cancelled_leaves_all_the_same_once_the_snapshot_says_so(tmp_path: Path) -> None:
    snapshot = tmp_path / "a.snapshot"
    async with open_pool(settings_of("a", snapshot=snapshot)) as pool:
        with trio.CancelScope() as scope:
            scope.cancel()
            await pool["a"].leave()
        assert "leave" in snapshot.read_text().splitlines()
        await until(lambda: pool["a"].state is SerfState.LEFT)
