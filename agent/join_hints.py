"""What to do about a join that failed, by its cause.

The causes are texts: ours, the kernel's, and for what the peer answered its own, which differ a little from
version to version. A hint is only advice, so that a word that is looked for is enough.
"""

from collections.abc import Iterable

_HINTS: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("invalid msgtype",),
        "something else listens there: give the gossip port, by default 4648 here and 7946 for serf agents",
    ),
    (
        ("crypt",),
        "check the key: all agents of a pool have the same one (--encrypt, MOOT_ENCRYPT or server.encrypt)",
    ),
    (
        ("is not a server",),
        "it belongs to a pool of another kind: members that are no Nomad servers are joined with --pool serf",
    ),
    (("speaks protocol", "speaks delegate protocol"), "the two pools speak versions that do not go together"),
    (
        ("connection refused",),
        "nothing listens there: start them first; an agent with --retry-join keeps trying",
    ),
    (
        ("i/o timeout", "no route to host", "unreachable"),
        "nobody answers there: check address and firewall; an agent with --retry-join keeps trying",
    ),
    (("lookup", "resolve"), "check the name, or give an IP address"),
    (
        ("eof", "connection reset", "connection broken", "broken pipe"),
        "the peer closed the connection without an answer: its label or key may differ (--label, --encrypt);"
        " its own log names the reason",
    ),
)
"""Words of a cause and what they call for. The first line that fits counts."""


def hint(cause: str) -> str:
    """What to do about one failure; empty when nothing is known to help."""
    cause = cause.lower()
    return next((advice for words, advice in _HINTS if any(word in cause for word in words)), "")


def hints(causes: Iterable[str]) -> str:
    """What to do about all of them, each advice once, to be put behind the reasons; empty when nothing is known."""
    advice = "; ".join(dict.fromkeys(found for cause in causes if (found := hint(cause))))
    return advice and f". Hint: {advice}"
