"""`moot nodes`."""

import json
from typing import Any

import click

from moot.agent.console import address_option, connected, json_option, natural, print_json, print_table
from moot.agent.text import count

ID_CHARS = 8
"""Of an id in the table; the whole one comes with --verbose."""


@click.command("nodes")
@click.option(
    "--region", default="", metavar="NAME", help="Those of a server of this region.  [default: the agent's]"
)
@click.option("--verbose", is_flag=True, help="Show whole ids, versions and classes.")
@address_option
@json_option
def command(region: str, verbose: bool, address: str, as_json: bool) -> None:
    """Show the client nodes that are registered with a server.

    Each server knows the nodes that registered with it. A client agent shows those of its server.
    """
    with connected(address) as client:
        query = [("region", region)] if region else []
        nodes: list[dict[str, Any]] = json.loads(client.request("GET", "/v1/nodes", query))
    nodes.sort(key=lambda node: natural(node["Name"]))
    if as_json:
        print_json(nodes)
        return
    ready = sum(node["Status"] == "ready" for node in nodes)
    click.echo(f"{count(len(nodes), 'client node')} registered, {ready} ready")
    head = ["ID", "Name", "Address", "Datacenter", "Status", "Last heartbeat", "TTL"]
    if verbose:
        head += ["Class", "Version"]
    print_table(head, (_row(node, verbose) for node in nodes))


def _row(node: dict[str, Any], verbose: bool) -> list[str]:
    row = [
        node["ID"] if verbose else node["ID"][:ID_CHARS],
        node["Name"],
        node["Address"],
        node["Datacenter"],
        node["Status"],
        f"{node['HeartbeatAge']:.1f} s ago",
        f"{node['HeartbeatTTL']:.1f} s",
    ]
    return [*row, node["NodeClass"] or "-", node["Version"] or "-"] if verbose else row
