"""`moot serf event`."""

from moot.agent.serf import flags
from moot.agent.serf.calling import FLAG_HELP, connected, rpc_flags, saying
from moot.agent.serf.flags import Flag, Given
from moot.agent.serf.line import Command, Usage
from moot.agent.serf.ui import Ui

HELP = f"""
Usage: moot serf event [FLAGS] NAME [PAYLOAD]

  Sends a user event to everybody in the pool.

Flags:

  -coalesce=BOOL       Whether, of several with this name in a short time, only the last is delivered [true]
{FLAG_HELP}
"""


def name_and_payload(given: Given, kind: str) -> tuple[str, bytes]:
    """The one or two words of `event` and `query`. Raises Usage."""
    if not given.rest:
        raise Usage(f"{kind} name must be specified.")
    if len(given.rest) > 2:
        raise Usage("Too many command line arguments. Only a name and payload must be specified.")
    payload = given.rest[1] if len(given.rest) == 2 else ""
    return given.rest[0], payload.encode("utf-8", "surrogateescape")


def _flags() -> dict[str, Flag]:
    return {"coalesce": flags.switch(True), **rpc_flags()}


def _run(given: Given, ui: Ui) -> int:
    name, payload = name_and_payload(given, "An event")
    coalesce = given.switch("coalesce")
    with connected(given) as client, saying("Error sending event"):
        client.event(name, payload, coalesce=coalesce)
    ui.out(f"Event '{name}' dispatched! Coalescing enabled: {str(coalesce).lower()}")
    return 0


command = Command(HELP, _flags, _run)
