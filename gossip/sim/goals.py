"""Goals: whether simulated members see what a step waits for."""

from typing import TYPE_CHECKING

from moot.gossip.selectors import select
from moot.gossip.serf.members import MemberStatus
from moot.gossip.sim.cluster import SimCluster
from moot.gossip.sim.scenario import Goal

if TYPE_CHECKING:
    from moot.gossip.sim.deeds import Deeds


def is_reached(goal: Goal, cluster: SimCluster, deeds: "Deeds") -> bool:
    """Whether it holds now. Nothing is agreed while members are still to start."""
    if deeds.starting:
        return False
    if goal.what == "agreed":
        running = {host.member for host in cluster.hosts.values()}
        return all(_alive(cluster, name) == running for name in cluster.hosts)
    if goal.what == "groups":
        views = {frozenset(_alive(cluster, name)) for name in cluster.hosts}
        return len(views) == goal.number and all(
            _alive(cluster, name) == {host.member for host in cluster.hosts.values() if host.member in view}
            for view in views
            for name in view
            if name in cluster.hosts
        )
    wanted = select(goal.members, cluster.names)
    return all(_status(cluster, observer, name) == goal.what for observer in cluster.hosts for name in wanted)


def _alive(cluster: SimCluster, observer: str) -> set[str]:
    serf = cluster.serf(observer)
    there = (MemberStatus.ALIVE, MemberStatus.LEAVING)
    return {member.name for member in serf.members() if member.status in there}


def _status(cluster: SimCluster, observer: str, name: str) -> str:
    member = cluster.serf(observer).member(name)
    return "gone" if member is None else member.status.value
