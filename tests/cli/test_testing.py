"""`moot.testing`: the examples of its page run as they stand, and what tests of others would stumble on."""

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import trio

from moot.testing import BlockingCluster, ClusterError, ConfigError, LocalCluster, NotReached, Refuted

pytestmark = pytest.mark.live
PAGE = Path(__file__).parents[2] / "docs" / "testing.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlockingCluster]:
    """Three agents. Each test leaves all of them there and calm."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("testing")))
        with BlockingCluster(3, tags={"rack": "7"}, encrypt=True) as cluster:
            yield cluster


def test_the_examples_of_the_page_run_as_they_stand(tmp_path: Path) -> None:
    for number, example in enumerate(EXAMPLES, start=1):
        (tmp_path / f"test_example_{number}.py").write_text(example)
    (tmp_path / "pytest.ini").write_text("[pytest]\ntrio_mode = true\nfilterwarnings = error\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:schemathesis",
        "-p",
        "no:cacheprovider",
        "--strict-markers",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout


def test_the_plugin_is_found_and_costs_nothing_until_it_is_used() -> None:
    assert [point.value for point in entry_points(group="pytest11", name="moot")] == ["moot.agent.pytest_plugin"]
    code = "import sys, pytest, moot.agent.pytest_plugin; print([name for name in sys.modules if 'moot' in name])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['moot', 'moot.agent', 'moot.agent.pytest_plugin']\n"


def test_it_is_told_who_is_where_and_what_they_see(three: BlockingCluster) -> None:
    assert three.names == three.running == ["moot-1", "moot-2", "moot-3"]
    assert three.members(by=2) == dict.fromkeys(three.names, "alive")
    assert three.client("moot-1").self_()["member"]["Tags"]["rack"] == "7"
    assert three.url(2).removeprefix("http://").partition(":")[0] == three.gossip(2).partition(":")[0]
    assert "moot agent started" in three.log(3)


def test_faults_are_in_force_at_once_and_named(three: BlockingCluster) -> None:
    three.cut("1>2", "udp")
    three.delay(0.05, swing=0.02)
    three.slow([1, 2], "10ms")
    assert sorted(three.faults()) == [
        "cut moot-1>moot-2 udp",
        "delay 50ms±20ms",
        "slow moot-1 10ms",
        "slow moot-2 10ms",
    ]
    three.calm()
    assert three.faults() == []


def test_what_does_not_come_about_says_what_there_is_instead(three: BlockingCluster) -> None:
    with pytest.raises(NotReached, match=r"`2 left`\n  moot-1, moot-2, moot-3: \{.*\}\n  faults: none"):
        three.until("2 left", within=0.2)
    with pytest.raises(NotReached, match="what was wanted"):
        three.until(lambda views: len(views) == 4, within=0.2)
    assert three.until("agreed") < 60


@pytest.mark.parametrize("words", ["explode 1", "kill 9", "flood 1", "start 1", "until agreed"])
def test_what_cannot_be_done_says_so(three: BlockingCluster, words: str) -> None:
    with pytest.raises((ConfigError, ClusterError)):
        three.do(words)


async def test_an_async_test_sees_events_and_may_be_cancelled(three: BlockingCluster) -> None:
    c = LocalCluster.of(three)
    async with c.events(by=2) as events:
        await c.stop(2)
        await c.until(lambda views: (views["moot-1"] or {}).get("moot-2") == "failed")
        await c.cont(2)
        async for event in events:
            if isinstance(event, Refuted):
                break
    with trio.move_on_after(0.3) as scope:
        await c.until("2 left")
    assert scope.cancelled_caught
    await c.until("agreed")


def test_a_start_that_is_cancelled_leaves_nothing(own_runtime_dir: Path) -> None:
    async def story() -> None:
        with trio.move_on_after(0.5):
            async with LocalCluster(3, processes=True):
                await trio.sleep_forever()

    trio.run(story)
    assert list(own_runtime_dir.iterdir()) == []
