"""The limits that docs/ipc.md names are those in the code."""

import re
from pathlib import Path

from moot.agent import delivery
from moot.agent.rpc import backend, log_ring, scanner, streams
from moot.agent.rpc.contract import Limits

PAGE = Path(__file__).parents[3] / "docs" / "ipc.md"


def test_the_table_of_limits_is_true() -> None:
    table = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \| [^|]+ \|$", PAGE.read_text(), re.MULTILINE))
    limits = Limits()
    assert delivery.BUFFER == log_ring.LINES_MAX
    assert {what: limit for what, limit in table.items() if what not in ("what", "---")} == {
        "connections": f"{limits.connections_max}",
        "from the connection to the handshake": f"{limits.handshake_timeout:g} s",
        "from the first byte of a request to the last": f"{limits.request_timeout:g} s each for header and body",
        "one object of a request": f"{scanner.OBJECT_MAX // 1024} KiB, {scanner.VALUES_MAX:,} values,"
        f" {scanner.DEPTH_MAX} levels",
        "streams and queries that are open on a connection": f"{limits.streams_max}",
        "queries that are open on all connections": f"{backend.QUERIES_MAX}",
        "events, and log lines, that a client lags behind": f"{delivery.BUFFER} each per stream",
        "queries that a connection may still answer": f"{streams.PENDING_MAX}",
        "a client that does not read at all": f"{limits.send_timeout / 60:g} min",
    }
