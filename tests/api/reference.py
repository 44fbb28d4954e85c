"""The part of docs/http-api.md that is made of the OpenAPI document; what stands around it is written by hand."""

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from moot.http.describe import COMMON, COMMON_FAILURES, PRETTY, SHARED

BEGIN = "<!-- From here on it is made by `make docs`, of what stands next to the routes. -->"
END = "<!-- Made up to here. -->"
PART = re.compile(re.escape(BEGIN) + ".*" + re.escape(END), re.DOTALL)
"""What is made, between its marks."""
METHODS = ("get", "put", "post")
TITLES = {"nomad": "Nomad's endpoints", "moot": "Endpoints of our own"}
COMMON_TEXTS = {(it.name, it.text) for it in (*COMMON, PRETTY)}
Node = Mapping[str, Any]


def reference(document: Node) -> str:
    """The made part, between its marks."""
    lines = [BEGIN, ""]
    for tag, title in TITLES.items():
        lines += [f"## {title}", ""]
        for path, operations in document["paths"].items():
            for methods, operation in _merged(operations):
                if operation["tags"] == [tag]:
                    lines += _operation(path, methods, operation)
    lines += ["## Shapes", "", "Keys that are not always there are marked with a question mark.", ""]
    for name, schema in document["components"]["schemas"].items():
        lines += _shape(name, schema)
    return "\n".join([*lines, END])


def _merged(operations: Node) -> Iterator[tuple[list[str], Node]]:
    """Methods that mean the same, together."""
    named = [(method, {**operations[method], "operationId": ""}) for method in METHODS if method in operations]
    for operation, same in itertools.groupby(named, key=lambda each: each[1]):
        yield [method.upper() for method, _ in same], operation


def _operation(path: str, methods: list[str], operation: Node) -> Iterator[str]:
    yield f"### {', '.join(methods)} {path}"
    yield ""
    yield " ".join(text for text in (operation["summary"], operation.get("description")) if text)
    yield ""
    yield _needs(operation)
    yield ""
    parameters, common = [], []
    for it in operation.get("parameters", ()):
        if (it["name"], it["description"]) in COMMON_TEXTS:
            common.append(f"`{it['name']}`")
        else:
            parameters.append(it)
    if parameters:
        yield from ("| parameter | |", "| --- | --- |")
        yield from (f"| `{it['name']}`{_kind(it)} | {_cell(it['description'])} |" for it in parameters)
        yield ""
    if common:
        yield f"{'Also' if parameters else 'Parameters'}: {', '.join(common)}."
        yield ""
    if "requestBody" in operation:
        yield f"Body: {_type(operation['requestBody']['content']['application/json']['schema'])}."
        yield ""
    yield from ("| status | body | when |", "| --- | --- | --- |")
    for status, answer in operation["responses"].items():
        yield from _answers(status, answer)
    yield from ("", "```", curl(path, methods[0], operation), "```", "")


def _needs(operation: Node) -> str:
    right, role = operation["x-moot-right"], operation["x-moot-role"]
    whom = "Any agent." if role == "any" else f"Agents with the {role} role."
    return f"{whom} Token: {f'`{right}`' if right else 'none needed'}."


def _kind(parameter: Node) -> str:
    words = [
        "header" if parameter["in"] == "header" else "",
        "required" if parameter.get("required") else "",
        "repeatable" if parameter["schema"].get("type") == "array" else "",
    ]
    return "".join(f", {word}" for word in words if word)


def _answers(status: str, answer: Node) -> Iterator[str]:
    """Rows for one status; what all operations share is told once, elsewhere on the page."""
    if "$ref" in answer:
        return
    if "content" not in answer:
        yield f"| {status} | empty | {_cell(answer['description'])} |"
        return
    told = {(it.status, it.words) for failures in (*SHARED.values(), COMMON_FAILURES) for it in failures}
    shapes = []
    for kind, content in answer["content"].items():
        for schema in _alternatives(content["schema"]):
            if "title" not in schema:
                shapes.append(f"{_type(schema)} as `{kind}`" if kind != "application/json" else _type(schema))
            elif (int(status), schema["title"]) not in told:
                yield f"| {status} | {_code(schema['title'])} | {_cell(schema.get('description', ''))} |"
    if shapes:
        words = answer["description"].partition("; `")[0]
        yield f"| {status} | {'; '.join(shapes)} | {_cell(words)} |"


def _alternatives(schema: Node) -> list[Node]:
    return [part for each in schema["anyOf"] for part in _alternatives(each)] if "anyOf" in schema else [schema]


def _shape(name: str, schema: Node) -> Iterator[str]:
    yield f"### {name}"
    yield ""
    if "description" in schema:
        yield from (schema["description"], "")
    yield from ("| key | type | |", "| --- | --- | --- |")
    yield from _keys(schema)
    yield ""


def _keys(schema: Node, before: str = "") -> Iterator[str]:
    """Rows for the keys of an object, and for those of the objects in it."""
    for key, field in schema["properties"].items():
        mark = "" if key in schema.get("required", ()) else "?"
        yield f"| `{before}{key}`{mark} | {_type(field)} | {_cell(field.get('description', ''))} |"
        if "properties" in field:
            yield from _keys(field, f"{before}{key}.")


def _type(schema: Node) -> str:
    """A few words on a type."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(it) for it in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"`{it}`" for it in schema["enum"])
    match schema.get("type"):
        case "array":
            return f"list of {_type(schema.get('items', {}))}"
        case "object":
            values = None if "properties" in schema else schema.get("additionalProperties")
            return f"object of {_type(values)}" if isinstance(values, dict) else "object"
        case str(word):
            return word
        case list(words):
            return " or ".join(words)
    return "anything"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def _code(words: str) -> str:
    """Words of an error as inline code; line ends shown as such."""
    shown = words.replace("\n", r"\n").replace("\t", r"\t").replace("|", r"\|")
    return f"`` {shown} ``" if "`" in shown else f"`{shown}`"


def curl(path: str, method: str, operation: Node) -> str:
    """An example that works on the agents that the page names."""
    pairs = [
        f"{it['name']}={quote(value, safe='')}"
        for it in operation.get("parameters", ())
        if it["in"] == "query" and "example" in it
        for value in ([it["example"]] if isinstance(it["example"], str) else it["example"])
    ]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
    words = ["curl", "-sN" if "x-moot-streamed" in operation else "-s"]
    words += [] if method == "GET" else ["-X", method]
    agent = "$C" if operation["x-moot-role"] == "client" else "$A"
    words.append(f'"{agent}{path}{"?" if pairs else ""}{"&".join(pairs)}"')
    words += [] if body is None else ["-d", f"'{json.dumps(body)}'"]
    return " ".join(words)
