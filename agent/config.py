"""Settings of an agent: files and flags become one typed, checked `Settings`.

Order of precedence: built-in values, then the dev set with `--dev`, then the configuration files in the order
given (a directory counts as its files, by name), then the flags. How values meet is in `schema.merge`, what
each may be in `checks`.
"""

import dataclasses
import json
import os
import socket
import stat
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from moot.agent import checks, schema
from moot.agent.handlers import parse_handler
from moot.agent.nomad.registry import RegistrySettings
from moot.agent.schema import Layer
from moot.agent.settings import ClientRole, ConnectionLimits, Telemetry
from moot.agent.settings import HostPort as HostPort
from moot.agent.settings import Settings as Settings
from moot.agent.tls import TlsSettings
from moot.gossip.config import PROFILES, SwimConfig
from moot.gossip.errors import ConfigError
from moot.http.acl import Acl, parse_tokens
from moot.http.nomad_operations import ApiSettings

SERVICES = ("http", "rpc", "serf")
NOMAD_TAGS = frozenset(
    {"role", "region", "dc", "vsn", "mvn", "build", "port", "id", "rpc_addr", "raft_vsn", "bootstrap", "expect"}
)
"""Tags that an agent in a nomad pool sets itself."""
IPC_PORT = 7373
"""Of the client RPC, unless another is given; Serf's."""
SNAPSHOT = Path("serf") / "local.snapshot"
KEYRING = Path("serf") / "local.keyring"
"""Where they are in a data directory."""
FILE_MAX = 1024 * 1024
"""Bytes of one configuration file."""
_FILE_KINDS = (".json", ".toml")


_PLAIN = {
    **{name: name for name in ("region", "datacenter", "bind_addr", "log_level", "log_json")},
    **{name: name for name in ("leave_on_interrupt", "leave_on_terminate")},
    **{name: f"server.{name}" for name in ("bootstrap_expect", "retry_max", "retry_interval", "rejoin_after_leave")},
    **{name: f"moot.{name}" for name in ("pool", "label", "tags", "replay", "ipc_auth", "handler_timeout")},
    **{name: f"moot.{name}" for name in ("discover", "discover_interface", "log_levels")},
    "response_headers": "http_api_response_headers",
}
"""Fields of the settings that are the value of one key."""

Part = TypeVar("Part", RegistrySettings, ConnectionLimits, Telemetry, TlsSettings)


class FlagError(ConfigError):
    """A mistake on the command line, or in a variable that stands for a flag."""


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag as given on the command line: its name and the dotted key that it stands for."""

    name: str
    key: str
    value: object


def load(paths: Sequence[Path], flags: Sequence[Flag] = (), *, dev: bool = False) -> Settings:
    """Settings from configuration files and flags.

    Raises ConfigError, FlagError where the command line is to blame. The text names the file and key, or the
    flag, and what to write instead.
    """
    merged = schema.defaults()
    if dev:
        schema.merge(merged, schema.DEV)
    files = [file for path in paths for file in config_files(path)]
    layers = [read_file(file) for file in files]
    given: Layer = {}
    for flag in flags:
        try:
            schema.put(given, flag.key, flag.value, label=flag.name)
        except ConfigError as error:
            raise FlagError(str(error)) from None
    for layer in (*layers, given):
        schema.merge(merged, layer)
    _settle_roles(merged, frozenset().union(*layers, given), dev=dev)
    _refuse_idle_flags(merged, given)
    _refuse_own_tags(merged, given)
    return _settings(merged, tuple(files), dev)


def _settle_roles(merged: Layer, named: frozenset[str], *, dev: bool) -> None:
    """An agent is a server unless it is told otherwise, or told to be a client. `named` are the keys that were given.

    Raises ConfigError.
    """
    if "client.enabled" not in named and merged["moot.pool"] != "nomad":
        merged["client.enabled"] = False
    if merged["client.enabled"] and "server.enabled" not in named and not dev:
        merged["server.enabled"] = False
    if merged["client.enabled"] and merged["moot.pool"] != "nomad":
        raise ConfigError("client.enabled: there are clients in nomad pools only; leave moot.pool, or --pool, away")
    if not (merged["server.enabled"] or merged["client.enabled"]):
        raise ConfigError(
            "Must specify either server, client or dev mode for the agent."
            " Set server.enabled = true, or client.enabled = true"
        )


def _refuse_idle_flags(merged: Layer, given: Layer) -> None:
    """Raises FlagError for flags of a role that the agent does not have."""
    if not merged["server.enabled"] and (given.get("server.start_join") or given.get("server.retry_join")):
        name = "--join" if given.get("server.start_join") else "--retry-join"
        raise FlagError(
            f"{name}: an agent that is a client only joins no pool; name its servers with --servers, or add --server"
        )
    if not merged["client.enabled"] and given.get("client.servers"):
        raise FlagError("--servers: only a client has servers to turn to; add --client, or name the pool with --join")


def _refuse_own_tags(merged: Layer, given: Layer) -> None:
    """Raises ConfigError for a tag that the agent itself sets, FlagError when it came with a flag."""
    if merged["moot.pool"] != "nomad":
        return
    taken = sorted(NOMAD_TAGS & cast(dict[str, str], merged["moot.tags"]).keys())
    if taken:
        kind = FlagError if taken[0] in cast(dict[str, str], given.get("moot.tags", {})) else ConfigError
        raise kind(f"the tag {taken[0]} is the agent's own in a nomad pool; take another name or --pool serf")


def config_files(path: Path) -> list[Path]:
    """The files that `--config path` names: itself, or a directory's files by name. Raises ConfigError."""
    try:
        if not stat.S_ISDIR(path.stat().st_mode):
            return [path]
        # a link that leads nowhere counts, so that reading it is an error and not silence
        found = [file for file in path.iterdir() if not _is_editor_litter(file.name) and not file.is_dir()]
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(f"Error loading configuration from {path}: stat {path}: {reason.lower()}") from None
    return sorted(file for file in found if file.suffix in (*_FILE_KINDS, ".hcl"))


def _is_editor_litter(name: str) -> bool:
    return name.endswith("~") or name.startswith(".#") or (name.startswith("#") and name.endswith("#"))


def read_file(path: Path) -> Layer:
    """One file as a checked layer. Raises ConfigError."""
    if path.suffix not in _FILE_KINDS:
        kind = "HCL is not read yet" if path.suffix == ".hcl" else "its name must end in .json or .toml"
        raise ConfigError(f"{path}: {kind}; write the same keys as JSON or TOML")
    kind = path.suffix[1:].upper()
    try:
        text = _content(path).decode()
        tree = json.loads(text, object_pairs_hook=_each_once) if kind == "JSON" else tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except RecursionError:
        raise ConfigError(f"{path}: cannot be read as {kind}: it is nested too deeply") from None
    except ValueError as error:
        raise ConfigError(f"{path}: cannot be read as {kind}: {error}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: must hold one object with the keys in it")
    return schema.flatten(str(path), tree)


def _content(path: Path) -> bytes:
    """The bytes of a regular file; a pipe could hold up an agent that reloads. Raises OSError, ConfigError."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ConfigError(f"{path}: is no regular file")
        content = file.read(FILE_MAX + 1)
    if len(content) > FILE_MAX:
        raise ConfigError(f"{path}: a configuration file has at most {FILE_MAX} bytes")
    return content


def _each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object. Python would take the last of equal keys and drop the others. Raises ValueError."""
    tree = dict(pairs)
    if len(tree) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice} is there twice in one block")
    return tree


def _settings(merged: Layer, files: tuple[Path, ...], dev: bool) -> Settings:
    """Checks that need more than one key, and the typed result."""
    get: Mapping[str, Any] = merged
    bind = {
        service: HostPort(host=get[f"addresses.{service}"] or get["bind_addr"], port=get[f"ports.{service}"])
        for service in SERVICES
    }
    nomad = get["moot.pool"] == "nomad"
    # Nomad servers gossip with the WAN profile, serf agents with the LAN one
    profile = get["moot.profile"] or ("wan" if nomad else "lan")
    data_dir = Path(get["data_dir"]) if get["data_dir"] else None
    return Settings(
        **{field: get[key] for field, key in _PLAIN.items()},
        dev=dev,
        name=_node_name(get["name"]),
        data_dir=data_dir,
        bind=bind,
        advertise={service: _advertise(get[f"advertise.{service}"], bind[service].port) for service in SERVICES},
        is_server=get["server.enabled"],
        client=_client(get),
        registry=_block(RegistrySettings, "server", get),
        limits=_block(ConnectionLimits, "limits", get),
        telemetry=_block(Telemetry, "telemetry", get),
        keys=(checks.decode_key(get["server.encrypt"]),) if get["server.encrypt"] else (),
        start_join=tuple(get["server.start_join"]),
        retry_join=tuple(get["server.retry_join"]),
        http_hosts=tuple(get["moot.http_hosts"]),
        profile=profile,
        swim=_swim(profile, get),
        # with Nomad's servers nobody is asked who is meant: they have turned that off
        conflict=get["moot.conflict"] or ("warn" if nomad else "vote"),
        ipc=_endpoint(get["moot.ipc_addr"]),
        snapshot=_path(get["moot.snapshot"]) or (data_dir and data_dir / SNAPSHOT),
        keyring_file=_path(get["moot.keyring_file"]),
        handlers=tuple(parse_handler(spec) for spec in get["moot.event_handlers"]),
        api=ApiSettings(
            acl=Acl(parse_tokens(get["acl.tokens"]), enabled=get["acl.enabled"]),
            enable_debug=get["enable_debug"],
            prometheus_metrics=get["telemetry.prometheus_metrics"],
        ),
        tls=_block(TlsSettings, "tls", get),
        files=files,
        values=merged,
    )


def _node_name(given: str) -> str:
    try:
        return given or checks.name(socket.gethostname())
    except ValueError as error:
        raise ConfigError(f"the host name cannot be the node's name, give one with --node: it {error}") from None


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def _endpoint(text: str) -> HostPort | None:
    """Where the client RPC listens."""
    if not text:
        return None
    host, port = checks.split_endpoint(text)
    return HostPort(host=host, port=IPC_PORT if port is None else port)


def _advertise(text: str, port: int) -> HostPort | None:
    """What is told instead of the bind address; the port defaults to the service's."""
    if not text:
        return None
    host, told_port = checks.split_advertise(text)
    return HostPort(host=host, port=port if told_port is None else told_port)


def _block(kind: type[Part], block: str, get: Mapping[str, Any]) -> Part:
    """A part of the settings whose fields are keys of one block. Raises ConfigError for what does not go together."""
    names = [each.name for each in dataclasses.fields(kind) if f"{block}.{each.name}" in get]
    return kind(**{name: get[f"{block}.{name}"] for name in names})


def _client(get: Mapping[str, Any]) -> ClientRole:
    join = "client.server_join."
    return ClientRole(
        enabled=get["client.enabled"],
        servers=tuple(get["client.servers"]),
        retry_join=tuple(get[join + "retry_join"]),
        retry_max=get[join + "retry_max"],
        retry_interval=get[join + "retry_interval"],
        node_class=get["client.node_class"],
        state_dir=_path(get["client.state_dir"]),
        meta=get["client.meta"],
    )


def _swim(profile: str, get: Mapping[str, Any]) -> SwimConfig:
    """The profile's timing, changed by what is given instead. Raises ConfigError."""
    prefix = "moot.timing."
    changes = {key.removeprefix(prefix): value for key, value in get.items() if key.startswith(prefix) and value}
    try:
        return dataclasses.replace(PROFILES[profile], dead_node_reclaim_time=get["moot.reclaim_after"], **changes)
    except ConfigError as error:
        raise ConfigError(f"moot.timing: {error}") from None
