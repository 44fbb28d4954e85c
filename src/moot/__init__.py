"""moot: a gossip-pool agent that speaks memberlist and Serf, serves Nomad's agent API, and brings a lab."""

__version__ = "0.1.0"
