"""Mixed pools: our agents and real serf agents must not be able to tell each other apart."""

import base64
import time
from typing import Any

import pytest

from moot.gossip.config import LOCAL
from tests.support.launching import View, until
from tests.support.processes import Lab, Moot, Serf

pytestmark = [pytest.mark.live, pytest.mark.peer, pytest.mark.timeout(300)]

KEY = base64.b64encode(bytes(range(100, 132))).decode()
PLAIN_AND_SEALED = pytest.mark.parametrize("key", ["", KEY], ids=["plain", "encrypted"])


def moot_options(key: str) -> list[str]:
    return ["--encrypt", key] if key else []


def serf_options(key: str) -> list[str]:
    return [f"-encrypt={key}"] if key else []


def three_and_three(mixed: Lab, key: str) -> tuple[list[Moot], list[Serf], View]:
    """Three of each kind in one pool. They join crosswise, so that both kinds are asked by both."""
    ours = [mixed.moot(f"m{n}", "--tag", "kind=moot", "--tag", f"n={n}", *moot_options(key)) for n in range(3)]
    theirs = [mixed.serf(f"s{n}", "-tag", "kind=serf", "-tag", f"n={n}", *serf_options(key)) for n in range(3)]
    theirs[0].join(ours[0])
    ours[1].join(theirs[0])
    ours[2].join(ours[0])
    theirs[1].join(ours[1])
    theirs[2].join(theirs[1])
    view = {agent.name: "alive" for agent in (*ours, *theirs)}
    mixed.everybody_sees(view)
    return ours, theirs, view


@PLAIN_AND_SEALED
def test_serf_joins_us(mixed: Lab, key: str) -> None:
    ours, theirs = mixed.moot("m", *moot_options(key)), mixed.serf("s", *serf_options(key))
    theirs.join(ours)
    mixed.everybody_sees({"m": "alive", "s": "alive"})


@PLAIN_AND_SEALED
def test_we_join_serf(mixed: Lab, key: str) -> None:
    ours, theirs = mixed.moot("m", *moot_options(key)), mixed.serf("s", *serf_options(key))
    ours.join(theirs)
    mixed.everybody_sees({"m": "alive", "s": "alive"})


@PLAIN_AND_SEALED
def test_tags_addresses_and_versions_are_the_same_in_both_listings(mixed: Lab, key: str) -> None:
    ours, theirs, _ = three_and_three(mixed, key)

    def listing(agent: Moot | Serf) -> list[dict[str, Any]]:
        return sorted(agent.members(), key=lambda member: str(member["name"]))

    expected = [
        {
            "name": agent.name,
            "addr": f"{agent.host}:7946",
            "status": "alive",
            "tags": {"kind": "moot" if isinstance(agent, Moot) else "serf", "n": agent.name[1:]},
            "versions": (1, 5, 2, 2, 5, 5),
        }
        for agent in (*ours, *theirs)
    ]
    everybody: list[Moot | Serf] = [*ours, *theirs]
    assert [listing(agent) for agent in everybody] == [expected] * 6


@PLAIN_AND_SEALED
def test_a_crash_of_either_kind_is_seen_by_both_kinds_and_so_is_its_return(mixed: Lab, key: str) -> None:
    ours, theirs, view = three_and_three(mixed, key)
    ours[2].kill()
    theirs[2].kill()
    mixed.everybody_sees(view | {"m2": "failed", "s2": "failed"})

    ours[2].start()
    ours[2].join(theirs[0])
    theirs[2].start()
    theirs[2].join(ours[0])
    mixed.everybody_sees(view)


@PLAIN_AND_SEALED
def test_a_graceful_leave_of_either_kind_is_seen_as_left_by_both_kinds(mixed: Lab, key: str) -> None:
    ours, theirs, view = three_and_three(mixed, key)
    ours[1].leave()
    mixed.everybody_sees(view | {"m1": "left"})
    theirs[1].leave()
    mixed.everybody_sees(view | {"m1": "left", "s1": "left"})


@PLAIN_AND_SEALED
def test_force_leave_works_from_either_side(mixed: Lab, key: str) -> None:
    # serf's local profile sends a prune so seldom that one agent in twelve of six would miss it, for good
    mixed.profile = "lan"
    ours, theirs, view = three_and_three(mixed, key)
    ours[2].kill()
    theirs[2].kill()
    mixed.everybody_sees(view | {"m2": "failed", "s2": "failed"})
    (result,) = ours[0].api.force_leave_each(["s2"], wait=60.0)["results"]
    assert (result["before"], result["after"], result["done"]) == ("failed", "left", True)
    # real serf agents are asked like ours, and answer
    agreed = [{"name": name, "status": "left"} for name in ("m0", "m1", "s0", "s1")]
    assert result["agreement"]["observers"] == agreed
    mixed.everybody_sees(view | {"m2": "failed", "s2": "left"})
    theirs[0].force_leave("m2")
    left = view | {"m2": "left", "s2": "left"}
    mixed.everybody_sees(left)
    ours[0].force_leave("m2", prune=True)
    theirs[0].force_leave("s2", prune=True)
    mixed.everybody_sees({name: status for name, status in view.items() if not name.endswith("2")})


def test_force_leave_of_a_live_member_is_refuted_by_either_kind(mixed: Lab) -> None:
    ours, theirs, view = three_and_three(mixed, "")
    ours[0].force_leave("s1")
    theirs[0].force_leave("m1")
    mixed.everybody_sees(view)
    until("our agent told its refutation", lambda: ours[1].view()["m1"] == "alive")


def pruned_alive(theirs: list[Serf], name: str) -> Serf:
    """Have a live member pruned until one of the real agents forgets it, as each mostly does; answers that one."""
    for _ in range(5):
        theirs[0].force_leave(name, prune=True)
        ends = time.monotonic() + 10.0
        while time.monotonic() < ends:
            for agent in theirs:
                if agent.name != name and name not in agent.view():
                    return agent
            time.sleep(0.1)
    raise AssertionError(f"nobody forgot {name}")


def test_ours_that_is_pruned_alive_by_real_agents_comes_back_and_theirs_stays_a_ghost(mixed: Lab) -> None:
    """Real agents forget whom they prune though it contradicts. Ours notices at a push/pull, and comes back."""
    ours = mixed.moot("m0")
    theirs = [mixed.serf(f"s{number}") for number in range(3)]
    ours.join(theirs[0])
    for agent in theirs[1:]:
        agent.join(theirs[0])
    view = {agent.name: "alive" for agent in (ours, *theirs)}
    mixed.everybody_sees(view)

    pruned_alive(theirs, "m0")
    mixed.everybody_sees(view)

    forgetful = pruned_alive(theirs, "s2")
    # two push/pulls of each later it has not come back there, though it is well, and listed by us
    ends = time.monotonic() + 2 * LOCAL.push_pull_interval
    while time.monotonic() < ends:
        assert "s2" not in forgetful.view()
        time.sleep(1.0)
    assert ours.view() == view
    assert theirs[2].view() == view


def test_a_wrong_key_is_refused_with_a_reason(mixed: Lab) -> None:
    ours = mixed.moot("m", "--encrypt", KEY)
    plain = mixed.serf("p")
    other = mixed.serf("o", f"-encrypt={base64.b64encode(bytes(32)).decode()}")
    joined, error = ours.api.join([f"{plain.host}:7946"])
    assert joined == 0
    assert "Encryption is configured but remote state is not encrypted" in error
    joined, error = ours.api.join([f"{other.host}:7946"])
    assert joined == 0
    assert "No installed keys could decrypt the message" in error
    done = plain.ask("join", f"{ours.host}:7946")
    assert done.code != 0


def test_a_nomad_pool_refuses_a_plain_serf_agent_and_says_why(mixed: Lab) -> None:
    ours = mixed.moot("m", "--pool", "nomad")
    theirs = mixed.serf("s")
    joined, error = ours.api.join([f"{theirs.host}:7946"])
    assert joined == 0
    assert f"Failed to join {theirs.host}: member 's' is not a server" in error
    assert ours.view() == {"m.global": "alive"}
    theirs.ask("join", f"{ours.host}:7946")
    assert ours.view() == {"m.global": "alive"}
