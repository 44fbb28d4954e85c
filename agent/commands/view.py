"""`moot view`."""

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import click

from moot.agent import text
from moot.agent.console import address_option, connected, json_option, natural, print_json, print_table, rich_table
from moot.agent.names import complete_member, full_name
from moot.http.client import ApiClient

Row = Mapping[str, Any]
HEAD = ["Name", "Address", "Status", "Inc", "LTime", "UDP", "TCP", "RTT", "Estimate", "Protocol", "Last change"]
SUSPECT = "suspect"


@click.command("view")
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_member)
@click.option("--watch", is_flag=True, help="Stay, and show changes as they come (Ctrl-C ends it).")
@address_option
@json_option
def command(names: Sequence[str], watch: bool, address: str, as_json: bool) -> None:
    """Show all that one agent knows of each member, or of those named.

    Incarnation and Lamport time, who suspects it, whether the agent itself reaches it over UDP and over TCP, round
    trip times as measured and as estimated by coordinates, versions, and what happened to it last. Other agents
    may see it differently.
    """
    with connected(address) as client:
        if watch:
            _watch(client, names, as_json)
            return
        answer = _ask(client, names)
    if as_json:
        print_json(answer)
        return
    click.echo(caption(answer))
    print_table(HEAD, layout(answer))
    for line in suspicions(answer):
        click.echo(line)


def _ask(client: ApiClient, names: Sequence[str]) -> dict[str, Any]:
    """The view, of those that are asked for. Raises ClickException for an unknown name."""
    answer = client.view()
    rows = {row["name"]: row for row in answer["members"]}
    wanted = [full_name(answer["name"], rows, name) for name in names] if names else rows
    return {**answer, "members": [rows[name] for name in sorted(wanted, key=natural)]}


def caption(answer: Row) -> str:
    """Whose view it is, and how that agent does."""
    score = answer["health_score"]
    health = "healthy" if score == 0 else f"not well (health score {score}), it takes longer to suspect others"
    return f"{text.printable(answer['name'])} sees {text.count(len(answer['members']), 'member')}, and is {health}"


def layout(answer: Row) -> Iterator[list[str]]:
    """Rows of the table."""
    now = _instant(answer["time"])
    for row in answer["members"]:
        change = row["change"]
        versions = row["versions"]
        yield [
            row["name"],
            row["address"],
            status_of(row),
            str(row["incarnation"]),
            str(row["ltime"]),
            _reach(row["udp"], now),
            _reach(row["tcp"], now),
            _ms(row["rtt"]["measured"]),
            _ms(row["rtt"]["estimated"]),
            f"{versions['protocol']} ({versions['protocol_min']}-{versions['protocol_max']})",
            f"{change['kind']} {_ago(change['time'], now)}" if change else "",
        ]


def suspicions(answer: Row) -> Iterator[str]:
    """A line for each member that is suspected."""
    now = _instant(answer["time"])
    for row in answer["members"]:
        held = row["suspicion"]
        if held is not None:
            left = max(0.0, _instant(held["until"]) - now)
            accusers = ", ".join(map(text.printable, held["accusers"]))
            yield f"{text.printable(row['name'])} is suspected by {accusers}, and has {left:.1f} s left to refute"


def status_of(row: Row) -> str:
    """Its status, and whether it is suspected."""
    return SUSPECT if row["suspicion"] is not None else str(row["status"])


def _watch(client: ApiClient, names: Sequence[str], as_json: bool) -> None:
    """Until Ctrl-C: on a terminal the table is redrawn, elsewhere each change is a line (or a JSON object)."""
    with contextlib.ExitStack() as stack:
        screen = None
        if sys.stdout.isatty() and not as_json:
            from rich.console import Group
            from rich.live import Live
            from rich.text import Text

            screen = stack.enter_context(Live(auto_refresh=False))
        before: dict[str, Row] = {}
        while True:
            answer = _ask(client, names)
            if screen is not None:
                title = Text(f"{caption(answer)}, at {text.clock()}")
                table = rich_table(HEAD, layout(answer))
                screen.update(Group(title, table, *map(Text, suspicions(answer))), refresh=True)
            else:
                now = {row["name"]: row for row in answer["members"]}
                for line in changes(before, now, as_json=as_json):
                    click.echo(line)
                before = now
            time.sleep(1.0)


def changes(before: Mapping[str, Row], now: Mapping[str, Row], *, as_json: bool) -> Iterator[str]:
    """A line per member of which something changed that matters."""
    for name, row in now.items():
        was = before.get(name)
        if was is not None and _matters(was) == _matters(row):
            continue
        if as_json:
            yield json.dumps(row)
        else:
            status, udp, tcp, incarnation = _matters(row)
            yield f"{text.clock()} {text.printable(name)}: {status}, incarnation {incarnation}, UDP {udp}, TCP {tcp}"
    for name in before.keys() - now.keys():
        yield (
            json.dumps({"name": name, "status": "gone"})
            if as_json
            else f"{text.clock()} {text.printable(name)}: gone"
        )


def _matters(row: Row) -> tuple[str, str, str, int]:
    return status_of(row), row["udp"]["state"], row["tcp"]["state"], row["incarnation"]


def _reach(reach: Row, now: float) -> str:
    """`answers`, `silent (answered 3 s ago)`, `silent`, `?` when it was never tried, `-` for the agent itself."""
    state = str(reach["state"])
    if state in ("unknown", "self"):
        return "?" if state == "unknown" else "-"
    if state == "silent" and reach["answered"]:
        return f"silent (answered {_ago(reach['answered'], now)})"
    return state


def _instant(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def _ago(stamp: str, now: float) -> str:
    seconds = max(0.0, now - _instant(stamp))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else f"{1000 * seconds:.1f} ms"
