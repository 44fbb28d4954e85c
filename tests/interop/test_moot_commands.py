"""Our commands over pools in which real serf agents are members, too."""

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from moot.agent.keys import key_id
from tests.support.launching import HTTP_PORT, until
from tests.support.processes import Lab, Moot, Serf

pytestmark = [pytest.mark.live, pytest.mark.peer, pytest.mark.timeout(300)]

OLD, NEW = (base64.b64encode(bytes(range(start, start + 32))).decode() for start in (7, 107))
OLD_ID, NEW_ID = (key_id(base64.b64decode(key)) for key in (OLD, NEW))
PLAIN_AND_SEALED = pytest.mark.parametrize("key", ["", OLD], ids=["plain", "encrypted"])
NAMES = ["m0", "m1", "s0", "s1"]


def moot(agent: Moot, *words: str, said: str = "") -> subprocess.CompletedProcess[str]:
    """A command line of ours to an agent of ours."""
    command = [sys.executable, "-m", "moot", *words, "--address", f"http://{agent.host}:{HTTP_PORT}"]
    return subprocess.run(command, input=said, capture_output=True, text=True, timeout=120, check=False)


def two_and_two(mixed: Lab, key: str, *serf_options: str) -> tuple[list[Moot], list[Serf]]:
    """Two agents of ours and two of serf's that all see each other."""
    sealed, theirs_sealed = (["--encrypt", key], [f"-encrypt={key}"]) if key else ([], [])
    ours = [mixed.moot(f"m{n}", "--log-level", "debug", *sealed) for n in range(2)]
    theirs = [mixed.serf(f"s{n}", *theirs_sealed, *serf_options) for n in range(2)]
    ours[1].join(ours[0])
    for agent in theirs:
        agent.join(ours[0])
    mixed.everybody_sees(dict.fromkeys(NAMES, "alive"))
    return ours, theirs


def is_quiet(agent: Moot | Serf) -> bool:
    """No query waits to be passed on."""
    if isinstance(agent, Moot):
        stats: dict[str, str] = agent.api.self_()["stats"]["serf"]
    else:
        stats = json.loads(agent.tell("info", "-format=json"))["serf"]
    return stats["query_queue"] == "0"


@PLAIN_AND_SEALED
def test_an_event_of_ours_reaches_their_handlers(mixed: Lab, key: str, tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    script = f"(echo $SERF_USER_EVENT; cat; echo) >> {heard}"
    ours, _ = two_and_two(mixed, key, f"-event-handler=user:deploy={script}")
    assert moot(ours[0], "event", "deploy", "v2").returncode == 0
    until("both of serf's agents handle it", lambda: heard.exists() and heard.read_text().split().count("v2") == 2)


@PLAIN_AND_SEALED
def test_a_query_of_ours_is_acked_and_answered_by_them(mixed: Lab, key: str) -> None:
    ours, _ = two_and_two(mixed, key, "-tag=kind=serf", "-event-handler=query:load=echo 0.42")

    def asked(*filters: str) -> list[dict[str, Any]]:
        done = moot(ours[1], "query", "load", "--timeout", "1.5", "--json", *filters)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def senders(lines: list[dict[str, Any]], kind: str) -> list[str]:
        return sorted(str(line["from"]) for line in lines if line["type"] == kind)

    everybody = asked("--relay-factor", "2")
    assert senders(everybody, "ack") == NAMES
    assert senders(everybody, "response") == ["s0", "s1"]
    assert {line["text"] for line in everybody if line["type"] == "response"} == {"0.42\n"}
    assert senders(asked("--tag", "kind=^se"), "ack") == ["s0", "s1"]
    assert senders(asked("--node", "s1", "--node", "m0"), "ack") == ["m0", "s1"]


@PLAIN_AND_SEALED
def test_all_are_reached_and_have_round_trip_times(mixed: Lab, key: str) -> None:
    ours, _ = two_and_two(mixed, key)
    done = moot(ours[0], "reachability")
    assert (done.returncode, done.stdout.partition(" from")[0]) == (0, "4 of 4 alive members reached")
    until("s0 has a coordinate", lambda: moot(ours[0], "rtt", "s0").returncode == 0)


def test_tags_that_we_change_are_seen_by_them(mixed: Lab) -> None:
    ours, theirs = two_and_two(mixed, "")
    assert moot(ours[1], "tags", "--set", "rack=8").stdout == "rack=8\n"

    def rack(agent: Serf) -> list[str]:
        return [member["tags"].get("rack", "") for member in agent.members() if member["name"] == "m1"]

    until("the tag is seen", lambda: all(rack(agent) == ["8"] for agent in theirs))


def test_keys_of_a_mixed_pool_are_listed_and_rotated(mixed: Lab) -> None:
    ours, theirs = two_and_two(mixed, OLD)
    listing = json.loads(moot(ours[0], "keys", "list", "--json").stdout)
    assert [(it["name"], it["keys"], it["primary"]) for it in listing["members"]] == [
        (name, [OLD_ID], OLD_ID) for name in NAMES
    ]
    done = moot(ours[0], "keys", "rotate", "--new", "-", said=NEW)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("seen on 4 members") == 3
    told = theirs[0].tell("keys", "-list")
    assert NEW in told
    assert OLD not in told
    mixed.everybody_sees(dict.fromkeys(NAMES, "alive"))


def test_a_key_that_serf_lacks_is_told_and_not_used(mixed: Lab) -> None:
    ours, theirs = two_and_two(mixed, OLD)
    assert moot(ours[0], "keys", "install", "-", said=NEW).returncode == 0
    until("the query is no longer passed on", lambda: all(map(is_quiet, ours)) and all(map(is_quiet, theirs)))
    theirs[1].kill()
    theirs[1].start()  # without a keyring file it has forgotten the new key
    theirs[1].join(ours[0])
    mixed.everybody_sees(dict.fromkeys(NAMES, "alive"))
    listed = moot(ours[0], "keys", "list")
    assert f"s1 lacks {NEW_ID}" in listed.stdout
    assert listed.returncode == 0
    done = moot(ours[0], "keys", "use", NEW_ID)
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"moot: key {NEW_ID} not used, it could cut off 1 of 4 members: s1 lacks {NEW_ID}\n"
    )
    assert f"install it there first: moot keys install {NEW_ID}" in done.stderr
    assert moot(ours[0], "keys", "install", NEW_ID).returncode == 0
    assert moot(ours[0], "keys", "use", NEW_ID).returncode == 0
