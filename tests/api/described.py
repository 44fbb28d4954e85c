"""What is described of the routes, held against what their handlers do."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from moot.http import routes as routing
from moot.http.describe import Doc
from moot.http.exchange import Query, Request, Response
from moot.http.openapi import build_document
from moot.http.routes import ANY, Route, Router

BODIES: tuple[object, ...] = ({}, {"name": "x"}, {"Key": "YWJj"}, {"key": "YWJj"})
Operation = tuple[str, str, dict[str, Any]]
"""Method, path, and the operation as it stands in the document."""


def operations(document: Mapping[str, Any]) -> Iterator[Operation]:
    """All of them."""
    for path, methods in document["paths"].items():
        yield from ((method.upper(), path, operation) for method, operation in methods.items())


def undescribed(routes: Iterable[Route]) -> list[str]:
    """Routes and methods that no Doc covers, and Docs of what is no route."""
    wrong = []
    for route in routes:
        covered = {method for doc in route.docs for method in doc.methods or route.methods}
        if not route.docs or (route.methods is not ANY and covered != route.methods):
            wrong.append(f"{route.path} {sorted(route.methods - covered)}")
        wrong += [f"{doc.path} is not below {route.path}" for doc in route.docs if not _below(doc, route)]
    return wrong


def _below(doc: Doc, route: Route) -> bool:
    return not doc.path or (route.path.endswith("/") and doc.path.startswith(route.path))


@dataclass
class Readings:
    """Names of parameters and headers that handlers asked for."""

    query: set[str] = field(default_factory=set)
    headers: set[str] = field(default_factory=set)


def watched(monkeypatch: pytest.MonkeyPatch) -> Readings:
    """What handlers read from now on."""
    readings = Readings()

    class Watched(Query):
        __slots__ = ()

        def __contains__(self, name: str) -> bool:
            readings.query.add(name)
            return super().__contains__(name)

        def first(self, name: str) -> str:
            readings.query.add(name)
            return super().first(name)

        def all(self, name: str) -> list[str]:
            readings.query.add(name)
            return super().all(name)

    plain = Request.header

    def header(self: Request, name: bytes) -> str:
        readings.headers.add(name.decode())
        return plain(self, name)

    monkeypatch.setattr(routing, "Query", Watched)
    monkeypatch.setattr(Request, "header", header)
    return readings


def tries(operation: Operation) -> Iterator[Request]:
    """Requests that make a handler look at all that it may look at: with nothing, with all, with each alone."""
    method, path, node = operation
    parameters = [it for it in node.get("parameters", ()) if it["in"] == "query"]
    texts = [f"{quote(it['name'])}={quote(_value(it))}" for it in parameters]
    needed = [text for it, text in zip(parameters, texts, strict=True) if it.get("required")]
    example = node.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
    for query in ([], texts, needed, *([*needed, text] for text in texts)):
        for body in BODIES if example is None else (example,):
            yield Request(method, f"{path}?{'&'.join(query)}", [], msgspec.json.encode(body))


def _value(parameter: Mapping[str, Any]) -> str:
    example = parameter.get("example")
    if example is not None:
        return str(example[0] if isinstance(example, list) else example)
    schema = parameter["schema"]
    if "enum" in schema:
        return str(next(it for it in schema["enum"] if it))
    return {"per_page": "1", "wait": "5s", "index": "1", "log_level": "off"}.get(parameter["name"], "x")


async def ask(router: Router, request: Request) -> Response:
    """An answer; a stream is closed unread."""
    response = await router(request)
    if response.stream is not None:
        response.stream.close()
    return response


def document_of(routes: Iterable[Route]) -> dict[str, Any]:
    """The document as it is sent."""
    document: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(build_document(routes, "0")))
    return document
