"""What a pool of real cores does in virtual time: it converges, notices, forgets and makes up."""

from collections.abc import Sequence

import pytest

from moot.gossip.config import LAN, SerfConfig
from moot.gossip.errors import CommandError
from moot.gossip.faults import Fault
from moot.gossip.serf.events import MemberChange, MemberEvent
from moot.gossip.sim import SimCluster
from moot.gossip.swim.events import MemberSuspected, StreamPingOnly
from moot.gossip.swim.scaling import suspicion_timeout

SEEDS = (1, 2, 3)
SETTLING = 10.0
"""Seconds that a booted pool gets to say all it has to say."""


def settled(n: int, seed: int) -> SimCluster:
    """A pool in which everybody knows everybody and nothing is left to gossip."""
    cluster = SimCluster(n, seed=seed)
    cluster.boot_converged()
    cluster.run_for(SETTLING)
    return cluster


def failures(cluster: SimCluster) -> Sequence[str]:
    """Who was seen as failed, once for each view that saw it."""
    return [
        event.member.name
        for _, _, event in cluster.history
        if isinstance(event, MemberEvent) and event.change is MemberChange.FAILED
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_hundred_members_that_join_through_one_find_each_other(seed: int) -> None:
    cluster = SimCluster(100, seed=seed)
    cluster.boot_cold()
    assert cluster.run_until(cluster.converged, 10) > 0.5


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("dark", [False, True], ids=["process", "host"])
def test_a_crash_is_seen_by_all_when_the_suspicion_has_run_out(seed: int, dark: bool) -> None:
    cluster = settled(100, seed)
    cluster.crash("n42", dark=dark)
    took = cluster.run_until(lambda: cluster.all_see({"n42": "failed"}), 60)
    shortest = suspicion_timeout(LAN.suspicion_mult, 100, LAN.probe_interval)
    # one of 99 probers hits it within a second or so; confirmations then shrink the timeout to the shortest
    assert shortest < took < shortest + 5 * LAN.probe_interval
    assert set(failures(cluster)) == {"n42"}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("seconds", [20.0, 300.0], ids=["short", "long"])
def test_a_partition_in_which_each_half_buried_the_other_heals(seed: int, seconds: float) -> None:
    cluster = settled(20, seed)
    west, east = cluster.names[:10], cluster.names[10:]
    cluster.partition(west)
    cluster.run_for(seconds)
    for name, view in cluster.views().items():
        near, far = (west, east) if name in west else (east, west)
        assert all(view[other] == "alive" for other in near)
        if seconds > 60:
            assert all(view[other] == "failed" for other in far)
    cluster.heal()
    # gossip to the dead while they are fresh, then Serf's reconnect every 30 s
    cluster.run_until(cluster.converged, 2 * SerfConfig().reconnect_interval)


@pytest.mark.parametrize("seed", SEEDS)
def test_who_leaves_is_seen_as_left_by_all_and_never_as_failed(seed: int) -> None:
    cluster = settled(30, seed)
    cluster.leave("n07")
    assert cluster.run_until(lambda: cluster.all_see({"n07": "left"}), 5) < 5
    cluster.run_for(60)
    assert cluster.all_see({"n07": "left"})
    assert failures(cluster) == []


def test_a_failed_member_that_is_forced_to_leave_is_left_everywhere() -> None:
    cluster = settled(20, 1)
    cluster.crash("n05")
    cluster.run_until(lambda: cluster.all_see({"n05": "failed"}), 60)
    cluster.force_leave("n11", "n05")
    cluster.run_until(lambda: cluster.all_see({"n05": "left"}), 5)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_pruned_member_is_gone_everywhere_and_push_pulls_do_not_bring_it_back(seed: int) -> None:
    cluster = settled(20, seed)
    cluster.crash("n05")
    cluster.run_until(lambda: cluster.all_see({"n05": "failed"}), 60)
    cluster.force_leave("n11", "n05", prune=True)
    cluster.run_until(lambda: cluster.all_see({"n05": None}), 5)
    cluster.run_for(3 * LAN.push_pull_interval)
    assert cluster.all_see({"n05": None})


@pytest.mark.parametrize("seed", SEEDS)
def test_a_pruned_member_that_starts_again_is_seen_again(seed: int) -> None:
    cluster = settled(20, seed)
    cluster.crash("n05")
    cluster.run_until(lambda: cluster.all_see({"n05": "failed"}), 60)
    cluster.force_leave("n11", "n05", prune=True)
    cluster.run_for(20)
    cluster.restart("n05", ["n00"])
    cluster.run_until(cluster.converged, 30)


def test_force_leave_of_a_living_member_is_refuted() -> None:
    cluster = settled(10, 1)
    cluster.force_leave("n1", "n2")
    cluster.run_until(cluster.converged, 10)
    cluster.run_for(30)
    assert cluster.converged()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("after", [2.0, 40.0, 400.0], ids=["unnoticed", "failed", "forgotten"])
def test_a_member_that_starts_afresh_outbids_what_is_said_of_its_former_life(seed: int, after: float) -> None:
    cluster = settled(20, seed)
    cluster.crash("n03")
    cluster.run_for(after)
    cluster.restart("n03", ["n00"])
    cluster.run_until(cluster.converged, 10)
    cluster.run_for(60)
    assert cluster.converged()


def test_a_member_that_left_may_come_back() -> None:
    cluster = settled(10, 1)
    cluster.leave("n3")
    cluster.run_for(60)
    cluster.restart("n3", ["n0"])
    cluster.run_until(cluster.converged, 10)


def test_nobody_joins_after_a_leave() -> None:
    cluster = settled(5, 1)
    cluster.serf("n1").leave(cluster.now)
    with pytest.raises(CommandError, match="can't Join after Leave"):
        cluster.join("n1", ["n0"])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_short_pause_goes_unpunished(seed: int) -> None:
    cluster = settled(20, seed)
    cluster.pause("n03")
    cluster.run_for(3)
    cluster.resume("n03")
    cluster.run_for(60)
    assert failures(cluster) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_member_paused_for_a_minute_fails_and_is_back_as_soon_as_it_goes_on(seed: int) -> None:
    cluster = settled(20, seed)
    cluster.pause("n03")
    cluster.run_for(60)
    assert {view["n03"] for name, view in cluster.views().items() if name != "n03"} == {"failed"}
    cluster.resume("n03")
    cluster.run_until(cluster.converged, 5)
    assert set(failures(cluster)) == {"n03"}, "it must not blame the others for its own absence"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("n", "loss"), [(10, 0.2), (30, 0.1)])
def test_ten_minutes_of_packet_loss_make_suspects_but_no_false_failure(n: int, loss: float, seed: int) -> None:
    cluster = settled(n, seed)
    cluster.conditions.put("loss", Fault(loss=loss))
    cluster.run_for(600)
    assert failures(cluster) == []
    assert cluster.events_of(MemberSuspected)
    cluster.heal()
    cluster.run_until(cluster.converged, 60)


def test_a_link_cut_one_way_is_bridged_by_the_others() -> None:
    cluster = settled(10, 1)
    cluster.conditions.cut("n0", "n1")
    cluster.run_for(300)
    assert cluster.events_of(MemberSuspected) == []


def test_a_member_that_hears_no_packets_is_kept_by_its_streams() -> None:
    cluster = settled(10, 1)
    cluster.conditions.put("deaf", Fault(to=frozenset({"n1"}), transport="packet", loss=1.0))
    cluster.run_for(120)
    assert failures(cluster) == []
    assert {event.member.name for _, _, event in cluster.events_of(StreamPingOnly)} >= {"n1"}


def test_duplicates_and_disorder_do_no_harm() -> None:
    cluster = SimCluster(30, seed=5)
    cluster.conditions.put("mess", Fault(duplicate=0.5, jitter=0.1))
    cluster.boot_cold()
    cluster.run_until(cluster.converged, 10)
    cluster.crash("n07")
    cluster.run_until(lambda: cluster.all_see({"n07": "failed"}), 60)
    assert set(failures(cluster)) == {"n07"}


def test_memberlist_alone_runs_without_the_layer_above() -> None:
    cluster = SimCluster(30, seed=1, layer="swim")
    cluster.boot_cold()
    cluster.run_until(cluster.converged, 10)
    cluster.crash("n07")
    cluster.run_until(lambda: cluster.all_see({"n07": "dead"}), 60)


def test_a_condition_that_never_holds_names_the_seed() -> None:
    cluster = SimCluster(2, seed=77)
    cluster.boot_converged()
    with pytest.raises(TimeoutError, match="seed 77"):
        cluster.run_until(lambda: False, 1)


def test_a_command_that_ends_at_once_is_not_waited_for_in_vain() -> None:
    cluster = SimCluster(1, seed=3)
    cluster.boot_cold()
    cluster.run_for(1.0)
    cluster.force_leave("n0", "nobody")
    assert cluster.now < 2.0


@pytest.mark.parametrize(("n", "wait", "seed"), [(5, 0, 6), (5, 3, 26), (20, 45, 6), (20, 45, 10), (20, 3, 8)])
def test_who_left_and_came_back_through_a_lossy_network_is_not_leaving_for_good(
    n: int, wait: float, seed: int
) -> None:
    # with the reference's rule about members that a peer lists as left, somebody sees it leaving for ever
    cluster = SimCluster(n, seed=seed)
    cluster.boot_cold()
    cluster.run_for(20)
    cluster.conditions.put("loss", Fault(loss=0.3))
    last = cluster.names[-1]
    cluster.leave(last)
    cluster.run_for(wait)
    cluster.restart(last, [cluster.names[seed % (n - 1)]])
    cluster.run_for(150)
    seen = {name: cluster.serf(name).member(last) for name in cluster.names}
    assert {name: member and member.status.value for name, member in seen.items()} == dict.fromkeys(seen, "alive")
