"""Conditions as JSON, whole: what a supervisor tells each agent, and what `status` shows.

Absent keys are "nothing of the kind". What comes in is checked and bounded: it may be anything.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from moot.gossip.errors import ConfigError
from moot.gossip.faults import Clock, Conditions, Fault

FAULTS_MAX = 1024
NAMES_MAX = 1 << 14
"""Most members that one list names."""
TEXT_MAX = 1 << 16
"""Most characters of a name or a label."""
_KEYS = {"faults", "partition", "paused", "slow", "clocks", "disk_full"}
_NUMBERS = [field.name for field in fields(Fault) if field.name not in ("source", "to", "both_ways", "transport")]


def as_json(conditions: Conditions) -> dict[str, Any]:
    """The whole state as what `json.dumps` takes."""
    return {
        "faults": {label: _fault_as_json(fault) for label, fault in conditions.faults.items()},
        "partition": conditions.groups,
        "paused": conditions.paused,
        "slow": dict(conditions.slow),
        "clocks": {name: clock._asdict() for name, clock in conditions.clocks.items()},
        "disk_full": conditions.disk_full,
    }


def from_json(held: object) -> Conditions:
    """The conditions that `as_json` gave. Raises ConfigError, naming the key, for anything else."""
    state = _table(held, "conditions")
    if unknown := sorted(set(state) - _KEYS):
        raise ConfigError(f"conditions: unknown key {unknown[0]}")
    conditions = Conditions()
    faults = _table(state.get("faults", {}), "faults", FAULTS_MAX)
    for label, fault in faults.items():
        conditions.put(label, _fault(fault, f"faults: {label[:80]}"))
    groups = _list(state.get("partition", []), "partition")
    conditions.partition(*[_names(group, "partition") for group in groups])
    for name in _names(state.get("paused", []), "paused"):
        conditions.pause(name)
    for name in _names(state.get("disk_full", []), "disk_full"):
        conditions.set_disk_full(name)
    for name, seconds in _table(state.get("slow", {}), "slow").items():
        conditions.set_slow(name, _number(seconds, "slow"))
    for name, clock in _table(state.get("clocks", {}), "clocks").items():
        known = _table(clock, "clocks")
        if set(known) - {"offset", "drift"}:
            raise ConfigError("clocks: only offset and drift are known")
        amounts = {key: _number(value, f"clocks: {key}") for key, value in known.items()}
        conditions.set_clock(name, Clock(**amounts))
    return conditions


def _fault_as_json(fault: Fault) -> dict[str, Any]:
    """The fields that say something."""
    found: dict[str, Any] = {}
    for field in fields(Fault):
        value = getattr(fault, field.name)
        if value != field.default:
            found[field.name] = sorted(value) if isinstance(value, frozenset) else value
    return found


def _fault(held: object, where: str) -> Fault:
    given = _table(held, where)
    known: dict[str, Any] = {}
    for key, value in given.items():
        if key in ("source", "to"):
            known[key] = None if value is None else frozenset(_names(value, f"{where}: {key}"))
        elif (key == "both_ways" and isinstance(value, bool)) or (
            key == "transport" and value in ("packet", "stream", None)
        ):
            known[key] = value
        elif key in _NUMBERS:
            known[key] = _number(value, f"{where}: {key}")
        else:
            raise ConfigError(f"{where}: {key} is unknown or has no such value")
    return Fault(**known)


def _table(held: object, where: str, most: int = NAMES_MAX) -> Mapping[str, object]:
    if not isinstance(held, Mapping) or not all(isinstance(key, str) and len(key) <= TEXT_MAX for key in held):
        raise ConfigError(f"{where} must be an object")
    _check_count(len(held), where, most)
    return held


def _list(held: object, where: str) -> list[object]:
    if not isinstance(held, list):
        raise ConfigError(f"{where} must be a list")
    _check_count(len(held), where, NAMES_MAX)
    return held


def _names(held: object, where: str) -> list[str]:
    found = _list(held, where)
    names = [name for name in found if isinstance(name, str) and len(name) <= TEXT_MAX]
    if len(names) < len(found):
        raise ConfigError(f"{where} must be a list of names")
    return names


def _check_count(count: int, where: str, most: int) -> None:
    if count > most:
        raise ConfigError(f"{where} must have at most {most} entries, has {count}")


def _number(held: object, where: str) -> float:
    if isinstance(held, bool) or not isinstance(held, int | float):
        raise ConfigError(f"{where} must be a number")
    try:
        return float(held)
    except OverflowError:
        raise ConfigError(f"{where} is too large") from None
