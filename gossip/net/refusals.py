"""Refusals: peers that no key of ours opens, told by address and not too often."""

from collections.abc import Callable

import trio

from moot.gossip.record import Address, message

TOLD_AFTER = 60.0
"""Seconds for which the same address is not told again."""
TOLD_MAX = 16
"""Addresses that are told in that time: whoever can forge a sender could name any number of them."""


@message
class PeerUnreadable:
    """What this peer sends or answers no key of ours opens: it lacks ours, or does not encrypt at all."""

    peer: Address


class Refusals:
    """Calls `tell` for what is worth it."""

    def __init__(self, tell: Callable[[PeerUnreadable], None]) -> None:
        self._tell = tell
        self._told: dict[Address, float] = {}
        """When each was told, oldest first."""

    def note(self, peer: Address) -> None:
        """Something could not be opened. Cheap: this is called for every such packet."""
        told, now = self._told, trio.current_time()
        while told and now - told[oldest := next(iter(told))] >= TOLD_AFTER:
            del told[oldest]
        if peer not in told and len(told) < TOLD_MAX:
            told[peer] = now
            self._tell(PeerUnreadable(peer))
