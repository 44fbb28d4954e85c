"""Clusters of real agents for other people's tests; docs/testing.md has examples. Needs the extra `testing`."""

from moot.agent.cluster_start import ClusterError
from moot.agent.testing import BlockingCluster, LocalCluster, NotReached, Views
from moot.gossip.errors import ConfigError, GossipError
from moot.gossip.sim.history import EventDelivered, KeyState, Record, Refuted, Seen
from moot.http.client import ApiClient, ApiError

__all__ = [
    "ApiClient",
    "ApiError",
    "BlockingCluster",
    "ClusterError",
    "ConfigError",
    "EventDelivered",
    "GossipError",
    "KeyState",
    "LocalCluster",
    "NotReached",
    "Record",
    "Refuted",
    "Seen",
    "Views",
]
