"""Two members of one name: the pool decides, warns, or lets the name go after a while."""

import signal

import pytest

from tests.cli.running import RunningAgent, agrees, all_see, launched, pool, until

pytestmark = pytest.mark.live

SERF = ("--pool", "serf")
WARNING = "two members have the same name; the first is kept"


def address_of(agent: RunningAgent, name: str) -> str:
    """Where the agent sees a member."""
    (member,) = [it for it in agent.client.members()["Members"] if it["Name"] == name]
    return f"{member['Addr']}:{member['Port']}"


def test_the_second_agent_of_a_name_ends_with_1_and_says_why() -> None:
    with (
        pool(3, *SERF) as agents,
        launched("--node", "n2", *SERF, "--profile", "local", "--join", agents[0].started["gossip"]) as second,
    ):
        assert second.process.wait(60) == 1
        assert "moot: another member is the pool's 'n2'; give this one another name with --node" in second.text()
        votes = second.wait_for("another member has our name, and the pool means it; ending")
        assert (votes["matching"], votes["responses"]) == (0, 2)
        assert "Traceback" not in second.text()
        until(lambda: all(address_of(agent, "n2") == agents[1].started["gossip"] for agent in agents), "the first n2")
        assert all(agrees(agent, "alive", 3) for agent in agents)
        assert agents[1].process.poll() is None


@pytest.mark.parametrize(
    "options", [(*SERF, "--conflict", "warn"), ()], ids=["asked for in a serf pool", "default of nomad pools"]
)
def test_without_a_vote_it_is_a_line_in_the_log(options: tuple[str, ...]) -> None:
    name = "n2" if options else "n2.global"
    with (
        pool(2, *options) as agents,
        launched("--node", "n2", *options, "--profile", "local", "--join", agents[0].started["gossip"]) as second,
    ):
        line = agents[0].wait_for(WARNING)
        assert (line["name"], line["kept"]) == (name, agents[1].started["gossip"])
        assert line["refused"] == second.started["gossip"]
        assert second.process.poll() is None
        assert second.client.self_()["stats"]["moot"]["conflict"] == "warn"


def test_off_says_nothing() -> None:
    with (
        pool(1, *SERF, "--conflict", "off") as (first,),
        launched("--node", "n1", *SERF, "--conflict", "off", "--join", first.started["gossip"]) as second,
    ):
        second.wait_for("join completed")
        assert first.lines(WARNING) == []
        assert second.process.poll() is None


def test_a_name_comes_back_elsewhere_after_the_time_given() -> None:
    with pool(2, *SERF, "--reclaim-after", "1s") as (first, second):
        second.signal(signal.SIGKILL)
        until(lambda: all_see([first], "n2", "failed"), "the failure")
        with launched("--node", "n2", *SERF, "--profile", "local", "--retry-join", first.started["gossip"]) as again:
            until(lambda: address_of(first, "n2") == again.started["gossip"], "the name at its new address")
            until(lambda: all_see([first, again], "n2", "alive"), "n2 alive")
