"""Texts as Go writes and reads them: quoted strings, durations, values, numbers, JSON, aligned columns. Pure."""

import json
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Final

_UNITS: Final = {
    "ns": 1,
    "us": 1000,
    "µs": 1000,
    "μs": 1000,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_NANOSECONDS_MAX: Final = 2**63 - 1
_TERM: Final = re.compile(r"(\d*)(?:(\.)(\d*))?([^\d.]*)", re.ASCII)
_INTEGER: Final = re.compile(
    r"[+-]?(?:0[xX](?:_?[0-9a-fA-F])+|0[bB](?:_?[01])+|0[oO]?(?:_?[0-7])+|0|[1-9](?:_?\d)*)", re.A
)
_SHORT: Final = dict(
    zip('\a\b\f\n\r\t\v\\"', (r"\a", r"\b", r"\f", r"\n", r"\r", r"\t", r"\v", r"\\", r"\""), strict=True)
)
_SPACE: Final = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_JSON_SPECIAL: Final = re.compile(r"\\.|[<>&\u2028\u2029\ud800-\udfff]")
_JSON_CONTROL: Final = {"\\b": r"\u0008", "\\f": r"\u000c"}
_LAST_PLAIN_INTEGER: Final = 127
"""Above it, msgpack leaves the form that Go reads as signed."""


def quote(text: str) -> str:
    """As `%q`: in double quotes, with what does not print escaped. Surrogates stand for single bytes."""
    return '"' + "".join(map(_escape, text)) + '"'


def _escape(char: str) -> str:
    if char in _SHORT:
        return _SHORT[char]
    if char.isprintable():
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def parse_duration(text: str) -> int:
    """Nanoseconds from a text such as `1h2m3.5s`; `0` needs no unit. Raises ValueError in Go's words."""
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0
    if not rest:
        raise ValueError(f"time: invalid duration {quote(text)}")
    total = Fraction(0)
    while rest:
        found = _TERM.match(rest)
        assert found is not None, "the expression matches every text"
        whole, _, part, unit = found.groups()
        if not whole and not part:
            raise ValueError(f"time: invalid duration {quote(text)}")
        if not unit:
            raise ValueError(f"time: missing unit in duration {quote(text)}")
        if unit not in _UNITS:
            raise ValueError(f"time: unknown unit {quote(unit)} in duration {quote(text)}")
        total += Fraction(int(f"{whole}{part or ''}"), 10 ** len(part or "")) * _UNITS[unit]
        rest = rest[found.end() :]
    if total > _NANOSECONDS_MAX:
        raise ValueError(f"time: invalid duration {quote(text)}")
    return -int(total) if text[0] == "-" else int(total)


def duration_text(nanoseconds: int) -> str:
    """As Go prints a duration: `0s`, `1.5ms`, `30s`, `1h0m0s`."""
    if nanoseconds < 0:
        return "-" + duration_text(-nanoseconds)
    for unit in ("ns", "µs", "ms"):
        if nanoseconds < 1000 * _UNITS[unit] and nanoseconds:
            return _decimal(nanoseconds, _UNITS[unit]) + unit
    minutes, rest = divmod(nanoseconds, _UNITS["m"])
    seconds = _decimal(rest, _UNITS["s"]) + "s"
    if not minutes:
        return seconds
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{seconds}" if hours else f"{minutes}m{seconds}"


def _decimal(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    digits = str(rest).zfill(len(str(unit)) - 1).rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)


def parse_integer(text: str) -> int:
    """A 64-bit integer as Go writes it in source: 10, 0x10, 0b1, 010, 1_000. Raises ValueError in Go's words."""
    if not _INTEGER.fullmatch(text):
        raise ValueError("parse error")
    digits = text.lstrip("+-").lower()
    base = {"0x": 16, "0b": 2, "0o": 8}.get(digits[:2], 8 if digits.startswith("0") else 10)
    value = int(digits.removeprefix("0x").removeprefix("0b").removeprefix("0o").replace("_", ""), base)
    if text.startswith("-"):
        value = -value
    if not -(2**63) <= value < 2**63:
        raise ValueError("value out of range")
    return value


def go_value(value: object) -> str:
    """As `%#v` prints what a Go program decoded from msgpack without knowing its type."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if value <= _LAST_PLAIN_INTEGER else hex(value)
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, bytes):
        return "[]byte{" + ", ".join(map(hex, value)) + "}"
    return _go_inner(value)


def _go_inner(value: object) -> str:
    """The same inside of another value, where a byte string is called after its elements."""
    if isinstance(value, bytes):
        return "[]uint8{" + ", ".join(map(hex, value)) + "}"
    if isinstance(value, Mapping):
        entries = ", ".join(f"{_go_inner(key)}:{_go_inner(entry)}" for key, entry in sorted(value.items()))
        return f"map[interface {{}}]interface {{}}{{{entries}}}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[]interface {}{" + ", ".join(map(_go_inner, value)) + "}"
    return go_value(value)


def json_text(value: object) -> str:
    """As Go's `json.MarshalIndent` with two blanks: HTML's characters escaped, bytes that are no UTF-8 replaced."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return _JSON_SPECIAL.sub(_json_escape, text)


def _json_escape(found: re.Match[str]) -> str:
    text = found[0]
    if text.startswith("\\"):
        return _JSON_CONTROL.get(text, text)
    return r"\ufffd" if "\ud800" <= text <= "\udfff" else f"\\u{ord(text):04x}"


def columns(lines: Sequence[str]) -> list[str]:
    """Rows whose cells are parted by `|`, aligned two blanks apart; the last cell of a row is not filled up.

    As in Serf, a cell that has a `|` in it becomes two.
    """
    rows = [[cell.strip(_SPACE) for cell in line.split("|")] for line in lines]
    widths: list[int] = []
    for row in rows:
        widths += [0] * (len(row) - len(widths))
        widths[: len(row)] = [max(width, len(cell)) for width, cell in zip(widths, row, strict=False)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)), row[-1]])
        for row in rows
    ]


def trimmed(text: str) -> str:
    """Without white space at both ends, what Go takes for white space."""
    return text.strip(_SPACE)
