"""What `moot serf agent` settles before it runs: tags and keys from their files, and where it listens."""

import dataclasses
import os

from moot.agent.serf.addresses import ANY_HOST, AddressError, port_of, resolve, split
from moot.agent.serf.backend import load_tags
from moot.agent.serf.config import PROTOCOLS, SerfAgentSettings
from moot.agent.serf.journal import Journal
from moot.gossip.errors import ConfigError
from moot.gossip.net.keyring_file import load_keys
from moot.gossip.net.settings import NodeSettings


class StartFailed(Exception):
    """The agent cannot start; the text is for people, whole."""


def node_settings(settings: SerfAgentSettings, journal: Journal) -> NodeSettings:
    """The node that the settings and the files of tags and keys ask for. Raises ConfigError."""
    made = settings.node_settings()
    if settings.tags_file is not None:
        if settings.tags:
            raise ConfigError("Tags config not allowed while using tag files")
        kept = load_tags(settings.tags_file)
        if kept is not None:
            made = dataclasses.replace(made, tags=kept)
            journal.write("INFO", "agent", f"Restored {len(kept)} tag(s) from {settings.tags_file}")
    if settings.keyring_file is not None:
        if settings.keys:
            raise ConfigError("Encryption key not allowed while using a keyring")
        if not settings.keyring_file.exists():
            raise ConfigError(f"stat {settings.keyring_file}: no such file or directory")
        count = len(load_keys(settings.keyring_file))
        journal.write("INFO", "agent", f"Restored keyring with {count} keys from {settings.keyring_file}")
    return made


def check_protocol(protocol: int) -> None:
    """Raises ConfigError for a version that we do not speak."""
    if protocol not in PROTOCOLS:
        low, high = PROTOCOLS[0], PROTOCOLS[-1]
        word = "high" if protocol > high else "low"
        raise ConfigError(f"Protocol version '{protocol}' too {word}. Must be in range: [{low}, {high}]")


def rpc_endpoint(text: str) -> tuple[str, int]:
    """Host and port to listen on for the RPC. Raises StartFailed."""
    try:
        host, port = split(text)
        return resolve(host) if host else ANY_HOST, port_of(port) if port else 0
    except AddressError as error:
        raise StartFailed(f"Error starting RPC listener: listen tcp: {error}") from None


def listen_failure(where: str, error: BaseException | None) -> str:
    """Why nothing can listen there, in Go's words."""
    number = error.errno if isinstance(error, OSError) else None
    reason = os.strerror(number).lower() if number else str(error)
    return f"listen tcp {where}: bind: {reason}"
