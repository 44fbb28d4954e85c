"""PruneMemory: whom an operator had forgotten, for a while, so that nobody brings them back by hearsay.

Deviation: the reference forgets a pruned member at once. A peer that missed the prune still lists it as alive,
and the next push/pull revives it everywhere: the zombie that operators know. We remember the name, and refuse
claims that are no newer than the prune; and a peer whose push/pull shows that it missed the prune is told
again, for gossip does not always reach everybody. A member that is really there comes back by any of three
ways: with a higher incarnation, with a newer join intent, or by answering when we ask it (`revival`).
"""

from dataclasses import replace

from moot.gossip.record import message
from moot.gossip.swim.member import Member

MEMORY_MAX = 8192
"""Most names remembered; the oldest go first."""


@message
class Pruned:
    """What was known of a member when it was pruned. `until` is when to forget that, too, `reveal_at` when to list
    it again if it is there (seconds)."""

    incarnation: int
    ltime: int
    until: float
    reveal_at: float


class PruneMemory:
    """The pruned, by name."""

    def __init__(self) -> None:
        self._by_name: dict[str, Pruned] = {}

    def get(self, name: str) -> Pruned | None:
        """What is remembered of that name."""
        return self._by_name.get(name)

    def remember(self, name: str, pruned: Pruned) -> None:
        """From now on, refuse what is no newer."""
        self._by_name.pop(name, None)
        if len(self._by_name) >= MEMORY_MAX:
            del self._by_name[next(iter(self._by_name))]
        self._by_name[name] = pruned

    def advance(self, name: str, ltime: int) -> None:
        """A newer leave intent about a pruned name: it says the same again."""
        pruned = self._by_name[name]
        self._by_name[name] = replace(pruned, ltime=ltime)

    def refuses(self, claim: Member) -> bool:
        """Whether an alive claim may be hearsay from before the prune."""
        pruned = self._by_name.get(claim.name)
        return pruned is not None and claim.incarnation <= pruned.incarnation

    def believe(self, name: str) -> None:
        """The member itself has answered: take the next claim, whatever its incarnation."""
        pruned = self._by_name.get(name)
        if pruned is not None:
            self._by_name[name] = replace(pruned, incarnation=-1)

    def pop(self, name: str) -> Pruned | None:
        """Forget about it: the member is back."""
        return self._by_name.pop(name, None)

    def expire(self, now: float) -> list[tuple[str, Pruned]]:
        """Forget those whose time is over. Answers them, and those that are to be listed again if they are there."""
        due = [(name, pruned) for name, pruned in self._by_name.items() if min(pruned.until, pruned.reveal_at) <= now]
        for name, pruned in due:
            if pruned.until <= now:
                del self._by_name[name]
        return due
