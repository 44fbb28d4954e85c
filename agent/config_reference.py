"""The reference of all keys, as docs/configuration.md has it: tables made of `key_table` and `foreign_keys`."""

from itertools import groupby

from moot.agent.foreign_keys import FOREIGN
from moot.agent.key_table import KEYS, Key
from moot.http.self_config import duration_text


def reference() -> str:
    """A table for each block, and what is accepted without effect, in Markdown."""
    sections = []
    for block, names in groupby(KEYS, _block_of):
        rows = [_row(name, KEYS[name]) for name in names]
        title = f"### `{block}`" if block else "### Not in a block"
        sections.append("\n".join([title, "", *_HEAD, *rows]))
    return "\n\n".join([*sections, _foreign()]) + "\n"


_HEAD = ("| key | type | default | reload | meaning |", "| --- | --- | --- | --- | --- |")


def _block_of(name: str) -> str:
    return name.rpartition(".")[0]


def _row(name: str, key: Key) -> str:
    kind = f"{key.kind}, secret" if key.secret else key.kind
    return f"| `{name}` | {kind} | {_shown(key)} | {'yes' if key.reload else ''} | {key.about} |"


def _shown(key: Key) -> str:
    """The default as it is written in a file; nothing for what is empty."""
    value = key.default
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if key.kind == "duration" and isinstance(value, float):
        return f"`{duration_text(value)}`"
    if isinstance(value, int | float):
        return f"`{value:g}`"
    return f"`{value}`" if isinstance(value, str) and value else ""


def _foreign() -> str:
    rows = []
    for block, names in groupby(sorted(FOREIGN, key=lambda name: (_block_of(name), name)), _block_of):
        listed = ", ".join(f"`{name.rpartition('.')[2]}`" for name in names)
        rows.append(f"| {f'`{block}`' if block else 'not in a block'} | {listed} |")
    return "\n".join(["### Accepted without effect", "", "| in | keys and blocks |", "| --- | --- |", *rows])
