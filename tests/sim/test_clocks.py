"""Lamport clocks that somebody drove to where no honest pool comes: the pool goes on, and lets others in."""

import pytest

from moot.gossip.serf import MemberStatus
from moot.gossip.serf.lamport import LEAP
from moot.gossip.serf.messages import JoinIntent
from moot.gossip.sim.cluster import SimCluster
from moot.gossip.swim.messages import User
from moot.gossip.wire.serf_codec import encode_serf


def driven_pool(seed: int) -> SimCluster:
    """A pool of six whose clocks are beyond what a new member believes; n5 was told of, and crashed."""
    cluster = SimCluster(6, seed=seed)
    cluster.boot_cold()
    cluster.run_until(cluster.converged, 60.0)
    cluster.run_for(5.0)
    for host in cluster.hosts.values():
        for leap in (1, 2):
            forged = JoinIntent(2**63 + leap * LEAP, "nobody")
            host.receive_packet(host.address, [User(forged, encode_serf(forged))])
    # until nobody tells of it any more: who was not there has not heard it
    cluster.run_for(30.0)
    assert all(int(cluster.serf(name).stats()["member_time"]) > 2**63 + 2 * LEAP for name in cluster.hosts)
    cluster.join("n5", ["n0"])
    cluster.run_for(5.0)
    cluster.crash("n5")
    cluster.run_until(lambda: cluster.all_see({"n5": "failed"}), 60.0)
    return cluster


@pytest.mark.parametrize("seed", range(3))
def test_in_a_driven_pool_a_fresh_joiner_leaves_in_good_order(seed: int) -> None:
    cluster = driven_pool(seed)
    cluster.start("n5", ["n1"])
    cluster.run_until(cluster.converged, 60.0)
    cluster.run_for(5.0)
    cluster.leave("n5")
    cluster.run_until(lambda: cluster.all_see({"n5": "left"}), 60.0)


@pytest.mark.parametrize("seed", range(3))
def test_a_fresh_joiner_of_a_driven_pool_sees_others_leave_in_good_order(seed: int) -> None:
    cluster = driven_pool(seed)
    cluster.start("n5", ["n1"])
    cluster.run_until(cluster.converged, 60.0)
    cluster.run_for(5.0)
    cluster.leave("n3")
    cluster.run_until(lambda: cluster.all_see({"n3": "left"}), 60.0)
    listed = cluster.serf("n5").member("n3")
    assert listed is not None
    assert listed.status is MemberStatus.LEFT
