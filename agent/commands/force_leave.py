"""`moot force-leave`."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from moot.agent import text
from moot.agent.console import address_option, connected, json_option, members_of, print_json, wait_until
from moot.agent.names import complete_member, full_name
from moot.http.client import ApiClient, ApiError

GONE = "gone"
REFUTES_WITHIN = 3.0
"""Seconds that a live member gets to refute before the status after is read."""

Result = Mapping[str, Any]
"""`name`, `before`, `after`, `done`, `note`, `agreement`, as the API has it."""


@click.command("force-leave")
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete_member)
@address_option
@click.option("--prune", is_flag=True, help="Forget the members altogether.")
@click.option("--wait", is_flag=True, help="Ask all others what they hold, until they agree or --timeout is over.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1, max=120.0),
    default=15.0,
    show_default=True,
    help="Seconds for --wait.",
)
@json_option
def command(names: Sequence[str], address: str, prune: bool, wait: bool, timeout: float, as_json: bool) -> None:
    """Turn failed members into ones that left, on every agent of the pool.

    Says each member's status before and after, in the view of the agent that was asked, and why nothing came of it
    if so; with --wait also how many others agree. A member that is alive refutes and stays. With --json there is an
    object per member. Exit code 1 when one is unknown, or is not left (with --prune: gone) afterwards.
    """
    with connected(address) as client:
        observer, known = _find(client, names)
        results = _let_go(client, known, prune, timeout if wait else 0.0)
    for result in results:
        if as_json:
            print_json({**result, "observer": observer, "pruned": prune and result["done"]})
        else:
            click.echo(_line(result, observer))
    undone = [result for result in results if not result["done"]]
    if undone:
        raise click.ClickException("; ".join(_reason(result) for result in undone))


def _find(client: ApiClient, names: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Who is asked, and the full gossip names with their statuses.

    A name without its region is taken when only one member has it.
    """
    observer, members = members_of(client)
    statuses = {member["Name"]: member["Status"] for member in members}
    found = {full: statuses[full] for full in (full_name(observer["name"], statuses, name) for name in names)}
    own = client.self_()["member"]["Name"]
    if own in found:
        raise click.ClickException(f"{text.printable(own)} is the agent you asked; use `moot leave` to let it go")
    return observer["name"], found


def _let_go(client: ApiClient, known: Mapping[str, str], prune: bool, wait: float) -> list[Result]:
    try:
        results: list[Result] = client.force_leave_each(list(known), prune=prune, wait=wait)["results"]
    except ApiError as error:
        if error.status != 404:
            raise
        return [_by_nomad(client, name, before, prune, wait) for name, before in known.items()]
    return results


def _by_nomad(client: ApiClient, name: str, before: str, prune: bool, wait: float) -> Result:
    """The same with an agent that is not of moot: it says nothing, so its list of members is watched."""
    client.force_leave(name, prune=prune)
    wanted = {GONE} if prune else {"left", GONE}
    after = before

    def settled() -> bool:
        nonlocal after
        _, members = members_of(client)
        after = next((member["Status"] for member in members if member["Name"] == name), GONE)
        return after in wanted

    patience = max(wait, REFUTES_WITHIN) if before in ("alive", "leaving") else wait
    done = wait_until(settled, patience)
    refutes = "it is alive and refutes; stop that agent first, or have it leave itself"
    note = "" if done else refutes if after == "alive" else f"it is still {after}; look again in a moment"
    return {"name": name, "before": before, "after": after, "done": done, "note": note, "agreement": None}


def _line(result: Result, observer: str) -> str:
    name = text.printable(result["name"])
    said = f"{name}: {result['before']} -> {result['after']}, as {text.printable(observer)} sees it"
    agreement = result["agreement"]
    if agreement is not None:
        said += f"; {agreement['agreeing']} of {text.count(agreement['answered'], 'member')} that answered agree"
        silent = agreement["asked"] - agreement["answered"]
        said += f", {silent} did not answer" if silent else ""
    elif result["done"] and result["note"]:
        said += f"; {result['note']}"
    return said


def _reason(result: Result) -> str:
    """`NAME is alive and refutes; …`."""
    return text.printable(f"{result['name']} {result['note'].removeprefix('it ')}")
