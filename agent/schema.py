"""The keys of configuration files: one table that files, flags and messages share.

A source of settings (the defaults, the dev set, a file, the flags) is flattened to `{dotted key: value}` and
checked here, so that an error can name the place, the key and the nearest key that exists.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from moot.agent import checks
from moot.agent.discovery import check_discovery
from moot.agent.handlers import TIMEOUT, parse_handler
from moot.gossip.config import CONFLICT_MODES
from moot.gossip.errors import ConfigError
from moot.http.hosts import host_pattern

Value: TypeAlias = str | int | bool | float | list[str] | dict[str, str]
Layer: TypeAlias = dict[str, Value]


@dataclass(frozen=True, slots=True)
class Key:
    """How one key is checked, and how a later source meets an earlier one: by default it replaces it."""

    check: Callable[[object], Value]
    default: Value
    append: bool = False
    """Lists: a later source adds to the earlier ones."""


def _handlers(value: object) -> list[str]:
    """Event handlers as `handlers.parse_handler` takes them."""
    found = checks.texts(value)
    for spec in found:
        _tried(parse_handler, spec)
    return found


def _discovery(value: object) -> str:
    """A name for `discovery.Discovery`."""
    found = checks.text(value)
    if found:
        _tried(check_discovery, found)
    return found


def _hosts(value: object) -> list[str]:
    """Further names of the HTTP API, as patterns."""
    found = checks.texts(value)
    for name in found:
        _tried(host_pattern, name)
    return [host_pattern(name) for name in found]


def _tried(check: Callable[[str], object], value: str) -> None:
    """What a part of the agent says about its setting, as a ValueError."""
    try:
        check(value)
    except ConfigError as error:
        raise ValueError(str(error)) from None


KEYS: dict[str, Key] = {
    "name": Key(checks.name, ""),
    "region": Key(checks.name, "global"),
    "datacenter": Key(checks.name, "dc1"),
    "data_dir": Key(checks.directory, ""),
    "bind_addr": Key(checks.ip, "127.0.0.1"),
    "log_level": Key(checks.level, "info"),
    "log_json": Key(checks.flag, False),
    "enable_debug": Key(checks.flag, False),
    "leave_on_interrupt": Key(checks.flag, False),
    "leave_on_terminate": Key(checks.flag, False),
    "http_api_response_headers": Key(checks.headers, {}),
    "ports.http": Key(checks.port, 4646),
    "ports.rpc": Key(checks.port, 4647),
    "ports.serf": Key(checks.port, 4648),
    "addresses.http": Key(checks.ip, ""),
    "addresses.rpc": Key(checks.ip, ""),
    "addresses.serf": Key(checks.ip, ""),
    "advertise.http": Key(checks.advertise, ""),
    "advertise.rpc": Key(checks.advertise, ""),
    "advertise.serf": Key(checks.advertise, ""),
    "server.enabled": Key(checks.flag, True),
    "server.bootstrap_expect": Key(checks.expected, 0),
    "server.encrypt": Key(checks.key, ""),
    "server.start_join": Key(checks.texts, [], append=True),
    "server.retry_join": Key(checks.texts, [], append=True),
    "server.retry_max": Key(checks.count, 0),
    "server.retry_interval": Key(checks.retry_pause, 30.0),
    "server.rejoin_after_leave": Key(checks.flag, False),
    "server.heartbeat_grace": Key(checks.duration, 0.0),
    "server.min_heartbeat_ttl": Key(checks.some_time, 10.0),
    "server.max_heartbeats_per_second": Key(checks.rate, 50.0),
    "server.node_gc_threshold": Key(checks.duration, 24 * 3600.0),
    "acl.enabled": Key(checks.flag, False),
    "acl.tokens": Key(checks.tokens, {}),
    "tls.http": Key(checks.flag, False),
    "tls.rpc": Key(checks.flag, False),
    "tls.ca_file": Key(checks.file, ""),
    "tls.cert_file": Key(checks.file, ""),
    "tls.key_file": Key(checks.file, ""),
    "tls.verify_https_client": Key(checks.flag, False),
    "tls.verify_server_hostname": Key(checks.flag, False),
    "tls.rpc_upgrade_mode": Key(checks.flag, False),
    "tls.tls_min_version": Key(checks.text, "tls12"),
    "tls.tls_cipher_suites": Key(checks.text, ""),
    "tls.tls_prefer_server_cipher_suites": Key(checks.flag, False),
    "telemetry.prometheus_metrics": Key(checks.flag, False),
    "telemetry.statsd_address": Key(checks.text, ""),
    "telemetry.statsite_address": Key(checks.text, ""),
    "telemetry.datadog_address": Key(checks.text, ""),
    "telemetry.disable_hostname": Key(checks.flag, False),
    "telemetry.use_node_name": Key(checks.flag, False),
    "telemetry.collection_interval": Key(checks.some_time, 1.0),
    "telemetry.publish_node_metrics": Key(checks.flag, False),
    "telemetry.publish_allocation_metrics": Key(checks.flag, False),
    "limits.http_max_conns_per_client": Key(checks.count, 100),
    "limits.https_handshake_timeout": Key(checks.duration, 5.0),
    "limits.rpc_max_conns_per_client": Key(checks.count, 100),
    "limits.rpc_handshake_timeout": Key(checks.duration, 5.0),
    "client.enabled": Key(checks.flag, False),
    "client.servers": Key(checks.texts, [], append=True),
    "client.server_join.start_join": Key(checks.no_start_join, []),
    "client.server_join.retry_join": Key(checks.texts, []),
    "client.server_join.retry_max": Key(checks.count, 0),
    "client.server_join.retry_interval": Key(checks.retry_pause, 30.0),
    "client.node_class": Key(checks.name, ""),
    "client.state_dir": Key(checks.directory, ""),
    "client.meta": Key(checks.text_map, {}),
    "moot.log_levels": Key(checks.levels, {}),
    "moot.pool": Key(checks.one_of("nomad", "serf"), "nomad"),
    "moot.http_hosts": Key(_hosts, [], append=True),
    "moot.profile": Key(checks.one_of("lan", "wan", "local"), ""),
    "moot.label": Key(checks.label, ""),
    "moot.tags": Key(checks.text_map, {}),
    "moot.ipc_addr": Key(checks.endpoint, ""),
    "moot.ipc_auth": Key(checks.text, ""),
    "moot.snapshot": Key(checks.file, ""),
    "moot.keyring_file": Key(checks.file, ""),
    "moot.event_handlers": Key(_handlers, [], append=True),
    "moot.handler_timeout": Key(checks.duration, TIMEOUT),
    "moot.discover": Key(_discovery, ""),
    "moot.discover_interface": Key(checks.text, ""),
    "moot.conflict": Key(checks.one_of(*CONFLICT_MODES), ""),
    "moot.replay": Key(checks.flag, False),
    "moot.reclaim_after": Key(checks.duration, 0.0),
    "moot.timing.probe_interval": Key(checks.timing, 0.0),
    "moot.timing.probe_timeout": Key(checks.timing, 0.0),
    "moot.timing.gossip_interval": Key(checks.timing, 0.0),
    "moot.timing.push_pull_interval": Key(checks.timing, 0.0),
    "moot.timing.suspicion_mult": Key(checks.multiplier, 0),
    "moot.timing.retransmit_mult": Key(checks.multiplier, 0),
}
"""Every key, by its dotted path. The names are Nomad's; what Nomad does not have is in the block `moot`.

The timing keys stand for what the profile says when they are zero, `moot.conflict` for what the pool's kind says
when it is empty."""

BLOCKS = {name.rpartition(".")[0] for name in KEYS if "." in name}
DEV: Layer = {
    "client.enabled": True,
    "log_level": "debug",
    "server.bootstrap_expect": 1,
    "enable_debug": True,
    "telemetry.prometheus_metrics": True,
}


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
    """Lay `later` over `onto`: lists of joins, handlers, names add up, maps merge by key, else it is replaced.

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
