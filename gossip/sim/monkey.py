"""Monkey: random faults, drawn before anything is done, so that one seed always means the same."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from moot.gossip.actions import Action, parse
from moot.gossip.errors import ConfigError

Draw = Callable[[Random, Sequence[str]], str]


def _one(words: str) -> Draw:
    return lambda rng, names: words.format(rng.choice(names))


def _way(words: str) -> Draw:
    return lambda rng, names: words.format(*rng.sample(names, 2)) if len(names) > 1 else words.format(names[0], "all")


def _halves(rng: Random, names: Sequence[str]) -> str:
    count = rng.randint(1, max(1, len(names) - 1))
    return f"partition {','.join(sorted(rng.sample(names, count)))}"


DRAWS: Final[dict[str, Draw]] = {
    "kill": _one("kill {}"),
    "stop": _one("stop {}"),
    "restart": _one("restart {}"),
    "leave": _one("leave {}"),
    "partition": _halves,
    "cut": _way("cut {}>{}"),
    "loss": lambda rng, names: f"loss {rng.randint(1, 30)}%",
    "delay": lambda rng, names: f"delay {rng.randint(10, 200)}ms",
    "duplicate": lambda rng, names: f"duplicate {rng.randint(1, 30)}%",
    "reorder": lambda rng, names: f"reorder {rng.randint(1, 30)}% {rng.randint(10, 200)}ms",
    "corrupt": lambda rng, names: f"corrupt {rng.randint(1, 20)}%",
    "bandwidth": lambda rng, names: f"bandwidth {rng.randint(8, 64)}KB/s",
    "slow": lambda rng, names: f"slow {rng.choice(names)} {rng.randint(100, 2000)}ms",
    "clock": lambda rng, names: f"clock {rng.choice(names)} +{rng.randint(1, 60)}s",
}


def check_faults(faults: Sequence[str]) -> None:
    """Raises ConfigError for a fault that cannot be drawn."""
    for fault in faults:
        if fault not in DRAWS:
            raise ConfigError(f"{fault!r} cannot be drawn; there are {', '.join(DRAWS)}")
    if not faults:
        raise ConfigError("nothing to draw from")


def draw(
    seed: int | str, faults: Sequence[str], names: Sequence[str], lasts: float, every: float
) -> list[tuple[float, Action]]:
    """What to do, and how many seconds after the beginning. Raises ConfigError."""
    check_faults(faults)
    if not names or every <= 0:
        raise ConfigError("there must be members to draw from, and time between two faults")
    rng = Random(f"monkey/{seed}")
    return [(number * every, parse(DRAWS[rng.choice(faults)](rng, names))) for number in range(int(lasts / every))]
