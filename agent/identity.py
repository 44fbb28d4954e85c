"""Who the agent is in the pool: its name, its tags, the versions it announces."""

import socket
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from moot import __version__
from moot.agent.config import KEYRING
from moot.agent.keys import key_id
from moot.agent.settings import Settings
from moot.agent.tuning import tuned
from moot.gossip.config import SerfConfig, WireConfig
from moot.gossip.errors import ConfigError
from moot.gossip.net.files import replace_file
from moot.gossip.net.interfaces import advertised
from moot.gossip.net.keyring_file import load_keys
from moot.gossip.net.node import NodeSettings
from moot.gossip.record import Address
from moot.gossip.serf.guard import nomad_guard
from moot.gossip.swim.member import VERSIONS
from moot.http.hosts import own_names

NOMAD_VERSIONS = bytes((1, 5, 2, 2, 5, 4))
"""What Nomad's servers announce: as a stock agent, but Serf protocol 4 is spoken."""
NOMAD_RECONNECT_TIMEOUT = 72 * 3600.0
"""Nomad keeps a failed server for three days."""
RAFT_PROTOCOL = "3"
"""What the tag raft_vsn says. There is no Raft here; peers want the tag to be an integer."""


def node_id(data_dir: Path | None) -> str:
    """A UUID: the one kept in the data directory, made there at first; without a directory a fresh one.

    Raises ConfigError when the directory cannot be used.
    """
    if data_dir is None:
        return str(uuid.uuid4())
    path = data_dir / "node-id"
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists():
            return str(uuid.UUID(path.read_text("ascii").strip()))
        made = str(uuid.uuid4())
        replace_file(path, f"{made}\n".encode())
    except OSError as error:
        raise ConfigError(f"data directory {data_dir}: {error.strerror}; give another --data-dir") from None
    except ValueError:
        raise ConfigError(f"{path} holds no UUID; remove the file to get a new one") from None
    return made


def keyring_file(settings: Settings) -> Path | None:
    """Where the keys are kept: the file that was given, or one in the data directory once there is a key.

    Raises ConfigError when it cannot even be looked for.
    """
    path = settings.keyring_file or (settings.data_dir and settings.data_dir / KEYRING)
    if path is None:
        return None
    try:
        wanted = path.exists() or bool(settings.keys) or settings.keyring_file is not None
    except OSError as error:
        raise ConfigError(f"keyring file {path}: {error.strerror}") from None
    return path if wanted else None


def overruled_key(settings: Settings) -> str | None:
    """A warning when a keyring file says otherwise than the key that was given. Raises ConfigError.

    The file counts, as in Nomad: it has what the pool changed to since.
    """
    path = keyring_file(settings)
    if path is None or not settings.keys or not path.exists():
        return None
    given, primary = settings.keys[0], load_keys(path)[0]
    if given == primary:
        return None
    return (
        f"the key that was given ({key_id(given)}) is not used: {path} counts, whose primary key is"
        f" {key_id(primary)}; to begin with the given one, remove that file"
    )


def _make_folder(data_dir: Path | None) -> None:
    """The folder of the snapshot and the keyring. Raises ConfigError."""
    if data_dir is not None:
        folder = (data_dir / KEYRING).parent
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"data directory {folder}: {error.strerror}; give another --data-dir") from None


def advertised_address(settings: Settings, service: str, port: int) -> Address:
    """What others are told about a service that listens on `port`. Raises ConfigError.

    A service that listens everywhere, and of which nothing is said, is told at the address of the gossip when
    that was given.
    """
    bound = Address.parse(settings.bind[service].host, port)
    given, gossip = settings.advertise[service], settings.advertise["serf"]
    if given is not None:
        return advertised((given.host, given.port), bound)
    if gossip is not None and not any(bound.ip):
        return Address.parse(gossip.host, port)
    return advertised(None, bound)


def http_names(settings: Settings) -> frozenset[str]:
    """The names, as patterns, that the HTTP API answers to besides IPs: the node's, the host's, those listed."""
    return own_names([settings.name, settings.gossip_name, socket.gethostname()]) | set(settings.http_hosts)


def server_tags(settings: Settings, rpc: Address, identifier: str) -> dict[str, str]:
    """The tags of a Nomad server (`config_rules.NOMAD_TAGS`), and those that were asked for."""
    tags = {
        "role": "nomad",
        "region": settings.region,
        "dc": settings.datacenter,
        "vsn": "1",
        "mvn": "1",
        "build": __version__,
        "port": str(rpc.port),
        "id": identifier,
        "rpc_addr": rpc.host,
        "raft_vsn": RAFT_PROTOCOL,
    }
    if settings.bootstrap_expect == 1:
        tags["bootstrap"] = "1"
    if settings.bootstrap_expect:
        tags["expect"] = str(settings.bootstrap_expect)
    return {**tags, **settings.tags}


def reloaded_tags(held: Mapping[str, str], before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str]:
    """Our tags when those in the settings change from `before` to `after`.

    Only what the settings say otherwise than before is taken over: a tag that was changed while the agent runs
    stays so. Deviation: Serf puts all tags back to the configured ones at every reload.
    """
    changed = {name: value for name, value in after.items() if before.get(name) != value}
    return {name: value for name, value in held.items() if name in after or name not in before} | changed


def node_settings(settings: Settings, rpc: Address, identifier: str) -> NodeSettings:
    """The gossip node that these settings ask for; `rpc` is the announced RPC address. Raises ConfigError."""
    nomad = settings.pool == "nomad"
    _make_folder(settings.data_dir)
    serf = SerfConfig(conflict=settings.conflict)
    if nomad:
        serf = replace(serf, reconnect_timeout=NOMAD_RECONNECT_TIMEOUT)
    swim, serf = tuned(settings.swim, serf, settings.tuning)
    given = settings.advertise["serf"]
    return NodeSettings(
        name=settings.gossip_name,
        bind_host=settings.bind["serf"].host,
        bind_port=settings.bind["serf"].port,
        advertise=(given.host, given.port) if given else None,
        tags=server_tags(settings, rpc, identifier) if nomad else settings.tags,
        swim=swim,
        serf=serf,
        wire=WireConfig(label=settings.label.encode()),
        keys=settings.keys,
        keyring_file=keyring_file(settings),
        snapshot=settings.snapshot,
        rejoin_after_leave=settings.rejoin_after_leave,
        versions=NOMAD_VERSIONS if nomad else VERSIONS,
        guard=nomad_guard if nomad else None,
        surroundings=settings.surroundings,
    )
