"""`moot serf join`."""

from moot.agent.serf import flags
from moot.agent.serf.calling import FLAG_HELP, connected, rpc_flags, saying
from moot.agent.serf.flags import Flag, Given
from moot.agent.serf.line import Command, Usage
from moot.agent.serf.ui import Ui

HELP = f"""
Usage: moot serf join [FLAGS] ADDRESS...

  Lets a running agent join a pool through members at these addresses; one that answers is enough.

Flags:

  -replay              Take the user events that happened before, too
{FLAG_HELP}
"""


def _flags() -> dict[str, Flag]:
    return {"replay": flags.switch(), **rpc_flags()}


def _run(given: Given, ui: Ui) -> int:
    if not given.rest:
        raise Usage("At least one address to join must be specified.")
    with connected(given) as client, saying("Error joining the cluster"):
        count = client.join(given.rest, replay=given.switch("replay"))
    ui.out(f"Successfully joined cluster by contacting {count} nodes.")
    return 0


command = Command(HELP, _flags, _run)
