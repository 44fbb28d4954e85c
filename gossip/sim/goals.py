"""Goals: whether the agents see what a step waits for."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol

from moot.gossip.selectors import select
from moot.gossip.sim.scenario import Goal


class Sight(Protocol):
    """What can be seen of a pool at this instant."""

    def running(self) -> Mapping[str, str]:
        """The agents that run and are not stopped, with the names that they bear in the pool."""
        ...

    def alive(self, observer: str) -> AbstractSet[str]:
        """Who is there as an agent sees it: alive, suspected or leaving."""
        ...

    def status(self, observer: str, member: str) -> str:
        """`alive leaving left failed`, as an agent sees a member; `gone` when it lists none."""
        ...


def is_reached(goal: Goal, sight: Sight, names: Sequence[str]) -> bool:
    """Whether it holds, for those that run and are not stopped; nothing does when nobody does.

    `names` are whom the goal's words mean.
    """
    running = sight.running()
    if not running:
        return False
    if goal.what == "agreed":
        members = set(running.values())
        return all(sight.alive(name) == members for name in running)
    if goal.what == "groups":
        # each sees the members of its group, and itself among them
        views = {name: frozenset(sight.alive(name)) for name in running}
        groups = set(views.values())
        return len(groups) == goal.number and sum(map(len, groups)) == len(set(running.values()))
    wanted = select(goal.members, names)
    return all(sight.status(observer, name) == goal.what for observer in running for name in wanted)
