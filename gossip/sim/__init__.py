"""The engine in virtual time: discrete events, one seed, no clock and no socket.

`cluster` is the way in; `calendar` is the clock, `network` what lies between members, `host` drives one core.
"""

from moot.gossip.sim.calendar import Calendar
from moot.gossip.sim.cluster import SimCluster
from moot.gossip.sim.network import Latency

__all__ = ["Calendar", "Latency", "SimCluster"]
