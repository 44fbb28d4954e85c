"""HttpCounters: what the server counts and `/v1/moot/agent` shows."""

from dataclasses import dataclass


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
