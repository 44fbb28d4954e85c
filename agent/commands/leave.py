"""`moot leave`."""

import click

from moot.agent import text
from moot.agent.console import address_option, connected, json_option, print_json


@click.command("leave")
@address_option
@json_option
def command(address: str, as_json: bool) -> None:
    """Let an agent leave its pool gracefully and end; the others then list it as left.

    Returns when the pool has heard it. A client is listed as down by its server.
    """
    with connected(address) as client:
        name = client.self_()["member"]["Name"]
        is_member = bool(name)
        name = name or client.agent()["name"]
        client.leave()
    if as_json:
        print_json({"name": name, "status": "left" if is_member else "down"})
    elif is_member:
        click.echo(f"{text.printable(name)} left the pool and ends")
    else:
        click.echo(f"the client node {text.printable(name)} is down and ends")
