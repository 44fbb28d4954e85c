"""Which roles an agent has, by what it is told."""

from pathlib import Path
from typing import Any

import pytest

from moot.agent.config import Flag, FlagError, load
from moot.agent.settings import Settings
from moot.gossip.errors import ConfigError


def loaded(*, dev: bool = False, **keys: object) -> Settings:
    """Settings from flags."""
    flags = [Flag(f"--{key}", key.replace("__", "."), value) for key, value in keys.items()]
    return load([], flags, dev=dev)


@pytest.mark.parametrize(
    ("dev", "keys", "roles"),
    [
        (False, {}, "server"),
        (False, {"server__enabled": True}, "server"),
        (False, {"client__enabled": True}, "client"),
        (False, {"client__enabled": True, "server__enabled": True}, "both"),
        (False, {"client__enabled": True, "server__enabled": False}, "client"),
        (True, {}, "both"),
        (True, {"client__enabled": False}, "server"),
        (True, {"server__enabled": False}, "client"),
        (True, {"moot__pool": "serf"}, "server"),
        (False, {"moot__pool": "serf"}, "server"),
    ],
)
def test_an_agent_is_a_server_unless_it_is_told_otherwise_or_to_be_a_client(
    dev: bool, keys: dict[str, Any], roles: str
) -> None:
    settings = loaded(dev=dev, **keys)
    assert (settings.is_server, settings.client.enabled) == (roles != "client", roles != "server")
    assert settings.serves_rpc == (settings.is_server and settings.pool == "nomad")


def test_a_file_with_a_block_for_servers_makes_no_server_of_a_client(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('[server]\nretry_join = ["10.0.0.1"]\n[client]\nenabled = true\nservers = ["10.0.0.1"]\n')
    settings = load([path])
    assert (settings.is_server, settings.client.servers) == (False, ("10.0.0.1",))


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"client__enabled": True, "moot__pool": "serf"}, "client.enabled: there are clients in nomad pools only"),
        ({"server__enabled": False}, "Must specify either server, client or dev mode for the agent. Set server.en"),
    ],
)
def test_roles_that_cannot_be_are_refused(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        loaded(**keys)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"client__enabled": True, "server__start_join": ["a"]}, "--join: an agent that is a client only joins no"),
        ({"client__enabled": True, "server__retry_join": ["a"]}, "--retry-join: an agent that is a client only"),
        ({"client__servers": ["a"]}, "--servers: only a client has servers to turn to"),
    ],
)
def test_flags_of_a_role_that_the_agent_does_not_have_are_refused(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(FlagError, match=words):
        loaded(**keys)


def test_a_client_keeps_who_it_is_in_its_own_directory_if_it_has_no_other(tmp_path: Path) -> None:
    state, data = str(tmp_path / "state"), str(tmp_path / "data")
    assert str(loaded(client__enabled=True, client__state_dir=state).identity_dir) == state
    assert str(loaded(client__enabled=True, client__state_dir=state, data_dir=data).identity_dir) == data
    assert loaded(client__state_dir=state).identity_dir is None


def test_a_client_that_knows_no_server_is_told_so() -> None:
    (warning,) = loaded(client__enabled=True).warnings()
    assert warning.startswith("this client knows no server; give --servers")
    assert loaded(client__enabled=True, client__servers=["10.0.0.1"]).warnings() == []
