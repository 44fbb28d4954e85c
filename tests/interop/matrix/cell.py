"""A cell of the matrix: who acts on whom, and the steps that many rows have in common."""

import json
import subprocess
from collections.abc import Collection
from dataclasses import dataclass

import pytest

from tests.interop.matrix.pools import LETTER, Pools, SharedPool, other
from tests.support.processes import until
from tests.support.serf_cli import SerfAgent, Tool

ASK_FOR = "-timeout=1s"

row = pytest.mark.row
"""`@row("join")`: the test is about this row."""


@dataclass(frozen=True)
class Cell:
    """`way` is the kind that acts, `seal` is `plain` or `encrypted`."""

    pools: Pools
    way: str
    seal: str

    @property
    def sealed(self) -> bool:
        return self.seal == "encrypted"

    @property
    def pool(self) -> SharedPool:
        """Two agents of each kind, shared with other cells."""
        return self.pools.shared(self.seal)

    @property
    def tool(self) -> Tool:
        """The command of the kind that acts."""
        return self.pools.tools[self.way]

    @property
    def other_tool(self) -> Tool:
        return self.pools.tools[other(self.way)]

    @property
    def actor(self) -> SerfAgent:
        """The agent that acts."""
        return self.pool.agents[LETTER[self.way] + "0"]

    @property
    def seer(self) -> SerfAgent:
        """An agent of the other kind."""
        return self.pool.agents[LETTER[other(self.way)] + "0"]

    def all_hear(self, event: str, payload: str) -> None:
        """Wait until every agent's handler got the event; all got it once, and the same."""
        pool = self.pool
        agents = pool.agents.values()
        until(f"all hear {event}", lambda: all(pool.heard(agent, event) for agent in agents), logs=[*agents])
        heard = [pool.heard(agent, event) for agent in agents]
        ltime = heard[0][0][0]
        assert heard == [[(ltime, payload)]] * len(heard)

    def all_list_tags(self, agent: SerfAgent, tags: dict[str, str]) -> None:
        """Wait until every agent lists just these tags of one, by either command."""
        pool = self.pool

        def all_do() -> bool:
            listings = [each.listing(self.pools.tools["serf"]) for each in pool.agents.values()]
            return all(listing[agent.name]["tags"] == tags for listing in listings)

        until(f"all list {tags} of {agent.name}", all_do)
        pool.settle(pool.whole)

    def all_answer(self, agent: SerfAgent, tool: Tool, names: Collection[str], *words: str) -> None:
        """Let a command ask through an agent: just these members ack and answer. Asks again when one was late."""

        def complete() -> bool:
            acks, answers = asked(agent, tool, *words, "ask", "something")
            assert acks <= set(names)
            assert answers.items() <= {name: f"{name} heard something\n" for name in names}.items()
            return len(acks) == len(answers) == len(names)

        until(f"acks and answers of {names}", complete)


def asked(agent: SerfAgent, tool: Tool, *words: str) -> tuple[set[str], dict[str, str]]:
    """Who acked a query, each once, and the answers by sender."""
    found = json.loads(agent.told(tool, "query", "-format=json", ASK_FOR, *words))
    acks: list[str] = found["Acks"] or []
    assert len(set(acks)) == len(acks)
    return set(acks), found["Responses"]


def held_keys(agent: SerfAgent, tool: Tool) -> dict[str, str]:
    """The keys of the pool, each with how many of all members have it, as `4/4`."""
    lines = agent.told(tool, "keys", "-list").splitlines()
    return {key: count.strip("[]") for key, count in (line.split() for line in lines if line.endswith("]"))}


def all_refuse(
    done: subprocess.CompletedProcess[str], members: Collection[str], reason: str, what: str = "failed"
) -> None:
    """A command about keys failed because every member refused for this reason."""
    assert done.returncode == 1
    refusals = sorted(line.split(maxsplit=2) for line in done.stdout.splitlines() if line.startswith(f"{what}:"))
    assert refusals == sorted([f"{what}:", name, reason] for name in members)
    assert f"{len(members)}/{len(members)} nodes reported failure" in done.stdout + done.stderr
