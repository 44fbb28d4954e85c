"""`moot event`."""

import click

from moot.agent import text
from moot.agent.console import address_option, connected, json_option, print_json
from moot.agent.inputs import payload_of


@click.command("event")
@click.argument("name")
@click.argument("payload", default="")
@click.option(
    "--coalesce", is_flag=True, help="Of several such events at once, only the newest needs to be delivered."
)
@address_option
@json_option
def command(name: str, payload: str, coalesce: bool, address: str, as_json: bool) -> None:
    """Send a user event to every member of the pool.

    PAYLOAD is any text, or - to read bytes from standard input. Name and payload have 512 bytes together, less a
    few that the message itself takes. Returns when the event is on its way: delivery is not confirmed, but very
    likely (see docs/events.md).
    """
    if not name:
        raise click.UsageError("an event needs a name")
    content = payload_of(payload)
    with connected(address) as client:
        client.event(name, content, coalesce=coalesce)
    if as_json:
        print_json({"name": name, "size": len(content), "coalesce": coalesce})
    else:
        click.echo(f"event {text.printable(name)} sent with {text.count(len(content), 'byte')}")
