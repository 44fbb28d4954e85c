"""Flags as Go's flag package reads them, because scripts rely on its ways.

One dash or two mean the same. A value follows after `=` or as the next word, but only after `=` for a switch. What
comes first that is no flag ends the flags, as `--` does, which is dropped; a lone `-` is no flag. The last of
several wins, unless the flag collects them. Errors have Go's words.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from moot.agent.serf.gotext import parse_duration, parse_integer, quote

TRUE: Final = ("1", "t", "T", "TRUE", "true", "True")
FALSE: Final = ("0", "f", "F", "FALSE", "false", "False")


class FlagError(Exception):
    """The flags cannot be read; the text says why, in Go's words."""


class HelpWanted(Exception):
    """`-h` or `-help` stands among the flags."""


@dataclass(frozen=True, slots=True)
class Flag:
    """How one flag reads its value: `parse` may raise ValueError, whose text ends the message."""

    parse: Callable[[str], object]
    default: object
    is_switch: bool = False
    collects: bool = False
    into: str = ""
    """The flag under whose name the value is kept, if not its own: several can collect in one list, in order."""


def text(default: str = "") -> Flag:
    return Flag(str, default)


def texts(into: str = "") -> Flag:
    """A flag that may be given several times; all its values are kept, in order."""
    return Flag(str, (), collects=True, into=into)


def switch(default: bool = False) -> Flag:
    return Flag(_boolean, default, is_switch=True)


def number(default: int = 0) -> Flag:
    return Flag(parse_integer, default)


def duration(default: int = 0) -> Flag:
    """Nanoseconds."""
    return Flag(_duration, default)


def _boolean(given: str) -> bool:
    if given in TRUE:
        return True
    if given in FALSE:
        return False
    raise ValueError("parse error")


def _duration(given: str) -> int:
    try:
        return parse_duration(given)
    except ValueError:
        raise ValueError("parse error") from None


class Given:
    """What a command line said: the value of each flag, whether it was given at all, and the words after them."""

    def __init__(self, flags: Mapping[str, Flag]) -> None:
        self._values = {name: flag.default for name, flag in flags.items()}
        self._given: set[str] = set()
        self.rest: list[str] = []

    def put(self, name: str, flag: Flag, value: object) -> None:
        name = flag.into or name
        held = self._values[name]
        self._values[name] = (*held, value) if isinstance(held, tuple) and flag.collects else value
        self._given.add(name)

    def has(self, name: str) -> bool:
        """Whether the flag was given, be it with its default."""
        return name in self._given

    def value(self, name: str) -> object:
        """Of whatever kind it is."""
        return self._values[name]

    def text(self, name: str) -> str:
        value = self._values[name]
        assert isinstance(value, str)
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        value = self._values[name]
        assert isinstance(value, tuple)
        return value

    def switch(self, name: str) -> bool:
        value = self._values[name]
        assert isinstance(value, bool)
        return value

    def number(self, name: str) -> int:
        """An integer, or the nanoseconds of a duration."""
        value = self._values[name]
        assert isinstance(value, int)
        return value


def parse(flags: Mapping[str, Flag], words: Sequence[str]) -> Given:
    """Read the flags at the beginning of `words`. Raises FlagError or HelpWanted."""
    given = Given(flags)
    left = list(reversed(words))
    while left and len(left[-1]) > 1 and left[-1].startswith("-"):
        word = left.pop()
        if word == "--":
            break
        name, equals, value = word.removeprefix("-").removeprefix("-").partition("=")
        if not name or name.startswith("-"):
            raise FlagError(f"bad flag syntax: {word}")
        flag = flags.get(name)
        if flag is None:
            if name in ("h", "help"):
                raise HelpWanted
            raise FlagError(f"flag provided but not defined: -{name}")
        if not equals:
            if flag.is_switch:
                value = "true"
            elif left:
                value = left.pop()
            else:
                raise FlagError(f"flag needs an argument: -{name}")
        given.put(name, flag, _value(name, flag, value))
    given.rest = left[::-1]
    return given


def _value(name: str, flag: Flag, value: str) -> object:
    try:
        return flag.parse(value)
    except ValueError as error:
        what = "boolean value {} for -{}" if flag.is_switch else "value {} for flag -{}"
        raise FlagError(f"invalid {what.format(quote(value), name)}: {error}") from None


def tag_pairs(words: Iterable[str]) -> dict[str, str]:
    """`KEY=VALUE` words as a map. Raises ValueError with Serf's text for one that is none."""
    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not key or not equals:
            raise ValueError(f"Invalid tag: '{word}'")
        found[key] = value
    return found
