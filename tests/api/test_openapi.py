"""The description of the API: complete, valid, true of the handlers; test_schemathesis asks running agents."""

from base64 import b64decode
from dataclasses import replace

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from moot.gossip.serf.messages import Coordinate
from moot.http.api import build_api
from moot.http.counters import HttpCounters
from moot.http.describe import Answer, Doc, Failure, Parameter
from moot.http.exchange import Reply
from moot.http.nomad_keyring import EXAMPLE
from moot.http.nomad_operations import ApiSettings
from moot.http.openapi import text_schema
from moot.http.routes import READ, WRITE, Call, Route, Router
from tests.api.described import Operation, ask, document_of, operations, tries, undescribed, watched
from tests.api.live import serving_api
from tests.api.scripted import ScriptedBackend
from tests.api.scripted_nomad import ScriptedNomad, ScriptedRemote
from tests.api.scripted_pool import ScriptedKeys, ScriptedPool
from tests.api.situations import client
from tests.api.test_acl import ROOT, SECRETS, guarded

NOWHERE = Coordinate((0.0,) * 8, 1.5, 0.0, 0.0)
OWN_HEADERS = {
    "accept-encoding",
    "origin",
    "sec-fetch-site",
    "sec-fetch-mode",
    "host",
    "x-nomad-token",
    "authorization",
}
"""Those that are read whatever the route is."""


def everything() -> ScriptedBackend:
    """An agent of both roles in an encrypted pool, in which nothing is refused."""
    backend = guarded()
    keys = ScriptedKeys.of(backend.table, bytes(16), b64decode(EXAMPLE["Key"]))
    backend.operations = ScriptedPool(keys, known_coordinates={"s1.global": NOWHERE, "moot-1.global": NOWHERE})
    backend.nomad = ScriptedNomad(keys, ApiSettings(enable_debug=True, prometheus_metrics=True))
    backend.remote = ScriptedRemote(node_answers=())
    return backend


def router() -> Router:
    return build_api(everything(), counters=HttpCounters(), leader_wait=0.0)


ROUTES = list(router()._exact.values())
DOCUMENT = document_of(ROUTES)
OPERATIONS = list(operations(DOCUMENT))
reads_and_changes = pytest.mark.parametrize(
    "operation", [it for it in OPERATIONS if it[0] != "POST"], ids=lambda each: f"{each[0]} {each[1]}"
)


async def nothing(call: Call) -> Reply:
    return Reply()


def test_every_method_of_every_route_is_described() -> None:
    assert undescribed(ROUTES) == []
    assert len({node["operationId"] for _, _, node in OPERATIONS}) == len(OPERATIONS)


def test_what_is_not_described_is_found() -> None:
    told = Doc("Told.", answers=(Answer(None, "Done."),))
    assert undescribed([Route("/v1/a", READ, nothing)]) == ["/v1/a ['GET']"]
    assert undescribed([Route("/v1/a", READ | WRITE, nothing, docs=(replace(told, methods=READ),))]) != []
    assert undescribed([Route("/v1/a/", READ, nothing, docs=(replace(told, path="/v1/b"),))]) != []
    assert undescribed([Route("/v1/a", READ, nothing, docs=(told,))]) == []


def test_the_document_is_valid() -> None:
    assert list(OpenAPIV31SpecValidator(DOCUMENT).iter_errors()) == []
    broken = {name: part for name, part in DOCUMENT.items() if name != "info"}
    assert list(OpenAPIV31SpecValidator(broken).iter_errors()) != []


async def test_it_is_served_to_everybody() -> None:
    async with serving_api(guarded()) as live:
        answer = await live.ask("GET", "/v1/openapi.json")
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
        assert {**answer.json(), "info": None} == {**DOCUMENT, "info": None}
        pretty = await live.ask("GET", "/v1/openapi.json?pretty")
        assert pretty.text.startswith('{\n    "components"')
        assert (await live.ask("POST", "/v1/openapi.json")).status == 405


async def read_by(operation: Operation, monkeypatch: pytest.MonkeyPatch) -> tuple[set[str], set[str]]:
    """Parameters and headers that an agent of any role reads for an operation."""
    readings = watched(monkeypatch)
    for make in (everything, client):
        api = build_api(make(), counters=HttpCounters(), leader_wait=0.0)
        for request in tries(operation):
            await ask(api, request)
    return readings.query, readings.headers - OWN_HEADERS


def written(operation: Operation, place: str) -> set[str]:
    return {it["name"] for it in operation[2].get("parameters", ()) if it["in"] == place}


@reads_and_changes
async def test_parameters_are_those_that_are_read(operation: Operation, monkeypatch: pytest.MonkeyPatch) -> None:
    query, headers = await read_by(operation, monkeypatch)
    ignored = {it["name"] for it in operation[2].get("parameters", ()) if it["description"].startswith("Ignored")}
    assert written(operation, "query") == query | ignored
    assert {name.lower() for name in written(operation, "header")} | {"accept"} >= headers


async def test_a_parameter_that_is_not_read_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def handler(call: Call) -> Reply:
        call.query.first("b")
        return Reply()

    doc = Doc("Told.", parameters=(Parameter("a", "Not read."),), answers=(Answer(None, "Done."),))
    routes = [Route("/v1/a", READ, handler, right=None, docs=(doc,))]
    readings = watched(monkeypatch)
    (operation,) = operations(document_of(routes))
    for request in tries(operation):
        await ask(Router(everything(), routes), request)
    assert (written(operation, "query"), readings.query) == ({"a"}, {"b"})


@reads_and_changes
async def test_rights_are_those_that_are_asked_for(operation: Operation) -> None:
    _, _, node = operation
    right = node["x-moot-right"]
    assert ("security" in node) == (right is not None)
    for held, secret in {**{it.value: text for it, text in SECRETS.items()}, "management": ROOT}.items():
        enough = right in (None, held) or held == "management" or (right, held) == ("agent:read", "agent:write")
        api = build_api(guarded(), counters=HttpCounters(), leader_wait=0.0)
        for request in tries(operation):
            request.headers = [(b"x-nomad-token", secret.encode())]
            response = await ask(api, request)
            if response.status not in (400, 404):
                assert (response.status == 403) != enough, request.target


@pytest.mark.parametrize(
    ("words", "yes", "no"),
    [
        ("missing name", ["missing name"], ["missing name ", "missing"]),
        ("nothing is called …", ["nothing is called x", "nothing is called a\nb"], ["something is called x"]),
        ("1 (…) of [a|b]", ["1 (x) of [a|b]"], ["1 x of a"]),
    ],
)
def test_errors_are_described_word_for_word(words: str, yes: list[str], no: list[str]) -> None:
    validator = jsonschema.Draft202012Validator(text_schema(Failure(400, words)))
    assert [text for text in (*yes, *no) if validator.is_valid(text)] == yes
