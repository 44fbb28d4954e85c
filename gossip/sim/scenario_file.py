"""Scenario files: TOML to a Scenario and back. Errors name the file, the line and the key."""

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, Final, TypeVar

from moot.gossip.actions import parse
from moot.gossip.amounts import SECONDS_MAX, seconds
from moot.gossip.config import SerfConfig, SwimConfig
from moot.gossip.errors import ConfigError
from moot.gossip.sim.checkers import CHECKERS, Bound, Checker
from moot.gossip.sim.monkey import check_faults
from moot.gossip.sim.scenario import (
    AnyStep,
    Chance,
    ClusterSpec,
    Expect,
    Scenario,
    Setting,
    Step,
    Wait,
    parse_goal,
)

T = TypeVar("T")
D = TypeVar("D")

TEXT_MAX = 1 << 20
"""Most characters of a file."""
Path = tuple[str | int, ...]
_HEADER = re.compile(r"\s*(\[\[?)\s*([\w.-]+)\s*\]\]?\s*(#.*)?")
_KEY = re.compile(r"\s*([\w-]+)\s*=")
_TOML_LINE = re.compile(r"at line (\d+)")
SWIM_SETTINGS: Final = {field.name: field.type for field in fields(SwimConfig)}
SERF_SETTINGS: Final = {field.name: field.type for field in fields(SerfConfig)}


class _Wrong(Exception):
    """What is wrong where; the line is looked up by who catches it."""

    def __init__(self, path: Path, text: str) -> None:
        super().__init__(text)
        self.path = path


def load(text: str, path: str = "scenario") -> Scenario:
    """The scenario of a file's text. `path` is what errors call it. Raises ConfigError."""
    if len(text) > TEXT_MAX:
        raise ConfigError(f"{path}: longer than {TEXT_MAX} characters")
    try:
        held = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _TOML_LINE.search(str(error))
        raise ConfigError(f"{path}:{found[1] if found else text.count(chr(10)) + 1}: {error}") from None
    except RecursionError:
        raise ConfigError(f"{path}:1: nested too deeply") from None
    try:
        return _scenario(held)
    except _Wrong as wrong:
        where = ".".join(str(part) if isinstance(part, str) else f"{part + 1}" for part in wrong.path)
        raise ConfigError(f"{path}:{_line_of(text, wrong.path)}: {where}: {wrong}") from None


def _line_of(text: str, path: Path) -> int:
    """Where the key of that path is written, or else the nearest thing around it."""
    lines = _lines(text)
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return 1


def _lines(text: str) -> dict[Path, int]:
    """The lines on which tables and keys begin. Looks at lines alone: enough to point at one, not to parse."""
    found: dict[Path, int] = {}
    table: Path = ()
    counts: dict[str, int] = {}
    quote = ""
    for number, line in enumerate(text.splitlines(), 1):
        if quote:
            if line.count(quote) % 2:
                quote = ""
            continue
        header = _HEADER.fullmatch(line)
        if header:
            name = header[2]
            table = tuple(name.split("."))
            if header[1] == "[[":
                counts[name] = counts.get(name, -1) + 1
                found.setdefault(table, number)
                table = (*table, counts[name])
            found[table] = number
        elif key := _KEY.match(line):
            found[(*table, key[1])] = number
        quote = next((mark for mark in ('"""', "'''") if line.count(mark) % 2), "")
    return found


def _scenario(held: Mapping[str, Any]) -> Scenario:
    _known(held, (), {"name", "story", "source", "cluster", "step", "expect", "settle"})
    steps = _tables(held, "step")
    expects = _tables(held, "expect")
    given: dict[str, Any] = {
        "cluster": _cluster(_table(held.get("cluster", {}), ("cluster",))),
        "steps": tuple(_step(step, ("step", number)) for number, step in enumerate(steps)),
        "expects": tuple(_expect(expect, ("expect", number)) for number, expect in enumerate(expects)),
        "name": _read(held, (), "name", _string, ""),
        "story": _read(held, (), "story", _string, "").strip(),
        "source": _read(held, (), "source", _strings, ()),
        "settle": _read(held, (), "settle", _seconds, 0.0),
    }
    return _make(Scenario, ("name",), given)


def _cluster(held: Mapping[str, Any]) -> ClusterSpec:
    path: Path = ("cluster",)
    _known(held, path, {*(field.name for field in fields(ClusterSpec)), "encryption"})
    keys = _read(held, path, "keys", _strings, ())
    if _read(held, path, "encryption", _truth, bool(keys)) != bool(keys):
        if keys:
            raise _Wrong((*path, "encryption"), "must be true, for there are keys")
        keys = ("first",)
    settings = _table(held.get("settings", {}), (*path, "settings"))
    given = {
        "size": _read(held, path, "size", _integer, 5),
        "profile": _read(held, path, "profile", _string, "local"),
        "pool": _read(held, path, "pool", _string, "serf"),
        "keys": keys,
        "serf": _read(held, path, "serf", _integer, 0),
        "islands": _read(held, path, "islands", _strings, ()),
        "labels": _read(held, path, "labels", _strings, ()),
        "snapshots": _read(held, path, "snapshots", _truth, False),
        "settings": {key: _setting((*path, "settings", key), value) for key, value in settings.items()},
    }
    spec: ClusterSpec = _make(ClusterSpec, path, given)
    try:
        spec.configs()
    except ConfigError as error:
        raise _Wrong((*path, "settings"), str(error)) from None
    return spec


def _setting(path: Path, value: object) -> Setting:
    key = str(path[-1])
    kind = SWIM_SETTINGS.get(key) or SERF_SETTINGS.get(key)
    if kind not in (int, float, bool, str):
        raise _Wrong(path, "there is no such setting")
    if kind is float:
        return _seconds(path, value)
    if kind is int:
        return _integer(path, value)
    return _truth(path, value) if kind is bool else _string(path, value)


def _step(held: Mapping[str, Any], path: Path) -> AnyStep:
    kinds = [key for key in ("do", "until", "random") if key in held]
    if len(kinds) != 1:
        raise _Wrong(path, "must have one of do, until and random")
    timing: dict[str, Any] = {"after": _read(held, path, "after", _seconds, 0.0)}
    timing["at"] = _read(held, path, "at", _seconds, None)
    if "at" in held and "after" in held:
        raise _Wrong((*path, "after"), "must not be beside at")
    common = {"at", "after", kinds[0]}
    if kinds[0] == "do":
        _known(held, path, common | {"for"})
        do = held["do"] if isinstance(held["do"], list) else [held["do"]]
        actions = tuple(_words((*path, "do"), words, parse) for words in do)
        return _make(Step, path, {"do": actions, "lasts": _read(held, path, "for", _seconds, None), **timing})
    if kinds[0] == "until":
        _known(held, path, common | {"within"})
        goal = _words((*path, "until"), held["until"], parse_goal)
        return _make(Wait, path, {"until": goal, "within": _read(held, path, "within", _seconds, 60.0), **timing})
    _known(held, path, common | {"for", "every", "members", "seed"})
    faults = _strings((*path, "random"), held["random"])
    _words((*path, "random"), " ".join(faults), lambda words: check_faults(words.split()))
    if "for" not in held:
        raise _Wrong(path, "random needs for")
    given = {
        "faults": faults,
        "lasts": _read(held, path, "for", _seconds, 0.0),
        "every": _read(held, path, "every", _seconds, 5.0),
        "members": _read(held, path, "members", _string, "all"),
        "seed": _read(held, path, "seed", _integer, None),
    }
    if not given["every"]:
        raise _Wrong((*path, "every"), "must be above zero")
    return _make(Chance, path, {**given, **timing})


def _expect(held: Mapping[str, Any], path: Path) -> Expect:
    name = _read(held, path, "check", _string, "")
    checker = CHECKERS.get(name)
    if checker is None:
        raise _Wrong((*path, "check"), f"there is no checker {name!r}; there are {', '.join(CHECKERS)}")
    named = ("check", "on", "verdict", "serf")
    bounds = {key: _bound(checker, path, key, value) for key, value in held.items() if key not in named}
    given = {key: _read(held, path, key, _string, "") for key in ("on", "serf")}
    given["verdict"] = _read(held, path, "verdict", _string, "holds")
    return _make(Expect, path, {"check": name, "bounds": bounds, **given})


def _make(kind: Callable[..., T], path: Path, given: Mapping[str, Any]) -> T:
    try:
        return kind(**given)
    except ConfigError as error:
        key = str(error).split()[0]
        raise _Wrong((*path, key) if key in given else path, str(error)) from None


def _words(path: Path, text: object, read: Callable[[str], T]) -> T:
    if not isinstance(text, str):
        raise _Wrong(path, "must be words")
    try:
        return read(text)
    except ConfigError as error:
        raise _Wrong(path, str(error)) from None


def _bound(checker: Checker, path: Path, key: str, value: object) -> Bound:
    try:
        return checker.read({key: value})[key]
    except ConfigError as error:
        raise _Wrong((*path, key), str(error)) from None


def _read(held: Mapping[str, Any], path: Path, key: str, read: Callable[[Path, object], T], default: D) -> T | D:
    return read((*path, key), held[key]) if key in held else default


def _known(held: Mapping[str, Any], path: Path, keys: set[str]) -> None:
    for key in held:
        if key not in keys:
            raise _Wrong((*path, key), f"unknown; there are {', '.join(sorted(keys))}")


def _table(held: object, path: Path) -> Mapping[str, Any]:
    if not isinstance(held, dict):
        raise _Wrong(path, "must be a table")
    return held


def _tables(held: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = held.get(key, [])
    if not isinstance(found, list):
        raise _Wrong((key,), f"must be written as [[{key}]]")
    return [_table(each, (key, number)) for number, each in enumerate(found)]


def _string(path: Path, value: object) -> str:
    if not isinstance(value, str):
        raise _Wrong(path, "must be a text")
    return value


def _strings(path: Path, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise _Wrong(path, "must be a text or a list of texts")
    return tuple(value)


def _integer(path: Path, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _Wrong(path, "must be a whole number")
    return value


def _truth(path: Path, value: object) -> bool:
    if not isinstance(value, bool):
        raise _Wrong(path, "must be true or false")
    return value


def _seconds(path: Path, value: object) -> float:
    if isinstance(value, str):
        try:
            return seconds(value)
        except ConfigError as error:
            raise _Wrong(path, str(error)) from None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= SECONDS_MAX:
        raise _Wrong(path, "must be a duration such as 5s, or a number of seconds")
    return float(value)


def dump(scenario: Scenario) -> str:
    """A file that says the same."""
    lines = [f"name = {_toml(scenario.name)}"]
    lines += [f"story = {_toml(scenario.story)}"] * bool(scenario.story)
    lines += [f"source = {_toml(scenario.source)}"] * bool(scenario.source)
    lines += [f"settle = {_toml(scenario.settle)}"] * bool(scenario.settle)
    lines += ["", "[cluster]"]
    base = ClusterSpec()
    for field in fields(ClusterSpec):
        value = getattr(scenario.cluster, field.name)
        if field.name != "settings" and value != getattr(base, field.name):
            lines.append(f"{field.name} = {_toml(value)}")
    if scenario.cluster.settings:
        lines += ["", "[cluster.settings]"]
        lines += [f"{key} = {_toml(value)}" for key, value in scenario.cluster.settings.items()]
    for step in scenario.steps:
        lines += ["", "[[step]]", *(f"{key} = {_toml(value)}" for key, value in _step_keys(step).items())]
    for expect in scenario.expects:
        lines += ["", "[[expect]]", f"check = {_toml(expect.check)}"]
        lines += [f"{key} = {_toml(value)}" for key, value in expect.bounds.items()]
        more = {"on": expect.on, "verdict": expect.verdict.replace("holds", ""), "serf": expect.serf}
        lines += [f"{key} = {_toml(value)}" for key, value in more.items() if value]
    return "\n".join(lines) + "\n"


def _step_keys(step: AnyStep) -> dict[str, object]:
    found: dict[str, object] = {}
    if step.at is not None:
        found["at"] = step.at
    elif step.after:
        found["after"] = step.after
    if isinstance(step, Step):
        found["do"] = [str(action) for action in step.do]
        if step.lasts is not None:
            found["for"] = step.lasts
    elif isinstance(step, Wait):
        found.update({"until": str(step.until), "within": step.within})
    else:
        found.update({"random": step.faults, "for": step.lasts, "every": step.every, "members": step.members})
        if step.seed is not None:
            found["seed"] = step.seed
    return found


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return repr(value)
