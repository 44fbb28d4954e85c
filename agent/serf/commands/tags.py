"""`moot serf tags`."""

from moot.agent.serf import flags
from moot.agent.serf.calling import FLAG_HELP, connected, rpc_flags, saying
from moot.agent.serf.flags import Flag, Given
from moot.agent.serf.line import Command, Failed, Usage
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
        try:
            tags = flags.tag_pairs(given.texts("set"))
        except ValueError as error:
            raise Failed(f"Error: {error}") from None
        client.tags(tags, given.texts("delete"))
    ui.out("Successfully updated agent tags")
    return 0


command = Command(HELP, _flags, _run)
