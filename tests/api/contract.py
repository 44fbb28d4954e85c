"""The cases of tests/vectors/http, and what an answer has to be like; their README says what the fields mean."""

import gzip
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.api.live import Answer
from tests.api.shapes import mismatch, part_mismatch, sample_mismatch

VECTORS = Path(__file__).parent.parent / "vectors" / "http"
FRAMES = ("frames", "lines_regex")
"""Kinds of checks of an endless answer."""


def load() -> dict[str, dict[str, Any]]:
    """All cases by `file/id`."""
    files = {it.stem: json.loads(it.read_text())["cases"] for it in sorted(VECTORS.glob("*.json"))}
    cases = {f"{name}/{case['id']}": case for name, listed in files.items() for case in listed}
    assert len(cases) == sum(map(len, files.values())), "two cases have one id"
    return cases


CASES = load()


def keyring_steps() -> dict[str, Any]:
    """The sequence of keyring.json: the agents it needs, and its steps."""
    found: dict[str, Any] = json.loads((VECTORS / "keyring.json").read_text())["sequence"]
    return found


def check(name: str, case: Mapping[str, Any], answer: Answer) -> None:
    """Compare an answer that is whole with what the case wants."""
    expected = json.loads(json.dumps(case["response"]))
    if name.startswith("self/"):
        for kind in ("body_shape", "sample_json"):
            take_out_what_is_not_ours(expected.get(kind, {}))
    check_head(expected, answer)
    for kind, wanted in expected.items():
        check_body(case, kind, wanted, answer)
    for path in case.get("absent_paths", ()):
        *above, last = path.split(".")
        held = answer.json()
        for key in above:
            held = held[key]
        assert last not in held, path


def take_out_what_is_not_ours(wanted: dict[str, Any]) -> None:
    """There is no Raft here, and that option is a setting of the agent that the sample was taken from."""
    wanted.get("stats", {}).pop("raft", None)
    wanted.get("config", {}).get("Client", {}).get("Options", {}).pop("driver.docker.volumes", None)


def check_head(expected: dict[str, Any], answer: Answer) -> None:
    """Status and headers; takes them out of `expected`."""
    status = expected.pop("status")
    assert answer.status == status, f"{answer.status} {answer.text} instead of {status}"
    for key, value in expected.pop("headers", {}).items():
        held = answer.headers.get(key.lower())
        assert held == value, f"{key}: {held} instead of {value}"
    for key in expected.pop("no_headers", []):
        assert key.lower() not in answer.headers, key


def check_body(case: Mapping[str, Any], kind: str, wanted: Any, answer: Answer) -> None:  # noqa: ANN401 - JSON of any shape
    """What the case says of the body; a kind of check that we do not know fails."""
    match kind:
        case "body_json":
            check_json(case, wanted, answer)
        case "body_shape":
            agree(mismatch(wanted, answer.json()))
        case "body_text":
            check_text(case.get("text_check", ""), wanted, answer.text)
        case "body_regex":
            assert re.search(wanted, answer.text), answer.text
        case "body_not_regex":
            assert not re.search(wanted, answer.text), answer.text
        case "contains_json":
            agree(part_mismatch(wanted, answer.json()))
        case "sample_json":
            agree(sample_mismatch(wanted, answer.json()))
        case "gunzipped_text":
            assert gzip.decompress(answer.body).decode() == wanted
        case "gunzipped_shape":
            agree(mismatch(wanted, json.loads(gzip.decompress(answer.body))))
        case _:
            raise AssertionError(f"unknown check {kind}")


def agree(problem: str) -> None:
    """Fails with what does not fit."""
    assert not problem, problem


def check_json(case: Mapping[str, Any], wanted: Any, answer: Answer) -> None:  # noqa: ANN401 - JSON of any shape
    """Equal but for extra keys that are allowed and a text that may be checked softly."""
    found = answer.json()
    expected = wanted if isinstance(wanted, dict) else {}
    for key, value in case.get("allow_extra", {}).items():
        if key not in expected:
            assert found.pop(key, value) == value
    key, _, soft = case.get("text_check", "").partition(": ")
    if soft:
        check_text(soft, expected.pop(key), found.pop(key))
    assert found == wanted, f"{found} instead of {wanted}"


def check_text(soft: str, wanted: str, found: str) -> None:
    """By the `text_check` of a case, exactly without one."""
    how, _, rest = soft.partition(":")
    match how:
        case "":
            assert found == wanted, f"{found!r} instead of {wanted!r}"
        case "prefix":
            assert found.startswith(rest), found
        case "regex":
            assert re.search(rest, found), found
        case _:
            assert how == "any"


def frames_of(body: bytes) -> list[Any]:
    """The JSON values that stand in a body one after the other; the last one may be cut, and is left out."""
    decoder, text = json.JSONDecoder(), body.decode()
    found, at = [], 0
    while at < len(text):
        try:
            value, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError:
            break
        found.append(value)
    return found


def is_streamed(case: Mapping[str, Any]) -> bool:
    """Whether the answer never ends."""
    return any(kind in case["response"] for kind in FRAMES)


def missing_of_stream(case: Mapping[str, Any], body: bytes) -> str:
    """What has not come yet of an endless answer; fails for what must not come. Empty when all has."""
    expected = case["response"]
    if "lines_regex" in expected:
        lines = body.decode().splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n")]
        assert all(re.search(expected["lines_regex"], line) for line in whole), whole
        return "" if whole else "a line"
    kinds = {it["name"]: it["shape"] for it in expected["frames"]}
    left = set(kinds)
    for frame in frames_of(body):
        fitting = {name for name, shape in kinds.items() if not mismatch(shape, frame)}
        assert fitting, frame
        left -= fitting
    return ", ".join(sorted(left))
