"""Settings from the environment: a variable for each key.

`server.retry_join` is MOOT_SERVER_RETRY_JOIN, and what is in the block `moot` goes without it: `moot.profile` is
MOOT_PROFILE. Lists have commas between, blocks are NAME=VALUE with commas between; either may be JSON instead.
"""

import difflib
import json
from collections.abc import Mapping

from moot.agent.key_table import KEYS, Key
from moot.agent.schema import Flat, Problem

PREFIX = "MOOT_"
ALIASES = {"MOOT_ENCRYPT": "server.encrypt"}
"""Further names of variables."""
COMMAND_LINE = frozenset({"MOOT_ADDR", "MOOT_TOKEN"})
"""Variables of the commands that ask an agent (see `console`)."""


def variable(key: str) -> str:
    """The variable that stands for a key."""
    return PREFIX + key.removeprefix("moot.").replace(".", "_").upper()


VARIABLES = {variable(key): key.replace("server.server_join.", "server.", 1) for key in KEYS} | ALIASES
"""Key by variable. Those of `server_join` say the same as those beside it, as in files."""
SECRETS = frozenset(name for name, key in VARIABLES.items() if KEYS[key].secret)
"""Variables that no other program should inherit."""


def from_environment(environment: Mapping[str, str]) -> tuple[Flat, list[str]]:
    """What the variables say, and a line for each that was probably meant to be one of them.

    An empty variable is the same as none.
    """
    flat = Flat()
    warnings = []
    for name in sorted(environment):
        text = environment[name]
        if not name.startswith(PREFIX) or not text:
            continue
        if name in VARIABLES:
            _take(flat, name, text)
        elif name not in COMMAND_LINE:
            close = difflib.get_close_matches(name, VARIABLES, n=1, cutoff=0.8)
            if close:
                warnings.append(f"the variable {name} means nothing here; did you mean {close[0]}?")
    return flat, warnings


def _take(flat: Flat, name: str, text: str) -> None:
    key = VARIABLES[name]
    if key in flat.layer:
        flat.problems.append(Problem(source=name, text=f"is given as {flat.places[key]} too; keep one of them"))
        return
    try:
        value = _value(KEYS[key], text)
    except ValueError as error:
        flat.problems.append(Problem(source=name, text=str(error)))
        return
    flat.put(key, value, source=name, told=False)


def _value(key: Key, text: str) -> object:
    """What the text of a variable says. Raises ValueError; its text does not repeat a secret."""
    match key.kind:
        case "boolean":
            words = {"true": True, "1": True, "false": False, "0": False}
            if text.lower() not in words:
                raise ValueError("must be true or false")
            return words[text.lower()]
        case "number":
            return _number(text)
        case "list":
            if text.lstrip().startswith("["):
                return _json(text)
            return [part.strip() for part in text.split(",") if part.strip()]
        case "block":
            return _json(text) if text.lstrip().startswith("{") else _pairs(text)
    return text


def _number(text: str) -> int | float:
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        raise ValueError("must be a number") from None


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("begins like JSON and is none") from None


def _pairs(text: str) -> dict[str, str]:
    found = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise ValueError("must be NAME=VALUE with commas between, or a JSON object")
        found[name] = value
    return found
