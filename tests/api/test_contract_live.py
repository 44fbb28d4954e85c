"""The contract vectors against real agents, in each situation that can be had with them."""

import http.client
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.api.contract import CASES, check, check_head, is_streamed, keyring_steps, missing_of_stream
from tests.api.live import Answer
from tests.api.live_situations import LIVE, PATIENCE, Agent, Stage, staged
from tests.support.launching import HTTP_PORT

pytestmark = pytest.mark.live

CHANGING = ("force_leave", "join")
"""Files whose cases change the pool, so that each needs one of its own, unless it is refused by a client."""


def runs(*, changing: bool) -> Iterator[tuple[str, list[str]]]:
    """Situations, and the cases to run in each."""
    for agent in LIVE:
        found = [
            name
            for name, case in CASES.items()
            if agent in case.get("agent", "").split("|")
            and (name.partition("/")[0] in CHANGING and not agent.startswith("client")) is changing
        ]
        if found:
            yield agent, found


def test_every_case_runs_with_a_real_agent_but_those_that_need_raft() -> None:
    here = {name for changing in (True, False) for _, names in runs(changing=changing) for name in names}
    here |= {name for name in CASES if name.startswith("cli_start/")}
    raft = {name for name, case in CASES.items() if "Raft" in case.get("agent", "")}
    assert here == set(CASES) - raft
    assert len(raft) == 4
    situations = {it for case in CASES.values() for it in case.get("agent", "").split("|")} - {""}
    assert situations - set(LIVE) == {CASES[name]["agent"] for name in raft}


@pytest.mark.parametrize(("agent", "names"), [pytest.param(*it, id=it[0]) for it in runs(changing=False)])
def test_real_agents_answer_as_the_contract_has_it(agent: str, names: list[str], tmp_path: Path) -> None:
    with staged(tmp_path, LIVE[agent]) as stage:
        failures = []
        for name in names:
            try:
                run(name, stage)
            except AssertionError as failure:
                failures.append(f"{name}: {failure}")
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize(
    ("agent", "name"),
    [pytest.param(agent, name, id=f"{name} {agent}") for agent, names in runs(changing=True) for name in names],
)
def test_real_agents_change_the_pool_as_the_contract_has_it(agent: str, name: str, tmp_path: Path) -> None:
    with staged(tmp_path, LIVE[agent]) as stage:
        run(name, stage)


def run(name: str, stage: Stage) -> None:
    """Ask the first agent of the stage."""
    case = stage.place.moved(CASES[name])
    asked = stage.agents[0]
    if is_streamed(case):
        check_stream(case, asked)
        return
    begun = time.monotonic()
    answer = asked.ask(case["request"])
    assert (time.monotonic() - begun) * 1000 <= case.get("max_ms", 10_000)
    check(name, case, answer)
    for request, wanted in zip(case.get("then", ()), case.get("then_json", ()), strict=True):
        assert asked.ask(request).json() == wanted
    stage.wait(lambda: is_afterwards(case, asked, case.get("then_status", {})))
    others = stage.agents[1:]
    stage.wait(lambda: all(is_afterwards(case, other, case.get("then_status_others", {})) for other in others))
    if "expect_tags" in case or "absent_tags" in case:
        for member in asked.api.members()["Members"]:
            assert case.get("expect_tags", {}).items() <= member["Tags"].items()
            assert not set(case.get("absent_tags", ())) & set(member["Tags"])


def is_afterwards(case: Mapping[str, Any], agent: Agent, wanted: Mapping[str, str]) -> bool:
    """Whether an agent sees what the case says of the time after it."""
    if not wanted and "then_absent" not in case:
        return True
    seen = agent.statuses()
    return wanted.items() <= seen.items() and not set(case.get("then_absent", ())) & set(seen)


def check_stream(case: Mapping[str, Any], asked: Agent) -> None:
    """Read an endless answer until all has come that should; the agent is made to write something meanwhile."""
    connection = http.client.HTTPConnection(asked.host, HTTP_PORT, timeout=PATIENCE)
    try:
        connection.request(case["request"]["method"], case["request"]["path"])
        answer = connection.getresponse()
        head = Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, b"")
        check_head(dict(case["response"]), head)
        asked.api.join([asked.host])
        asked.api.event("noticed", b"", coalesce=False)
        body = b""
        deadline = time.monotonic() + PATIENCE
        while missing := missing_of_stream(case, body):
            assert time.monotonic() < deadline, missing
            body += answer.read1(4096)
    finally:
        connection.close()


def test_real_agents_rotate_keys_as_the_contract_has_it(tmp_path: Path) -> None:
    sequence = keyring_steps()
    with staged(tmp_path, LIVE[sequence["agent"]]) as stage:
        for step in sequence["steps"]:
            if step["id"] == "after-s3-failed":
                stage.end("s3", "failed")
            answer = stage.agents[0].ask(step["request"])
            try:
                check(step["id"], step, answer)
            except AssertionError as failure:
                raise AssertionError(f"{step['id']}: {failure}") from failure
