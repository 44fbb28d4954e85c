"""Tally: messages counted by kind, for the metrics."""

import re
from collections import Counter
from collections.abc import Iterable

from moot.gossip.swim.messages import PacketMessage, StreamMessage, User

_KINDS: dict[type, str] = {}
"""What was counted so far: as many kinds as there are classes of messages, whatever peers send."""


def tally(counts: Counter[str], messages: Iterable[PacketMessage | StreamMessage]) -> None:
    """Count messages by kind; those of Serf by their own. Called for every packet."""
    for message in messages:
        named = type(message.body) if isinstance(message, User) else type(message)
        counts[_KINDS.get(named) or kind_of(named)] += 1


def kind_of(message: type) -> str:
    """`PushPull` as `push_pull`."""
    return _KINDS.setdefault(message, re.sub(r"(?<=[a-z])(?=[A-Z])", "_", message.__name__).lower())
