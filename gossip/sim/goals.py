"""Goals: whether simulated members see what a step waits for."""

from typing import TYPE_CHECKING

from moot.gossip.selectors import select
from moot.gossip.serf.members import MemberStatus
from moot.gossip.sim.cluster import SimCluster
from moot.gossip.sim.scenario import Goal

if TYPE_CHECKING:
    from moot.gossip.sim.deeds import Deeds


def is_reached(goal: Goal, cluster: SimCluster, deeds: "Deeds") -> bool:
    """Whether it holds now, for those that run and are not stopped. Never while members are still to start."""
    if deeds.starting:
        return False
    running = {name: host.member for name, host in cluster.hosts.items() if not cluster.conditions.is_paused(name)}
    if goal.what == "agreed":
        members = set(running.values())
        return all(_alive(cluster, name) == members for name in running)
    if goal.what == "groups":
        # each sees the members of its group, and itself among them
        views = {name: frozenset(_alive(cluster, name)) for name in running}
        groups = set(views.values())
        return len(groups) == goal.number and sum(map(len, groups)) == len(set(running.values()))
    wanted = select(goal.members, cluster.names)
    return all(_status(cluster, observer, name) == goal.what for observer in running for name in wanted)


def _alive(cluster: SimCluster, observer: str) -> set[str]:
    serf = cluster.serf(observer)
    there = (MemberStatus.ALIVE, MemberStatus.LEAVING)
    return {member.name for member in serf.members() if member.status in there}


def _status(cluster: SimCluster, observer: str, name: str) -> str:
    member = cluster.serf(observer).member(name)
    return "gone" if member is None else member.status.value
