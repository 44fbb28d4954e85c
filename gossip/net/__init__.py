"""The engine on trio with real sockets. Thin: whatever decides anything belongs into a core."""

from moot.gossip.net.feed import EventFeed, EventsLost
from moot.gossip.net.node import Node, NodeSettings
from moot.gossip.net.targets import JoinOutcome

__all__ = ["EventFeed", "EventsLost", "JoinOutcome", "Node", "NodeSettings"]
