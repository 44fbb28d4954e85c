"""`moot tags`."""

from collections.abc import Mapping, Sequence

import click

from moot.agent import text
from moot.agent.console import address_option, connected, json_option, print_json
from moot.agent.inputs import pairs_of


@click.command("tags")
@click.option("--set", "changed", metavar="K=V", multiple=True, callback=pairs_of, help="Set a tag; repeatable.")
@click.option("--delete", "deleted", metavar="K", multiple=True, help="Delete a tag; repeatable.")
@address_option
@json_option
def command(changed: Mapping[str, str], deleted: Sequence[str], address: str, as_json: bool) -> None:
    """Show an agent's own tags, or change them while it runs.

    The pool hears of a change within moments. It lasts until the agent is started anew, with the tags of its
    settings. All tags together have 512 bytes. In a nomad pool the agent's own (role, region, …) stay as they are.
    """
    with connected(address) as client:
        found = client.change_tags(changed, deleted) if changed or deleted else client.tags()
    if as_json:
        print_json(found)
        return
    tags: dict[str, str] = found["tags"]
    for key in sorted(tags):
        click.echo(text.printable(f"{key}={tags[key]}"))
    if not tags:
        click.echo(f"{text.printable(found['name'])} has no tags")
