"""Serf's JSON configuration files: which keys there are, and what a file may say about each.

A file holds one object; what follows it is ignored. A key may be written in any case. Unknown keys and values of a
wrong kind are refused with Serf's words, all of a file's at once. `null` leaves a key as it is.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NoReturn

from moot.agent.serf.gotext import parse_duration
from moot.gossip.errors import ConfigError

Layer = dict[str, object]
"""Keys and values of one source: str, int, bool, tuple of str, dict of str, nanoseconds as int."""

Reader = Callable[[str, object, list[str]], object]
"""Reads the value of a key; what is wrong with it goes into the list."""

_KINDS: Final = {str: "string", bool: "bool", float: "float64", int: "float64", list: "slice", dict: "map"}
_TYPES: Final = {**_KINDS, list: "[]interface {}", dict: "map[string]interface {}"}


def _shown(value: object) -> str:
    """A decoded JSON value as Go's `%v` prints it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{' '.join(map(_shown, value))}]"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{_shown(entry)}' for key, entry in sorted(value.items()))}]"
    return "<nil>" if value is None else str(value)


def _scalar(kind: type, name: str) -> Reader:
    def read(key: str, value: object, faults: list[str]) -> object:
        if value is None:
            return kind()
        if kind is int and type(value) in (int, float):
            return int(value)  # type: ignore[call-overload]  # a fraction is cut off, as Serf does
        if type(value) is not kind:
            faults.append(
                f"'{key}' expected type '{name}', got unconvertible type '{_TYPES[type(value)]}',"
                f" value: '{_shown(value)}'"
            )
        return value

    return read


_text = _scalar(str, "string")
_boolean = _scalar(bool, "bool")
_integer = _scalar(int, "int")


def _texts(key: str, value: object, faults: list[str]) -> object:
    if value is None:
        return ()
    if not isinstance(value, list):
        faults.append(f"'{key}': source data must be an array or slice, got {_KINDS[type(value)]}")
        return ()
    return tuple(_text(f"{key}[{index}]", entry, faults) for index, entry in enumerate(value))


def _pairs(key: str, value: object, faults: list[str]) -> object:
    if value is None:
        return {}
    if not isinstance(value, dict):
        faults.append(f"'{key}' expected a map, got '{_KINDS[type(value)]}'")
        return {}
    return {name: _text(f"{key}[{name}]", entry, faults) for name, entry in value.items()}


def _mdns(key: str, value: object, faults: list[str]) -> object:
    if value is None:
        return {}
    if not isinstance(value, dict):
        faults.append(f"'{key}' expected a map, got '{_KINDS[type(value)]}'")
        return {}
    return _read_keys(value, MDNS_KEYS, key, faults)


MDNS_KEYS: Final[Mapping[str, Reader]] = {"interface": _text, "disable_ipv4": _boolean, "disable_ipv6": _boolean}

KEYS: Final[Mapping[str, Reader]] = {
    **dict.fromkeys(
        (
            "node_name",
            "role",
            "tags_file",
            "bind",
            "advertise",
            "encrypt_key",
            "keyring_file",
            "log_level",
            "rpc_addr",
            "rpc_auth",
            "profile",
            "snapshot_path",
            "discover",
            "interface",
            "syslog_facility",
            "statsite_addr",
            "statsd_addr",
            "reconnect_interval",
            "reconnect_timeout",
            "tombstone_timeout",
            "retry_interval",
            "broadcast_timeout",
        ),
        _text,
    ),
    **dict.fromkeys(
        (
            "disable_coordinates",
            "replay_on_join",
            "leave_on_terminate",
            "skip_leave_on_interrupt",
            "disable_name_resolution",
            "enable_syslog",
            "rejoin_after_leave",
            "enable_compression",
        ),
        _boolean,
    ),
    **dict.fromkeys(
        (
            "protocol",
            "query_response_size_limit",
            "query_size_limit",
            "user_event_size_limit",
            "retry_max_attempts",
        ),
        _integer,
    ),
    **dict.fromkeys(("start_join", "retry_join", "event_handlers"), _texts),
    "tags": _pairs,
    "mdns": _mdns,  # of newer versions of Serf
}
DURATIONS: Final = (
    "reconnect_interval",
    "reconnect_timeout",
    "tombstone_timeout",
    "retry_interval",
    "broadcast_timeout",
)
"""Keys whose text is a duration, and becomes nanoseconds."""


def config_files(path: Path) -> list[Path]:
    """The files that `-config-file` or `-config-dir` names: itself, or a directory's `*.json` by name.

    Raises ConfigError when there is no such thing.
    """
    try:
        if not path.is_dir():
            path.open("rb").close()
            return [path]
        return sorted(entry for entry in path.iterdir() if entry.name.endswith(".json") and not entry.is_dir())
    except OSError as error:
        raise ConfigError(f"Error reading '{path}': open {path}: {(error.strerror or '').lower()}") from None


def read_file(path: Path) -> Layer:
    """One file, checked. Raises ConfigError with everything that is wrong in it."""
    try:
        tree = _decode(path.read_bytes().decode("utf-8", "replace"))
    except OSError as error:
        raise ConfigError(f"Error reading '{path}': open {path}: {(error.strerror or '').lower()}") from None
    except ValueError as error:
        raise ConfigError(f"Error decoding '{path}': {error}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"Error decoding '{path}': '' expected a map, got '{_KINDS[type(tree)]}'")
    faults: list[str] = []
    layer = _read_keys(tree, KEYS, "", faults)
    if faults:
        listed = "\n".join(f"* {fault}" for fault in sorted(faults))
        raise ConfigError(f"Error decoding '{path}': {len(faults)} error(s) decoding:\n\n{listed}")
    for key in DURATIONS:
        if key in layer:
            try:
                layer[key] = parse_duration(text) if (text := str(layer[key])) else 0
            except ValueError as error:
                raise ConfigError(f"Error decoding '{path}': {error}") from None
    return layer


def _decode(text: str) -> object:
    """The first JSON value in a text. Raises ValueError."""
    text = text.lstrip(" \t\r\n")
    if not text:
        raise ValueError("EOF")
    try:
        return json.JSONDecoder(parse_constant=_no_constant).raw_decode(text)[0]
    except RecursionError:
        raise ValueError("exceeded max depth") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _read_keys(tree: Mapping[str, object], keys: Mapping[str, Reader], where: str, faults: list[str]) -> Layer:
    """What the object says about known keys; the exact spelling of a key wins over others."""
    left = dict(tree)
    layer: Layer = {}
    for key, read in keys.items():
        spelling = key if key in left else next((name for name in left if name.lower() == key), None)
        if spelling is not None:
            layer[key] = read(f"{where}.{key}" if where else key, left.pop(spelling), faults)
    if left:
        faults.append(f"'{where}' has invalid keys: {', '.join(sorted(left))}")
    return layer
