"""Scenario: a pool, what is done to it and when, and what must hold. Data; TOML or Python objects, the same.

```toml
name = "partition"
story = "Two halves lose each other, and find each other again."
source = ["hashicorp/memberlist#222"]

[cluster]
size = 5

[[step]]
at = "2s"                      # since the pool agreed; or `after` the step before
do = "partition 1,2 3-5"       # words of an action, or a list of these
for = "20s"                    # it is undone after that

[[step]]
until = "agreed"               # or "3 failed", "3 gone", "groups 2"
within = "60s"

[[expect]]
check = "convergence"
within = "60s"
```

`scenario_file` reads and writes it. Both the simulator and the lab of real processes run these.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal, TypeAlias

from moot.gossip.actions import Action
from moot.gossip.config import PROFILES, SerfConfig, SwimConfig
from moot.gossip.errors import ConfigError
from moot.gossip.selectors import check, select
from moot.gossip.sim.checkers import CHECKERS, Bound

SIZE_MAX = 10_000
STEPS_MAX = 1000
Setting: TypeAlias = float | int | bool | str
Driver: TypeAlias = Literal["simulator", "processes"]
GOALS: Final = ("agreed", "groups", "alive", "failed", "left", "gone")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSpec:
    """What pool to make. `profile` is `lan`, `wan` or `local`; `pool` is `serf` or `nomad`.

    `keys` encrypt all gossip: words that stand for keys, the primary one first. `serf` of the members, the last
    ones, are real serf agents where processes run it and serf is installed. `islands` are selectors of members
    that make a pool of their own at first, `labels` their packets' labels; without them all are one pool.
    `snapshots`: who restarts has its snapshot. `settings` are fields of SwimConfig and SerfConfig.
    """

    size: int = 5
    profile: str = "local"
    pool: str = "serf"
    keys: tuple[str, ...] = ()
    serf: int = 0
    islands: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    snapshots: bool = False
    settings: Mapping[str, Setting] | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.size <= SIZE_MAX:
            raise ConfigError(f"size must be from 1 to {SIZE_MAX}, got {self.size}")
        if self.profile not in PROFILES:
            raise ConfigError(f"profile must be one of {', '.join(PROFILES)}, got {self.profile}")
        if self.pool not in ("serf", "nomad"):
            raise ConfigError(f"pool must be serf or nomad, got {self.pool}")
        if not 0 <= self.serf <= self.size:
            raise ConfigError(f"serf must be from 0 to {self.size}, got {self.serf}")
        if self.labels and len(self.labels) != len(self.islands):
            raise ConfigError("labels must be as many as islands")
        names = self.names
        for island in self.islands:
            select(island, names)

    @property
    def names(self) -> list[str]:
        """What members are called in the simulator, and in a cluster of the name `moot`."""
        return [f"moot-{number}" for number in range(1, self.size + 1)]

    def configs(self) -> tuple[SwimConfig, SerfConfig]:
        """The settings of the profile with those of `settings`. Raises ConfigError."""
        settings = self.settings or {}
        of_swim = {field.name for field in fields(SwimConfig)}
        swim: dict[str, Any] = {key: value for key, value in settings.items() if key in of_swim}
        serf: dict[str, Any] = {key: value for key, value in settings.items() if key not in of_swim}
        return replace(PROFILES[self.profile], **swim), SerfConfig(**serf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Do these at the instant `at` since the beginning, or `after` the step before; seconds.

    With `lasts` what can be undone is undone so much later, while further steps go on.
    """

    do: tuple[Action, ...]
    at: float | None = None
    after: float = 0.0
    lasts: float | None = None


@dataclass(frozen=True, slots=True)
class Goal:
    """What a step waits for: one of GOALS, and of whom, or how many."""

    what: str
    members: str = ""
    number: int = 0

    def __str__(self) -> str:
        if self.what == "agreed":
            return self.what
        return f"groups {self.number}" if self.what == "groups" else f"{self.members} {self.what}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Go on when a goal is reached, or `within` seconds are over, which is a violation of `reached`.

    `agreed`: every running agent sees all that run alive, and nobody else. `NAME alive|failed|left`: every running
    agent sees it so; `gone`: lists it no more. `groups 2`: their views are of so many kinds.
    """

    until: Goal
    within: float = 60.0
    at: float | None = None
    after: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chance:
    """Do something by chance `every` so many seconds for `lasts` of them: one of `faults`, to one of `members`.

    The same `seed` draws the same; None takes that of the run. Each is undone `every` seconds later, and at the
    end everything is.
    """

    faults: tuple[str, ...]
    lasts: float
    every: float = 5.0
    members: str = "all"
    seed: int | None = None
    at: float | None = None
    after: float = 0.0


AnyStep: TypeAlias = Step | Wait | Chance


@dataclass(frozen=True, slots=True, kw_only=True)
class Expect:
    """What must hold: a checker by name, and its bounds. `on` limits it to one driver, empty is both.

    `verdict` is what comes out: `holds`, or `violated` for what the protocol itself does not give and we do not
    mend. `serf` is what does when real serf agents are the pool: the like, or nothing when it is not said.
    """

    check: str
    bounds: Mapping[str, Bound]
    on: str = ""
    verdict: str = "holds"
    serf: str = ""

    def __post_init__(self) -> None:
        if self.check not in CHECKERS:
            raise ConfigError(f"there is no checker {self.check}; there are {', '.join(CHECKERS)}")
        if self.on not in ("", "simulator", "processes"):
            raise ConfigError(f"on must be simulator or processes, got {self.on}")
        if self.verdict not in ("holds", "violated"):
            raise ConfigError(f"verdict must be holds or violated, got {self.verdict}")
        if self.serf not in ("", "holds", "violated"):
            raise ConfigError(f"serf must be holds or violated, got {self.serf}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """The whole of it. The run goes on for `settle` seconds after the last step."""

    name: str
    story: str = ""
    source: tuple[str, ...] = ()
    cluster: ClusterSpec = ClusterSpec()
    steps: tuple[AnyStep, ...] = ()
    expects: tuple[Expect, ...] = ()
    settle: float = 0.0

    def __post_init__(self) -> None:
        if not self.name or self.name.strip() != self.name or "\n" in self.name:
            raise ConfigError("name must be a line of text")
        if len(self.steps) > STEPS_MAX:
            raise ConfigError(f"there are more than {STEPS_MAX} steps")


def parse_goal(text: str) -> Goal:
    """The goal of some words. Raises ConfigError."""
    match text.split():
        case ["agreed"]:
            return Goal("agreed")
        case ["groups", number] if number.isdecimal() and 0 < int(number) <= SIZE_MAX:
            return Goal("groups", number=int(number))
        case [members, ("alive" | "failed" | "left" | "gone") as what]:
            return Goal(what, check(members))
    raise ConfigError(f"{text!r} is no goal; write agreed, NAME alive|failed|left|gone, or groups N")
