"""Configuration files: which there are, and what each holds as a tree of plain values.

A file whose name ends in `.json` or `.toml` is that; any other is HCL, or JSON if it begins with a brace, as for
Nomad's agents.
"""

import json
import re
import stat
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from moot.agent import hcl
from moot.gossip.errors import ConfigError
from moot.gossip.net.files import read_regular

FILE_MAX: Final = 1024 * 1024
"""Bytes of one configuration file."""
SECRET_MAX: Final = 4096
"""Bytes of a file that holds one secret."""
ENDINGS: Final = (".hcl", ".json", ".toml")
"""Of the files that are read in a directory."""

_LONG_KEY: Final = re.compile(
    r"""(?:^|[\[{,])[ \t]*+(?:(?:[\w-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+)"""
    f"{{{hcl.DEPTH_MAX}}}",
    re.MULTILINE,
)
"""Where a key of a TOML file begins that has too many parts."""


def config_files(path: Path) -> list[Path]:
    """The files that `--config path` names: itself, or a directory's files by name. Raises ConfigError."""
    try:
        if not stat.S_ISDIR(path.stat().st_mode):
            return [path]
        # a link that leads nowhere counts, so that reading it is an error and not silence
        found = [file for file in path.iterdir() if not _is_editor_litter(file.name) and not file.is_dir()]
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(f"Error loading configuration from {path}: stat {path}: {reason.lower()}") from None
    return sorted(file for file in found if file.suffix in ENDINGS)


def _is_editor_litter(name: str) -> bool:
    return name.endswith("~") or name.startswith(".#") or (name.startswith("#") and name.endswith("#"))


def read_tree(path: Path) -> Mapping[str, object]:
    """What one file holds; an `hcl.Block` where the lines of its keys are known. Raises ConfigError."""
    kind = {".json": "JSON", ".toml": "TOML"}.get(path.suffix, "HCL")
    try:
        text = content(path, FILE_MAX, "a configuration file").decode("utf-8-sig")
        if kind == "HCL" and text.lstrip().startswith("{"):
            kind = "JSON"
        tree = _PARSERS[kind](text)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except RecursionError:
        raise ConfigError(f"{path}: cannot be read as {kind}: it is nested too deeply") from None
    except hcl.HclError as error:
        raise ConfigError(f"{path}:{error.line}: cannot be read as HCL: {error}") from None
    except ValueError as error:
        raise ConfigError(f"{path}: cannot be read as {kind}: {error}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: must hold one object with the keys in it")
    return tree


def content(path: Path, most: int, what: str) -> bytes:
    """The bytes of a file that is not too large. Raises OSError, ConfigError."""
    found = read_regular(path, most + 1)
    if len(found) > most:
        raise ConfigError(f"{path}: {what} has at most {most} bytes")
    return found


def read_secret(path: Path) -> str:
    """The one word that a file holds. Raises ValueError, which names the file and never repeats the word."""
    try:
        words = content(path, SECRET_MAX, "a file with a secret").decode().split()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from None
    except ConfigError as error:
        raise ValueError(str(error)) from None
    except ValueError:
        raise ValueError(f"{path}: holds no text") from None
    if len(words) != 1:
        raise ValueError(f"{path}: must hold one word and nothing else")
    return words[0]


def _from_json(text: str) -> object:
    return json.loads(text, object_pairs_hook=_each_once)


def _each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object. Of equal keys Python would take the last; here they are several blocks of one name, as in HCL.

    Raises ValueError when they are none.
    """
    tree: dict[str, object] = {}
    for name, value in pairs:
        hcl.put(tree, name, value)
    return tree


def _from_toml(text: str) -> object:
    """Raises ValueError, also for keys of so many parts that the parser would take minutes for them."""
    if _LONG_KEY.search(text):
        raise ValueError("it is nested too deeply")
    return tomllib.loads(text)


_PARSERS: Mapping[str, Callable[[str], object]] = {"JSON": _from_json, "TOML": _from_toml, "HCL": hcl.parse}
