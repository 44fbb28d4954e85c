"""The settings in force, written as a configuration file that says the same. Secrets are left out, and said to be."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from moot.agent.config_rules import SECRET_FILES
from moot.agent.key_table import KEYS
from moot.agent.layers import DEFAULT
from moot.agent.settings import Settings
from moot.agent.text import printable
from moot.http.self_config import duration_text

Language = Literal["hcl", "toml"]
REDACTED = "<redacted>"
_INDENT = "  "
_SETTLED = ("server.server_join.", *SECRET_FILES.values())
"""Keys that stand under another name once all is read."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One key with the value in force, as JSON has it."""

    key: str
    value: Any
    sources: Sequence[str]
    is_secret: bool

    @property
    def is_empty(self) -> bool:
        """Nothing is given; what that comes to is the agent's business."""
        return self.value in ("", [], {})


def shown(settings: Settings, *, changed: bool = False) -> list[Shown]:
    """All keys in the order of the table; with `changed` only those that somebody gave."""
    found = []
    for key, entry in KEYS.items():
        if key.startswith(_SETTLED):
            continue
        value = settings.in_force[key]
        sources = settings.origins[key]
        if changed and sources == (DEFAULT,):
            continue
        if entry.kind == "duration" and isinstance(value, float):
            value = duration_text(value)
        if entry.secret and value:
            value = dict.fromkeys(value, REDACTED) if isinstance(value, dict) else REDACTED
        found.append(Shown(key, value, sources, entry.secret))
    return found


def as_tree(entries: Sequence[Shown]) -> dict[str, object]:
    """Blocks within each other, for JSON."""
    tree: dict[str, object] = {}
    for entry in entries:
        *blocks, name = entry.key.split(".")
        inside: Any = tree
        for block in blocks:
            inside = inside.setdefault(block, {})
        inside[name] = entry.value
    return tree


def as_text(entries: Sequence[Shown], language: Language, *, sources: bool = False) -> str:
    """A file in HCL or TOML, without what is empty. Comments tell of secrets, and with `sources` of places."""
    tree = as_tree([entry for entry in entries if not entry.is_empty])
    notes = {entry.key: f"  # {printable(', '.join(entry.sources))}" if sources else "" for entry in entries}
    secrets = {entry.key for entry in entries if entry.is_secret}
    writer = _hcl if language == "hcl" else _toml
    return "\n".join(writer(tree, "", notes, secrets)) + "\n"


def _hcl(tree: Mapping[str, object], path: str, notes: Mapping[str, str], secrets: set[str]) -> Iterator[str]:
    margin = _INDENT * (path.count(".") + 1 if path else 0)
    for name, value in tree.items():
        key = f"{path}.{name}" if path else name
        if key in secrets:
            yield f"{margin}# {name} is set, and not shown{notes[key]}"
        elif isinstance(value, dict):
            yield f"{margin}{name} {{{notes.get(key, '')}"
            if key in KEYS:
                yield from (f"{margin}{_INDENT}{_text(inner)} = {_literal(item)}" for inner, item in value.items())
            else:
                yield from _hcl(value, key, notes, secrets)
            yield f"{margin}}}"
        else:
            yield f"{margin}{name} = {_literal(value)}{notes[key]}"


def _toml(tree: Mapping[str, object], path: str, notes: Mapping[str, str], secrets: set[str]) -> Iterator[str]:
    blocks = []
    for name, value in tree.items():
        key = f"{path}.{name}" if path else name
        if key in secrets:
            yield f"# {name} is set, and not shown{notes[key]}"
        elif not isinstance(value, dict):
            yield f"{name} = {_literal(value)}{notes[key]}"
        elif key in KEYS:
            pairs = ", ".join(f"{_text(inner)} = {_literal(item)}" for inner, item in value.items())
            yield f"{name} = {{ {pairs} }}{notes[key]}"
        else:
            blocks.append((key, value))
    for key, value in blocks:
        yield ""
        yield f"[{key}]"
        yield from _toml(value, key, notes, secrets)


def _literal(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(value: str) -> str:
    """A text in quotes, for both languages; `${` could mean something to readers of HCL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f").replace("${", "$\\u007b")
