"""`moot join`."""

from collections.abc import Sequence

import click

from moot.agent import text
from moot.agent.console import address_option, connected, json_option, print_json
from moot.agent.join_hints import hints


@click.command("join")
@click.argument("targets", metavar="ADDR...", nargs=-1, required=True)
@address_option
@json_option
def command(targets: Sequence[str], address: str, as_json: bool) -> None:
    """Tell an agent to join the pool at ADDR, `[NAME/]HOST[:PORT]`; several are tried at once.

    Without PORT it is the agent's own gossip port. Exit code 1 when nobody could be joined.
    """
    with connected(address) as client:
        joined, error = client.join(targets)
    if as_json:
        print_json({"num_joined": joined, "error": error})
    elif joined:
        click.echo(f"joined {joined} of {text.count(len(targets), 'address', 'addresses')}")
    if not joined:
        reasons = [line.strip().removeprefix("* ") for line in error.splitlines()[1:] if line.strip()]
        listed = "; ".join(text.printable(reason) for reason in reasons or [error.strip()])
        raise click.ClickException(f"nothing joined: {listed}{hints(reasons or [error])}")
