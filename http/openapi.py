"""The OpenAPI 3.1 document of all routes, made from what stands next to each of them (see `describe`)."""

import ast
import functools
import inspect
import itertools
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, get_args

import msgspec

from moot.http.describe import (
    ANY_REQUEST,
    COMMON,
    COMMON_FAILURES,
    PRETTY,
    SHARED,
    Answer,
    Body,
    Doc,
    Failure,
    Parameter,
    Shape,
)
from moot.http.exchange import JSON, TEXT
from moot.http.routes import Role, Route

Node = dict[str, Any]
"""A part of the document."""

REF = "#/components/schemas/{name}"
SERVER_ONLY = Failure(400, "Server only endpoint", "the agent has not the server role")
ROLES = {Role.ANY: "any", Role.SERVER: "server", Role.SERVER_FIRST: "server", Role.CLIENT: "client"}
OTHERS_METHODS = ("PUT", "GET", "POST")
"""In which order the methods of a path stand."""

ABOUT = """\
Nomad's agent API as its clients know it, and what this agent has beyond it below `/v1/moot/`.

- PUT and POST are the same everywhere. Errors are bare text without a line end.
- `Vary: Accept-Encoding` is on every answer. Answers are gzipped for who asks, but for streams and empty ones.
- Unknown parameters are ignored, and so are bodies where none is described.
- A path that is not clean (`//`, `/./`, `/../`) is 301 to the clean one, `/v1/agent/keyring` to that with a slash;
  `/` is 307 to `/ui/`. An unknown path is 404 with an empty body.
- What is no HTTP, or has an escape in its path that is none, is 400. A bug of the agent's is 500 `internal error`.
- Rights (`x-moot-right`, and the scopes under `security`) are asked for only where tokens are turned on.
- `x-moot-role` is the role that an agent needs to answer. `x-moot-streamed` is with answers that come piece by piece.
"""


def build_document(routes: Iterable[Route], version: str) -> Node:
    """The document. `version` is the agent's."""
    operations = [(route, doc) for route in routes for doc in route.docs]
    schemas = Schemas(_shapes(operations), [doc.body.shape for _, doc in operations if doc.body is not None])
    paths: dict[str, Node] = {}
    for route, doc in operations:
        path = doc.path or route.path
        for method in sorted(doc.methods or route.methods, key=OTHERS_METHODS.index):
            paths.setdefault(path, {})[method.lower()] = _operation(path, method, route, doc, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "moot agent", "version": version, "description": ABOUT, "license": {"name": "MIT"}},
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "nomad", "description": "Nomad's own endpoints."},
            {"name": "moot", "description": "What Nomad has no endpoint for."},
        ],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "responses": {name: _response((), it, schemas) for name, it in SHARED.items()},
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "X-Nomad-Token"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _operation(path: str, method: str, route: Route, doc: Doc, schemas: "Schemas") -> Node:
    right = doc.right or route.right
    node: Node = {
        "operationId": operation_id(path, method),
        "summary": doc.summary,
        "tags": ["nomad" if path.startswith(("/v1/agent/", "/v1/status/")) or path in NOMAD_PATHS else "moot"],
        "x-moot-role": ROLES[route.role],
        "x-moot-right": right.value if right else None,
        "responses": _responses(route, doc, schemas),
    }
    if any(it.streamed for it in doc.answers):
        node["x-moot-streamed"] = True
    if doc.text:
        node["description"] = doc.text
    if right:
        node["security"] = [{}, {"token": [right.value]}, {"bearer": [right.value]}]
    parameters = [*doc.parameters, *(COMMON if route.checks_query else ()), *([PRETTY] if is_pretty(doc) else [])]
    if parameters:
        node["parameters"] = [_parameter(it, schemas) for it in parameters]
    if doc.body is not None:
        node["requestBody"] = _body(doc.body, schemas)
    return node


NOMAD_PATHS = ("/v1/regions", "/v1/metrics", "/v1/nodes")


def operation_id(path: str, method: str) -> str:
    """`put_agent_join` of PUT /v1/agent/join."""
    words = re.findall("[a-z]+", path.removeprefix("/v1").replace(".json", ""))
    return "_".join([method.lower(), *words])


def is_pretty(doc: Doc) -> bool:
    """Whether an operation answers whole JSON, which can be indented."""
    return any(it.content_type == JSON and it.shape is not None and not it.streamed for it in doc.answers)


def _parameter(parameter: Parameter, schemas: "Schemas") -> Node:
    node: Node = {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.text,
        "schema": schemas.of(parameter.shape),
    }
    if parameter.required:
        node["required"] = True
    if parameter.example:
        node["example"] = [parameter.example] if node["schema"].get("type") == "array" else parameter.example
    return node


def _body(body: Body, schemas: "Schemas") -> Node:
    content: Node = {"schema": schemas.of(body.shape)}
    if body.example is not None:
        content["example"] = body.example
    return {"required": body.required, "content": {JSON.decode(): content}}


def _responses(route: Route, doc: Doc, schemas: "Schemas") -> Node:
    """By status: what the operation has itself, and what it shares with others."""
    failures = list(doc.failures)
    if route.checks_query:
        failures += COMMON_FAILURES
    if route.role is Role.SERVER_FIRST:
        failures.append(SERVER_ONLY)
    shared = [*ANY_REQUEST, *(["WrongRole"] if route.role in (Role.SERVER, Role.CLIENT) else [])]
    by_name = {SHARED[name][0].status: name for name in shared}
    responses: Node = {}
    told = {it.status for it in doc.answers} | {it.status for it in failures}
    for status in sorted(told | set(by_name)):
        answers = [it for it in doc.answers if it.status == status]
        own = [it for it in failures if it.status == status]
        if answers or own:
            own += SHARED[by_name[status]] if status in by_name else []
            responses[str(status)] = _response(answers, own, schemas)
        else:
            responses[str(status)] = {"$ref": f"#/components/responses/{by_name[status]}"}
    return responses


def _response(answers: Sequence[Answer], failures: Sequence[Failure], schemas: "Schemas") -> Node:
    content: dict[str, list[Node]] = {}
    for answer in answers:
        if answer.shape is not None:
            content.setdefault(answer.content_type.decode(), []).append(schemas.of(answer.shape))
    if failures:
        content.setdefault(TEXT.decode(), []).append(_one_of([text_schema(it) for it in failures]))
    texts = [it.text for it in answers] + [f"`{it.words}`" + (f": {it.when}" if it.when else "") for it in failures]
    node: Node = {"description": "; ".join(texts) if failures else " ".join(texts)}
    if content:
        node["content"] = {kind: {"schema": _one_of(found)} for kind, found in content.items()}
    return node


def _one_of(schemas: list[Node]) -> Node:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def text_schema(failure: Failure) -> Node:
    """Exactly the words of an error, `…` standing for any text."""
    node: Node = {"type": "string", "title": failure.words}
    if failure.when:
        node["description"] = failure.when
    if "…" in failure.words:
        parts = (re.sub(r"[\\^$.*+?()\[\]{}|]", r"\\\g<0>", part) for part in failure.words.split("…"))
        return {**node, "pattern": "^" + r"[\s\S]*".join(parts) + "$"}
    return {**node, "const": failure.words}


def _shapes(operations: Iterable[tuple[Route, Doc]]) -> Iterator[Shape]:
    """Every type that the document needs, but for those of bodies."""
    yield from (it.shape for it in (*COMMON, PRETTY))
    for _, doc in operations:
        yield from (it.shape for it in doc.parameters)
        yield from (it.shape for it in doc.answers)


class Schemas:
    """The JSON schemas of types, those of structs in `components`. `bodies` are those that are asked with."""

    def __init__(self, shapes: Iterable[Shape], bodies: Sequence[Shape]) -> None:
        asked = list({repr(shape): shape for shape in (*shapes, *bodies) if shape is not None}.values())
        self._asked_for = structs_of(bodies)
        found, self.components = msgspec.json.schema_components(asked, schema_hook=_anything, ref_template=REF)
        self.components = dict(sorted(self.components.items()))
        self._of = {repr(shape): schema for shape, schema in zip(asked, found, strict=True)}
        for struct in structs_of(asked):
            self._finish(struct, self.components[struct.__name__])

    def of(self, shape: Shape) -> Node:
        """The schema of a type that was given at the start."""
        return self._of[repr(shape)]

    def _finish(self, struct: type[msgspec.Struct], schema: Node) -> None:
        """Add what is written below the fields. In answers, what is always sent is required."""
        names = {field.name: field.encode_name for field in msgspec.structs.fields(struct)}
        for name, text in field_texts(struct).items():
            if names[name] in schema["properties"]:
                schema["properties"][names[name]]["description"] = text
        if struct in self._asked_for:  # what is left out has its default
            return
        for field in schema["properties"].values():
            field.pop("default", None)
        if not struct.__struct_config__.omit_defaults:
            schema["required"] = list(schema["properties"])


def _anything(shape: type) -> Node:
    """The schema of what msgspec has none for. Raises NotImplementedError."""
    if shape is object:
        return {"description": "Any JSON."}
    raise NotImplementedError


def structs_of(shapes: Iterable[Shape]) -> list[type[msgspec.Struct]]:
    """The structs among types, and in their fields, each once."""
    found: dict[type[msgspec.Struct], None] = {}
    waiting = list(shapes)
    while waiting:
        shape = waiting.pop()
        if isinstance(shape, type) and issubclass(shape, msgspec.Struct):
            if shape not in found:
                found[shape] = None
                waiting += [field.type for field in msgspec.structs.fields(shape)]
        else:
            waiting += get_args(shape)
    return list(found)


def field_texts(struct: type[msgspec.Struct]) -> Mapping[str, str]:
    """What is written below the fields of a struct, by their names. Empty where the source is not at hand."""
    return _texts_in(sys.modules[struct.__module__]).get(struct.__name__, {})


@functools.lru_cache(maxsize=32)
def _texts_in(module: ModuleType) -> Mapping[str, Mapping[str, str]]:
    """What is written below the fields of a module's classes, by class and field."""
    try:
        tree = ast.parse(inspect.getsource(module))
    except OSError:
        return {}
    found: dict[str, dict[str, str]] = {}
    for definition in tree.body:
        if isinstance(definition, ast.ClassDef):
            found[definition.name] = texts = {}
            for field, below in itertools.pairwise(definition.body):
                match field, below:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                        texts[name] = inspect.cleandoc(text)
    return found
