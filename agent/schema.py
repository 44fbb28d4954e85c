"""The keys of configuration files: one table that files, flags and messages share.

A source of settings (the defaults, the dev set, a file, the flags) is flattened to `{dotted key: value}` and
checked here, so that an error can name the place, the key and the nearest key that exists.
"""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from moot.gossip.errors import ConfigError

Value: TypeAlias = str | int | bool | float | list[str] | dict[str, str]
Layer: TypeAlias = dict[str, Value]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(text: str) -> float:
    """Seconds of a Go duration text such as `30s`, `500ms` or `1m30s`. Raises ValueError when it is none."""
    seconds, end = 0.0, 0
    for found in _DURATION.finditer(text):
        if found.start() != end:
            break
        seconds += float(found[1]) * _SECONDS[found[2]]
        end = found.end()
    if not text or end != len(text):
        raise ValueError(f"{text!r} is no duration; write it like 30s, 500ms or 1m30s")
    return seconds


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a text")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("must be a whole number, not negative")
    return value


def _port(value: object) -> int:
    port = _count(value)
    if port > 65535:
        raise ValueError("must be a port from 0 to 65535 (0 takes any free one)")
    return port


def _duration(value: object) -> float:
    return parse_duration(_text(value))


def _texts(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("must be a list of texts")
    return list(value)


def _text_map(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(item, str) for item in value.values()):
        raise ValueError("must be a block of names with text values")
    return {str(key): item for key, item in value.items()}


def _one_of(*words: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        word = _text(value).lower()
        if word not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return word

    return check


LEVELS = ("trace", "debug", "info", "warn", "error")


def _level(value: object) -> str:
    word = _text(value).lower()
    word = {"err": "error", "warning": "warn"}.get(word, word)
    if word not in LEVELS:
        raise ValueError(f"Invalid log level: {word.upper()}. Valid log levels are: {', '.join(LEVELS).upper()}")
    return word


@dataclass(frozen=True, slots=True)
class Key:
    """How one key is checked, and how a later source meets an earlier one: by default it replaces it."""

    check: Callable[[object], Value]
    default: Value
    append: bool = False
    """Lists: a later source adds to the earlier ones."""


KEYS: dict[str, Key] = {
    "name": Key(_text, ""),
    "region": Key(_text, "global"),
    "datacenter": Key(_text, "dc1"),
    "data_dir": Key(_text, ""),
    "bind_addr": Key(_text, "127.0.0.1"),
    "log_level": Key(_level, "info"),
    "log_json": Key(_flag, False),
    "leave_on_interrupt": Key(_flag, False),
    "leave_on_terminate": Key(_flag, False),
    "http_api_response_headers": Key(_text_map, {}),
    "ports.http": Key(_port, 4646),
    "ports.rpc": Key(_port, 4647),
    "ports.serf": Key(_port, 4648),
    "addresses.http": Key(_text, ""),
    "addresses.rpc": Key(_text, ""),
    "addresses.serf": Key(_text, ""),
    "advertise.http": Key(_text, ""),
    "advertise.rpc": Key(_text, ""),
    "advertise.serf": Key(_text, ""),
    "server.enabled": Key(_flag, True),
    "server.bootstrap_expect": Key(_count, 0),
    "server.encrypt": Key(_text, ""),
    "server.start_join": Key(_texts, [], append=True),
    "server.retry_join": Key(_texts, [], append=True),
    "server.retry_max": Key(_count, 0),
    "server.retry_interval": Key(_duration, 30.0),
    "client.enabled": Key(_flag, False),
    "moot.pool": Key(_one_of("nomad", "serf"), "nomad"),
    "moot.profile": Key(_one_of("lan", "wan", "local"), ""),
    "moot.label": Key(_text, ""),
    "moot.tags": Key(_text_map, {}),
    "moot.timing.probe_interval": Key(_duration, 0.0),
    "moot.timing.probe_timeout": Key(_duration, 0.0),
    "moot.timing.gossip_interval": Key(_duration, 0.0),
    "moot.timing.push_pull_interval": Key(_duration, 0.0),
    "moot.timing.suspicion_mult": Key(_count, 0),
    "moot.timing.retransmit_mult": Key(_count, 0),
}
"""Every key, by its dotted path. The names are Nomad's; what Nomad does not have is in the block `moot`.

The timing keys stand for what the profile says when they are zero."""

BLOCKS = {name.rpartition(".")[0] for name in KEYS if "." in name}
DEV: Layer = {"log_level": "debug", "server.bootstrap_expect": 1}


def defaults() -> Layer:
    """A fresh copy of the built-in values."""
    return {name: key.check(key.default) if key.append else key.default for name, key in KEYS.items()}


def flatten(source: str, tree: Mapping[str, object]) -> Layer:
    """A file's tree as a checked layer. `source` names it in errors. Raises ConfigError.

    A block may also be a list of blocks, as JSON written for HCL has it.
    """
    layer: Layer = {}
    _flatten_into(layer, source, "", tree)
    return layer


def _flatten_into(layer: Layer, source: str, prefix: str, tree: Mapping[str, object]) -> None:
    for name, value in tree.items():
        path = prefix + name
        if path in KEYS:
            put(layer, path, value, label=f"{source}: {path}")
        elif path in BLOCKS:
            for block in value if isinstance(value, list) else [value]:
                if not isinstance(block, Mapping):
                    raise ConfigError(f"{source}: {path} must be a block, such as {_example(path)}")
                _flatten_into(layer, source, path + ".", block)
        else:
            raise ConfigError(f"{source}: unknown key {path}; {_nearest(path)}")


def put(layer: Layer, path: str, value: object, *, label: str) -> None:
    """Check one value and merge it into `layer`. Raises ConfigError that begins with `label`."""
    try:
        checked = KEYS[path].check(value)
    except ValueError as error:
        raise ConfigError(f"{label}: {error}") from None
    merge(layer, {path: checked})


def merge(onto: Layer, later: Mapping[str, Value]) -> None:
    """Lay `later` over `onto`: lists of joins add up, maps merge by key, anything else is replaced.

    An empty text does not unset an earlier one (Nomad's rule); zero and false do count, because port 0 and an
    explicit false mean something here.
    """
    for path, value in later.items():
        held = onto.get(path)
        if KEYS[path].append and isinstance(held, list) and isinstance(value, list):
            onto[path] = held + value
        elif isinstance(held, dict) and isinstance(value, dict):
            onto[path] = held | value
        elif value != "" or held is None:
            onto[path] = value


def _example(block: str) -> str:
    inside = next(name for name in KEYS if name.startswith(block + "."))
    return f"{block} with the key {inside.rpartition('.')[2]} in it"


def _nearest(path: str) -> str:
    """The key that was probably meant, or those that the block has."""
    block = path.rpartition(".")[0]
    siblings = [name for name in [*KEYS, *sorted(BLOCKS)] if name.rpartition(".")[0] == block]
    leaf = path.rpartition(".")[2]
    close = difflib.get_close_matches(leaf, [name.rpartition(".")[2] for name in siblings], n=1, cutoff=0.6)
    if close:
        return f"did you mean {block + '.' if block else ''}{close[0]}?"
    elsewhere = [name for name in KEYS if name.rpartition(".")[2] == leaf]
    if elsewhere:
        return f"it belongs to a block: {' or '.join(elsewhere)}"
    return f"known here: {', '.join(name.rpartition('.')[2] for name in siblings)}"
