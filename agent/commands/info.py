"""`moot info`."""

from collections.abc import Mapping

import click

from moot.agent import text
from moot.agent.console import address_option, connected, json_option, print_json


@click.command("info")
@address_option
@json_option
def command(address: str, as_json: bool) -> None:
    """Show an agent's own figures: who it is, its pool, its counters, its process."""
    with connected(address) as client:
        stats = client.self_()["stats"]
        agent = client.agent()
    if as_json:
        print_json({"agent": agent, "stats": stats})
        return
    blocks: dict[str, Mapping[str, object]] = {
        "agent": {key: value for key, value in agent.items() if not isinstance(value, Mapping)}
    }
    blocks |= {key: value for key, value in agent.items() if isinstance(value, Mapping)}
    for title, block in [*blocks.items(), *sorted(stats.items())]:
        click.echo(title)
        for key, value in sorted(block.items()):
            click.echo(f"  {key} = {text.printable(_shown(value))}")


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.3f}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
