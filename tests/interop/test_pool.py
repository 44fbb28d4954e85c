"""Five of our agents as processes: join, crash, restart, leave, force-leave, prune; plain and encrypted."""

import base64
import time

import pytest

from moot.gossip.config import LOCAL
from tests.support.launching import View
from tests.support.processes import Lab, Moot

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

KEY = base64.b64encode(bytes(range(32))).decode()


def five(pool: Lab, *options: str) -> tuple[list[Moot], View]:
    """Five agents in one pool, and the view they agree on."""
    agents = [pool.moot(f"m{number}", *options) for number in range(5)]
    for agent in agents[1:]:
        agent.join(agents[0])
    view = {agent.name: "alive" for agent in agents}
    pool.everybody_sees(view)
    return agents, view


SEALED = ("--encrypt", KEY)
PLAIN_AND_SEALED = pytest.mark.parametrize(
    "options", [(), SEALED, (*SEALED, "--label", "blue")], ids=["plain", "encrypted", "encrypted-labelled"]
)


@PLAIN_AND_SEALED
def test_a_crash_a_restart_and_a_leave_are_seen_by_all(pool: Lab, options: tuple[str, ...]) -> None:
    agents, view = five(pool, *options)
    agents[4].kill()
    pool.everybody_sees(view | {"m4": "failed"})

    agents[4].start()
    agents[4].join(agents[1])
    pool.everybody_sees(view)

    agents[3].leave()
    pool.everybody_sees(view | {"m3": "left"})


@PLAIN_AND_SEALED
def test_force_leave_turns_failed_into_left_and_prune_removes_for_good(pool: Lab, options: tuple[str, ...]) -> None:
    agents, view = five(pool, *options)
    agents[4].kill()
    pool.everybody_sees(view | {"m4": "failed"})

    agents[0].force_leave("m4")
    pool.everybody_sees(view | {"m4": "left"})

    agents[1].force_leave("m4", prune=True)
    gone = {name: status for name, status in view.items() if name != "m4"}
    pool.everybody_sees(gone)

    # two push/pulls later nobody has brought it back
    watched_until = time.monotonic() + 2 * LOCAL.push_pull_interval + 2
    while time.monotonic() < watched_until:
        assert all(agent.view() == gone for agent in agents[:4])
        time.sleep(0.5)

    # the machine comes back: pruning is no ban
    agents[4].start()
    agents[4].join(agents[2])
    pool.everybody_sees(view)


def test_pruning_a_live_member_does_not_make_it_a_ghost(pool: Lab) -> None:
    agents, view = five(pool)
    agents[0].force_leave("m4", prune=True)
    time.sleep(7)  # the time after which a leaving member would be pruned
    pool.everybody_sees(view)


def test_agents_with_other_keys_or_labels_stay_apart(pool: Lab) -> None:
    other = base64.b64encode(bytes(32)).decode()
    agents = [
        pool.moot("plain"),
        pool.moot("sealed", "--encrypt", KEY),
        pool.moot("other", "--encrypt", other),
        pool.moot("labelled", "--label", "blue"),
    ]
    for asking in agents:
        for asked in agents:
            if asking is not asked:
                joined, error = asking.api.join([f"{asked.host}:7946"])
                assert joined == 0, (asking.name, asked.name)
                assert error.startswith("1 error occurred:")
    for agent in agents:
        assert agent.view() == {agent.name: "alive"}
