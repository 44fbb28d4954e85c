"""`moot serf rtt`."""

from moot.agent.rpc.client import RpcClient
from moot.agent.serf.calling import FLAG_HELP, connected, rpc_flags, saying
from moot.agent.serf.flags import Given
from moot.agent.serf.gotext import quote
from moot.agent.serf.line import Command, Failed, Usage
from moot.agent.serf.ui import Ui
from moot.gossip.serf.coordinate import DIMENSIONS, distance
from moot.gossip.serf.messages import Coordinate

HELP = f"""
Usage: moot serf rtt [FLAGS] NAME [NAME]

  Estimates the round-trip time between two members from their network coordinates, without sending anything.
  Without a second name it is the one to the agent.

Flags:

{FLAG_HELP}
"""


def _run(given: Given, ui: Ui) -> int:
    if not 1 <= len(given.rest) <= 2:
        raise Usage("One or two node names must be specified")
    with connected(given) as client:
        names = given.rest
        if len(names) == 1:
            with saying("Error querying agent"):
                names = [*names, client.stats()["agent"]["name"]]
        with saying("Error getting coordinates"):
            one, other = (_coordinate(client, name) for name in names)
    milliseconds = distance(one, other) * 1000
    ui.out(f"Estimated {names[0]} <-> {names[1]} rtt: {milliseconds:.3f} ms")
    return 0


def _coordinate(client: RpcClient, name: str) -> Coordinate:
    found = client.get_coordinate(name)
    if found is None:
        raise Failed(f"Could not find a coordinate for node {quote(name)}")
    if len(found.vec) != DIMENSIONS:
        raise Failed(f"The coordinate of {quote(name)} has {len(found.vec)} dimensions, not {DIMENSIONS}")
    return Coordinate(tuple(found.vec), found.error, found.adjustment, found.height)


command = Command(HELP, rpc_flags, _run)
