"""Durations as people write them in a query: Go's, such as `10s`, `1m30s` or `500ms`."""

import re
from typing import Annotated, Final

import msgspec

_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_SECONDS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
DIGITS_MAX: Final = 32
"""Longest text that is read."""

Duration = Annotated[
    str, msgspec.Meta(pattern=r"^(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))+)?$", max_length=32)
]


def read_duration(text: str) -> float | None:
    """Seconds, None for what is no duration. There is none below zero."""
    if text == "0":
        return 0.0
    if not text or len(text) > DIGITS_MAX or _PART.sub("", text):
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
