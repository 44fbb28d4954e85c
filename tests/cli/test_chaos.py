"""`moot chaos` on paper: its words, its notes, and what it refuses. Live in `test_chaos_live`."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from moot.agent import cli, cluster_state, cluster_world, world
from moot.agent.chaos import Chaos
from moot.agent.cluster_places import Kind, Layout
from moot.agent.cluster_start import ClusterError
from moot.agent.cluster_state import ClusterState, Node
from moot.agent.commands.chaos import VERBS
from moot.agent.commands.chaos import command as chaos
from moot.agent.commands.cluster_matrix import described, lines
from moot.agent.processes import Process, identify
from moot.gossip.actions import Calm, DiskFull, parse
from moot.gossip.errors import ConfigError

pytestmark = pytest.mark.usefixtures("notes")
LAYOUT = Layout(prefix="a", pool="serf", network="127.1.1", ports=(2, 3, 1))
EXAMPLES = {
    "kill": "kill 1",
    "stop": "stop 1",
    "cont": "cont 1",
    "start": "start 1 via 2 fresh",
    "restart": "restart 1",
    "move": "move 1 via 2",
    "twin": "twin 1",
    "leave": "leave 1",
    "partition": "partition 1 2",
    "cut": "cut 1>2 udp",
    "loss": "loss 10%",
    "delay": "delay 50ms±20ms 1",
    "duplicate": "duplicate 5%",
    "reorder": "reorder 10% 50ms",
    "corrupt": "corrupt 1% tcp",
    "bandwidth": "bandwidth 64KB/s",
    "slow": "slow 1 300ms",
    "clock": "clock 1 -5s drift 1%",
    "disk-full": "disk-full 1 off",
    "heal": "heal loss",
    "calm": "calm",
}


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where notes of clusters are. No agent is started here, so nothing is to be ended."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "moot"


def node(number: int, process: Process, kind: Kind = "moot") -> Node:
    return Node.at(LAYOUT.place(number, kind), process)


@pytest.fixture
def sleepers() -> Iterator[list[Process]]:
    children = [subprocess.Popen(["sleep", "60"]) for _ in range(2)]
    yield [identify(child.pid) for child in children]
    for child in children:
        child.kill()
        child.wait()


def cluster(*nodes: Node, ready: bool = True) -> ClusterState:
    """A detached cluster."""
    return ClusterState(
        name="a",
        pool="serf",
        profile="local",
        encrypted=False,
        supervisor=None,
        layout=LAYOUT,
        ready=ready,
        nodes=nodes,
    )


def noted(*nodes: Node, ready: bool = True) -> None:
    """The same, in the notes."""
    cluster_state.create(cluster(), {})
    cluster_state.save(cluster(*nodes, ready=ready))


def test_every_fault_that_is_a_command_is_an_action() -> None:
    assert EXAMPLES.keys() == VERBS.keys()
    for verb, words in EXAMPLES.items():
        assert str(parse(words)).split()[0] == verb


@pytest.mark.parametrize("words", EXAMPLES.values())
def test_words_reach_the_action_as_they_were_typed(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def do(self: Chaos, action: object) -> None:
        done.append(str(action))
        raise ClusterError("far enough")

    monkeypatch.setattr(Chaos, "do", do)
    assert cli.run(["chaos", *words.split()]) == 1
    assert done == [str(parse(words))]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["loss"], "write it as: loss 10%"),
        (["loss", "200%"], "'200%' is no share"),
        (["cut", "a", "b"], "is no link"),
        (["clock", "1"], "write it as: clock NAME"),
        (["smile"], "No such command 'smile'"),
        (["kill", "1", "--name", "../x"], "is no cluster name"),
    ],
)
def test_what_cannot_be_meant_is_wrong_usage(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["chaos", *words]) == 2
    assert told in capsys.readouterr().err


def test_without_a_cluster_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["loss", "10%"], ["kill", "1"], ["show"], ["tell"]):
        assert cli.run(["chaos", *words]) == 1
        assert "no cluster moot is running" in capsys.readouterr().err


def test_a_cluster_that_is_starting_is_left_alone(sleepers: list[Process]) -> None:
    noted(node(1, sleepers[0]), ready=False)
    with pytest.raises(ConfigError, match="still starting"):
        Chaos("a").do(Calm())


def test_the_world_is_written_down_with_who_is_where(notes: Path) -> None:
    gone = Process(1, 0)
    noted(node(1, gone), node(2, gone, "serf"))
    outcome = Chaos("a").do(parse("cut 1>2 udp"))
    assert (outcome.active, outcome.untold) == (["cut a-1>a-serf-2 udp"], [])
    Chaos("a").do(parse("slow all 1s"))
    held = world.load(notes / "a")
    assert held.version == 2
    assert held.places == {"a-1": ["127.1.1.1:1"], "a-serf-2": ["127.1.1.2:1", "127.1.1.2:2"]}
    assert held.pids == {"a-serf-2": 1}
    assert (notes / "a" / world.FILE).stat().st_mode & 0o777 == 0o600
    assert Chaos("a").do(Calm()).active == []


def test_who_cannot_be_told_is_named(sleepers: list[Process], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_world, "PATIENCE", 0.1)
    noted(node(1, sleepers[0]))
    assert Chaos("a").do(parse("loss 10%")).untold == ["a-1"]
    done = CliRunner().invoke(chaos, ["tell", "--name", "a", "--json"])
    assert (done.exit_code, json.loads(done.stdout)) == (1, {"cluster": "a", "untold": ["a-1"]})


def test_an_action_that_names_nobody_changes_nothing() -> None:
    noted(node(1, Process(1, 0)))
    for words in ("slow 2 1s", "kill 2", "cut 1>2"):
        with pytest.raises(ConfigError, match="there is no member 2"):
            Chaos("a").do(parse(words))
    assert cluster_world.load("a").version == 0


def test_clock_and_disk_of_a_serf_agent_are_out_of_reach() -> None:
    noted(node(1, Process(1, 0)), node(2, Process(1, 0), "serf"))
    for action in (parse("clock all +5s"), DiskFull("2")):
        with pytest.raises(ConfigError, match="a-serf-2 is a real serf agent"):
            Chaos("a").do(action)


def test_processes_are_stopped_continued_and_killed(sleepers: list[Process], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_world, "PATIENCE", 0.1)
    noted(node(1, sleepers[0]), node(2, sleepers[1]))
    assert Chaos("a").do(parse("stop 1")).active == ["stop a-1"]
    assert sleepers[0].stopped()
    assert not sleepers[1].stopped()
    assert Chaos("a").do(Calm()).members == ["a-1"]
    assert not sleepers[0].stopped()
    assert Chaos("a").do(parse("kill 2")).members == ["a-2"]
    assert [each.alive() for each in sleepers] == [True, False]
    with pytest.raises(ClusterError, match="a-2 is not running"):
        Chaos("a").do(parse("kill 2"))


def test_only_one_command_at_a_time_changes_the_world(monkeypatch: pytest.MonkeyPatch) -> None:
    noted(node(1, Process(1, 0)))
    monkeypatch.setattr(cluster_world, "LOCK_PATIENCE", 0.05)
    with cluster_world.changing("a"), pytest.raises(ConfigError, match="is changing the faults"):
        Chaos("a").do(Calm())


# views


def test_the_matrix_shows_who_sees_whom_and_who_agrees() -> None:
    me = identify(os.getpid())
    state = cluster(node(1, me), node(2, me), node(3, me, "serf"))
    views = {
        "a-1": {"a-1": "alive", "a-2": "failed", "x": "left"},
        "a-2": None,
        "a-serf-3": {"a-1": "alive", "a-2": "leaving", "a-serf-3": "alive"},
    }
    assert lines(state, views) == [
        "           1 2 3 4",
        "1 a-1      + x . -",
        "2 a-2      ? ? ? ?",
        "3 a-serf-3 + < + .",
        "4 x",
        "+ alive   < leaving   - left   x failed   . unknown   ? no answer",
        "group 1: a-1 see 1 alive",
        "group 2: a-serf-3 see 2 alive",
        "no answer: a-2",
    ]
    told = described(state, views)
    assert told["groups"] == [["a-1"], ["a-serf-3"]]
    assert told["no_answer"] == ["a-2"]
    assert told["members"] == ["a-1", "a-2", "a-serf-3", "x"]
    assert told["views"] == views


def test_columns_stay_under_their_numbers_beyond_nine() -> None:
    me = identify(os.getpid())
    nodes = [node(number, me) for number in range(1, 13)]
    state = cluster(*nodes)
    view = {each.member: "alive" for each in nodes}
    shown = lines(state, {each.name: view for each in nodes})
    assert len({len(line) for line in shown[:13]}) == 1
    assert shown[-1] == "all 12 that answer see the same"
