"""Every case of tests/vectors/http that is about the API, against a real server in front of a scripted agent."""

import time
from typing import Any

import pytest

from moot.gossip.serf.members import MemberStatus
from tests.api.contract import CASES, check, check_head, is_streamed, keyring_steps, missing_of_stream
from tests.api.live import Live, read_stream, serving_api
from tests.api.scripted import ScriptedBackend
from tests.api.situations import SITUATIONS

ELSEWHERE = {"cli_start": "about the command line, not the API: tests/api/test_start.py"}
"""Files of cases that another test runs."""

ENGINE = "what the others make of it is the engine's: tests/api/test_contract_live.py"
PARTLY_COVERED = {"force_leave/failed": {"then_status_others": ENGINE}}

LINE = "2026-11-23T14:58:41.524Z [DEBUG] serf: something: key=value"


def runs() -> list[Any]:
    """Each case with each agent that it names."""
    return [
        pytest.param(name, agent, id=f"{name} {agent}")
        for name, case in CASES.items()
        if name.partition("/")[0] not in ELSEWHERE
        for agent in case["agent"].split("|")
    ]


def test_every_case_is_run_here_or_elsewhere() -> None:
    run = {param.values[0] for param in runs()}
    elsewhere = {name for name in CASES if name.partition("/")[0] in ELSEWHERE}
    assert run | elsewhere == set(CASES)
    assert len(CASES) == 195
    assert set(PARTLY_COVERED) <= run


@pytest.mark.parametrize(("name", "agent"), runs())
async def test_the_answer_is_as_the_contract_has_it(name: str, agent: str) -> None:
    case = CASES[name]
    backend = SITUATIONS[agent]()
    request = case["request"]
    path = request["path"].replace("<own address>", "127.0.0.2:4648")
    headers = list(request.get("headers", {}).items())
    backend.nomad.told = ("debug", LINE)
    async with serving_api(backend, leader_wait=0.05) as live:
        if is_streamed(case):
            await check_stream(case, live)
            return
        begun = time.monotonic()
        answer = await live.ask(request["method"], path, headers, request.get("body", "").encode())
        took_ms = (time.monotonic() - begun) * 1000
        assert took_ms <= case.get("max_ms", 10_000)
        check(name, case, answer)
        await check_afterwards(name, case, live)
        check_members(case, backend)


async def check_stream(case: dict[str, Any], live: Live) -> None:
    """Read an endless answer until all has come that should."""
    expected = dict(case["response"])
    async with read_stream(live, case["request"]["method"], case["request"]["path"]) as answer:
        check_head(expected, answer.head)
        await answer.until(lambda body: not missing_of_stream(case, body))


async def check_afterwards(name: str, case: dict[str, Any], live: Live) -> None:
    """Further requests, and the members that the asked agent then shows."""
    for request, wanted in zip(case.get("then", ()), case.get("then_json", ()), strict=True):
        assert (await live.ask(request["method"], request["path"])).json() == wanted
    left_out = PARTLY_COVERED.get(name, {})
    known = {"then", "then_json", "then_status", "then_absent", "then_within_ms"}
    assert {key for key in case if key.startswith("then")} <= known | set(left_out)
    if "then_status" in case or "then_absent" in case:
        members = (await live.ask("GET", "/v1/agent/members")).json()["Members"]
        statuses = {member["Name"]: member["Status"] for member in members}
        assert case.get("then_status", {}).items() <= statuses.items()
        assert not set(case.get("then_absent", ())) & set(statuses)


def check_members(case: dict[str, Any], backend: ScriptedBackend) -> None:
    """Tags that all members must or must not have; the situation itself has to be right."""
    for member in backend.table:
        assert case.get("expect_tags", {}).items() <= member.tags.items()
        assert not set(case.get("absent_tags", ())) & set(member.tags)


async def test_the_sequence_of_key_operations_goes_as_the_contract_has_it() -> None:
    sequence = keyring_steps()
    backend = SITUATIONS[sequence["agent"]]()
    async with serving_api(backend) as live:
        for step in sequence["steps"]:
            if step["id"] == "after-s3-failed":
                backend.set_status("s3.global", MemberStatus.FAILED)
                backend.nomad.keys.table = backend.table
            request = step["request"]
            answer = await live.ask(request["method"], request["path"], body=request.get("body", "").encode())
            check(step["id"], step, answer)


async def test_a_dev_agent_shows_the_members_of_the_documents_sample() -> None:
    wanted = CASES["members/seed-sample"]["response"]["sample_json"]
    async with serving_api(SITUATIONS["dev"]()) as live:
        found = (await live.ask("GET", "/v1/agent/members")).json()
    for held in (wanted["Members"][0], found["Members"][0]):
        del held["DelegateMax"], held["Tags"]["build"]
    assert found == wanted


async def test_no_raft_figures_are_invented() -> None:
    async with serving_api(SITUATIONS["dev"]()) as live:
        stats = (await live.ask("GET", "/v1/agent/self")).json()["stats"]
    assert set(stats) == {"client", "nomad", "runtime", "serf"}


async def test_stats_tell_who_leads_and_how_many_regions_are_known() -> None:
    backend = SITUATIONS["s1 in global, e1 in eu"]()
    async with serving_api(backend) as live:
        nomad = (await live.ask("GET", "/v1/agent/self")).json()["stats"]["nomad"]
        assert nomad == {
            "bootstrap": "false",
            "known_regions": "2",
            "leader": "true",
            "leader_addr": "127.0.0.2:4647",
            "server": "true",
        }
        backend.set_status("s1.global", MemberStatus.LEFT)
        nomad = (await live.ask("GET", "/v1/agent/self")).json()["stats"]["nomad"]
        assert (nomad["leader"], nomad["leader_addr"]) == ("false", "")
