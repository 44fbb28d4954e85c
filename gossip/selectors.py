"""Selectors: how people name members. `3`, `1-5`, `moot-3`, `moot-*`, `all`, comma lists of these, `!` all but."""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from moot.gossip.errors import ConfigError

TWIN = "~"
"""What the name of an agent ends with, and a number, that bears the name of another one in the pool."""
_RANGE = re.compile(r"(\d{1,9})-(\d{1,9})")
_FORBIDDEN = re.compile(r"[\s<>→↔]")


def check(selector: str) -> str:
    """Itself. Raises ConfigError when it cannot be one, whatever the members are."""
    if not selector or _FORBIDDEN.search(selector) or not all(part.strip("!") for part in selector.split(",")):
        raise ConfigError(f"{selector!r} names no members; write a name, a number, 1-5, a glob, or a list of these")
    return selector


def select(selector: str, names: Sequence[str]) -> list[str]:
    """The members meant, in the order of `names`; numbers count from 1. A name is itself, whatever it looks like.

    A list of nothing but `!` parts means all others. Raises ConfigError when a part means nobody.
    """
    parts = check(selector).split(",")
    wanted = [part for part in parts if not part.startswith("!")]
    unwanted = [part[1:] for part in parts if part.startswith("!")]
    found = {name for part in wanted for name in _meant(part, names)} if wanted else set(names)
    found.difference_update(name for part in unwanted for name in _meant(part, names))
    return [name for name in names if name in found]


def _meant(part: str, names: Sequence[str]) -> list[str]:
    if part in names:
        return [part]
    if part == "all":
        return list(names)
    span = _RANGE.fullmatch(part)
    if part.isdecimal() or span:
        first, last = (int(span[1]), int(span[2])) if span else (int(part), int(part))
        if not 1 <= first <= last <= len(names):
            raise ConfigError(f"there is no member {part}; they are numbered from 1 to {len(names)}")
        return list(names[first - 1 : last])
    found = [name for name in names if fnmatchcase(name, part)]
    if not found:
        raise ConfigError(f"there is no member {part}")
    return found
