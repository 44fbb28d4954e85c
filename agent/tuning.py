"""Tuning: settings of the engine that a lab gives its agents, beyond what the configuration has keys for.

They stand in a file beside the control sockets, as fields of SwimConfig and SerfConfig by name.
"""

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final

from moot.gossip.config import SerfConfig, SwimConfig
from moot.gossip.errors import ConfigError

FILE: Final = "tuning.json"
NONE: Final[Mapping[str, Any]] = {}


def load(directory: Path) -> Mapping[str, Any]:
    """What a lab's directory holds; nothing when it has no such file. Raises ConfigError."""
    path = directory / FILE
    try:
        held = json.loads(path.read_bytes())
    except FileNotFoundError:
        return NONE
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: {error}") from error
    known = {field.name for field in (*fields(SwimConfig), *fields(SerfConfig))}
    if not isinstance(held, dict) or not known.issuperset(held):
        raise ConfigError(f"{path}: must be an object of settings of the engine")
    return held


def tuned(swim: SwimConfig, serf: SerfConfig, tuning: Mapping[str, Any]) -> tuple[SwimConfig, SerfConfig]:
    """Both with these fields changed. Raises ConfigError for values that cannot be."""
    of_swim = {field.name for field in fields(SwimConfig)}
    try:
        return (
            replace(swim, **{key: value for key, value in tuning.items() if key in of_swim}),
            replace(serf, **{key: value for key, value in tuning.items() if key not in of_swim}),
        )
    except TypeError as error:
        raise ConfigError(f"{FILE}: {error}") from error
