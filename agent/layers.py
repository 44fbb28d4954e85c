"""Sources of settings laid over each other, and which of them each value comes from."""

from collections.abc import Mapping
from typing import Literal

from moot.agent.key_table import KEYS, Layer, Value

DEFAULT = "default"
"""Where a value comes from that nobody gave."""


def lay(onto: Layer, key: str, value: Value, *, zero_counts: bool = True) -> Literal["", "added", "replaced"]:
    """Lay a value over an earlier one; what became of that.

    Lists of joins, handlers and names add up and blocks merge by name; else it is replaced. An empty text is the
    same as nothing. So are zero, false and an empty list unless `zero_counts`: Nomad has it so among files.
    """
    held = onto.get(key)
    if value == "":
        return ""
    if isinstance(held, dict) and isinstance(value, dict):
        onto[key] = held | value
        return "added" if value else ""
    if KEYS[key].append and isinstance(held, list) and isinstance(value, list):
        onto[key] = held + value
        return "added" if value else ""
    # a duration of 0 was written as a text, so it is not the same as nothing
    if held is None or value or isinstance(value, float) or zero_counts:
        onto[key] = value
        return "replaced"
    return ""


class Layers:
    """What has been said so far, key by key."""

    def __init__(self) -> None:
        self.values: Layer = {}
        self.origins: dict[str, tuple[str, ...]] = {}
        """Where each value comes from; several for what adds up."""
        self.ranks: dict[str, int] = {}
        """Which source it was, counted from 1."""
        self._count = 0

    def add(self, layer: Layer, places: Mapping[str, str], *, zero_counts: bool = True) -> None:
        """Lay a source over the others; `places` tell where its values stand."""
        self._count += 1
        for key, value in layer.items():
            earlier = () if key not in self.values else self.origins[key]
            became = lay(self.values, key, value, zero_counts=zero_counts)
            if became:
                self.origins[key] = (*earlier, places[key]) if became == "added" else (places[key],)
                self.ranks[key] = self._count
