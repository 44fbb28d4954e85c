"""Prunes in whole pools: gone everywhere, not back by hearsay, back when the member really is."""

import pytest

from moot.gossip.config import LAN, LOCAL, SwimConfig
from moot.gossip.serf import MemberStatus
from moot.gossip.serf.events import MemberEvent
from moot.gossip.serf.ghost import Ghost
from moot.gossip.serf.members import SerfMember
from moot.gossip.serf.membership import Membership
from moot.gossip.sim.cluster import SimCluster

PUSH_PULLS = 2.5
"""So many intervals contain at least two push/pulls of every member."""


def pool(n: int, seed: int, swim: SwimConfig = LAN) -> SimCluster:
    cluster = SimCluster(n, seed=seed, swim=swim)
    cluster.boot_converged()
    cluster.run_for(3.0)
    return cluster


def listed(cluster: SimCluster, name: str) -> dict[str, MemberStatus]:
    """How each running member lists that one; those that do not list it are missing."""
    found = {}
    for observer in cluster.hosts:
        member = cluster.serf(observer).member(name)
        if member is not None and observer != name:
            found[observer] = member.status
    return found


def fails(cluster: SimCluster, name: str) -> None:
    """Kill a member and wait until all have seen it."""
    cluster.crash(name, dark=True)
    observers = len(cluster.hosts)
    failed = [MemberStatus.FAILED] * observers
    cluster.run_until(lambda: list(listed(cluster, name).values()) == failed, 120.0)


def all_list(cluster: SimCluster, name: str, status: MemberStatus) -> bool:
    return list(listed(cluster, name).values()) == [status] * (len(cluster.hosts) - (name in cluster.hosts))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("swim", [LAN, LOCAL])
def test_a_pruned_zombie_is_gone_everywhere_and_stays_away(swim: SwimConfig, seed: int) -> None:
    cluster = pool(8, seed, swim)
    fails(cluster, "n5")
    cluster.force_leave("n0", "n5", prune=True)
    # gossip may miss somebody, who is told again by the next push/pull
    cluster.run_until(lambda: not listed(cluster, "n5"), 4 * swim.push_pull_interval)
    ends = cluster.now + PUSH_PULLS * swim.push_pull_interval
    while cluster.now < ends:
        cluster.run_for(1.0)
        assert not listed(cluster, "n5")


@pytest.mark.parametrize("seed", range(5))
def test_who_missed_the_prune_neither_poisons_the_pool_nor_keeps_the_zombie(seed: int) -> None:
    cluster = pool(8, seed)
    fails(cluster, "n5")
    cluster.partition(["n7"], [name for name in cluster.hosts if name != "n7"])
    cluster.force_leave("n0", "n5", prune=True)
    cluster.run_for(5.0)
    assert listed(cluster, "n5") == {"n7": MemberStatus.FAILED}
    cluster.heal()
    cluster.run_until(lambda: not listed(cluster, "n5"), 150.0)


@pytest.mark.parametrize("after", [1.0, 45.0, 100.0, 200.0])
def test_a_pruned_member_that_restarts_is_alive_everywhere_soon(after: float) -> None:
    """While Swim still remembers its death, when only the prune is remembered, and when nothing is."""
    cluster = pool(8, int(after))
    fails(cluster, "n5")
    cluster.force_leave("n0", "n5", prune=True)
    cluster.run_until(lambda: not listed(cluster, "n5"), 120.0)
    cluster.run_for(after)
    cluster.restart("n5", ["n2"])
    took = cluster.run_until(lambda: all_list(cluster, "n5", MemberStatus.ALIVE), 60.0)
    assert took < 10.0
    cluster.run_for(90.0)
    assert all_list(cluster, "n5", MemberStatus.ALIVE)


@pytest.mark.parametrize("after", [1.0, 45.0])
def test_a_pruned_member_that_others_join_is_alive_everywhere_soon(after: float) -> None:
    """It says nothing itself: no join intent of its own goes round."""
    cluster = pool(8, 3)
    fails(cluster, "n5")
    cluster.force_leave("n0", "n5", prune=True)
    cluster.run_until(lambda: not listed(cluster, "n5"), 120.0)
    cluster.run_for(after)
    cluster.start("n5")
    cluster.join("n2", ["n5"])
    cluster.run_until(lambda: all_list(cluster, "n5", MemberStatus.ALIVE), 60.0)


@pytest.mark.parametrize("seed", range(3))
def test_pruning_a_live_member_makes_no_ghost(seed: int) -> None:
    cluster = pool(5, seed)
    cluster.force_leave("n0", "n3", prune=True)
    cluster.run_until(lambda: all_list(cluster, "n3", MemberStatus.ALIVE), 30.0)
    cluster.run_for(30.0)
    assert all_list(cluster, "n3", MemberStatus.ALIVE)
    assert all_list(cluster, "n0", MemberStatus.ALIVE)


def test_pruning_the_only_other_member_is_undone_by_the_next_push_pull() -> None:
    """Nobody is told of the prune, so it cannot refute at once, and is a ghost for a while."""
    cluster = pool(2, 1)
    cluster.serf("n0").force_leave(cluster.now, "n1", prune=True)
    cluster.run_until(lambda: not listed(cluster, "n1"), 10.0)
    cluster.run_until(lambda: all_list(cluster, "n1", MemberStatus.ALIVE), 60.0)
    cluster.run_for(90.0)
    assert all_list(cluster, "n1", MemberStatus.ALIVE)


def test_a_member_that_leaves_is_pruned_and_may_come_back() -> None:
    cluster = pool(6, 2)
    cluster.leave("n4")
    cluster.run_until(lambda: all_list(cluster, "n4", MemberStatus.LEFT), 60.0)
    cluster.force_leave("n1", "n4", prune=True)
    cluster.run_until(lambda: not listed(cluster, "n4"), 60.0)
    cluster.restart("n4", ["n0"])
    cluster.run_until(lambda: all_list(cluster, "n4", MemberStatus.ALIVE), 60.0)


@pytest.mark.parametrize("away", [60.0, 400.0, 3600.0])
def test_who_missed_the_prune_for_long_is_told_however_late(away: float) -> None:
    cluster = pool(8, 1, LOCAL)
    fails(cluster, "n5")
    cluster.partition(["n7"])
    cluster.force_leave("n0", "n5", prune=True)
    cluster.run_for(away)
    cluster.heal()
    cluster.run_until(lambda: cluster.converged() and not listed(cluster, "n5"), 300.0)
    cluster.run_for(60.0)
    assert not listed(cluster, "n5")


@pytest.mark.parametrize("away", [30.0, 300.0])
def test_a_member_that_was_pruned_while_it_was_cut_off_comes_back_by_itself(away: float) -> None:
    cluster = pool(8, 1, LOCAL)
    cluster.partition(["n7"])
    others = [name for name in cluster.hosts if name != "n7"]
    cluster.run_until(lambda: all(cluster.view(name).get("n7") == "failed" for name in others), 120.0)
    cluster.force_leave("n0", "n7", prune=True)
    cluster.run_for(away)
    assert listed(cluster, "n7") == {}
    cluster.heal()
    assert cluster.run_until(cluster.converged, 120.0) < 60.0


def peers_of_the_reference(patch: pytest.MonkeyPatch, *, but: str) -> None:
    """All but one member forget whom they prune, whatever it says, and list nobody again before it comes anew."""
    forget, prune = Membership._forget, Membership._prune

    def forget_blindly(self: Membership, now: float, member: SerfMember) -> None:
        forget(self, now, member)
        if self._name != but:
            self.pruned.pop(member.name)

    def prune_at_once(self: Membership, now: float, member: SerfMember) -> None:
        (prune if self._name == but else forget_blindly)(self, now, member)

    patch.setattr(Membership, "_forget", forget_blindly)
    patch.setattr(Membership, "_prune", prune_at_once)
    patch.setattr(Membership, "_reveal", lambda self, name, ltime: False)


@pytest.mark.parametrize("seed", range(3))
def test_a_ghost_among_peers_of_the_reference_notices_and_is_listed_again(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers_of_the_reference(monkeypatch, but="n3")
    cluster = pool(5, seed)
    cluster.force_leave("n0", "n3", prune=True)
    cluster.run_for(7.0)
    assert listed(cluster, "n3") == {}
    # it notices at its next push/pull
    cluster.run_until(lambda: all_list(cluster, "n3", MemberStatus.ALIVE), 75.0)
    cluster.run_for(60.0)
    assert cluster.converged()
    comings = [at for at, _, event in cluster.events_of(MemberEvent) if event.member.name == "n3"]
    assert max(comings) < cluster.now - 60.0


def test_among_peers_of_the_reference_a_ghost_that_does_not_notice_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    peers_of_the_reference(monkeypatch, but="n3")
    monkeypatch.setattr(Ghost, "look", lambda self, now, peer, reply: None)
    cluster = pool(5, 1)
    cluster.force_leave("n0", "n3", prune=True)
    cluster.run_for(300.0)
    assert listed(cluster, "n3") == {}


def test_nobody_takes_itself_for_a_ghost_without_a_prune() -> None:
    cluster = SimCluster(30, seed=1, swim=LOCAL)
    cluster.boot_cold()
    cluster.run_until(cluster.converged, 60.0)
    cluster.partition(cluster.names[:10])
    cluster.run_for(100.0)
    cluster.heal()
    cluster.run_until(cluster.converged, 600.0)
    before = {name: cluster.serf(name).swim.me.incarnation for name in cluster.hosts}
    cluster.run_for(200.0)
    assert {name: cluster.serf(name).swim.me.incarnation for name in cluster.hosts} == before
