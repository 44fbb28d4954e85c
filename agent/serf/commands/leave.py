"""`moot serf leave`."""

from moot.agent.serf.calling import FLAG_HELP, connected, rpc_flags, saying
from moot.agent.serf.flags import Given
from moot.agent.serf.line import Command
from moot.agent.serf.ui import Ui

HELP = f"""
Usage: moot serf leave [FLAGS]

  Lets an agent leave its pool in good order and end.

Flags:

{FLAG_HELP}
"""


def _run(given: Given, ui: Ui) -> int:
    with connected(given) as client, saying("Error leaving"):
        client.leave()
    ui.out("Graceful leave complete")
    return 0


command = Command(HELP, rpc_flags, _run)
