"""Schemathesis against a running agent: whatever our document allows is sent, and some of what it does not.

Its pytest plugin is left out (see pyproject.toml); what it generates is asked for here, always the same.
"""

import contextlib
import json
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import jsonschema
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi import checks

from moot.http.routes import GO_DURATION

Case: TypeAlias = schemathesis.Case[Any]
Operation: TypeAlias = schemathesis.APIOperation[Any, Any, Any, Any]
LEAVE = "/v1/moot/leave"
"""Ends the agent, so it is asked last and by itself."""
OTHER_METHODS = {
    "/v1/agent/keyring/": (200, 400, 404, 500, 501),
    "/v1/agent/monitor": (200, 400, 500),
    "/v1/agent/schedulers": (400, 405),
}
"""How methods that are not described are answered where it is not 405: any are taken, or the role is asked first."""
EXAMPLES = 6
"""For each operation and mode, besides the cases that schemathesis derives from the shape of the parameters."""
TIMEOUT = 30.0
"""Seconds until an answer that does not come counts as never coming."""
QUERY_SECONDS = 0.05
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]
REFUSES_WHAT_IS_VALID = {
    "/v1/agent/host": "another agent is meant",
    "/v1/agent/monitor": "another agent is meant",
    "/v1/agent/schedulers": "the agent is no server",
    "/v1/agent/schedulers/config": "there are none",
    "/v1/agent/servers": "nobody answers there",
    "/v1/moot/events": "there is no such kind or id, or after and since are given",
    "/v1/moot/event": "the payload is no base64, or too long",
    "/v1/moot/query": "the payload is no base64, or tags are no expressions",
    "/v1/moot/keys/install": "it is no key",
    "/v1/moot/keys/use": "it is no key",
    "/v1/moot/keys/remove": "it is no key",
    "/v1/moot/keys": "the pool is not encrypted",
    "/v1/moot/tags": "too large, or the agent's own",
}
"""Where 400 may answer what the document allows, and what it cannot say."""
TAKES_NEGATIVE_DATA = {
    "/v1/agent/schedulers/config": "what is left out is none",
    "/v1/agent/keyring/remove": "null is taken for no key, and nobody has that",
}


@dataclass
class Report:
    """What a run found."""

    found: dict[tuple[str, str], str] = field(default_factory=dict)
    """By operation and kind of fault: what it says first, and how to ask again."""
    statuses: Counter[int] = field(default_factory=Counter)

    def add(self, case: Case, kind: str, text: str) -> None:
        """Remember a fault unless there is one of its kind already."""
        self.found.setdefault((case.operation.label, kind), f"{text}\n    {case.as_curl_command()}")


class Run:
    """Asks the agent at `url`, which is described by `document`, with the token if there is one."""

    def __init__(self, url: str, document: Mapping[str, Any], hosts: tuple[str, ...], token: str = "") -> None:
        self.report = Report()
        self._url = url
        self._document = document
        self._addresses = hosts
        self._headers = {"X-Nomad-Token": token} if token else {}
        self._session = requests.Session()
        self._schema = schemathesis.openapi.from_dict(
            {**document, "paths": {path: it for path, it in document["paths"].items() if path != LEAVE}},
            config=schemathesis.Config(seed=1),
        )

    def everything(self, *, draws: bool) -> Report:
        """Ask for all operations but the one that ends the agent; with `draws` also what hypothesis makes up."""
        for found in self._schema.get_all_operations():
            operation: Operation = found.ok()  # type: ignore[union-attr]  # the document is valid
            if operation.method == "post" and "put" in self._document["paths"][operation.path]:
                continue  # the same operation by another name
            for case in self._cases(operation, draws=draws):
                self._try(case)
        return self.report

    def _cases(self, operation: Operation, *, draws: bool) -> Iterator[Case]:
        modes = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
        generation = self._schema.config.generation_for(operation=operation)
        yield from self._schema.iter_coverage_cases(operation, generation_modes=modes, generation_config=generation)
        for mode in modes if draws else ():
            yield from drawn(operation, mode)

    def _try(self, case: Case) -> None:
        self._tame(case)
        declared = case.method.lower() in self._document["paths"][case.operation.path]
        endless = case.operation.method == "get" and "x-moot-streamed" in case.operation.definition.raw
        ask = self._head_of if endless else self._ask
        answer = ask(case)
        self.report.statuses[answer.status_code] += 1
        if not declared:
            path = case.operation.path
            usual = next((statuses for prefix, statuses in OTHER_METHODS.items() if path.startswith(prefix)), (405,))
            if answer.status_code not in usual:
                self.report.add(case, "method", f"{case.method} is {answer.status_code}")
            return
        try:
            case.validate_response(answer, checks=self._checks(case), headers=self._headers)
        except FailureGroup as group:
            for failure in group.exceptions:
                self.report.add(case, type(failure).__name__, str(failure))
        for kind, text in self._faults(case, answer):
            self.report.add(case, kind, text)

    def _ask(self, case: Case) -> schemathesis.Response:
        return case.call(self._url, self._session, self._headers, timeout=TIMEOUT)

    def _head_of(self, case: Case) -> requests.Response:
        """An answer; of one that does not end nothing but the head, as if it had no body."""
        asked = case.as_transport_kwargs(self._url, self._headers)
        answer = self._session.request(**asked, timeout=TIMEOUT, stream=True)
        if answer.status_code == 200:
            answer.close()
            answer._content = b"{}"
        return answer

    def _checks(self, case: Case) -> list[Any]:
        path = case.operation.path
        chosen = [it for it in CHECKS if it is not checks.negative_data_rejection or path not in TAKES_NEGATIVE_DATA]
        return chosen if path in REFUSES_WHAT_IS_VALID else [*chosen, checks.positive_data_acceptance]

    def _tame(self, case: Case) -> None:
        """Keep a case from asking beyond loopback, and from asking the pool for long."""
        if isinstance(case.query, dict) and "address" in case.query:
            asked = case.query["address"]
            texts = asked if isinstance(asked, list) else [asked]
            case.query = {**case.query, "address": [self._near(str(text)) for text in texts]}
        if case.operation.path == "/v1/moot/force-leave" and isinstance(case.query, dict) and "wait" in case.query:
            asked = str(case.query["wait"])
            case.query = {**case.query, "wait": "10ms" if GO_DURATION.fullmatch(asked) else asked}
        if case.operation.path == "/v1/moot/query" and isinstance(case.body, dict):
            seconds = case.body.get("timeout", 0)
            if isinstance(seconds, int | float) and 0 <= seconds <= 86_400:
                case.body = {**case.body, "timeout": QUERY_SECONDS}

    def _near(self, text: str) -> str:
        """One of our addresses, always the same for a text."""
        return self._addresses[zlib.crc32(text.encode("utf-8", "replace")) % len(self._addresses)]

    def _faults(self, case: Case, answer: requests.Response | schemathesis.Response) -> Iterator[tuple[str, str]]:
        """What schemathesis does not look at: words, lines, and methods that are there and refused."""
        responses = self._document["paths"][case.operation.path][case.method.lower()]["responses"]
        described = responses.get(str(answer.status_code), {})
        if "$ref" in described:
            described = self._document["components"]["responses"][described["$ref"].rpartition("/")[2]]
        if answer.status_code == 405:
            yield "method", "it is described and refused"
        if "content" not in described:
            if answer.content or "content-type" in answer.headers:
                yield "body", "it is described as empty"
            return
        kind = answer.headers.get("content-type") or ""
        kind = kind if isinstance(kind, str) else kind[0]
        schema = described["content"].get(kind, {}).get("schema")
        if schema is None:
            yield "content type", f"{kind!r} is none of {list(described['content'])}"
            return
        for each in _parts(kind, answer.content):
            root = {**schema, "components": self._document["components"]}
            if not jsonschema.Draft202012Validator(root).is_valid(each):
                yield "words", f"{answer.status_code} {str(each)[:200]!r} is not as described"


def _parts(kind: str, content: bytes) -> list[Any]:
    if kind.startswith("text/plain"):
        return [content.decode()]
    if kind == "application/x-ndjson":
        return [json.loads(line) for line in content.splitlines()]
    return []


def drawn(operation: Operation, mode: schemathesis.GenerationMode) -> list[Case]:
    """Cases that hypothesis draws, the same ones each time; none where there is nothing that could be wrong."""
    cases: list[Case] = []

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(operation.as_strategy(generation_mode=mode))
    def draw(case: Case) -> None:
        cases.append(case)

    with contextlib.suppress(Unsatisfiable):
        draw()
    return cases
