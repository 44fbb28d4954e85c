"""Who comes and goes: an agent of the kind that acts, or what the other kind is told of one."""

from collections.abc import Iterator

import pytest

from tests.interop.matrix.cell import row
from tests.interop.matrix.pools import LETTER, Pools, Story, other


@pytest.fixture(scope="class")
def story(pools: Pools, way: str, seal: str) -> Iterator[Story]:
    """A pool and `v` of the kind that acts."""
    with pools.story(seal, way) as made:
        yield made


class TestMembership:
    """`v` joins, is killed, is forced to leave and forgotten; another one leaves by itself."""

    @row("join")
    def test_an_agent_joins_through_one_of_the_other_kind(self, story: Story, way: str) -> None:
        story.reach("apart")
        said = story.visitor.tell("join", story.agents[LETTER[other(way)]].address)
        assert said == "Successfully joined cluster by contacting 1 nodes.\n"
        story.see("alive")

    @row("fail")
    def test_a_killed_agent_is_seen_as_failed(self, story: Story) -> None:
        story.reach("alive")
        story.visitor.kill()
        story.see("failed")

    @row("force-leave")
    def test_a_failed_member_that_is_forced_to_leave_has_left(self, story: Story, way: str) -> None:
        story.reach("failed")
        story.agents[LETTER[way]].tell("force-leave", "v")
        story.see("left")

    @row("prune")
    def test_a_pruned_member_is_forgotten(self, story: Story, way: str) -> None:
        story.reach("failed", "left")
        story.agents[LETTER[way]].tell("force-leave", "-prune", "v")
        story.see(None)

    @row("leave")
    def test_an_agent_leaves(self, story: Story) -> None:
        story.reach("alive")
        assert story.visitor.tell("leave") == "Graceful leave complete\n"
        assert story.visitor.process.wait(30) == 0
        story.see("left")
