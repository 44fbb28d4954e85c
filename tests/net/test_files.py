"""Files that are there whole or not at all."""

import os
from pathlib import Path

import pytest

from moot.gossip.errors import ConfigError, KeyringError
from moot.gossip.net.files import replace_file
from moot.gossip.net.keyring_file import KeyringFile, load_keys, save_keys
from moot.gossip.net.settings import NodeSettings
from moot.gossip.wire.keyring import Keyring

OLD, NEW = bytes(16), bytes(range(16))


def kept(path: Path) -> KeyringFile:
    save_keys(path, [OLD])
    return KeyringFile(Keyring([OLD], lambda: bytes(12)), path)


def test_a_link_stays_a_link_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    target, link = tmp_path / "data" / "keyring", tmp_path / "keyring"
    link.symlink_to("data/keyring")
    replace_file(link, b"one")
    replace_file(link, b"two", 0o640)
    assert link.is_symlink()
    assert target.read_bytes() == b"two"
    assert target.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path / "data") == ["keyring"]


def test_a_folder_that_we_may_write_but_not_read_does_not_undo_what_is_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = kept(tmp_path / "keyring")
    really = os.open

    def forbidden(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_DIRECTORY:
            raise PermissionError(13, "Permission denied")
        return really(path, flags, mode)

    monkeypatch.setattr(os, "open", forbidden)
    keyring.add(NEW)
    assert keyring.keys == load_keys(tmp_path / "keyring") == [OLD, NEW]


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_what_cannot_be_written_changes_neither_file_nor_keyring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    keyring = kept(tmp_path / "keyring")
    keyring.add(NEW)

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    if step == "write":
        monkeypatch.setattr(os, "fchmod", full)
    else:
        monkeypatch.setattr(os, step, full)
    for change in (keyring.use, keyring.remove):
        with pytest.raises(KeyringError, match="keyring file not written: No space left on device"):
            change(NEW)
        assert keyring.keys == [OLD, NEW]
    monkeypatch.undo()
    assert load_keys(tmp_path / "keyring") == [OLD, NEW]
    assert os.listdir(tmp_path) == ["keyring"]


@pytest.mark.parametrize("name", ["n" * 300, "file/keyring"])
def test_a_keyring_where_no_file_can_be_is_an_error_in_words(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    for keys in ((), (OLD,)):
        with pytest.raises(ConfigError, match=f"keyring file {tmp_path}/"):
            NodeSettings(name="a", keys=keys, keyring_file=tmp_path / name).keyring()


def test_a_pipe_for_a_keyring_does_not_hold_up_the_start(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "keyring")
    with pytest.raises(ConfigError, match="is no regular file"):
        NodeSettings(name="a", keys=(OLD,), keyring_file=tmp_path / "keyring").keyring()
