"""Settings of an agent: files and flags become one typed, checked `Settings`.

Order of precedence: built-in values, then the dev set with `--dev`, then the configuration files in the order
given (a directory counts as its files, by name), then the flags. How values meet is in `schema.merge`, what
each may be in `checks`.
"""

import dataclasses
import ipaddress
import json
import os
import socket
import stat
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from moot.agent import checks, schema
from moot.agent.handlers import Handler, parse_handler
from moot.agent.schema import Layer
from moot.agent.tls import TlsSettings
from moot.gossip.config import PROFILES, SwimConfig
from moot.gossip.errors import ConfigError
from moot.http.acl import Acl, parse_tokens
from moot.http.nomad_operations import ApiSettings

Pool = Literal["nomad", "serf"]
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


class FlagError(ConfigError):
    """A mistake on the command line, or in a variable that stands for a flag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPort:
    """An IP text and a port; 0 stands for any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All an agent needs to know. Made by `load`, read-only."""

    dev: bool
    name: str
    """Node name; the host name when none was given."""
    region: str
    datacenter: str
    data_dir: Path | None
    bind_addr: str
    bind: Mapping[str, HostPort]
    """By service (http, rpc, serf): where it listens, ports as asked for."""
    advertise: Mapping[str, HostPort | None]
    """By service: what others are told; None is the bind address."""
    bootstrap_expect: int
    keys: tuple[bytes, ...] = field(repr=False)
    start_join: tuple[str, ...]
    retry_join: tuple[str, ...]
    retry_max: int
    retry_interval: float
    leave_on_interrupt: bool
    leave_on_terminate: bool
    log_level: str
    log_json: bool
    response_headers: Mapping[str, str]
    http_hosts: tuple[str, ...]
    """Names besides its own that the HTTP API answers to, as patterns."""
    pool: Pool
    profile: str
    label: str
    tags: Mapping[str, str]
    swim: SwimConfig
    """The profile, with what `moot.timing` and `moot.reclaim_after` say instead."""
    conflict: str
    replay: bool
    """Joins bring the pool's past user events."""
    ipc: HostPort | None
    """Where the client RPC listens; None is nowhere."""
    ipc_auth: str = field(repr=False)
    snapshot: Path | None
    rejoin_after_leave: bool
    keyring_file: Path | None
    """As given, or None; `identity.keyring_file` knows the place in the data directory."""
    handlers: tuple[Handler, ...]
    handler_timeout: float
    discover: str
    discover_interface: str
    api: ApiSettings
    """Of the HTTP API: tokens, debugging, Prometheus."""
    tls: TlsSettings
    files: tuple[Path, ...]
    values: Mapping[str, schema.Value] = field(repr=False)
    """By dotted key, what files and flags made of it. The gossip key is in it."""

    @property
    def name_given(self) -> str:
        """The name as configured, empty when it was taken from the host."""
        return cast(str, self.values["name"])

    @property
    def gossip_name(self) -> str:
        """Name in the pool: `NODE.REGION` among Nomad servers, else the plain name."""
        return f"{self.name}.{self.region}" if self.pool == "nomad" else self.name

    @property
    def in_force(self) -> Mapping[str, object]:
        """The values by key, where what stands for nothing given is what it comes to."""
        resolved = {
            "name": self.name,
            "moot.profile": self.profile,
            "moot.conflict": self.conflict,
            "moot.ipc_addr": str(self.ipc or ""),
            "moot.snapshot": str(self.snapshot or ""),
        }
        return {**self.values, **resolved}

    def warnings(self) -> list[str]:
        """What is allowed but deserves a word at start."""
        found = []
        host = self.bind["serf"].host
        if ipaddress.ip_address(host).is_loopback and self.advertise["serf"] is None:
            found.append(
                f"only this machine can reach the pool address {host}; for other machines give --bind or --advertise"
            )
        if not ipaddress.ip_address(host).is_loopback and not self.keys:
            found.append(
                f"gossip on {host} is not encrypted: anybody who reaches the port can join; make a key with"
                " `moot keygen` and give it to every agent: server.encrypt in a file of mode 0600, or MOOT_ENCRYPT"
            )
        http = self.bind["http"].host
        if not ipaddress.ip_address(http).is_loopback and not (self.api.acl.enabled or self.tls.verify_https_client):
            found.append(
                f"the HTTP API on {http} has no access control; keep it on loopback with --http-addr 127.0.0.1, or"
                " turn tokens on: acl.enabled, and `moot token`"
            )
        if self.ipc and not self.ipc_auth and not ipaddress.ip_address(self.ipc.host).is_loopback:
            found.append(
                f"the client RPC on {self.ipc} obeys anybody who reaches it; keep it on loopback, or ask for a key:"
                " moot.ipc_auth in a file of mode 0600, or MOOT_IPC_AUTH"
            )
        if self.rejoin_after_leave and self.snapshot is None:
            found.append("to rejoin after a leave takes a snapshot: give --data-dir or --snapshot")
        return found


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
    for file in files:
        schema.merge(merged, read_file(file))
    given: Layer = {}
    for flag in flags:
        try:
            schema.put(given, flag.key, flag.value, label=flag.name)
        except ConfigError as error:
            raise FlagError(str(error)) from None
    schema.merge(merged, given)
    _refuse_own_tags(merged, given)
    return _settings(merged, tuple(files), dev)


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
    if not get["server.enabled"]:
        raise ConfigError("Must specify either server, client or dev mode for the agent. Set server.enabled = true")
    bind = {
        service: HostPort(host=get[f"addresses.{service}"] or get["bind_addr"], port=get[f"ports.{service}"])
        for service in SERVICES
    }
    nomad = get["moot.pool"] == "nomad"
    # Nomad servers gossip with the WAN profile, serf agents with the LAN one
    profile = get["moot.profile"] or ("wan" if nomad else "lan")
    data_dir = Path(get["data_dir"]) if get["data_dir"] else None
    return Settings(
        dev=dev,
        name=_node_name(get["name"]),
        region=get["region"],
        datacenter=get["datacenter"],
        data_dir=data_dir,
        bind_addr=get["bind_addr"],
        bind=bind,
        advertise={service: _advertise(get[f"advertise.{service}"], bind[service].port) for service in SERVICES},
        bootstrap_expect=get["server.bootstrap_expect"],
        keys=(checks.decode_key(get["server.encrypt"]),) if get["server.encrypt"] else (),
        start_join=tuple(get["server.start_join"]),
        retry_join=tuple(get["server.retry_join"]),
        retry_max=get["server.retry_max"],
        retry_interval=get["server.retry_interval"],
        leave_on_interrupt=get["leave_on_interrupt"],
        leave_on_terminate=get["leave_on_terminate"],
        log_level=get["log_level"],
        log_json=get["log_json"],
        response_headers=get["http_api_response_headers"],
        http_hosts=tuple(get["moot.http_hosts"]),
        pool=cast(Pool, get["moot.pool"]),
        profile=profile,
        label=get["moot.label"],
        tags=get["moot.tags"],
        swim=_swim(profile, get),
        # with Nomad's servers nobody is asked who is meant: they have turned that off
        conflict=get["moot.conflict"] or ("warn" if nomad else "vote"),
        replay=get["moot.replay"],
        ipc=_endpoint(get["moot.ipc_addr"]),
        ipc_auth=get["moot.ipc_auth"],
        snapshot=_path(get["moot.snapshot"]) or (data_dir and data_dir / SNAPSHOT),
        rejoin_after_leave=get["server.rejoin_after_leave"],
        keyring_file=_path(get["moot.keyring_file"]),
        handlers=tuple(parse_handler(spec) for spec in get["moot.event_handlers"]),
        handler_timeout=get["moot.handler_timeout"],
        discover=get["moot.discover"],
        discover_interface=get["moot.discover_interface"],
        api=ApiSettings(
            acl=Acl(parse_tokens(get["acl.tokens"]), enabled=get["acl.enabled"]),
            enable_debug=get["enable_debug"],
            prometheus_metrics=get["telemetry.prometheus_metrics"],
        ),
        tls=_tls(get),
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


def _tls(get: Mapping[str, Any]) -> TlsSettings:
    """Raises ConfigError for what does not go together; the files are not read."""
    return TlsSettings(**{each.name: get[f"tls.{each.name}"] for each in dataclasses.fields(TlsSettings)})


def _swim(profile: str, get: Mapping[str, Any]) -> SwimConfig:
    """The profile's timing, changed by what is given instead. Raises ConfigError."""
    prefix = "moot.timing."
    changes = {key.removeprefix(prefix): value for key, value in get.items() if key.startswith(prefix) and value}
    try:
        return dataclasses.replace(PROFILES[profile], dead_node_reclaim_time=get["moot.reclaim_after"], **changes)
    except ConfigError as error:
        raise ConfigError(f"moot.timing: {error}") from None
