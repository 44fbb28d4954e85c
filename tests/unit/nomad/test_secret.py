"""The secret of a client node."""

import uuid
from pathlib import Path

import pytest

from moot.agent.nomad.secret import FILE, client_secret
from moot.gossip.errors import ConfigError


def test_it_is_made_once_and_kept_where_only_the_owner_reads_it(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    secret = client_secret(folder)
    assert str(uuid.UUID(secret)) == secret
    assert client_secret(folder) == secret
    assert (folder / FILE).stat().st_mode & 0o777 == 0o600


def test_without_a_directory_each_start_has_another() -> None:
    assert client_secret(None) != client_secret(None)


def test_a_file_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("x")
    with pytest.raises(ConfigError, match="holds no UUID"):
        client_secret(tmp_path)


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="give another --data-dir"):
        client_secret(tmp_path / "file")
