"""Event handlers of `moot agent`: scripts run, answer, are changed by a reload, and are ended."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.running import RunningAgent, agrees, launched, moot, until

pytestmark = pytest.mark.live

POOL = ("--pool", "serf", "--profile", "local")


def grows(file: Path) -> Callable[[str], bool]:
    """Whether a line is in the file."""
    return lambda line: file.exists() and line in file.read_text().splitlines()


def test_scripts_run_for_what_they_are_for(tmp_path: Path) -> None:
    seen = grows(tmp_path / "seen")
    script = f'echo "$SERF_EVENT $SERF_USER_EVENT to $SERF_SELF_NAME ($SERF_SELF_ROLE)"; cat) >> {tmp_path / "seen"}'
    specs = [f"member-join,member-failed=({script}", f"user:deploy=({script}"]
    options = [word for spec in specs for word in ("--event-handler", spec)]
    with launched("--node", "a", *POOL, "--tag", "role=web", *options) as first:
        with launched("--node", "b", *POOL, "--tag", "role=db", "--join", first.started["gossip"]) as second:
            until(lambda: seen("b\t127.0.0.1\tdb\trole=db"), "the join at the handler")
            assert seen("member-join  to a (web)")
            second.client.event("other", b"not for us")
            second.client.event("deploy", b"v7")
            until(lambda: seen("v7"), "the event at the handler")
            assert seen("user deploy to a (web)")
        until(lambda: seen("member-failed  to a (web)"), "the failure at the handler")
        assert not seen("not for us")
        assert first.client.self_()["stats"]["moot"]["event_handlers"] == "2"


def answers(agent: RunningAgent, name: str, payload: bytes = b"") -> dict[str, str]:
    """The text of each member's response to a query."""
    lines = agent.client.query(name, payload, timeout=1)
    return {line["from"]: line["text"] for line in lines if line["type"] == "response"}


def test_a_script_answers_queries_of_the_pool() -> None:
    with launched("--node", "a", *POOL, "--event-handler", 'query:load=echo "$SERF_QUERY_NAME:"; cat') as agent:
        assert answers(agent, "load", b"now") == {"a": "load:\nnow\n"}
        assert answers(agent, "other") == {}


def test_a_reload_replaces_the_handlers_and_a_wrong_one_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "a.json"

    def reload(agent: RunningAgent, *specs: str) -> None:
        file.write_text(json.dumps({"moot": {"event_handlers": specs}}))
        agent.process.send_signal(signal.SIGHUP)

    file.write_text(json.dumps({"moot": {"event_handlers": ["query=echo one"]}}))
    with launched("--node", "a", *POOL, "--config", str(file)) as agent:
        assert answers(agent, "q") == {"a": "one\n"}
        reload(agent, "query:other=echo no", "query:q=echo two")
        agent.wait_for("configuration reloaded")
        assert answers(agent, "q") == {"a": "two\n"}
        reload(agent, "quest=echo three")
        reason = agent.wait_for("configuration not reloaded, the old one stays")["reason"]
        assert reason.startswith(
            f"{file}: moot.event_handlers: event handler 'quest=echo three': 'quest' is no event"
        )
        assert answers(agent, "q") == {"a": "two\n"}
        reload(agent)
        agent.wait_for("configuration reloaded", 2)
        assert answers(agent, "q") == {}
        assert agent.lines("some changes need a restart of the agent") == []


def test_a_script_that_does_not_end_is_ended(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    spec = f"user=echo $$ > {file}; exec sleep 1000"
    with launched("--node", "a", *POOL, "--event-handler", spec, "--handler-timeout", "1s") as agent:
        agent.client.event("x")
        assert agent.wait_for("event handler took too long and was ended")["limit"] == "1s"
        assert not Path("/proc", file.read_text().strip()).exists()


def test_the_agents_own_leave_is_the_last_that_a_handler_sees(tmp_path: Path) -> None:
    seen = grows(tmp_path / "seen")
    with launched(
        "--node", "a", *POOL, "--event-handler", f"member-leave=sleep 0.2; cut -f1 >> {tmp_path / 'seen'}"
    ) as agent:
        agent.client.leave()
        assert agent.process.wait(30) == 0
        assert seen("a")


def test_a_wrong_handler_is_a_mistake_on_the_command_line() -> None:
    refused = moot("agent", "--event-handler", "member-joins=x")
    assert refused.returncode == 2
    assert "--event-handler: event handler 'member-joins=x': 'member-joins' is no event filter" in refused.stderr


def test_handlers_work_in_a_nomad_pool_too(tmp_path: Path) -> None:
    seen = grows(tmp_path / "seen")
    with launched(
        "--node", "a", "--event-handler", f'user=echo "$SERF_SELF_NAME $SERF_TAG_REGION" > {tmp_path}/seen'
    ) as it:
        it.client.event("x")
        until(lambda: seen("a.global global"), "the event at the handler")
        assert agrees(it, "alive", 1)
