"""Every case of tests/vectors/http against a real server; what is not covered is listed with its reason."""

import gzip
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from moot.gossip.serf.members import MemberStatus
from tests.api.live import Answer, Live, serving_api
from tests.api.scripted import ScriptedBackend
from tests.api.shapes import mismatch, part_mismatch, sample_mismatch
from tests.api.situations import SITUATIONS

VECTORS = Path(__file__).parent.parent / "vectors" / "http"

FORWARDED = "a client-only agent does not ask its servers yet"
ENGINE = "what the pool makes of it is the engine's; the live tests look at it"

NOT_COVERED = {
    "acl": "no access control yet",
    "cli_start": "about the command line, not the API",
    "keyring": "no keyring endpoints yet",
    "monitor_metrics_host": "no monitor, metrics and host endpoints yet",
    "members/via-client": FORWARDED,
    "members/client-server-down": FORWARDED,
    "health_status_regions/leader-via-client": FORWARDED,
    "health_status_regions/schedulers-none": "no schedulers endpoint yet",
    "health_status_regions/schedulers-client": "no schedulers endpoint yet",
    "servers/bad-port": "the address is judged by the client role, which no agent has yet",
    "servers/unresolvable": "the address is judged by the client role, which no agent has yet",
    "force_leave/alive-refutes": ENGINE,
    "force_leave/only-other-alive-stays-leaving": ENGINE,
}

PARTLY_COVERED = {"force_leave/failed": {"then_status_others": ENGINE}}


def load() -> dict[str, dict[str, Any]]:
    """All cases by `file/id`."""
    files = sorted(VECTORS.glob("*.json"))
    return {f"{it.stem}/{case['id']}": case for it in files for case in json.loads(it.read_text())["cases"]}


CASES = load()


def is_covered(name: str) -> bool:
    """Whether the case is run."""
    return name not in NOT_COVERED and name.partition("/")[0] not in NOT_COVERED


def runs() -> list[Any]:
    """Each covered case with each agent that it names."""
    return [
        pytest.param(name, agent, id=f"{name} {agent}")
        for name, case in CASES.items()
        if is_covered(name)
        for agent in case["agent"].split("|")
    ]


def test_every_case_is_run_or_listed_as_not_covered() -> None:
    files = {it.stem: json.loads(it.read_text())["cases"] for it in VECTORS.glob("*.json")}
    assert sum(map(len, files.values())) == len(CASES), "two cases have one id"
    listed = {name for name in CASES if {name, name.partition("/")[0]} & set(NOT_COVERED)}
    run = {param.values[0] for param in runs()}
    assert run | listed == set(CASES)
    assert not run & listed
    assert set(NOT_COVERED) <= set(CASES) | set(files), "the table names a case that does not exist"
    assert set(PARTLY_COVERED) <= run


@pytest.mark.parametrize(("name", "agent"), runs())
async def test_the_answer_is_as_the_contract_has_it(name: str, agent: str) -> None:
    case = CASES[name]
    backend = SITUATIONS[agent]()
    request, expected = case["request"], dict(case["response"])
    if name.startswith("self/"):
        for kind in ("body_shape", "sample_json"):
            take_out_what_is_not_ours(expected.get(kind, {}))
    async with serving_api(backend, leader_wait=0.05) as live:
        begun = time.monotonic()
        headers = list(request.get("headers", {}).items())
        answer = await live.ask(request["method"], request["path"], headers, request.get("body", "").encode())
        took_ms = (time.monotonic() - begun) * 1000
        assert took_ms <= case.get("max_ms", 10_000)
        check_head(expected, answer)
        check_body(case, expected, answer)
        await check_afterwards(name, case, live)
        check_members(case, backend)


def take_out_what_is_not_ours(wanted: dict[str, Any]) -> None:
    """There is no Raft here, and that option is a setting of the agent that the sample was taken from."""
    wanted.get("stats", {}).pop("raft", None)
    wanted.get("config", {}).get("Client", {}).get("Options", {}).pop("driver.docker.volumes", None)


def check_head(expected: dict[str, Any], answer: Answer) -> None:
    """Status and headers."""
    assert answer.status == expected.pop("status"), answer.text
    for key, value in expected.pop("headers", {}).items():
        assert answer.headers.get(key.lower()) == value, key
    for key in expected.pop("no_headers", []):
        assert key.lower() not in answer.headers


def check_body(case: dict[str, Any], expected: dict[str, Any], answer: Answer) -> None:
    """Whatever the case says of the body; a kind of check that we do not know fails."""
    for kind, wanted in expected.items():
        match kind:
            case "body_json":
                check_json(case, wanted, answer)
            case "body_shape":
                assert not mismatch(wanted, answer.json())
            case "body_text":
                check_text(case.get("text_check", ""), wanted, answer.text)
            case "body_regex":
                assert re.search(wanted, answer.text)
            case "body_not_regex":
                assert not re.search(wanted, answer.text)
            case "contains_json":
                assert not part_mismatch(wanted, answer.json())
            case "sample_json":
                assert not sample_mismatch(wanted, answer.json())
            case "gunzipped_text":
                assert gzip.decompress(answer.body).decode() == wanted
            case "gunzipped_shape":
                assert not mismatch(wanted, json.loads(gzip.decompress(answer.body)))
            case _:
                raise AssertionError(f"unknown check {kind}")
    for path in case.get("absent_paths", ()):
        *above, last = path.split(".")
        held = answer.json()
        for key in above:
            held = held[key]
        assert last not in held


def check_json(case: dict[str, Any], wanted: object, answer: Answer) -> None:
    """Equal but for extra keys that are allowed and a text that may be checked softly."""
    found = answer.json()
    expected = wanted if isinstance(wanted, dict) else {}
    for key, value in case.get("allow_extra", {}).items():
        if key not in expected:
            assert found.pop(key, value) == value
    key, _, soft = case.get("text_check", "").partition(": ")
    if soft:
        check_text(soft, expected.pop(key), found.pop(key))
    assert found == wanted


def check_text(soft: str, wanted: str, found: str) -> None:
    """By the `text_check` of a case, exactly without one."""
    how, _, rest = soft.partition(":")
    match how:
        case "":
            assert found == wanted
        case "prefix":
            assert found.startswith(rest)
        case "regex":
            assert re.search(rest, found)
        case _:
            assert how == "any"


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
