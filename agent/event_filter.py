"""Event filters: the comma-separated words by which Serf's handlers and RPC streams choose events.

`*`, `member-join`, `member-leave`, `member-failed`, `member-update`, `member-reap`, `user`, `user:NAME`, `query` and
`query:NAME`; the empty text means `*`. Nothing is trimmed and nothing is guessed, as in Serf.
"""

from typing import Final

from moot.gossip.record import message

EVERYTHING: Final = "*"
NAMED: Final = ("user", "query")
"""The kinds whose events have names."""
KINDS: Final = ("member-join", "member-leave", "member-failed", "member-update", "member-reap", *NAMED)


@message
class EventFilter:
    """Which events are meant: pairs of a kind and a name, where an empty name stands for all of that kind."""

    words: frozenset[tuple[str, str]]

    def matches(self, kind: str, name: str = "") -> bool:
        """Whether an event is meant. `kind` is one of KINDS, `name` that of a user event or query."""
        words = self.words
        return (EVERYTHING, "") in words or (kind, "") in words or (kind, name) in words


def parse_event_filters(text: str) -> EventFilter:
    """The filter that a text describes. Raises ValueError, which names the first word that is none."""
    return EventFilter(frozenset(map(_parse_word, (text or EVERYTHING).split(","))))


def _parse_word(word: str) -> tuple[str, str]:
    kind, colon, name = word.partition(":")
    if kind == EVERYTHING and not colon:
        return kind, ""
    if kind not in KINDS or (colon and kind not in NAMED):
        raise ValueError(f"{word!r} is no event filter")
    return kind, name
