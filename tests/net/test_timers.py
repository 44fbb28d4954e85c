"""Timers under trio's own virtual clock."""

import pytest
import trio
import trio.testing

from moot.gossip.net.timers import Timers
from moot.gossip.swim.effects import Timer


def on_time() -> None:
    pytest.fail("nothing held the process up")


async def test_timers_fire_in_order_ties_as_they_were_set(autojump_clock: trio.testing.MockClock) -> None:
    timers = Timers()
    fired: list[tuple[float, int]] = []
    start = trio.current_time()
    for token, after in enumerate((0.5, 0.1, 0.5, 0.3)):
        timers.add(start + after, Timer.PROBE, token)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            timers.run, lambda kind, token: fired.append((trio.current_time() - start, token)), on_time
        )
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert [token for _, token in fired] == [1, 3, 0, 2]
    assert [when for when, _ in fired] == [0.1, 0.3, 0.5, 0.5]


async def test_an_earlier_timer_shortens_the_sleep(autojump_clock: trio.testing.MockClock) -> None:
    timers = Timers()
    fired: list[tuple[float, Timer]] = []
    start = trio.current_time()
    timers.add(start + 10, Timer.PROBE, 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timers.run, lambda kind, token: fired.append((trio.current_time() - start, kind)), on_time)
        await trio.sleep(1)
        timers.add(start + 2, Timer.GOSSIP, 0)
        await trio.sleep(1.5)
        assert fired == [(2.0, Timer.GOSSIP)]
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert fired == [(2.0, Timer.GOSSIP), (10.0, Timer.PROBE)]


async def test_a_timer_set_while_firing_waits_for_its_turn(autojump_clock: trio.testing.MockClock) -> None:
    timers = Timers()
    fired: list[int] = []

    def fire(kind: Timer, token: int) -> None:
        fired.append(token)
        if token < 3:
            timers.add(trio.current_time(), kind, token + 1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(timers.run, fire, on_time)
        await trio.testing.wait_all_tasks_blocked()
        timers.add(trio.current_time(), Timer.REAP, 0)
        await trio.sleep(0.001)
        nursery.cancel_scope.cancel()
    assert fired == [0, 1, 2, 3]
    assert len(timers) == 0


async def test_timers_that_fire_for_ever_leave_room_for_others(autojump_clock: trio.testing.MockClock) -> None:
    timers = Timers()
    count = 0

    def fire(kind: Timer, token: int) -> None:
        nonlocal count
        count += 1
        timers.add(trio.current_time(), kind, token)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(timers.run, fire, on_time)
        timers.add(trio.current_time(), Timer.PROBE, 0)
        for _ in range(20):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert count >= 2


async def test_after_a_hold_up_what_waits_outside_is_taken_in_first(autojump_clock: trio.testing.MockClock) -> None:
    timers = Timers()
    seen: list[object] = []
    timers.add(trio.current_time() + 1, Timer.PROBE_TIMEOUT, 1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timers.run, lambda kind, token: seen.append(kind), lambda: seen.append("catch up"))
        await trio.testing.wait_all_tasks_blocked()
        autojump_clock.jump(60)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert seen == ["catch up", Timer.PROBE_TIMEOUT]
