"""What a file's tree, a flag or a variable says, checked by the table of keys and laid over what was said before.

Each source of settings becomes a `Layer` of dotted keys, so that a mistake can be told with its place, the key and
the nearest key that exists.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from moot.agent.foreign_keys import FOREIGN
from moot.agent.hcl import Block
from moot.agent.key_table import BLOCKS, KEYS, Key, Layer
from moot.agent.layers import lay
from moot.gossip.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake in the settings."""

    text: str
    source: str = ""
    """A file, variable or flag; empty when it is none of a single one."""
    line: int | None = None
    key: str = ""

    @property
    def place(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.place, self.key, self.text)))


class ConfigProblems(ConfigError):
    """All mistakes that were found, one a line."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


@dataclass(slots=True)
class Flat:
    """A source, flattened and checked."""

    layer: Layer = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    """By key, where it stands: a file with its line if that is known, a variable, a flag."""
    foreign: list[str] = field(default_factory=list)
    """Keys that were accepted without effect."""
    problems: list[Problem] = field(default_factory=list)

    def put(self, key: str, value: object, *, source: str, line: int | None = None, told: bool = True) -> None:
        """Check one value and merge it in. `told` is false for a source that names the key itself."""
        try:
            checked = KEYS[key].check(value)
        except ValueError as error:
            self.problems.append(Problem(text=str(error), source=source, line=line, key=key if told else ""))
            return
        lay(self.layer, key, checked)
        self.places[key] = f"{source}:{line}" if line else source


def flatten(source: str, tree: Mapping[str, object]) -> Flat:
    """A file's tree as checked keys. `source` names the file.

    A block may also be a list of blocks, as HCL has it and JSON that is written for it.
    """
    flat = Flat()
    _flatten_into(flat, source, "", tree)
    return flat


def _flatten_into(flat: Flat, source: str, prefix: str, tree: Mapping[str, object]) -> None:
    for name, value in tree.items():
        path = prefix + name
        line = tree.lines.get(name) if isinstance(tree, Block) else None
        if path in FOREIGN:
            flat.foreign.append(path)
        elif path in KEYS:
            if value is not None:
                flat.put(path, _as_meant(KEYS[path], value), source=source, line=line)
        elif path in BLOCKS:
            for block in value if isinstance(value, list) else [value]:
                if isinstance(block, Mapping):
                    _flatten_into(flat, source, path + ".", block)
                elif block is not None:
                    text = f"must be a block, such as {_example(path)}"
                    flat.problems.append(Problem(text=text, source=source, line=line, key=path))
        else:
            text = f"unknown key {path}; {_nearest(path)}"
            flat.problems.append(Problem(text=text, source=source, line=line))


def _as_meant(key: Key, value: object) -> object:
    """What Nomad takes for a value of this kind: a number or truth may stand in quotes, a block may be in pieces."""
    match key.kind, value:
        case "number", str(digits) if re.fullmatch(r"[0-9]{1,19}", digits):
            return int(digits)
        case "boolean", "true" | "false":
            return value == "true"
        case "block", [*pieces]:
            blocks = [piece for piece in pieces if isinstance(piece, Mapping)]
            if blocks and len(blocks) == len(pieces):
                return {name: inner for block in blocks for name, inner in block.items()}
    return value


def _example(block: str) -> str:
    inside = next(name for name in KEYS if name.startswith(block + "."))
    return f"{block} with the key {inside.removeprefix(block + '.')} in it"


def _nearest(path: str) -> str:
    """The key that was probably meant, or those that the block has."""
    block, _, leaf = path.rpartition(".")
    ours = [name for name in [*KEYS, *sorted(BLOCKS)] if name.rpartition(".")[0] == block]
    siblings = [*ours, *sorted(name for name in FOREIGN if name.rpartition(".")[0] == block)]
    close = difflib.get_close_matches(leaf, [name.rpartition(".")[2] for name in siblings], n=1, cutoff=0.6)
    if close:
        return f"did you mean {block + '.' if block else ''}{close[0]}?"
    elsewhere = [name for name in KEYS if name.rpartition(".")[2] == leaf]
    if elsewhere:
        return f"it belongs to a block: {' or '.join(elsewhere)}"
    return f"known here: {', '.join(name.rpartition('.')[2] for name in ours)}"
