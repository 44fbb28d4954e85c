"""`moot serf force-leave`."""

from moot.agent.serf import flags
from moot.agent.serf.calling import FLAG_HELP, connected, rpc_flags, saying
from moot.agent.serf.flags import Flag, Given
from moot.agent.serf.line import Command, Usage
from moot.agent.serf.ui import Ui

HELP = f"""
Usage: moot serf force-leave [FLAGS] NAME

  Turns a failed member into one that left, so that nobody tries to reach it any longer. Prints nothing, also
  when there is no such member. Who is alive after all comes back.

Flags:

  -prune               Forget the member altogether
{FLAG_HELP}
"""


def _flags() -> dict[str, Flag]:
    return {"prune": flags.switch(), **rpc_flags()}


def _run(given: Given, ui: Ui) -> int:
    if len(given.rest) != 1:
        raise Usage("A node name must be specified to force leave.")
    with connected(given) as client, saying("Error force leaving"):
        client.force_leave(given.rest[0], prune=given.switch("prune"))
    return 0


command = Command(HELP, _flags, _run)
