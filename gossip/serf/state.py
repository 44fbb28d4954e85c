"""State: what all parts of one Serf share."""

from dataclasses import dataclass
from random import Random

from moot.gossip.config import SerfConfig, SwimConfig
from moot.gossip.counters import Counters
from moot.gossip.serf.alarms import Alarms
from moot.gossip.serf.codec import Codec
from moot.gossip.swim.core import Swim
from moot.gossip.swim.effects import Effects
from moot.gossip.swim.table import Roster


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Who we are, the Swim below, and the ways out. It decides nothing."""

    name: str
    config: SerfConfig
    swim_config: SwimConfig
    swim: Swim
    effects: Effects
    alarms: Alarms
    codec: Codec
    rng: Random
    counters: Counters
    listed: Roster | None = None
    """The rows of its table, if it shares them with others."""
