"""Settings of `moot serf agent`: Serf's flags and JSON files become one typed, checked `SerfAgentSettings`.

Precedence as in Serf: defaults, then files in the order named, then flags. A later text or number replaces an
earlier one unless it is empty or zero, switches only ever turn on, lists grow, tags are merged.
"""

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from moot.agent.handlers import Handler, parse_handler
from moot.agent.rpc.backend import decode_base64
from moot.agent.serf import flags
from moot.agent.serf.addresses import ANY_HOST, AddressError, with_default_port
from moot.agent.serf.files import Layer, config_files, read_file
from moot.agent.serf.gotext import parse_duration
from moot.agent.serf.interfaces import addresses_of
from moot.agent.settings import HostPort
from moot.gossip.config import PROFILES, SerfConfig, SwimConfig, WireConfig
from moot.gossip.errors import CommandError, ConfigError
from moot.gossip.net.settings import NodeSettings

GOSSIP_PORT: Final = 7946
LEVELS: Final = ("TRACE", "DEBUG", "INFO", "WARN", "ERR")
PROTOCOLS: Final = range(3, 6)
"""Serf protocol versions that we speak. 2, which knows no tags but the role, is not among them."""
SECOND: Final = 10**9

FLAGS: Final[Mapping[str, flags.Flag]] = {
    "bind": flags.text(),
    "iface": flags.text(),
    "advertise": flags.text(),
    "config-file": flags.texts(),
    "config-dir": flags.texts(into="config-file"),
    "encrypt": flags.text(),
    "keyring-file": flags.text(),
    "event-handler": flags.texts(),
    "join": flags.texts(),
    "replay": flags.switch(),
    "log-level": flags.text(),
    "node": flags.text(),
    "protocol": flags.number(),
    "role": flags.text(),
    "rpc-addr": flags.text(),
    "rpc-auth": flags.text(),
    "snapshot": flags.text(),
    "tag": flags.texts(),
    "tags-file": flags.text(),
    "syslog": flags.switch(),
    "discover": flags.text(),
    "profile": flags.text(),
    "rejoin": flags.switch(),
    "retry-join": flags.texts(),
    "retry-interval": flags.text(),
    "retry-max": flags.number(),
    "broadcast-timeout": flags.text(),
    "disable-compression": flags.switch(),
}
"""The flags of `agent`. `-rpc-auth` is ours: Serf knows it only as a key of the files."""

_KEY_OF: Final = {
    "bind": "bind",
    "iface": "interface",
    "advertise": "advertise",
    "encrypt": "encrypt_key",
    "keyring-file": "keyring_file",
    "event-handler": "event_handlers",
    "join": "start_join",
    "replay": "replay_on_join",
    "log-level": "log_level",
    "node": "node_name",
    "protocol": "protocol",
    "role": "role",
    "rpc-addr": "rpc_addr",
    "rpc-auth": "rpc_auth",
    "snapshot": "snapshot_path",
    "tags-file": "tags_file",
    "syslog": "enable_syslog",
    "discover": "discover",
    "profile": "profile",
    "rejoin": "rejoin_after_leave",
    "retry-join": "retry_join",
    "retry-max": "retry_max_attempts",
}

_DEFAULTS: Final[Mapping[str, object]] = {
    "node_name": "",
    "role": "",
    "tags": {},
    "tags_file": "",
    "bind": ANY_HOST,
    "interface": "",
    "advertise": "",
    "encrypt_key": "",
    "keyring_file": "",
    "event_handlers": (),
    "log_level": "INFO",
    "rpc_addr": "127.0.0.1:7373",
    "rpc_auth": "",
    "protocol": 5,
    "replay_on_join": False,
    "start_join": (),
    "retry_join": (),
    "retry_max_attempts": 0,
    "retry_interval": 30 * SECOND,
    "profile": "lan",
    "snapshot_path": "",
    "rejoin_after_leave": False,
    "leave_on_terminate": False,
    "skip_leave_on_interrupt": False,
    "discover": "",
    "mdns": {},
    "reconnect_interval": 0,
    "reconnect_timeout": 0,
    "tombstone_timeout": 0,
    "broadcast_timeout": 0,
    "disable_coordinates": False,
    "disable_name_resolution": False,
    "enable_compression": False,
    "query_response_size_limit": 0,
    "query_size_limit": 0,
    "user_event_size_limit": 0,
    "enable_syslog": False,
    "syslog_facility": "",
    "statsite_addr": "",
    "statsd_addr": "",
}
"""What holds where nothing is said; 0 leaves the engine's own default, which is Serf's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SerfAgentSettings:
    """All that `moot serf agent` needs to know. Made by `load`, read-only. Durations in seconds."""

    node_name: str
    tags: Mapping[str, str]
    tags_file: Path | None
    bind: HostPort
    advertise: HostPort | None
    keys: tuple[bytes, ...] = field(repr=False)
    keyring_file: Path | None
    handlers: tuple[Handler, ...]
    log_level: str
    rpc_addr: str
    rpc_auth: str = field(repr=False)
    protocol: int
    replay: bool
    start_join: tuple[str, ...]
    retry_join: tuple[str, ...]
    retry_max: int
    retry_interval: float
    profile: str
    snapshot: Path | None
    rejoin_after_leave: bool
    leave_on_terminate: bool
    skip_leave_on_interrupt: bool
    discover: str
    mdns_interface: str
    """The network interface for discovery; where it listens, if empty."""
    compress: bool
    serf: SerfConfig
    notices: tuple[str, ...]
    """What is said at start about the settings themselves."""

    def node_settings(self) -> NodeSettings:
        """The gossip node that these settings ask for."""
        return NodeSettings(
            name=self.node_name,
            bind_host=self.bind.host,
            bind_port=self.bind.port,
            advertise=(self.advertise.host, self.advertise.port) if self.advertise else None,
            tags=self.tags,
            swim=self.swim,
            serf=self.serf,
            wire=WireConfig(compress=self.compress),
            keys=self.keys,
            keyring_file=self.keyring_file,
            snapshot=self.snapshot,
            rejoin_after_leave=self.rejoin_after_leave,
            versions=bytes((1, 5, 2, 2, 5, self.protocol)),
        )

    @property
    def swim(self) -> SwimConfig:
        return PROFILES[self.profile]


def load(given: flags.Given) -> SerfAgentSettings:
    """Settings from flags and the files that they name. Raises ConfigError, in Serf's words where it has some."""
    command_line = _flag_layer(given)
    merged: Layer = dict(_DEFAULTS)
    for path in given.texts("config-file"):
        for file in config_files(Path(path)):
            merge(merged, read_file(file))
    merge(merged, command_line)
    if given.switch("disable-compression"):
        merged["enable_compression"] = False
    return _settings(merged)


def _flag_layer(given: flags.Given) -> Layer:
    layer: Layer = {}
    for name in ("retry-interval", "broadcast-timeout"):
        try:
            layer[name.replace("-", "_")] = parse_duration(text) if (text := given.text(name)) else 0
        except ValueError as error:
            raise ConfigError(f"Error: {error}") from None
    try:
        layer["tags"] = flags.tag_pairs(given.texts("tag"))
    except ValueError as error:
        raise ConfigError(f"Error: {error}") from None
    layer |= {key: given.value(name) for name, key in _KEY_OF.items()}
    return layer


def merge(into: Layer, layer: Layer) -> None:
    """Lay one source over the ones before, as Serf does (see the module)."""
    for key, value in layer.items():
        held = into[key]
        if isinstance(held, tuple) and isinstance(value, tuple):
            into[key] = held + value
        elif isinstance(held, dict) and isinstance(value, dict):
            into[key] = held | value
        elif value and not (key == "protocol" and isinstance(value, int) and value < 0):
            into[key] = value


def _settings(merged: Layer) -> SerfAgentSettings:
    """The checks, in Serf's order, and the typed result."""
    get: Mapping[str, Any] = merged
    notices: list[str] = []
    tags: dict[str, str] = get["tags"]
    if get["role"]:
        notices.append("Deprecation warning: 'Role' has been replaced with 'Tags'")
        tags = {**tags, "role": get["role"]}
    handlers = tuple(_handler(spec) for spec in get["event_handlers"])
    bind = _bind(get["bind"], get["interface"], notices)
    advertise = _address("advertise", get["advertise"]) if get["advertise"] else None
    keys = (_key(get["encrypt_key"]),) if get["encrypt_key"] else ()
    if get["retry_interval"] < SECOND:
        notices.append("Warning: 'RetryInterval' is too low. Setting to 1s")
    if get["rejoin_after_leave"] and not get["snapshot_path"]:
        notices.append("Warning: 'RejoinAfterLeave' enabled without snapshot file")
    notices += _not_done(get)
    return SerfAgentSettings(
        node_name=get["node_name"] or socket.gethostname(),
        tags=tags,
        tags_file=_path(get["tags_file"]),
        bind=bind,
        advertise=advertise,
        keys=keys,
        keyring_file=_path(get["keyring_file"]),
        handlers=handlers,
        log_level=_level(get["log_level"]),
        rpc_addr=get["rpc_addr"],
        rpc_auth=get["rpc_auth"],
        protocol=get["protocol"],
        replay=get["replay_on_join"],
        start_join=get["start_join"],
        retry_join=get["retry_join"],
        retry_max=get["retry_max_attempts"],
        retry_interval=max(get["retry_interval"], SECOND) / SECOND,
        profile=_profile(get["profile"]),
        snapshot=_path(get["snapshot_path"]),
        rejoin_after_leave=get["rejoin_after_leave"],
        leave_on_terminate=get["leave_on_terminate"],
        skip_leave_on_interrupt=get["skip_leave_on_interrupt"],
        discover=get["discover"],
        mdns_interface=get["mdns"].get("interface", "") or get["interface"],
        compress=get["enable_compression"],
        serf=_serf(get),
        notices=tuple(notices),
    )


def _not_done(get: Mapping[str, Any]) -> list[str]:
    """What Serf would do and we do not."""
    found = []
    if get["enable_syslog"]:
        found.append(
            "Warning: no syslog here; the log is written to stdout only (pipe it into logger(1) to get both)"
        )
    found += [
        f"Warning: mdns.{key} has no effect" for key in ("disable_ipv4", "disable_ipv6") if get["mdns"].get(key)
    ]
    return found + [
        f"Warning: no statistics are sent to '{get[key]}' ({key}); ask for them with `serf info`"
        for key in ("statsite_addr", "statsd_addr")
        if get[key]
    ]


def _handler(spec: str) -> Handler:
    filters, divided, script = spec.partition("=")
    try:
        return parse_handler(spec)
    except ConfigError as error:
        if not divided:
            filters, script = "*", spec
        raise ConfigError(f"Invalid event script: Event '{filters}' invoking '{script}' ({error})") from None


def _address(which: str, text: str) -> HostPort:
    try:
        host, port = with_default_port(text, GOSSIP_PORT)
    except AddressError as error:
        raise ConfigError(f"Invalid {which} address: {error}") from None
    return HostPort(host=host, port=port)


def _bind(text: str, interface: str, notices: list[str]) -> HostPort:
    """Where to listen: what was asked for, or an address of the interface."""
    bind = _address("bind", text)
    if not interface:
        return bind
    try:
        found = addresses_of(interface)
    except OSError:
        raise ConfigError("Invalid network interface: route ip+net: no such network interface") from None
    hosts = [str(address) for address in found if not address.is_link_local]
    if bind.host in hosts:
        return bind
    if bind.host != ANY_HOST:
        raise ConfigError(f"Interface '{interface}' has no '{bind.host}' address")
    if not hosts:
        raise ConfigError(f"Interface '{interface}' has no addresses")
    notices.append(f"Using interface '{interface}' address '{hosts[0]}'")
    return HostPort(host=hosts[0], port=bind.port)


def _key(text: str) -> bytes:
    try:
        return decode_base64(text)
    except CommandError as error:
        raise ConfigError(f"Invalid encryption key: {error}") from None


def _level(text: str) -> str:
    level = text.upper()
    if level not in LEVELS:
        raise ConfigError(f"Invalid log level: {level}. Valid log levels are: [{' '.join(LEVELS)}]")
    return level


def _profile(name: str) -> str:
    if name not in PROFILES:
        raise ConfigError(f"Unknown profile: {name}")
    return name


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def _serf(get: Mapping[str, Any]) -> SerfConfig:
    seconds = {
        key: get[key] / SECOND
        for key in ("reconnect_interval", "reconnect_timeout", "tombstone_timeout", "broadcast_timeout")
        if get[key]
    }
    sizes = {
        ours: get[key]
        for key, ours in (
            ("query_response_size_limit", "query_response_size_max"),
            ("query_size_limit", "query_size_max"),
            ("user_event_size_limit", "user_event_size_max"),
        )
        if get[key]
    }
    conflict = "warn" if get["disable_name_resolution"] else "vote"
    return SerfConfig(**seconds, **sizes, coordinates=not get["disable_coordinates"], conflict=conflict)
