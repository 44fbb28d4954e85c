"""A cell of the matrix: who acts on whom, and the steps that many rows have in common."""

import json
from collections.abc import Collection
from dataclasses import dataclass

import pytest

from tests.interop.matrix.pools import LETTER, Pools, SharedPool, other
from tests.support.launching import until
from tests.support.serf_cli import Outcome, Program, SerfAgent

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
    def tool(self) -> Program:
        """The command of the kind that acts."""
        return self.pools.programs[self.way]

    @property
    def other_tool(self) -> Program:
        return self.pools.programs[other(self.way)]

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
            listings = [each.listing(self.pools.programs["serf"]) for each in pool.agents.values()]
            return all(listing[agent.name]["tags"] == tags for listing in listings)

        until(f"all list {tags} of {agent.name}", all_do)
        pool.settle(pool.whole)

    def all_answer(self, agent: SerfAgent, tool: Program, names: Collection[str], *words: str) -> None:
        """Let a command ask through an agent: just these members ack and answer. Asks again when one was late."""

        def complete() -> bool:
            acks, answers = asked(agent, tool, *words, "ask", "something")
            assert acks <= set(names)
            assert answers.items() <= {name: f"{name} heard something\n" for name in names}.items()
            return len(acks) == len(answers) == len(names)

        until(f"acks and answers of {names}", complete)


def asked(agent: SerfAgent, tool: Program, *words: str) -> tuple[set[str], dict[str, str]]:
    """Who acked a query, each once, and the answers by sender. Those of nobody are let pass of a real agent."""
    found = json.loads(agent.tell("query", "-format=json", ASK_FOR, *words, program=tool))
    acks: list[str] = found["Acks"] or []
    answers: dict[str, str] = found["Responses"]
    if agent.is_real:
        acks, answers = [name for name in acks if name], {name: text for name, text in answers.items() if name}
    assert len(set(acks)) == len(acks)
    return set(acks), answers


def held_keys(agent: SerfAgent, tool: Program) -> dict[str, str]:
    """The keys of the pool, each with how many of all members have it, as `4/4`."""
    lines = agent.tell("keys", "-list", program=tool).splitlines()
    return {key: count.strip("[]") for key, count in (line.split() for line in lines if line.endswith("]"))}


def all_refuse(done: Outcome, members: Collection[str], reason: str) -> None:
    """A command about keys failed because every member refused for this reason."""
    assert done.code == 1
    refusals = sorted(line.split(maxsplit=2) for line in done.out.splitlines() if line.startswith("failed:"))
    assert refusals == sorted(["failed:", name, reason] for name in members)
    assert f"{len(members)}/{len(members)} nodes reported failure" in done.out + done.err
