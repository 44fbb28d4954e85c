"""The facts of the machine: what is told, and what is not."""

from pathlib import Path

import msgspec
import pytest
import trio

from moot.agent import host
from moot.http.backend import BackendError
from moot.http.schema import HostAnswer, encode


def test_variables_that_may_be_secrets_are_redacted() -> None:
    told = host.environment(
        {
            "HOME": "/root",
            "MOOT_ENCRYPT": "a",
            "NOMAD_TOKEN": "b",
            "vault_token": "c",
            "DB_PASSWORD": "d",
            "AWS_SECRET_ACCESS_KEY": "e",
            "PROXY": "http://user:f@proxy:3128/",
            "EMPTY_TOKEN": "",
            "URL": "http://proxy:3128/a@b",
        }
    )
    kept = {"HOME": "/root", "EMPTY_TOKEN": "", "URL": "http://proxy:3128/a@b"}
    assert {name: value for name, value in told.items() if value != "<redacted>"} == kept
    assert len(told) == 9


def test_only_file_systems_that_hold_data_are_told(tmp_path: Path) -> None:
    odd = tmp_path / "a b"
    odd.mkdir()
    escaped = str(odd).replace(" ", "\\040")
    mounts = (
        f"/dev/sda1 {escaped} ext4 rw 0 0\nproc /proc proc rw 0 0\noverlay / overlay rw 0 0\nbroken\n"
        "server:/x /nfs nfs4 rw 0 0\n/dev/sdb1 /not/there ext4 rw 0 0\n"
    )
    found = dict(host.disks(mounts, "nodev\tproc\nnodev\tnfs4\nnodev\toverlay\n\text4\n"))
    assert set(found) == {str(odd), "/"}
    assert all(0 <= disk.used_mb <= disk.disk_mb for disk in found.values())


def test_files_are_cut_and_may_be_missing(tmp_path: Path) -> None:
    long = tmp_path / "hosts"
    long.write_bytes(b"\xff" + b"a" * host.FILE_MAX)
    assert len(host.file_text(long)) == host.FILE_MAX
    assert host.file_text(tmp_path / "none") == ""
    assert host.file_text(tmp_path) == ""


async def test_this_machine_can_be_told() -> None:
    answer = await host.HostFacts().collect()
    assert msgspec.json.decode(encode(answer), type=HostAnswer) == answer
    assert {"address": "127.0.0.1", "name": "lo"} in answer.network
    assert answer.os.startswith("Linux ")


async def test_a_machine_that_does_not_tell_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    release = trio.Event()
    token = trio.lowlevel.current_trio_token()
    monkeypatch.setattr(host, "collect", lambda: trio.from_thread.run(release.wait, trio_token=token))
    monkeypatch.setattr(host, "TIMEOUT", 0.05)
    facts = host.HostFacts()
    for _ in range(2):
        with pytest.raises(BackendError, match="could not be had"):
            await facts.collect()
    release.set()
