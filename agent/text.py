"""Text for people: what comes from the network is made harmless before it reaches a terminal or a log."""

import time
from collections.abc import Iterable, Sequence


def printable(text: str) -> str:
    """`text` without line breaks, escape sequences or lone surrogates; those are shown as `\\x1b`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def columns(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table in aligned columns, never cut and never wrapped, so that other programs can read them."""
    table = [list(head), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def tag_text(tags: dict[str, str]) -> str:
    """`a=1,b=2`, by name."""
    return ",".join(f"{key}={value}" for key, value in sorted(tags.items()))


def count(number: int, noun: str, plural: str = "") -> str:
    """`1 member`, `2 members`."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def clock() -> str:
    """The local time of day, for lines that report changes."""
    return time.strftime("%H:%M:%S")
