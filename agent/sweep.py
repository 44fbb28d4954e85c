"""Sweep: a grid of settings, each tried under several seeds. What is asked for, and which trials it takes."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product

from moot.gossip.amounts import seconds, share
from moot.gossip.errors import ConfigError
from moot.gossip.sim.trial import ENGINE, WATCH, Measured, Setting, run_trial

POINTS = 4
"""Points of a range of fractions that does not say how many."""
POINTS_MAX = 1000
TRIALS_MAX = 1_000_000
_RANGE = re.compile(r"(.+?)\.\.(.+?)(?:/(\d+))?")


@dataclass(frozen=True, slots=True)
class Axis:
    """A parameter and its values, in the order in which they were given."""

    name: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Task:
    """One trial: its setting and its seed."""

    setting: Setting
    seed: int
    watch: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What is swept: `nodes` is the first axis. Seeds are 1, 2, 3 and so on, the same at every point."""

    axes: tuple[Axis, ...]
    seeds: int
    profile: str = "lan"
    watch: float = WATCH

    def points(self) -> Iterator[dict[str, float]]:
        """The values of all axes at each point of the grid."""
        for values in product(*(axis.values for axis in self.axes)):
            yield {axis.name: value for axis, value in zip(self.axes, values, strict=True)}

    def tasks(self) -> list[Task]:
        """All trials, seed after seed, so that an interrupted sweep has some of every point. Raises ConfigError."""
        settings = [setting_of(point, self.profile) for point in self.points()]
        if len(settings) * self.seeds > TRIALS_MAX:
            raise ConfigError(f"{len(settings) * self.seeds} trials are more than {TRIALS_MAX}")
        return [Task(setting, seed, self.watch) for seed in range(1, self.seeds + 1) for setting in settings]

    def identity(self) -> str:
        """The same for the same sweep, however it was written."""
        return hashlib.blake2b(json.dumps(self.as_json(), sort_keys=True).encode(), digest_size=4).hexdigest()

    def as_json(self) -> dict[str, object]:
        """What was asked for but the number of seeds, which may grow."""
        return {
            "profile": self.profile,
            "watch": self.watch,
            "axes": [{"name": axis.name, "values": list(axis.values)} for axis in self.axes],
        }


def setting_of(point: Mapping[str, float], profile: str) -> Setting:
    """The setting of a point of the grid. Raises ConfigError."""
    engine = tuple((name, value) for name, value in point.items() if name not in ("nodes", "loss", "rtt"))
    return Setting(
        nodes=int(point.get("nodes", Setting().nodes)),
        profile=profile,
        loss=point.get("loss", 0.0),
        rtt=point.get("rtt"),
        engine=engine,
    )


def point_of(setting: Setting, axes: Sequence[str]) -> dict[str, float | None]:
    """The values that a setting has on these axes; what counts is an int."""
    known = {"nodes": setting.nodes, "loss": setting.loss, "rtt": setting.rtt}
    known |= {name: ENGINE[name](value) for name, value in setting.engine}
    return {name: known[name] for name in axes}


def run_task(task: Task) -> Measured:
    """Play one trial; in whichever process."""
    return run_trial(task.setting, task.seed, task.watch)


def row_of(task: Task, measured: Measured, axes: Sequence[str]) -> dict[str, object]:
    """A trial as a row of a table."""
    return {**point_of(task.setting, axes), "seed": task.seed, **asdict(measured)}


def axis(text: str) -> Axis:
    """`NAME=2..8`, `NAME=0..0.3/4` (so many points), or `NAME=1,2,5`. Raises ConfigError."""
    name, equals, values = text.partition("=")
    if not equals or not name:
        raise ConfigError(f"{text!r} is no parameter with its values; write it like suspicion_mult=2..8")
    if name not in ("loss", "rtt", *ENGINE):
        raise ConfigError(f"there is no parameter {name!r}; there are {', '.join(('loss', 'rtt', *ENGINE))}")
    whole = ENGINE.get(name, float) is not float
    found = _RANGE.fullmatch(values)
    if found is None:
        numbers = [_number(name, word, whole=whole) for word in values.split(",")]
    else:
        low, high = (_number(name, word, whole=whole) for word in found.groups()[:2])
        if low >= high:
            raise ConfigError(f"{text!r}: {found[1]} is not below {found[2]}")
        if whole and not found[3]:
            numbers = [float(number) for number in range(int(low), int(high) + 1)]
        else:
            count = int(found[3] or POINTS)
            if not 2 <= count <= POINTS_MAX:
                raise ConfigError(f"{text!r}: points must be from 2 to {POINTS_MAX}, got {count}")
            numbers = [round(low + (high - low) * at / (count - 1), 9) for at in range(count)]
            numbers = [float(round(number)) for number in numbers] if whole else numbers
    if len(numbers) > POINTS_MAX:
        raise ConfigError(f"{name} has {len(numbers)} values, more than {POINTS_MAX}")
    return Axis(name, tuple(dict.fromkeys(numbers)))


def _number(name: str, word: str, *, whole: bool) -> float:
    if name == "loss":
        return share(word)
    if whole:
        if not word.isdecimal():
            raise ConfigError(f"{name} takes whole numbers, got {word!r}")
        return float(word)
    return seconds(word)
