"""`moot rtt`, `tags` and the flaps in `members`, against real agents."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import RunningAgent, moot, pool, until

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def two() -> Iterator[list[RunningAgent]]:
    """A pool of two, each with a tag."""
    with pool(2, "--tag", "rack=7") as agents:
        yield agents


def tags_of(agent: RunningAgent, name: str) -> dict[str, str]:
    """A member's tags as an agent sees them."""
    found: dict[str, dict[str, str]] = {it["Name"]: it["Tags"] for it in agent.client.members()["Members"]}
    return found[name]


def test_a_round_trip_time_is_estimated_once_members_have_probed_each_other(two: list[RunningAgent]) -> None:
    until(lambda: moot("rtt", "n2", "--address", two[0].url).returncode == 0, "a coordinate of the other member")
    said = moot("rtt", "n2", "--address", two[0].url).stdout
    assert said.startswith("n2.global <-> n1.global: ")
    assert said.endswith(" ms estimated\n")
    found = json.loads(moot("rtt", "n1", "n2.global", "--json", "--address", two[0].url).stdout)
    assert (found["from"], found["to"]) == ("n1.global", "n2.global")
    assert 0 < found["seconds"] < 5


def test_a_round_trip_time_of_nobody_is_refused_with_a_hint(two: list[RunningAgent]) -> None:
    done = moot("rtt", "n22", "--address", two[0].url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "moot: n1 knows no member of that name; did you mean n2.global?\n"


def test_a_lone_agent_has_a_round_trip_time_to_itself() -> None:
    with pool(1) as (agent,):
        assert moot("rtt", "n1", "--address", agent.url).stdout == "n1.global <-> n1.global: 0.020 ms estimated\n"


def test_tags_are_shown_and_changed_for_the_whole_pool(two: list[RunningAgent]) -> None:
    shown = moot("tags", "--address", two[0].url).stdout.splitlines()
    assert "rack=7" in shown
    assert "role=nomad" in shown
    assert shown == sorted(shown)
    done = moot("tags", "--set", "rack=8", "--set", "note=a=b", "--address", two[0].url)
    assert done.returncode == 0
    assert "note=a=b" in done.stdout.splitlines()
    until(lambda: tags_of(two[1], "n1.global").get("rack") == "8", "the tag in the other's view")
    found = json.loads(moot("tags", "--delete", "rack", "--delete", "note", "--json", "--address", two[0].url).stdout)
    assert found["name"] == "n1.global"
    until(lambda: tags_of(two[1], "n1.global") == found["tags"], "the tags in the other's view")
    assert "rack" not in found["tags"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "role=x"], "the tag role is the agent's own in a nomad pool; take another name"),
        (["--delete", "id"], "the tag id is the agent's own in a nomad pool"),
        (["--set", "big=" + "x" * 600], "Encoded length of tags exceeds limit of 512 bytes"),
    ],
)
def test_tags_that_cannot_be_are_refused_and_nothing_changes(
    two: list[RunningAgent], arguments: list[str], words: str
) -> None:
    before = two[0].client.tags()
    done = moot("tags", *arguments, "--address", two[0].url)
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
    assert two[0].client.tags() == before


def test_an_agent_of_a_serf_pool_has_only_the_tags_of_its_operator() -> None:
    with pool(1, "--pool", "serf") as (agent,):
        assert moot("tags", "--address", agent.url).stdout == "n1 has no tags\n"
        assert moot("tags", "--set", "role=x", "--address", agent.url).stdout == "role=x\n"


def test_tags_of_a_configuration_that_is_reloaded_are_announced_and_those_of_the_operator_stay(
    tmp_path: Path,
) -> None:
    file = tmp_path / "agent.json"

    def write(**tags: str) -> None:
        file.write_text(json.dumps({"moot": {"tags": tags}}))

    write(rack="7", old="x")
    with pool(1, "--pool", "serf", "--config", str(file)) as (agent,):
        moot("tags", "--set", "mine=1", "--address", agent.url)
        write(rack="8", new="y")
        agent.process.send_signal(signal.SIGHUP)
        wanted = {"rack": "8", "new": "y", "mine": "1"}
        until(lambda: agent.client.tags()["tags"] == wanted, "the tags of the new configuration")
        assert agent.wait_for("tags changed")["tags"] == "mine=1,new=y,rack=8"
        assert agent.lines("some changes need a restart of the agent") == []
        write(big="x" * 600)
        agent.process.send_signal(signal.SIGHUP)
        assert (
            "exceeds limit of 512 bytes" in agent.wait_for("configuration not reloaded, the old one stays")["reason"]
        )
        assert agent.client.tags()["tags"] == wanted


def test_detailed_members_tell_how_often_each_flapped(two: list[RunningAgent]) -> None:
    said = json.loads(moot("members", "--detailed", "--json", "--address", two[0].url).stdout)
    assert [member["Flaps"] for member in said["members"]] == [0, 0]
    assert " Flaps  Tags" in moot("members", "--detailed", "--address", two[0].url).stdout
