"""HttpCounters: what the server counts and `/v1/moot/agent` shows."""

from dataclasses import dataclass


@dataclass(slots=True)
class HttpCounters:
    """Counts since start."""

    connections: int = 0
    connections_refused: int = 0
    requests: int = 0
    bad_requests: int = 0
    timeouts: int = 0
    faults: int = 0
    """Requests that ended in a bug of ours, answered with 500."""
