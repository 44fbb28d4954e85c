"""`moot force-leave`."""

from dataclasses import dataclass

import click

from moot.agent import text
from moot.agent.console import address_option, connected, json_option, members_of, print_json, wait_until
from moot.agent.names import complete_member, full_name
from moot.http.client import ApiClient

GONE = "gone"
REFUTES_WITHIN = 3.0
"""Seconds that a live member gets to refute before the status after is read."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a force-leave did, as the asked agent sees it. `after` is `gone` for a pruned member."""

    name: str
    before: str
    after: str
    done: bool
    note: str


@click.command("force-leave")
@click.argument("name", shell_complete=complete_member)
@address_option
@click.option("--prune", is_flag=True, help="Forget the member altogether.")
@click.option("--wait", is_flag=True, help="Return when it is done, or fail after --timeout.")
@click.option(
    "--timeout", type=click.FloatRange(min=0.1), default=15.0, show_default=True, help="Seconds for --wait."
)
@json_option
def command(name: str, address: str, prune: bool, wait: bool, timeout: float, as_json: bool) -> None:
    """Turn a failed member into one that left, on every agent of the pool.

    Says the member's status before and after, in the view of the agent that was asked. A member that is alive
    refutes and stays. Exit code 1 when the member is unknown, or is not left (with --prune: gone) afterwards.
    """
    with connected(address) as client:
        observer, _ = members_of(client)
        full, before = _find(client, name)
        client.force_leave(full, prune=prune)
        outcome = _follow(client, full, before, prune, timeout if wait else 0.0)
    if as_json:
        seen_by = {"observer": observer["name"], "pruned": prune and outcome.done}
        print_json(
            {"name": outcome.name, "before": outcome.before, "after": outcome.after, "done": outcome.done} | seen_by
        )
    else:
        where = text.printable(observer["name"])
        click.echo(f"{text.printable(full)}: {outcome.before} -> {outcome.after}, as {where} sees it")
    if not outcome.done:
        raise click.ClickException(f"{text.printable(full)} {outcome.note}")


def _find(client: ApiClient, name: str) -> tuple[str, str]:
    """The full gossip name and the status; a name without its region is taken when only one member has it."""
    observer, members = members_of(client)
    statuses = {member["Name"]: member["Status"] for member in members}
    full = full_name(observer["name"], statuses, name)
    if full == client.self_()["member"]["Name"]:
        raise click.ClickException(f"{text.printable(full)} is the agent you asked; use `moot leave` to let it go")
    return full, statuses[full]


def _follow(client: ApiClient, name: str, before: str, prune: bool, timeout: float) -> Outcome:
    """Look at the status until it is what was asked for, or the time is over."""
    wanted = {GONE} if prune else {"left", GONE}
    after = before

    def settled() -> bool:
        nonlocal after
        _, members = members_of(client)
        after = next((member["Status"] for member in members if member["Name"] == name), GONE)
        return after in wanted

    if before in ("alive", "leaving"):
        done = wait_until(settled, max(timeout, REFUTES_WITHIN))
    else:
        done = wait_until(settled, timeout)
    notes = {
        "alive": "is alive and refutes; stop that agent first, or ask it to leave with `moot leave`",
        "leaving": "is still leaving; look again with `moot members`",
    }
    return Outcome(name, before, after, done, notes.get(after, f"is still {after}; try --wait, or `moot members`"))
