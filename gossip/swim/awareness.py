"""Awareness: Lifeguard's local health score. A node that hears little doubts itself first."""


class Awareness:
    """A score from 0 (healthy) to `limit - 1`.

    Its only effect: probe intervals and their deadlines are stretched by `score + 1` (memberlist
    awareness.go). Answered probes lower it, unanswered ones, missing nacks and refutations raise it.
    """

    __slots__ = ("_limit", "score")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.score = 0

    def change(self, by: int) -> None:
        """Move the score; it stays within its bounds."""
        self.score = min(max(self.score + by, 0), self._limit - 1)

    def scale(self, interval: float) -> float:
        """An interval in seconds, stretched by how unwell we are."""
        return interval * (self.score + 1)
