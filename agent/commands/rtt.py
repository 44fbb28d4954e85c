"""`moot rtt`."""

import click

from moot.agent import text
from moot.agent.console import address_option, connected, json_option, members_of, print_json
from moot.agent.names import complete_member, full_name


@click.command("rtt")
@click.argument("start", metavar="A", shell_complete=complete_member)
@click.argument("end", metavar="[B]", default="", shell_complete=complete_member)
@address_option
@json_option
def command(start: str, end: str, address: str, as_json: bool) -> None:
    """Estimate the round trip time between members A and B from their network coordinates.

    B is the agent that is asked unless given. Nothing is sent: coordinates come with the probes that members do all
    the time, and an estimate settles after some tens of them.
    """
    with connected(address) as client:
        observer, members = members_of(client)
        known = {member["Name"]: member for member in members}
        names = [full_name(observer["name"], known, given) for given in (start, end) if given]
        found = client.round_trip(*names)
    if as_json:
        print_json(found)
    else:
        between = text.printable(f"{found['from']} <-> {found['to']}")
        click.echo(f"{between}: {1000 * found['seconds']:.3f} ms estimated")
