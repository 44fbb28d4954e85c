"""`moot serf monitor`."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from moot.agent.rpc import protocol
from moot.agent.rpc.client import RpcClosed
from moot.agent.rpc.layout import Layout
from moot.agent.rpc.protocol import LogRecord, MemberRecord, QueryRecord, Record, UserRecord
from moot.agent.serf import flags
from moot.agent.serf.calling import FLAG_HELP, connected, rpc_flags, saying
from moot.agent.serf.flags import Flag, Given
from moot.agent.serf.gotext import go_value
from moot.agent.serf.line import Command
from moot.agent.serf.ui import Ui

HELP = f"""
Usage: moot serf monitor [FLAGS]

  Shows the last lines of an agent's log, then new ones and every event as they come, until Ctrl-C.

Flags:

  -log-level=LEVEL     From which level on: trace, debug, info, warn, err; the agent's own may differ [info]
{FLAG_HELP}
"""

LAYOUTS: Final[Mapping[type, Layout[Any]]] = {
    MemberRecord: protocol.MEMBER_RECORD,
    UserRecord: protocol.USER_RECORD,
    QueryRecord: protocol.QUERY_RECORD,
}


def _flags() -> dict[str, Flag]:
    return {"log-level": flags.text("INFO"), **rpc_flags()}


def _run(given: Given, ui: Ui) -> int:
    try:
        with connected(given) as client:
            with saying("Error starting stream"):
                events = client.start_stream("*")
            with saying("Error starting monitor"):
                lines = client.start_monitor(given.text("log-level"))
            _follow(client.records(events, lines), ui)
            return 1
    except KeyboardInterrupt:
        return 0


def _follow(records: Iterator[tuple[int, Record]], ui: Ui) -> None:
    """To the end of the connection."""
    try:
        for _, record in records:
            ui.out(record.line if isinstance(record, LogRecord) else _shown(record))
    except RpcClosed:
        ui.out("\nThe agent ended the monitor: it has stopped, or the connection broke.")


def _shown(record: Record) -> str:
    """An event as Serf prints it: a line per field, in the notation of Go."""
    tree = LAYOUTS[type(record)].tree(record)
    return "\n".join(["Event Info:", *(f"\t{key}: {go_value(value)}" for key, value in tree.items())])


command = Command(HELP, _flags, _run)
