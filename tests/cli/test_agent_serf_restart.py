"""What outlives a restart of `moot agent`: whom it knew, and the pool's keys."""

import base64
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from moot.agent.keys import key_id
from tests.cli.running import RunningAgent, agrees, launched, moot, until

pytestmark = pytest.mark.live

KILL = signal.SIGKILL
POOL = ("--pool", "serf", "--profile", "local")
NOMAD = ("--profile", "local")


def both_alive(*agents: RunningAgent) -> None:
    until(lambda: all(agrees(agent, "alive", 2) for agent in agents), "both alive in both views")


def own_stats(agent: RunningAgent) -> dict[str, str]:
    found: dict[str, str] = agent.client.self_()["stats"]["moot"]
    return found


@pytest.mark.parametrize("personality", [POOL, NOMAD], ids=["serf", "nomad"])
def test_an_agent_that_was_killed_finds_back_to_its_pool(personality: Sequence[str], tmp_path: Path) -> None:
    kept = ["--node", "b", *personality, "--data-dir", str(tmp_path / "data")]
    with launched("--node", "a", *personality) as first:
        with launched(*kept, "--join", first.started["gossip"]) as second:
            both_alive(first, second)
            snapshot = tmp_path / "data" / "serf" / "local.snapshot"
            until(lambda: first.started["gossip"] in snapshot.read_text(), "the other one in the snapshot")
            port = second.started["gossip"].rpartition(":")[2]
            second.signal(KILL)
        with launched(*kept, "--serf-port", port) as again:
            both_alive(first, again)
            assert again.wait_for("snapshot is kept")["path"] == str(snapshot)
            assert own_stats(again)["snapshot"] == str(snapshot)


def test_an_agent_that_left_starts_alone_unless_told_to_rejoin(tmp_path: Path) -> None:
    kept = ["--node", "b", *POOL, "--snapshot", str(tmp_path / "my.snapshot")]
    with launched("--node", "a", *POOL) as first:
        with launched(*kept, "--join", first.started["gossip"]) as second:
            both_alive(first, second)
            port = second.started["gossip"].rpartition(":")[2]
            second.client.leave()
            assert second.process.wait(30) == 0
        with launched(*kept, "--serf-port", port) as alone:
            # it has announced itself to all it knows of before HTTP listens
            assert alone.client.agent()["members"] == {"alive": 1}
            assert own_stats(alone)["rejoin_after_leave"] == "false"
            assert first.statuses()["b"] == "left"
            alone.client.leave()
            assert alone.process.wait(30) == 0
        with launched(*kept, "--serf-port", port, "--rejoin") as back:
            both_alive(first, back)
            assert back.client.self_()["config"]["Server"]["RejoinAfterLeave"]


def test_a_snapshot_that_cannot_be_kept_is_told_and_no_reason_to_end(tmp_path: Path) -> None:
    with launched(*POOL, "--snapshot", str(tmp_path)) as agent:
        fault = "cannot be read, so nothing is restored and the file is left as it is: not a regular file"
        agent.wait_for(f"snapshot {tmp_path}: {fault}")
        assert agrees(agent, "alive", 1)


def test_a_rotated_key_outlives_the_restart_of_everybody_and_the_old_one_is_named(tmp_path: Path) -> None:
    old = moot("keygen").stdout.strip()

    def options(name: str) -> list[str]:
        return ["--node", name, *POOL, "--encrypt", old, "--data-dir", str(tmp_path / name)]

    with launched(*options("a")) as first, launched(*options("b"), "--join", first.started["gossip"]) as second:
        both_alive(first, second)
        rotated = moot("keys", "rotate", "--address", first.url)
        assert rotated.returncode == 0, rotated.stderr
        ids = {key["id"] for key in first.client.keys()["keys"]}
        ports = [agent.started["gossip"].rpartition(":")[2] for agent in (first, second)]
        until(lambda: first.started["gossip"] in (tmp_path / "b/serf/local.snapshot").read_text(), "the snapshot")
        for agent in (first, second):
            agent.signal(KILL)
    old_id = key_id(base64.b64decode(old))
    assert len(ids) == 1
    assert old_id not in ids
    with (
        launched(*options("a"), "--serf-port", ports[0]) as first,
        launched(*options("b"), "--serf-port", ports[1]) as second,
    ):
        both_alive(first, second)
        assert {key["id"] for key in second.client.keys()["keys"]} == ids
        keyring = tmp_path / "b" / "serf" / "local.keyring"
        assert keyring.stat().st_mode & 0o777 == 0o600
        assert second.wait_for("keyring is kept")["path"] == own_stats(second)["keyring_file"] == str(keyring)
        (new_id,) = ids
        said = f"the key that was given ({old_id}) is not used: {keyring} counts, whose primary key is {new_id}"
        second.wait_for(f"{said}; to begin with the given one, remove that file")
        assert old not in second.text()


def test_an_agent_with_a_keyring_needs_no_key_to_come_back_encrypted(tmp_path: Path) -> None:
    key, options = moot("keygen").stdout.strip(), ["--node", "b", *POOL, "--data-dir", str(tmp_path)]
    with launched(*options, "--encrypt", key) as agent:
        assert agent.client.agent()["encrypted"]
    with launched(*options) as agent:
        assert agent.client.agent()["encrypted"]
        assert not [line for line in agent.text().splitlines() if "is not used" in line]


@pytest.mark.parametrize("content", ["", "[]", '["short"]', "{}"])
def test_a_keyring_that_is_none_ends_the_start_with_its_name(content: str, tmp_path: Path) -> None:
    file = tmp_path / "keyring"
    file.write_text(content)
    refused = moot("agent", "--http-port", "0", "--serf-port", "0", "--keyring-file", str(file))
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"moot: keyring file {file}: ")


def test_a_keyring_that_is_not_there_is_made_with_the_key_or_missed(tmp_path: Path) -> None:
    file = tmp_path / "keyring"
    missing = moot("agent", "--http-port", "0", "--serf-port", "0", "--keyring-file", str(file))
    assert missing.returncode == 1
    assert f"keyring file {file}: {os.strerror(2)}" in missing.stderr
    with launched("--keyring-file", str(file), "--encrypt", moot("keygen").stdout.strip()) as agent:
        assert agent.client.agent()["encrypted"]
        assert file.exists()
