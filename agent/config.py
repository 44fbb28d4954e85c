"""Settings of an agent: files, variables and flags become one typed, checked `Settings`.

Order of precedence: built-in values, then the dev set with `--dev`, then the configuration files in the order
given (a directory counts as its files, by name), then the environment, then the flags. Which keys there are is in
`key_table`, what each may be in `checks`, how values meet in `layers`, what keys need of each other in
`config_rules`.
"""

import dataclasses
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from moot.agent import checks
from moot.agent.config_env import from_environment
from moot.agent.config_files import config_files, read_tree
from moot.agent.config_rules import FlagError as FlagError
from moot.agent.config_rules import (
    note_lost_servers,
    refuse_idle_flags,
    refuse_own_tags,
    settle_defaults,
    settle_joins,
    settle_roles,
    settle_secrets,
    without_cloud,
)
from moot.agent.handlers import parse_handler
from moot.agent.key_table import DEV
from moot.agent.layers import Layers
from moot.agent.nomad.registry import RegistrySettings
from moot.agent.schema import ConfigProblems, Flat, Problem, flatten
from moot.agent.settings import ClientRole, ConnectionLimits, HostPort, Settings, Telemetry
from moot.agent.tls import TlsSettings
from moot.gossip.config import PROFILES, SwimConfig
from moot.gossip.errors import ConfigError
from moot.http.acl import Acl, parse_tokens
from moot.http.nomad_operations import ApiSettings

SERVICES = ("http", "rpc", "serf")
IPC_PORT = 7373
"""Of the client RPC, unless another is given; Serf's."""
SNAPSHOT = Path("serf") / "local.snapshot"
KEYRING = Path("serf") / "local.keyring"
"""Where they are in a data directory."""

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


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag as given on the command line: its name and the dotted key that it stands for."""

    name: str
    key: str
    value: object


def load(
    paths: Sequence[Path],
    flags: Sequence[Flag] = (),
    *,
    dev: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Settings from configuration files, variables and flags.

    Raises ConfigProblems with all mistakes that were found, FlagError where only flags or variables are to blame.
    Each names the file and key, the variable or the flag, and what to write instead.
    """
    found, flats = _read_files(paths)
    variables, notices = from_environment(environment or {})
    given = Flat()
    for flag in flags:
        given.put(flag.key, flag.value, source=flag.name, told=False)
    problems = [problem for flat in flats for problem in flat.problems]
    outside = [*variables.problems, *given.problems]
    if problems:
        raise ConfigProblems([*problems, *outside])
    if outside:
        raise FlagError("\n".join(map(str, outside)))
    layers = Layers()
    if dev:
        layers.add(DEV, dict.fromkeys(DEV, "--dev"))
    for flat in flats:
        layers.add(flat.layer, flat.places, zero_counts=False)
    settle_joins(layers)
    for flat in (variables, given):
        layers.add(flat.layer, flat.places)
    settle_secrets(layers)
    named = frozenset().union(*(flat.layer for flat in (*flats, variables, given)))
    settle_defaults(layers)
    settle_roles(layers, named, dev=dev)
    refuse_idle_flags(layers.values, given.layer)
    refuse_own_tags(layers, given.layer)
    foreign = sorted({key for flat in flats for key in flat.foreign})
    return _settings(layers, files=tuple(found), dev=dev, foreign=tuple(foreign), notices=notices)


def _read_files(paths: Sequence[Path]) -> tuple[list[Path], list[Flat]]:
    """The files that the paths name, and what each says or what is wrong with it."""
    found: list[Path] = []
    flats: list[Flat] = []
    for path in paths:
        try:
            files = config_files(path)
        except ConfigError as error:
            flats.append(Flat(problems=[Problem(text=str(error))]))
            continue
        for file in files:
            found.append(file)
            try:
                flats.append(flatten(str(file), read_tree(file)))
            except ConfigError as error:
                flats.append(Flat(problems=[Problem(text=str(error))]))
    return found, flats


def _settings(
    layers: Layers, *, files: tuple[Path, ...], dev: bool, foreign: tuple[str, ...], notices: list[str]
) -> Settings:
    """The typed result. Raises ConfigError for what the parts of the agent refuse."""
    get: Mapping[str, Any] = layers.values
    retried = without_cloud(get, notices)
    note_lost_servers({"client.servers": get["client.servers"], **retried}, notices)
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
        client=_client(get, retried["client.server_join.retry_join"]),
        registry=_block(RegistrySettings, "server", get),
        limits=_block(ConnectionLimits, "limits", get),
        telemetry=_block(Telemetry, "telemetry", get),
        keys=(checks.decode_key(get["server.encrypt"]),) if get["server.encrypt"] else (),
        start_join=tuple(get["server.start_join"]),
        retry_join=retried["server.retry_join"],
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
        values=layers.values,
        origins=layers.origins,
        foreign=foreign,
        notices=tuple(notices),
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


def _client(get: Mapping[str, Any], retry_join: tuple[str, ...]) -> ClientRole:
    join = "client.server_join."
    return ClientRole(
        enabled=get["client.enabled"],
        servers=tuple(get["client.servers"]),
        retry_join=retry_join,
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
