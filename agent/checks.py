"""What the value of a setting must be: one check per kind.

Each takes what a file or a flag gave and answers the value to keep; it raises ValueError that says what is
wrong. An empty text stands for "not given" and passes every check.
"""

import base64
import binascii
import ipaddress
import json
import os
import re
from collections.abc import Callable, Mapping
from typing import Final

from moot.agent.sockaddr import is_template, resolve
from moot.gossip.errors import ConfigError
from moot.http.acl import parse_tokens
from moot.http.guard import configured_headers

LEVELS = ("trace", "debug", "info", "warn", "error")
MODULES: Final = frozenset(
    {"agent", "agent.ipc", "agent.mdns", "http", "nomad", "nomad.client", "nomad.rpc", "serf", "telemetry"}
)
"""What lines of the log are about; a level for `agent` counts for `agent.ipc` too."""
NAME_MAX: Final = 128
"""Bytes of a node's name, and of a region's: both together still fit a packet with room for the tags."""
COUNT_MAX: Final = 2**31 - 1
MULTIPLIER_MAX: Final = 1000
"""Far above what anybody needs. Times made with it stay finite, broadcasts end."""
EXPECT_MAX: Final = 255
DURATION_MAX: Final = 2**63 / 1e9
"""Seconds that Go's int64 of nanoseconds holds: 292 years."""
RETRY_PAUSE_MIN: Final = 0.1
"""Seconds between attempts to join. With none, an agent that finds nobody does nothing else."""
TIMING_MIN: Final = 0.01
"""Seconds of an interval of the gossip: below, an agent has no time left for anything else."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", re.ASCII)
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_SHOWN_MAX = 80
"""Characters of a wrong value that an error repeats."""


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "…")


def parse_duration(given: str) -> float:
    """Seconds of a Go duration text such as `30s`, `500ms`, `1m30s` or `0`. Raises ValueError when it is none."""
    if given == "0":
        return 0.0
    seconds, end = 0.0, 0
    for found in _DURATION.finditer(given):
        if found.start() != end:
            break
        seconds += float(found[1]) * _SECONDS[found[2]]
        end = found.end()
    if not given or end != len(given):
        raise ValueError(f"{_shown(given)} is no duration; write it like 30s, 500ms or 1m30s")
    if seconds >= DURATION_MAX:
        raise ValueError(f"{_shown(given)} is too long: a duration stays below 292 years")
    return seconds


def text(value: object) -> str:
    """Any text that can be sent as UTF-8."""
    if not isinstance(value, str):
        raise ValueError("must be a text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(
            "must be a text of whole characters: it has bytes that are not UTF-8, or a lone surrogate"
        ) from None
    return value


def _checked(found: str, check: Callable[[str], object]) -> str:
    """A text that is empty, or passes a check that raises ValueError."""
    if found:
        check(found)
    return found


def _resolved(found: str) -> str:
    return resolve(found) if is_template(found) else found


def flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("must be a whole number, not negative")
    if value > COUNT_MAX:
        raise ValueError(f"must not exceed {COUNT_MAX}")
    return value


def multiplier(value: object) -> int:
    found = count(value)
    if found > MULTIPLIER_MAX:
        raise ValueError(f"must not exceed {MULTIPLIER_MAX}")
    return found


def expected(value: object) -> int:
    """How many servers are expected."""
    found = count(value)
    if found > EXPECT_MAX:
        raise ValueError(f"must not exceed {EXPECT_MAX}")
    return found


def port(value: object) -> int:
    found = count(value)
    if found > 65535:
        raise ValueError("must be a port from 0 to 65535 (0 takes any free one)")
    return found


def retry_pause(value: object) -> float:
    """Seconds between attempts."""
    found = parse_duration(text(value))
    if found < RETRY_PAUSE_MIN:
        raise ValueError(
            f"must be at least {RETRY_PAUSE_MIN * 1000:.0f}ms, got {value}: with less, the agent only retries"
        )
    return found


def timing(value: object) -> float:
    """Seconds of an interval or timeout; 0 stands for the profile's."""
    found = parse_duration(text(value))
    if 0 < found < TIMING_MIN:
        raise ValueError(f"must be at least {TIMING_MIN * 1000:.0f}ms, or 0 for what the profile says; got {value}")
    return found


def duration(value: object) -> float:
    """Seconds, 0 included."""
    return parse_duration(text(value))


def some_time(value: object) -> float:
    """Seconds of an interval, not shorter than the gossip's may be."""
    found = duration(value)
    if found < TIMING_MIN:
        raise ValueError(f"must be at least {TIMING_MIN * 1000:.0f}ms, got {value}")
    return found


def rate(value: object) -> float:
    """How often in a second."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= COUNT_MAX:
        raise ValueError(f"must be a number above 0, at most {COUNT_MAX}")
    return float(value)


def texts(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("must be a list of texts")
    return [text(item) for item in value]


def text_map(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(item, str) for item in value.values()):
        raise ValueError("must be a block of names with text values")
    return {text(key): text(item) for key, item in value.items()}


def loose_map(value: object) -> dict[str, str]:
    """As `text_map`, but numbers, true and false are taken for their texts, as Nomad does."""
    if isinstance(value, Mapping):
        value = {name: json.dumps(item) if isinstance(item, int | float) else item for name, item in value.items()}
    return text_map(value)


def headers(value: object) -> dict[str, str]:
    """Response headers as given, once the HTTP server has said that it can send them."""
    return _accepted(text_map(value), configured_headers)


def tokens(value: object) -> dict[str, str]:
    """Access tokens as given, for `acl.parse_tokens`; what is wrong with one is said without repeating it."""
    return _accepted(text_map(value), parse_tokens)


def _accepted(found: dict[str, str], check: Callable[[Mapping[str, str]], object]) -> dict[str, str]:
    try:
        check(found)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return found


def one_of(*words: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        word = text(value).lower()
        if word and word not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return word

    return check


def level(value: object) -> str:
    word = text(value).lower()
    word = {"err": "error", "warning": "warn"}.get(word, word)
    if word and word not in LEVELS:
        raise ValueError(f"Invalid log level: {word.upper()}. Valid log levels are: {', '.join(LEVELS).upper()}")
    return word


def levels(value: object) -> dict[str, str]:
    """Log levels by module."""
    found = {module: level(word) for module, word in text_map(value).items()}
    for module, word in found.items():
        if module not in MODULES:
            raise ValueError(f"{_shown(module)} is no module of the log: {', '.join(sorted(MODULES))}")
        if not word:
            raise ValueError(f"needs a level for {_shown(module)}: one of {', '.join(LEVELS)}")
    return found


def name(value: object) -> str:
    """What is part of a member's name, or shown beside it."""
    found = text(value)
    if len(found.encode()) > NAME_MAX:
        raise ValueError(f"must not exceed {NAME_MAX} bytes")
    if not found.isprintable() or "/" in found:
        raise ValueError(f"must be printable and without a slash, got {_shown(found)}")
    return found


def label(value: object) -> str:
    found = text(value)
    if len(found.encode()) > 255:
        raise ValueError("must not exceed 255 bytes")
    return found


def ip(value: object) -> str:
    """An IP address in its usual form, out of brackets; a template is resolved."""
    found = _resolved(text(value))
    try:
        return found and str(ipaddress.ip_address(found.strip("[]")))
    except ValueError:
        raise ValueError(f"must be an IP address such as 127.0.0.1 or ::1, got {_shown(found)}") from None


def _split(given: str) -> tuple[str, int | None]:
    """IP, perhaps empty, and port of `IP` or `IP:port`, IPv6 with or without brackets."""
    host, found = given, None
    if given.count(":") == 1 or "]:" in given:
        host, _, digits = given.rpartition(":")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 5 and int(digits) <= 65535):
            raise ValueError(f"{_shown(digits)} in {_shown(given)} is no port")
        found = int(digits)
    return ip(host), found


def split_advertise(given: str) -> tuple[str, int | None]:
    """IP and port of an address that is told to others."""
    found, told_port = _split(given)
    if not found or ipaddress.ip_address(found).is_unspecified:
        raise ValueError(f"is told to the other members, so it cannot be {found or 'empty'}")
    return found, told_port


def advertise(value: object) -> str:
    """An address for `split_advertise`; a template is resolved."""
    return _checked(_resolved(text(value)), split_advertise)


def split_endpoint(given: str) -> tuple[str, int | None]:
    """IP and port to listen on."""
    host, port = _split(re.sub(r"\Alocalhost(?=:|\Z)", "127.0.0.1", given))
    if not host:
        raise ValueError(f"needs an IP before the port, such as 127.0.0.1{given}")
    return host, port


def endpoint(value: object) -> str:
    """An address for `split_endpoint`."""
    return _checked(text(value), split_endpoint)


def split_receiver(given: str) -> tuple[str, int]:
    """Host and port of a receiver of figures; without a host it is this machine, as Go has it."""
    host, _, digits = given.rpartition(":")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5 and 0 < int(digits) <= 65535):
        raise ValueError(f"must be HOST:PORT, such as 127.0.0.1:8125, got {_shown(given)}")
    if "/" in host or (":" in host and not (host.startswith("[") and host.endswith("]"))):
        raise ValueError(f"must be HOST:PORT, with an IPv6 address in brackets, got {_shown(given)}")
    return host.strip("[]") or "localhost", int(digits)


def receiver(value: object) -> str:
    """An address for `split_receiver`."""
    found = text(value)
    if found:
        split_receiver(found)
    return found


def file(value: object) -> str:
    """The path of a file."""
    found = text(value)
    if "\0" in found:
        raise ValueError("must not hold a null byte")
    return found


def directory(value: object) -> str:
    found = file(value)
    if found and not os.path.isabs(found):
        raise ValueError(f"data-dir must be given as an absolute path: got {found}")
    return found


def decode_key(given: str) -> bytes:
    """A gossip key from its base64 text. Raises ValueError; its text never repeats the key."""
    try:
        found = base64.b64decode(given, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("Invalid encryption key: it is not base64; `moot keygen` prints a good one") from None
    if len(found) not in (16, 24, 32):
        raise ValueError(
            f"Invalid encryption key: it has {len(found)} bytes and not 16, 24 or 32; `moot keygen` prints a good one"
        )
    return found


def key(value: object) -> str:
    """The text of a gossip key, for `decode_key`."""
    return _checked(text(value), decode_key)


def no_start_join(value: object) -> list[str]:
    """What a client does not have: it starts whether a server answers or not."""
    if texts(value):
        raise ValueError("a client takes no start_join; give the same addresses as retry_join")
    return []
