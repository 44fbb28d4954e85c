"""Settings of an agent: files and flags become one typed, checked `Settings`.

Order of precedence: built-in values, then the dev set with `--dev`, then the configuration files in the order
given (a directory counts as its files, by name), then the flags. How values meet is in `schema.merge`.
"""

import base64
import binascii
import dataclasses
import ipaddress
import json
import os
import socket
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from moot.agent import schema
from moot.agent.schema import Layer
from moot.gossip.config import PROFILES, SwimConfig
from moot.gossip.errors import ConfigError
from moot.http.guard import configured_headers

Pool = Literal["nomad", "serf"]
SERVICES = ("http", "rpc", "serf")
_FILE_KINDS = (".json", ".toml")


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
    name_given: str
    region: str
    datacenter: str
    data_dir: Path | None
    bind_addr: str
    bind: Mapping[str, HostPort]
    """By service (http, rpc, serf): where it listens, ports as asked for."""
    advertise: Mapping[str, HostPort | None]
    """By service: what others are told; None is the bind address."""
    bootstrap_expect: int
    keys: tuple[bytes, ...]
    start_join: tuple[str, ...]
    retry_join: tuple[str, ...]
    retry_max: int
    retry_interval: float
    leave_on_interrupt: bool
    leave_on_terminate: bool
    log_level: str
    log_json: bool
    response_headers: Mapping[str, str]
    pool: Pool
    profile: str
    label: str
    tags: Mapping[str, str]
    swim: SwimConfig
    """The profile, with what `moot.timing` says instead."""
    files: tuple[Path, ...]

    @property
    def gossip_name(self) -> str:
        """Name in the pool: `NODE.REGION` among Nomad servers, else the plain name."""
        return f"{self.name}.{self.region}" if self.pool == "nomad" else self.name

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
                " `moot keygen` and give it to every agent with --encrypt"
            )
        http = self.bind["http"].host
        if not ipaddress.ip_address(http).is_loopback:
            found.append(
                f"the HTTP API on {http} has no access control; keep it on loopback with --http-addr 127.0.0.1"
            )
        return found


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag as given on the command line: its name and the dotted key that it stands for."""

    name: str
    key: str
    value: object


def load(paths: Sequence[Path], flags: Sequence[Flag] = (), *, dev: bool = False) -> Settings:
    """Settings from configuration files and flags.

    Raises ConfigError. The text names the file and key, or the flag, and what to write instead.
    """
    merged = schema.defaults()
    if dev:
        schema.merge(merged, schema.DEV)
    files = [file for path in paths for file in config_files(path)]
    for file in files:
        schema.merge(merged, read_file(file))
    given: Layer = {}
    for flag in flags:
        schema.put(given, flag.key, flag.value, label=flag.name)
    schema.merge(merged, given)
    return _settings(merged, tuple(files), dev)


def config_files(path: Path) -> list[Path]:
    """The files that `--config path` names: itself, or a directory's files by name. Raises ConfigError."""
    if not path.exists():
        raise ConfigError(f"Error loading configuration from {path}: stat {path}: no such file or directory")
    if not path.is_dir():
        return [path]
    found = [file for file in path.iterdir() if file.is_file() and not _is_editor_litter(file.name)]
    return sorted(file for file in found if file.suffix in (*_FILE_KINDS, ".hcl"))


def _is_editor_litter(name: str) -> bool:
    return name.endswith("~") or name.startswith(".#") or (name.startswith("#") and name.endswith("#"))


def read_file(path: Path) -> Layer:
    """One file as a checked layer. Raises ConfigError."""
    if path.suffix not in _FILE_KINDS:
        kind = "HCL is not read yet" if path.suffix == ".hcl" else "its name must end in .json or .toml"
        raise ConfigError(f"{path}: {kind}; write the same keys as JSON or TOML")
    try:
        text = path.read_text("utf-8")
        tree = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{path}: cannot be read as {path.suffix[1:].upper()}: {error}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: must hold one object with the keys in it")
    return schema.flatten(str(path), tree)


def _settings(merged: Layer, files: tuple[Path, ...], dev: bool) -> Settings:
    """Checks that need more than one key, and the typed result."""
    get: Mapping[str, Any] = merged
    if get["client.enabled"]:
        raise ConfigError("client mode is not part of this version; run the agent as a server, which is the default")
    if not get["server.enabled"]:
        raise ConfigError("Must specify either server, client or dev mode for the agent: set server.enabled = true")
    if get["server.bootstrap_expect"] > 255:
        raise ConfigError("server.bootstrap_expect must not exceed 255")
    bind = {
        service: HostPort(
            host=_ip(f"addresses.{service}", get[f"addresses.{service}"])
            if get[f"addresses.{service}"]
            else _ip("bind_addr (--bind)", get["bind_addr"]),
            port=get[f"ports.{service}"],
        )
        for service in SERVICES
    }
    # Nomad servers gossip with the WAN profile, serf agents with the LAN one
    profile = get["moot.profile"] or {"nomad": "wan", "serf": "lan"}[get["moot.pool"]]
    return Settings(
        dev=dev,
        name=_node_name(get["name"]),
        name_given=get["name"],
        region=_region(get["region"]),
        datacenter=get["datacenter"],
        data_dir=_data_dir(get["data_dir"]),
        bind_addr=_ip("bind_addr (--bind)", get["bind_addr"]),
        bind=bind,
        advertise={
            service: _advertise(service, get[f"advertise.{service}"], bind[service].port) for service in SERVICES
        },
        bootstrap_expect=get["server.bootstrap_expect"],
        keys=(decode_key(get["server.encrypt"]),) if get["server.encrypt"] else (),
        start_join=tuple(get["server.start_join"]),
        retry_join=tuple(get["server.retry_join"]),
        retry_max=get["server.retry_max"],
        retry_interval=get["server.retry_interval"],
        leave_on_interrupt=get["leave_on_interrupt"],
        leave_on_terminate=get["leave_on_terminate"],
        log_level=get["log_level"],
        log_json=get["log_json"],
        response_headers=_headers(get["http_api_response_headers"]),
        pool=cast(Pool, get["moot.pool"]),
        profile=profile,
        label=_label(get["moot.label"]),
        tags=get["moot.tags"],
        swim=_swim(profile, get),
        files=files,
    )


def _ip(key: str, text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        raise ConfigError(f"{key} must be an IP address such as 127.0.0.1 or ::1, got {text!r}") from None


def _advertise(service: str, text: str, port: int) -> HostPort | None:
    """`IP` or `IP:port`, IPv6 with or without brackets; the port defaults to the service's."""
    if not text:
        return None
    key = "advertise.serf (--advertise)" if service == "serf" else f"advertise.{service}"
    host, after = text, str(port)
    if text.count(":") == 1 or "]:" in text:
        host, _, after = text.rpartition(":")
    if not after.isascii() or not after.isdigit() or int(after) > 65535:
        raise ConfigError(f"{key}: {after!r} in {text!r} is no port")
    found = HostPort(host=_ip(key, host), port=int(after))
    if ipaddress.ip_address(found.host).is_unspecified:
        raise ConfigError(f"{key} is told to the other members, so it cannot be {found.host}")
    return found


def _node_name(given: str) -> str:
    name = given or socket.gethostname()
    if len(name.encode("utf-8", "surrogateescape")) > 128:
        raise ConfigError("name (--node) must not exceed 128 bytes")
    if not name.isprintable() or "/" in name:
        raise ConfigError(f"name (--node) must be printable and without a slash, got {name!r}")
    return name


def _region(text: str) -> str:
    if not text or not text.isprintable() or "/" in text:
        raise ConfigError(f"region must be printable and without a slash, got {text!r}")
    return text


def _swim(profile: str, get: Mapping[str, Any]) -> SwimConfig:
    """The profile's timing, changed by what is given in `moot.timing`. Raises ConfigError."""
    prefix = "moot.timing."
    changes = {key.removeprefix(prefix): value for key, value in get.items() if key.startswith(prefix) and value}
    try:
        return dataclasses.replace(PROFILES[profile], **changes)
    except ConfigError as error:
        raise ConfigError(f"moot.timing: {error}") from None


def _label(text: str) -> str:
    if len(text.encode()) > 255:
        raise ConfigError("moot.label (--label) must not exceed 255 bytes")
    return text


def _headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Response headers as given, once the HTTP server has said that it can send them. Raises ConfigError."""
    configured_headers(headers)
    return headers


def _data_dir(text: str) -> Path | None:
    if not text:
        return None
    if not os.path.isabs(text):
        raise ConfigError(f"data-dir must be given as an absolute path: got {text}")
    return Path(text)


def decode_key(text: str) -> bytes:
    """A gossip key from its base64 text. Raises ConfigError; the text never repeats the key."""
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError("Invalid encryption key: it is not base64; `moot keygen` prints a good one") from None
    if len(key) not in (16, 24, 32):
        raise ConfigError(
            f"Invalid encryption key: it has {len(key)} bytes and not 16, 24 or 32; `moot keygen` prints a good one"
        )
    return key
