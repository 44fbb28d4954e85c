"""The shape language of the HTTP contract vectors; tests/vectors/http/README.md defines it."""

import ipaddress
import re
from typing import Any

HEX = "[0-9a-f]"
PATTERNS = {
    "<intstr>": r"-?[0-9]+",
    "<version>": r"v?[0-9]+(\.[0-9]+)*[0-9A-Za-z.+~-]*",
    "<uuid>": f"{HEX}{{8}}-{HEX}{{4}}-{HEX}{{4}}-{HEX}{{4}}-{HEX}{{12}}",
    "<base64>": r"[A-Za-z0-9+/]+=*",
    "<duration>": r"-?([0-9]+(\.[0-9]+)?(h|m|s|ms|µs|ns))+",
}


def mismatch(shape: object, value: object, path: str = "$") -> str:
    """Where and how `value` differs from `shape`; empty when it fits."""
    match shape:
        case dict():
            return _object(shape, value, path)
        case list():
            return _list(shape, value, path)
        case str() if re.fullmatch(r"<[a-z].*>", shape, re.DOTALL):
            return "" if _word(shape, value) else f"{path}: {value!r} is no {shape}"
    same = type(shape) is type(value) and shape == value
    return "" if same else f"{path}: {value!r} instead of {shape!r}"


def _object(shape: dict[str, Any], value: object, path: str) -> str:
    if not isinstance(value, dict):
        return f"{path}: {value!r} is no object"
    named = {key: wanted for key, wanted in shape.items() if key != "*"}
    for key, wanted in named.items():
        if key not in value:
            return f"{path}.{key} is missing"
        if found := mismatch(wanted, value[key], f"{path}.{key}"):
            return found
    for key in value.keys() - named.keys():
        if "*" not in shape:
            return f"{path}.{key} should not be there"
        if found := mismatch(shape["*"], value[key], f"{path}.{key}"):
            return found
    return ""


def _list(shape: list[Any], value: object, path: str) -> str:
    if not isinstance(value, list):
        return f"{path}: {value!r} is no list"
    match shape:
        case ["*" | "+" as count, each]:
            if count == "+" and not value:
                return f"{path} is empty"
            return next((it for n, item in enumerate(value) if (it := mismatch(each, item, f"{path}[{n}]"))), "")
        case ["set", *wanted]:
            left = list(value)
            for each in wanted:
                fits = next((item for item in left if not mismatch(each, item)), None)
                if fits is None:
                    return f"{path}: nothing fits {each!r} in {left!r}"
                left.remove(fits)
            return f"{path}: {left!r} is too much" if left else ""
    if len(shape) != len(value):
        return f"{path}: {len(value)} items instead of {len(shape)}"
    pairs = enumerate(zip(shape, value, strict=True))
    return next((it for n, (want, item) in pairs if (it := mismatch(want, item, f"{path}[{n}]"))), "")


def _word(word: str, value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if word in PATTERNS:
        return isinstance(value, str) and re.fullmatch(PATTERNS[word], value) is not None
    if word.startswith("<enum:"):
        return value in word[6:-1].split(",")
    if word.startswith("<regex:"):
        return isinstance(value, str) and re.search(word[7:-1], value) is not None
    match word:
        case "<any>":
            return True
        case "<string>":
            return isinstance(value, str)
        case "<bool>":
            return isinstance(value, bool)
        case "<bool-or-null>":
            return value is None or isinstance(value, bool)
        case "<number>":
            return number
        case "<port>":
            return number and isinstance(value, int) and 0 <= value <= 65_535
        case "<uint8>":
            return number and isinstance(value, int) and 0 <= value <= 255
        case "<list-or-null:string>":
            return value is None or (isinstance(value, list) and all(isinstance(it, str) for it in value))
        case "<ip>":
            return isinstance(value, str) and str(ipaddress.ip_address(value)) == value
    raise AssertionError(f"the vectors use the unknown word {word}")


def sample_mismatch(sample: object, value: object, path: str = "$") -> str:
    """Where `value` lacks a key path of a document's sample or has another JSON type there."""
    if sample is None or value is None:
        return ""
    if isinstance(sample, dict):
        if not isinstance(value, dict):
            return f"{path}: {value!r} is no object"
        for key, wanted in sample.items():
            if key not in value:
                return f"{path}.{key} is missing"
            if found := sample_mismatch(wanted, value[key], f"{path}.{key}"):
                return found
        return ""
    if isinstance(sample, list):
        if not isinstance(value, list):
            return f"{path}: {value!r} is no list"
        pairs = [(sample[0], item) for item in value] if sample else []
        return next((it for want, item in pairs if (it := sample_mismatch(want, item, f"{path}[]"))), "")
    return "" if type(sample) is type(value) else f"{path}: {value!r} has not the type of {sample!r}"


def part_mismatch(part: object, value: object, path: str = "$") -> str:
    """Where `value` lacks a key path of `part` or has another value there; more keys are allowed."""
    if isinstance(part, dict):
        if not isinstance(value, dict):
            return f"{path}: {value!r} is no object"
        pairs = ((wanted, value.get(key), f"{path}.{key}") for key, wanted in part.items())
        return next((it for want, item, where in pairs if (it := part_mismatch(want, item, where))), "")
    return "" if part == value else f"{path}: {value!r} instead of {part!r}"
