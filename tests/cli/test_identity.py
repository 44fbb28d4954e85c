"""Who an agent is: the identifier that outlives restarts, and the addresses that others are told."""

import errno
import ipaddress
import os
import uuid
from pathlib import Path

import pytest

from moot.agent.config import Flag, load
from moot.agent.identity import advertised_address, node_id, node_settings
from moot.agent.settings import Settings
from moot.gossip.errors import ConfigError
from moot.gossip.record import Address


def test_a_node_id_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    made = node_id(tmp_path / "data")
    assert uuid.UUID(made)
    assert node_id(tmp_path / "data") == made
    assert [file.name for file in (tmp_path / "data").iterdir()] == ["node-id"]
    assert (tmp_path / "data" / "node-id").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_no_half_of_a_node_id(tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, call, full)
        with pytest.raises(ConfigError, match=f"data directory {tmp_path}: No space left on device; give another"):
            node_id(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert uuid.UUID(node_id(tmp_path))


def test_a_node_id_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(fd: int) -> None:
        calls.append("sync directory" if os.path.isdir(f"/proc/self/fd/{fd}") else "sync file")
        fsync(fd)

    def noted_replace(old: Path, new: Path) -> None:
        calls.append("replace")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    node_id(tmp_path)
    assert calls == ["sync file", "replace", "sync directory"]


def test_a_data_directory_that_is_none_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file: File exists; give another --data-dir"):
        node_id(tmp_path / "file")


@pytest.mark.parametrize("content", [b"", b"junk", b"\xff\xfe"])
def test_a_node_id_that_is_none_is_told_with_its_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "node-id").write_bytes(content)
    with pytest.raises(ConfigError, match="node-id holds no UUID; remove the file"):
        node_id(tmp_path)


def settings(**flags: str) -> Settings:
    return load([], [Flag(key, key.replace("__", "."), value) for key, value in flags.items()])


@pytest.fixture
def _private(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with one private address."""
    found = [ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv4Address("10.1.2.3")]
    monkeypatch.setattr("moot.gossip.net.interfaces.interface_addresses", lambda: found)


@pytest.mark.usefixtures("_private")
@pytest.mark.parametrize("service", ["http", "rpc", "serf"])
@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"bind_addr": "0.0.0.0"}, "10.1.2.3:99"),
        ({"bind_addr": "::"}, "10.1.2.3:99"),
        ({"bind_addr": "127.0.0.2"}, "127.0.0.2:99"),
    ],
    ids=["everywhere", "everywhere by IPv6", "one"],
)
def test_a_service_that_listens_everywhere_is_told_at_a_private_address(
    service: str, flags: dict[str, str], told: str
) -> None:
    assert str(advertised_address(settings(**flags), service, 99)) == told


@pytest.mark.usefixtures("_private")
def test_what_is_given_to_be_told_counts_for_its_own_service_and_for_those_that_listen_everywhere() -> None:
    given = settings(bind_addr="0.0.0.0", advertise__serf="192.168.9.9:1", advertise__rpc="192.168.9.8")
    assert str(advertised_address(given, "http", 99)) == "192.168.9.9:99"
    assert str(advertised_address(given, "rpc", 99)) == "192.168.9.8:4647"
    assert str(advertised_address(given, "serf", 99)) == "192.168.9.9:1"
    alone = settings(bind_addr="127.0.0.2", advertise__serf="192.168.9.9:1")
    assert str(advertised_address(alone, "http", 99)) == "127.0.0.2:99"


def test_the_key_is_not_in_the_text_of_a_nodes_settings() -> None:
    key = bytes(range(32, 64))
    made = node_settings(
        settings(server__encrypt="ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="), Address(bytes(4), 1), ""
    )
    assert list(made.keys) == [key]
    assert str(key)[2:-1] not in repr(made)
