"""`moot version`."""

import json
import platform

import click

from moot import __version__


@click.command("version")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def command(as_json: bool) -> None:
    """Show the version of moot, of the Python that runs it, and of the protocols it speaks."""
    facts = {
        "version": __version__,
        "python": platform.python_version(),
        "memberlist_protocol": "2 (understands 1 to 5)",
        "serf_protocol": "4 in nomad pools, 5 in serf pools (understands 2 to 5)",
    }
    if as_json:
        click.echo(json.dumps(facts))
        return
    click.echo(f"moot {facts['version']} (Python {facts['python']})")
    click.echo(f"memberlist protocol {facts['memberlist_protocol']}")
    click.echo(f"Serf protocol {facts['serf_protocol']}")
