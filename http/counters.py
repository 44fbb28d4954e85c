"""What the servers count: HttpCounters, which `/v1/moot/agent` shows, and RpcCounters."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class HttpCounters:
    """Counts since start."""

    connections: int = 0
    connections_refused: int = 0
    """Turned away because there were too many."""
    connections_shed: int = 0
    """Ended to make room for others, while they waited for their client."""
    handshakes_failed: int = 0
    """TLS handshakes that came to no agreement."""
    requests: int = 0
    bad_requests: int = 0
    timeouts: int = 0
    faults: int = 0
    """Requests that ended in a bug of ours, answered with 500."""


@dataclass(slots=True)
class RpcCounters:
    """Counts since start of one server of calls. Methods that it does not know count as `other`."""

    connections: int = 0
    connections_refused: int = 0
    """Turned away or hung up on: too many, or what came was no call."""
    requests: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    """Those of `requests` that were answered with an error."""
