"""Runs to report: one that violates, one that holds, one that cannot be told; by hand, with hostile names."""

from moot.gossip.sim.history import EventSent, History, Sample, Seen
from moot.gossip.sim.lab import Result, judge
from moot.gossip.sim.scenario import ClusterSpec, Expect, Scenario
from tests.support.runs import crash, fault, history, prune, saw

HOSTILE = (
    "</script><script>alert(1)</script>",
    "$\\frac{$ \x1b[31m\u202e",
    '"><img src=x onerror=alert(1)>',
)


def result(*expects: Expect, run: History, name: str = "by hand", story: str = "") -> Result:
    """A run, judged by these expectations."""
    scenario = Scenario(
        name=name, story=story, source=("somebody/elsewhere#1",), cluster=ClusterSpec(size=3), expects=expects
    )
    return Result(scenario, run, judge(scenario, run), "d1ge57")


def violated() -> Result:
    """`c` crashes at 10, `a` sees it at 15, and `b` never."""
    run = history(
        crash(10, "c"),
        saw(12, "a", "c", "suspect", accuser="a"),
        saw(15, "a", "c", "failed", "suspect", accuser="a"),
        fault(20, 30, "partition moot-1 moot-2"),
        prune(40, "c"),
        EventSent(41, "a", "deploy"),
        [Sample(at, who, bytes=100 * at, messages=at, health=at % 3) for at in range(60) for who in "ab"],
        names=["a", "b", "c"],
    )
    run.names += ["moot-1", "moot-2"]
    expects = (
        Expect(check="completeness", bounds={"within": 30.0}),
        Expect(check="flaps", bounds={}),
        Expect(check="delivery", bounds={"within": 1000.0}),
        Expect(check="zombie", bounds={}, verdict="violated"),
    )
    return result(*expects, run=run, story="Two lines,\nand <b>no</b> more.")


def hostile() -> Result:
    """Members whose names are made to harm."""
    run = history(
        crash(10, HOSTILE[2]), [saw(11, HOSTILE[0], HOSTILE[2], "failed", accuser=HOSTILE[1])], names=HOSTILE
    )
    run.source = "../../elsewhere"
    run.scenario = HOSTILE[0]
    return result(Expect(check="completeness", bounds={}), run=run, name=HOSTILE[0], story=HOSTILE[2])


def large(count: int, seconds: int) -> History:
    """Everybody sees everybody, and later somebody else every now and then."""
    names = [f"m{number}" for number in range(count)]
    flips = [
        Seen(at, names[at % count], names[(at * 7) % count], "alive", "failed" if at % 2 else "alive")
        for at in range(2, seconds)
    ]
    return history(flips, end=seconds, names=names)
