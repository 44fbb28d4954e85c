"""The library: ready scenarios, each from real trouble with its story and source. Files beside this module."""

from importlib.resources import files

from moot.gossip.errors import ConfigError
from moot.gossip.sim.scenario import Scenario
from moot.gossip.sim.scenario_file import load

SUFFIX = ".toml"


def names() -> list[str]:
    """What there is, in alphabetical order."""
    found = (entry.name for entry in (files("moot.gossip.sim") / "scenarios").iterdir())
    return sorted(name.removesuffix(SUFFIX) for name in found if name.endswith(SUFFIX))


def text(name: str) -> str:
    """The file of a scenario. Raises ConfigError when there is none of that name."""
    if name not in names():
        raise ConfigError(f"there is no scenario {name}; there are {', '.join(names())}")
    return (files("moot.gossip.sim") / "scenarios" / f"{name}{SUFFIX}").read_text()


def scenario(name: str) -> Scenario:
    """A scenario of the library. Raises ConfigError when there is none of that name."""
    return load(text(name), name + SUFFIX)
