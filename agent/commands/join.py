"""`moot join`."""

from collections.abc import Sequence
from typing import Any

import click

from moot.agent import text
from moot.agent.console import address_option, connected, json_option, print_json
from moot.agent.join_hints import hints
from moot.http.client import ApiClient, ApiError


@click.command("join")
@click.argument("targets", metavar="ADDR...", nargs=-1, required=True)
@address_option
@json_option
def command(targets: Sequence[str], address: str, as_json: bool) -> None:
    """Tell an agent to join the pool at ADDR, `[NAME/]HOST[:PORT]`; several are tried at once.

    Without PORT it is the agent's own gossip port. Says what became of each address. Exit code 1 when nobody could be
    joined.
    """
    with connected(address) as client:
        joined, reasons, results = _join(client, targets)
    if as_json:
        print_json({"num_joined": joined, "error": "" if joined else "; ".join(reasons), "results": results})
    elif len(targets) > 1 or joined:
        for result in results:
            click.echo(_line(result))
        click.echo(f"joined {joined} of {text.count(len(targets), 'address', 'addresses')}")
    if not joined:
        listed = "; ".join(map(text.printable, reasons))
        raise click.ClickException(f"nothing joined: {listed}{hints(reasons)}")


def _join(client: ApiClient, targets: Sequence[str]) -> tuple[int, list[str], list[dict[str, Any]]]:
    """How many were joined, why the others were not, and a result for each.

    Nomad's agents have no such results, and ours only for tokens with the right; joining itself is open.
    """
    try:
        answer = client.join_each(targets)
    except ApiError as error:
        if error.status not in (403, 404):
            raise
        joined, words = client.join(targets)
        lines = [line.strip().removeprefix("* ") for line in words.splitlines()[1:] if line.strip()]
        return joined, lines or ([words.strip()] if words else []), []
    results = answer["results"]
    return int(answer["joined"]), [_reason(result) for result in results if result["error"]], results


def _reason(result: dict[str, Any]) -> str:
    """A failure as Nomad words it."""
    if result["ip"]:
        return f"Failed to join {result['ip']}: {result['error']}"
    return f"Failed to resolve {result['address']}: {result['error']}"


def _line(result: dict[str, Any]) -> str:
    """`web-1:4648 (10.0.0.5): joined`."""
    dialled = f" ({result['ip']})" if result["ip"] and result["ip"] not in result["address"] else ""
    outcome = f"{result['status']}: {result['error']}" if result["error"] else result["status"]
    advice = f". Hint: {result['hint']}" if result["hint"] else ""
    return text.printable(f"{result['address']}{dialled}: {outcome}{advice}")
