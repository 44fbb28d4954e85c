"""Amounts as people write them: durations, shares and rates, to and from text."""

import re

from moot.gossip.errors import ConfigError

_NUMBER = r"(\d+(?:\.\d+)?)"
_SECONDS = re.compile(rf"{_NUMBER}(us|µs|ms|s|m|h)?")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}
_SHARE = re.compile(rf"{_NUMBER}(%)?")
_RATE = re.compile(rf"{_NUMBER}(B|KB|MB|GB)?/s", re.IGNORECASE)
_SIZES = {"b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9}
SECONDS_MAX = 10 * 365 * 24 * 3600.0


def seconds(text: str) -> float:
    """`50ms`, `1.5s`, `2m`, `1h`, or seconds without a unit. Raises ConfigError."""
    found = _SECONDS.fullmatch(text)
    if found is None:
        raise ConfigError(f"{text!r} is no duration; write it like 50ms, 1.5s or 2m")
    amount = float(found[1]) * _UNITS[found[2] or "s"]
    if amount > SECONDS_MAX:
        raise ConfigError(f"{text!r} is longer than ten years")
    return amount


def share(text: str) -> float:
    """`10%` or `0.1`: a part of 1. Raises ConfigError."""
    found = _SHARE.fullmatch(text)
    amount = float(found[1]) / (100.0 if found[2] else 1.0) if found else -1.0
    if not 0.0 <= amount <= 1.0:
        raise ConfigError(f"{text!r} is no share; write it like 10% or 0.1")
    return amount


def rate(text: str) -> float:
    """`64KB/s` in bytes per second; a KB has 1000 bytes. Raises ConfigError."""
    found = _RATE.fullmatch(text)
    if found is None or not float(found[1]):
        raise ConfigError(f"{text!r} is no rate; write it like 64KB/s")
    return float(found[1]) * _SIZES[(found[2] or "B").lower()]


def seconds_text(amount: float) -> str:
    """What `seconds` reads as the same, to a microsecond."""
    if amount >= 1.0 or not amount:
        return f"{_plain(amount)}s"
    if amount >= 1e-3:
        return f"{_plain(amount * 1e3, 3)}ms"
    return f"{_plain(amount * 1e6, 0)}us"


def share_text(amount: float) -> str:
    """What `share` reads as the same, to a millionth."""
    return f"{_plain(amount * 100, 4)}%"


def rate_text(amount: float) -> str:
    """What `rate` reads as the same, to a byte."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if amount >= size:
            return f"{_plain(amount / size, 9)}{unit}/s"
    return f"{_plain(amount, 3)}B/s"


def _plain(amount: float, digits: int = 6) -> str:
    text = f"{amount:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
