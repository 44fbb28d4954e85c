"""Events, queries and keys in a pool of a hundred whose network loses every twentieth packet."""

from typing import Any

import pytest

from moot.gossip.config import SerfConfig
from moot.gossip.faults import Fault
from moot.gossip.serf.asking import Question
from moot.gossip.serf.events import (
    MemberChange,
    MemberEvent,
    QueryAcked,
    QueryDone,
    QueryReceived,
    UserEventReceived,
)
from moot.gossip.sim import SimCluster

SEEDS = (1, 2, 3)
LOSS = Fault(loss=0.05)
OLD, NEW = bytes(32), bytes(range(32))


def lossy(n: int, seed: int, **more: Any) -> SimCluster:
    """A settled pool on a bad network."""
    cluster = SimCluster(n, seed=seed, **more)
    cluster.boot_converged()
    cluster.conditions.put("loss", LOSS)
    cluster.run_for(10)
    return cluster


@pytest.mark.parametrize("seed", SEEDS)
def test_an_event_reaches_everybody_once(seed: int) -> None:
    cluster = lossy(100, seed)
    cluster.serf("n00").user_event(cluster.now, "deploy", b"v2")
    cluster.run_for(10)
    heard = [name for _, name, event in cluster.events_of(UserEventReceived) if event.event.payload == b"v2"]
    assert sorted(heard) == cluster.names


@pytest.mark.parametrize("seed", SEEDS)
def test_a_query_reaches_everybody_and_relays_bring_the_acks_home(seed: int) -> None:
    cluster = lossy(100, seed)
    ticket = cluster.query("n00", Question("load", ack=True, relay_factor=2))
    cluster.run_until(lambda: bool(cluster.events_of(QueryDone)), 20)
    assert len(cluster.events_of(QueryReceived)) == 100
    acked = [event.sender for _, _, event in cluster.events_of(QueryAcked) if event.ticket == ticket]
    assert len(acked) == len(set(acked))
    assert len(acked) >= 99


@pytest.mark.parametrize("seed", SEEDS)
def test_without_relays_every_lost_ack_is_missed(seed: int) -> None:
    """What the relays are for: one packet brings an ack, and one in twenty is lost."""
    cluster = lossy(100, seed)
    cluster.query("n00", Question("load", ack=True))
    cluster.run_until(lambda: bool(cluster.events_of(QueryDone)), 20)
    assert len(cluster.events_of(QueryReceived)) == 100
    assert 85 <= len(cluster.events_of(QueryAcked)) < 100


def rotate_under_load(cluster: SimCluster) -> None:
    """Install, use, remove, each again until all have done it, while events keep the network busy."""
    for operation, key in (("install", NEW), ("use", NEW), ("remove", OLD)):
        for _ in range(20):
            for name in cluster.names[::10]:
                cluster.serf(name).user_event(cluster.now, "busy", operation.encode())
            report = cluster.keys(cluster.names[0], operation, key)
            if not report.error:
                break
        else:
            raise AssertionError(f"{operation}: {report.error}, silent: {report.silent}")


@pytest.mark.parametrize("seed", SEEDS)
def test_keys_rotate_under_load_and_no_member_is_lost(seed: int) -> None:
    cluster = lossy(40, seed, keys=(OLD,))
    rotate_under_load(cluster)
    for host in cluster.hosts.values():
        assert host.keyring is not None
        assert host.keyring.keys == [NEW]
    cluster.run_for(60)
    assert cluster.converged()
    lost = [event for _, _, event in cluster.events_of(MemberEvent) if event.change is MemberChange.FAILED]
    assert lost == []


def test_who_was_down_during_a_rotation_is_kept_out_until_it_has_the_key() -> None:
    cluster = lossy(10, 1, keys=(OLD,))
    cluster.crash("n7")
    cluster.run_until(lambda: cluster.all_see({"n7": "failed"}), 60)
    rotate_under_load(cluster)
    cluster.start("n7", ["n0"])
    cluster.run_for(60)
    assert cluster.view("n0")["n7"] == "failed"
    cluster.crash("n7")
    cluster.start("n7", ["n0"], keys=(NEW,))
    assert cluster.run_until(cluster.converged, 30) < 30


@pytest.mark.parametrize("wire", [False, True], ids=["objects", "bytes"])
def test_objects_and_bytes_give_the_same_history_with_queries_and_keys(wire: bool) -> None:
    def play(as_bytes: bool) -> str:
        cluster = lossy(12, 5, keys=(OLD,), wire=as_bytes)
        cluster.query("n00", Question("load", tags={"role": "^$"}, ack=True, relay_factor=1))
        cluster.run_for(5)
        rotate_under_load(cluster)
        return cluster.digest()

    assert play(wire) == play(False)


def test_two_sides_find_each_other_again_long_after_each_buried_the_other() -> None:
    cluster = SimCluster(20, seed=4)
    cluster.boot_converged()
    east = cluster.names[15:]
    cluster.partition(east)
    cluster.run_for(3600)
    assert all(status == "failed" for name, status in cluster.view("n00").items() if name in east)
    cluster.heal()
    # of the failed one is dialled every thirty seconds, the likelier the more there are
    cluster.run_until(cluster.converged, 10 * SerfConfig().reconnect_interval)
