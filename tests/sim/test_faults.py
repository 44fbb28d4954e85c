"""Faults in the simulated world: slow members, wrong clocks, spoiled, reordered and narrow links, full disks."""

import pytest

from moot.gossip.faults import Clock, Fault
from moot.gossip.serf.events import MemberChange, MemberEvent, UserEventReceived
from moot.gossip.sim.cluster import SimCluster
from moot.gossip.swim.events import ProbeFailed, SyncFailed


def pool(n: int = 5, seed: int = 1, **more: object) -> SimCluster:
    cluster = SimCluster(n, seed=seed, **more)  # type: ignore[arg-type]  # any of its keywords
    cluster.boot_converged()
    cluster.run_for(5.0)
    return cluster


def failures(cluster: SimCluster) -> int:
    return sum(event.change is MemberChange.FAILED for _, _, event in cluster.events_of(MemberEvent))


def heard_at(cluster: SimCluster, name: str) -> float:
    return next(at for at, who, _ in cluster.events_of(UserEventReceived) if who == name)


def test_a_slow_member_hears_everything_late() -> None:
    cluster = pool(2)
    cluster.conditions.set_slow("n1", 2.0)
    began = cluster.now
    cluster.serf("n0").user_event(began, "deploy")
    cluster.run_for(10.0)
    assert 2.0 <= heard_at(cluster, "n1") - began < 3.5


def test_a_member_that_is_slow_by_more_than_a_probe_is_found_out_and_recovers() -> None:
    cluster = pool(5)
    cluster.conditions.set_slow("n3", 3.0)
    cluster.run_until(lambda: bool(cluster.events_of(ProbeFailed)), 60.0)
    cluster.conditions.set_slow("n3", 0.0)
    cluster.run_until(cluster.converged, 120.0)


def test_with_every_packet_spoiled_members_are_found_alive_by_streams() -> None:
    cluster = pool(5)
    cluster.conditions.put("junk", Fault(transport="packet", corrupt=1.0))
    cluster.run_for(60.0)
    assert failures(cluster) == 0
    assert cluster.converged()


def test_with_every_crossing_spoiled_streams_are_reset() -> None:
    cluster = pool(5)
    cluster.conditions.put("junk", Fault(transport="stream", corrupt=1.0))
    cluster.run_for(120.0)
    reasons = {event.reason for _, _, event in cluster.events_of(SyncFailed)}
    assert reasons
    assert all("connection reset by peer" in reason for reason in reasons)
    assert failures(cluster) == 0


def test_a_link_that_is_too_narrow_for_gossip_fails_members_and_a_wide_one_does_not() -> None:
    wide = pool(5)
    wide.conditions.put("narrow", Fault(bandwidth=100_000.0))
    wide.run_for(60.0)
    assert failures(wide) == 0
    narrow = pool(5)
    narrow.conditions.put("narrow", Fault(bandwidth=10.0))
    narrow.run_for(120.0)
    assert failures(narrow) > 0


def test_a_clock_that_runs_twice_as_fast_probes_twice_as_often() -> None:
    cluster = pool(5)
    before = {name: cluster.serf(name).counters.probes for name in cluster.hosts}
    cluster.conditions.set_clock("n1", Clock(drift=1.0))
    cluster.run_for(100.0)
    probes = {name: cluster.serf(name).counters.probes - before[name] for name in cluster.hosts}
    assert 1.8 < probes["n1"] / probes["n0"] < 2.2


@pytest.mark.parametrize("offset", [5.0, -5.0, 3600.0])
def test_a_clock_that_jumps_harms_nobody_for_long(offset: float) -> None:
    cluster = pool(5)
    cluster.conditions.set_clock("n2", Clock(offset=offset))
    cluster.run_for(60.0)
    cluster.run_until(cluster.converged, 60.0)
    assert cluster.hosts["n2"].now == pytest.approx(cluster.now + max(offset, -5.0), abs=1e-6)


def test_a_clock_that_is_set_back_stops_the_member_for_as_long_and_no_timer_is_early() -> None:
    cluster = pool(2)
    before = cluster.serf("n1").counters.probes
    cluster.conditions.set_clock("n1", Clock(offset=-10.0))
    cluster.run_for(9.5)
    assert cluster.serf("n1").counters.probes <= before + 1
    cluster.run_for(20.0)
    assert cluster.serf("n1").counters.probes >= before + 15


def all_faults(seed: int, *, wire: bool) -> str:
    cluster = SimCluster(8, seed=seed, wire=wire)
    cluster.boot_cold()
    cluster.run_for(5.0)
    cluster.conditions.put("junk", Fault(corrupt=0.1))
    cluster.conditions.put("mixed", Fault(reorder=0.2, reorder_delay=0.3))
    cluster.conditions.put("narrow", Fault(source=frozenset({"n1"}), both_ways=True, bandwidth=2000.0))
    cluster.conditions.set_slow("n2", 0.4)
    cluster.conditions.set_clock("n3", Clock(7.0, 0.05))
    cluster.conditions.set_clock("n4", Clock(-3.0, -0.2))
    cluster.run_for(40.0)
    cluster.conditions.calm()
    cluster.run_for(40.0)
    return cluster.digest()


@pytest.mark.parametrize("seed", [1, 2])
def test_with_all_faults_objects_and_bytes_tell_one_story(seed: int) -> None:
    assert all_faults(seed, wire=False) == all_faults(seed, wire=True) == all_faults(seed, wire=False)


def test_measuring_the_traffic_changes_nothing_else() -> None:
    plain, measured = pool(5), pool(5)
    assert measured.traffic == {}
    plain.run_for(30.0)
    measured.run_for(30.0)
    assert measured.digest() == plain.digest()
    assert set(measured.traffic) == set(measured.names)
    assert all(20 < sent.bytes / sent.messages < 200 for sent in measured.traffic.values())


def restarted(full: bool) -> SimCluster:
    """n0 sees the others fail, with a full disk or not, and is started again when they are back."""
    cluster = SimCluster(4, seed=1, snapshots=True)
    cluster.boot_cold()
    cluster.run_until(cluster.converged, 60.0)
    if full:
        cluster.disks["n0"].wipe()
        cluster.conditions.set_disk_full("n0")
    cluster.restart("n0", ["n1"] if full else [])
    cluster.run_until(cluster.converged, 60.0)
    cluster.restart("n0", [])
    return cluster


def test_a_member_finds_back_by_its_snapshot() -> None:
    cluster = restarted(full=False)
    cluster.run_until(cluster.converged, 60.0)


def test_with_a_full_disk_there_is_no_snapshot_to_find_back_by_and_with_room_again_there_is() -> None:
    cluster = restarted(full=True)
    assert cluster.disks["n0"].content == b""
    assert set(cluster.view("n0")) == {"n0"}
    cluster.conditions.set_disk_full("n0", False)
    cluster.run_until(cluster.converged, 120.0)
    cluster.restart("n0", [])
    cluster.run_until(cluster.converged, 60.0)


def test_members_of_another_label_do_not_hear_each_other() -> None:
    cluster = SimCluster(2, seed=1)
    cluster.start("n0", label="east")
    cluster.start("n1", ["n0"], label="west")
    cluster.run_for(30.0)
    assert set(cluster.view("n0")) == {"n0"}
    assert set(cluster.view("n1")) == {"n1"}
