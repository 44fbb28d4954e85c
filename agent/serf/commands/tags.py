"""`moot serf tags`."""

from moot.agent.serf import flags
from moot.agent.serf.calling import FLAG_HELP, connected, given_tags, rpc_flags, saying
from moot.agent.serf.flags import Flag, Given
from moot.agent.serf.line import Command, Usage
from moot.agent.serf.ui import Ui

HELP = f"""
Usage: moot serf tags [FLAGS]

  Changes the tags of the agent itself; the pool is told at once.

Flags:

  -set KEY=VALUE       Give a tag this value; repeatable
  -delete KEY          Drop a tag, if it is there; repeatable
{FLAG_HELP}
"""


def _flags() -> dict[str, Flag]:
    return {"set": flags.texts(), "delete": flags.texts(), **rpc_flags()}


def _run(given: Given, ui: Ui) -> int:
    if not given.texts("set") and not given.texts("delete"):
        raise Usage
    with connected(given) as client, saying("Error setting tags"):
        client.tags(given_tags(given, "set"), given.texts("delete"))
    ui.out("Successfully updated agent tags")
    return 0


command = Command(HELP, _flags, _run)
