"""`moot serf reachability`."""

import time

from moot.agent.rpc import protocol
from moot.agent.serf import flags
from moot.agent.serf.calling import FLAG_HELP, connected, rpc_flags, saying
from moot.agent.serf.flags import Flag, Given
from moot.agent.serf.line import Command
from moot.agent.serf.ui import Ui

HELP = f"""
Usage: moot serf reachability [FLAGS]

  Asks every member for a sign of life and tells who gave none.

Flags:

  -verbose             Show each sign, and the times
{FLAG_HELP}
"""

ADVICE = """
What to look at:
* Can every member reach the others' address and port, over UDP and over TCP, through all firewalls?
* Does the address that a member announces (-advertise) lead to where it listens (-bind)?
* Is anybody behind NAT?
"""


def _flags() -> dict[str, Flag]:
    return {"verbose": flags.switch(), **rpc_flags()}


def _run(given: Given, ui: Ui) -> int:
    verbose = given.switch("verbose")
    with connected(given) as client:
        with saying("Error getting members"):
            members = client.members()
        alive = {member.name for member in members if member.status == "alive"}
        ui.out(f"Total members: {len(members)}, live members: {len(alive)}")
        ui.out("Starting reachability test...")
        begun = last = time.monotonic()
        heard: set[str] = set()
        with saying("Error sending query"):
            for answer in client.query("_serf_ping", ack=True):
                if answer.type == protocol.ACK:
                    last = time.monotonic()
                    heard.add(answer.sender)
                    if verbose:
                        ui.out(f"\tAck from '{answer.sender}'")
    if verbose:
        whole = time.monotonic() - begun
        ui.out(f"Query time: {whole:.2f} sec, time to last response: {last - begun:.2f} sec")
    return _verdict(alive, heard, ui)


def _verdict(alive: set[str], heard: set[str], ui: Ui) -> int:
    for names, title in (
        (alive - heard, "Received less acks than live nodes! Missing acks from:"),
        (heard - alive, "Received more acks than live nodes! Acks from non-live nodes:"),
    ):
        if names:
            ui.out("\n".join([title, *(f"\t{name}" for name in sorted(names))]))
            ui.out(ADVICE)
            return 1
    ui.out("Successfully contacted all live nodes")
    return 0


command = Command(HELP, _flags, _run)
