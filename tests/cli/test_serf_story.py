"""One story of a pool, told four times: through `serf` and `moot serf`, with real agents and with ours."""

import contextlib
import re
from collections.abc import Callable

import pytest

from tests.support.launching import until
from tests.support.serf_cli import MOOT, Outcome, Program, SerfAgent, SerfPool, following, in_one_order, serf_pool

pytestmark = [pytest.mark.live, pytest.mark.peer]

OLD_KEY = "HvY8ubRZMgafUOWvrOadwOckVa1wN3QWAo46FVKbVN8="
NEW_KEY = "XWOgJ0lygeLyzVu7fKIR0Yls8KdJqLH4aqj08kSc6MY="


class Story:
    """Runs commands and keeps what they print, with addresses by the names of the agents."""

    def __init__(self, cli: Program, agents: Program, running: SerfPool) -> None:
        self._cli = cli
        self._agents = agents
        self._running = running
        self._names: dict[str, str] = {}
        self.told: list[tuple[str, Outcome]] = []

    def start(self, name: str, *options: str) -> SerfAgent:
        agent = self._running.start(self._agents, name, *options)
        self._names[agent.host] = name.upper()
        return agent

    def ask(self, agent: SerfAgent, *words: str, auth: str = "", tries: int = 1) -> None:
        """Note what a command says; with more `tries` the first that succeeds, or the last."""
        for _ in range(tries):
            outcome = agent.ask(*words, program=self._cli, auth=auth)
            if outcome.code == 0:
                break
        out, told = outcome.out, "\n".join(words)
        for host, name in self._names.items():
            out, told = out.replace(host, name), told.replace(host, name)
        out = re.sub(r"rtt: \d+\.\d{3} ms", "rtt: N ms", out)
        out = re.sub(r"(\d+\.\d\d) sec", "N sec", out)
        self.told.append((told, Outcome(outcome.code, in_one_order(out), outcome.err)))


def members_come_and_go(story: Story) -> None:
    """Join, force-leave, prune, tags, leave."""
    a, b, c = story.start("a", "-tag=x=1", "-tag=y=2"), story.start("b", "-role=web"), story.start("c")
    story.ask(a, "join", b.address, c.address, "127.255.0.1:1")
    story.ask(a, "join", "-replay", f"named/{b.address}")
    until("all are there", lambda: all(len(agent.view()) == 3 for agent in (a, b, c)), 30)
    for words in (["-detailed"], ["-format=json"], ["-role=web"], ["-tag=x=.", "-name=[ab]"], ["-status=failed"]):
        story.ask(b, "members", *words)
    story.ask(a, "tags", "-set", "z=<3&>", "-delete=x", "-delete", "none")
    until("b knows a's tags", lambda: "z=" in b.ask("members", "-name=a").out, 30)
    story.ask(b, "members", "-name=a", "-format=json")
    story.ask(b, "members", "-name=a", "-tag=x=")
    # each ack is one packet, and local timing spreads a query so seldom that one of three may miss it
    story.ask(a, "reachability", "-verbose", tries=5)
    until("coordinates are known", lambda: not (a.ask("rtt", "c").code or a.ask("rtt", "b", "a").code), 30)
    story.ask(a, "rtt", "c")
    story.ask(a, "rtt", "b", "a")
    c.process.kill()
    until("c failed", lambda: a.view()["c"] == b.view()["c"] == "failed", 60)
    story.ask(a, "members", "-status=failed|x")
    story.ask(a, "force-leave", "c")
    until("c left", lambda: a.view()["c"] == b.view()["c"] == "left", 30)
    story.ask(a, "members")
    story.ask(a, "force-leave", "-prune", "c")
    # local timing repeats news so seldom that one of three members may miss it
    until("c is gone", lambda: "c" not in a.view() | b.view() or not a.ask("force-leave", "-prune", "c"), 60)
    story.ask(b, "members")
    story.ask(b, "leave")
    until("b left", lambda: a.view()["b"] == "left", 30, logs=(a, b))
    story.ask(a, "members", "-status=left")
    story.ask(a, "leave")
    assert (a.process.wait(10), b.process.wait(10)) == (0, 0)
    story.ask(a, "leave")


def keys_are_exchanged(story: Story) -> None:
    """All key operations, and a pool whose RPC wants a key."""
    folder = story._running.folder
    (folder / "auth.json").write_text('{"rpc_auth": "sesame"}')
    a = story.start("a", f"-encrypt={OLD_KEY}")
    b = story.start("b", f"-encrypt={OLD_KEY}", f"-join={a.address}", f"-config-file={folder / 'auth.json'}")
    until("both are there", lambda: len(a.view()) == 2, 30)
    for words in (
        ["-list"],
        ["-use=" + NEW_KEY],
        ["-install=" + NEW_KEY],
        ["-list"],
        ["-remove=" + OLD_KEY],
        ["-use=" + NEW_KEY],
        ["-remove=" + OLD_KEY],
        ["-list"],
        ["-install=AAAA"],
    ):
        story.ask(a, "keys", *words)
    story.ask(b, "members")
    story.ask(b, "members", auth="wrong")
    story.ask(b, "members", auth="sesame")
    story.ask(b, "members", "-rpc-auth=sesame")
    for words in (
        ["keys", "-list"],
        ["info"],
        ["rtt", "a"],
        ["rtt", "a", "b"],
        ["monitor"],
        ["leave"],
        ["query", "x"],
    ):
        story.ask(b, *words)
    story.ask(a, "members", auth="wrong")


@pytest.mark.parametrize("tell", [members_come_and_go, keys_are_exchanged])
def test_a_story_goes_the_same_with_either_command_and_either_agent(
    tell: Callable[[Story], None], serf_binary: str
) -> None:
    serf = (serf_binary,)
    stories = {}
    for name, cli, agents in (
        ("serf asks serf", serf, serf),
        ("serf asks moot", serf, MOOT),
        ("moot asks serf", MOOT, serf),
        ("moot asks moot", MOOT, MOOT),
    ):
        with serf_pool("-profile=local") as running:
            story = stories[name] = Story(cli, agents, running)
            tell(story)
    reference = stories.pop("serf asks serf").told
    for name, story in stories.items():
        for expected, told in zip(reference, story.told, strict=True):
            assert told == expected, name


def _blocks(text: str) -> list[str]:
    """Events of a monitor, the fields of each in one order."""
    found = re.findall(r"Event Info:\n((?:\t.*\n)+)", text)
    return sorted("\n".join(sorted(block.splitlines())) for block in found)


@pytest.mark.parametrize("agents", ["serf", "moot"])
def test_monitors_of_either_kind_show_the_same_events_and_log(agents: str, serf_binary: str) -> None:
    with serf_pool("-profile=local") as running:
        agent = running.start((serf_binary,) if agents == "serf" else MOOT, "a", "-tag=zone=ü")
        commands = {"serf": (serf_binary,), "moot": MOOT}
        outputs = {name: running.folder / f"{name}.out" for name in commands}
        with contextlib.ExitStack() as stack:
            monitors = {
                name: stack.enter_context(following(agent, outputs[name], "monitor", program=program))
                for name, program in commands.items()
            }
            until("both follow", lambda: all("[INFO]" in path.read_text() for path in outputs.values()), 30)
            agent.ask("event", "-coalesce=false", "deploy", 'tab\t"é"')
            agent.ask("event", "empty")
            agent.ask("query", "-timeout=200ms", "load", "x")
            agent.ask("tags", "-set=zone=b")
            until("all is shown", lambda: all(p.read_text().count("Event Info") >= 4 for p in outputs.values()), 30)
            agent.kill()
            assert {name: monitor.wait(10) for name, monitor in monitors.items()} == {"serf": 1, "moot": 1}
        texts = {name: path.read_text() for name, path in outputs.items()}
        assert _blocks(texts["moot"]) == _blocks(texts["serf"])
        logs = {name: [line for line in text.splitlines() if "agent: " in line] for name, text in texts.items()}
        assert logs["moot"] == logs["serf"] != []
