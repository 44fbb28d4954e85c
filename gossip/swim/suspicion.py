"""Suspicion: how long a suspect has to refute, and how confirmations shorten that."""

from moot.gossip.swim.scaling import suspicion_remaining


class Suspicion:
    """One running suspicion (Lifeguard's dynamic timeout; memberlist suspicion.go).

    It starts with the longest timeout and shrinks to the shortest as `wanted` further members accuse.
    The first accuser is no confirmation. `due` is the instant at which it ends; the owner sets it.
    """

    __slots__ = ("_accusers", "_longest", "_shortest", "due", "started", "wanted")

    def __init__(
        self,
        now: float,
        accuser: str,
        wanted: int,
        shortest: float,
        longest: float,
    ) -> None:
        self.started = now
        self._accusers = {accuser: None}
        self._shortest = shortest
        self._longest = longest
        self.wanted = wanted
        self.due = now

    @property
    def accusers(self) -> tuple[str, ...]:
        """Who accused it, the first one first."""
        return tuple(self._accusers)

    @property
    def confirmed(self) -> int:
        """How many members beyond the first accused it."""
        return len(self._accusers) - 1

    def first_timeout(self) -> float:
        """Seconds from the start until it ends, as long as nobody confirms."""
        return self._longest if self.wanted else self._shortest

    def confirm(self, accuser: str) -> bool:
        """Whether this accuser is news. At most `wanted` are kept."""
        if self.confirmed >= self.wanted or accuser in self._accusers:
            return False
        self._accusers[accuser] = None
        return True

    def remaining(self, now: float) -> float:
        """Seconds left at `now`, at least 0. Only asked when `wanted` is above zero."""
        left = suspicion_remaining(self.confirmed, self.wanted, now - self.started, self._shortest, self._longest)
        return max(0.0, left)
