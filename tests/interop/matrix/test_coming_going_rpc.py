"""The client RPC's commands that let agents come and go: the command of one kind, the agents of the other."""

from collections.abc import Iterator

import pytest

from tests.interop.matrix.cell import row
from tests.interop.matrix.pools import LETTER, Pools, Story, other
from tests.support.serf_cli import Program, SerfAgent


@pytest.fixture(scope="class")
def story(pools: Pools, way: str, seal: str) -> Iterator[Story]:
    """A pool and `v` of the kind that is asked."""
    with pools.story(seal, other(way)) as made:
        yield made


@pytest.fixture
def tool(pools: Pools, way: str) -> Program:
    """The command that asks."""
    return pools.programs[way]


def asked_of(story: Story, way: str) -> SerfAgent:
    """The agent that is asked about `v`."""
    return story.agents[LETTER[other(way)]]


class TestRpcMembership:
    """`v` is told to join, killed, forced to leave and forgotten; another one is told to leave."""

    @row("rpc join")
    def test_an_agent_is_told_to_join(self, story: Story, tool: Program, way: str) -> None:
        story.reach("apart")
        targets = [story.agents[name].address for name in "ms"]
        said = story.visitor.tell("join", *targets, program=tool)
        assert said == "Successfully joined cluster by contacting 2 nodes.\n"
        story.see("alive")

    @row("rpc force-leave")
    def test_an_agent_is_told_to_force_a_member_to_leave(self, story: Story, tool: Program, way: str) -> None:
        story.reach("failed")
        assert asked_of(story, way).tell("force-leave", "v", program=tool) == ""
        story.see("left")

    @row("rpc force-leave -prune")
    def test_an_agent_is_told_to_forget_a_member(self, story: Story, tool: Program, way: str) -> None:
        story.reach("left", "failed")
        assert asked_of(story, way).tell("force-leave", "-prune", "v", program=tool) == ""
        story.see(None)

    @row("rpc leave")
    def test_an_agent_is_told_to_leave(self, story: Story, tool: Program) -> None:
        story.reach("alive")
        assert story.visitor.tell("leave", program=tool) == "Graceful leave complete\n"
        assert story.visitor.process.wait(30) == 0
        story.see("left")
