"""`moot members`."""

import contextlib
import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click

from moot.agent import text
from moot.agent.console import (
    Member,
    address_option,
    connected,
    endpoint,
    json_option,
    members_of,
    print_json,
    print_table,
    rich_table,
)
from moot.http.client import ApiClient, ApiError

Pattern = re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one agent sees: of its pool's members only those that the options ask for."""

    observer: dict[str, Any]
    members: list[Member]
    servers: bool
    """The pool is one of Nomad servers, whether members are asked for or not."""


Ask = Callable[[ApiClient], Answer]


def _expression(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Pattern | None:
    """A regular expression that must match the whole text, as in `serf members`."""
    return None if value is None else _compile(value)


def _compile(value: str) -> Pattern:
    try:
        return re.compile(value)
    except re.error as error:
        raise click.BadParameter(f"{value!r} is no regular expression: {error}") from None


def _tag_expressions(
    _ctx: click.Context, _param: click.Parameter, values: Sequence[str]
) -> list[tuple[str, Pattern]]:
    """`KEY=RE`, repeated."""
    found = []
    for value in values:
        key, equals, expression = value.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{value!r} must be KEY=RE")
        found.append((key, _compile(expression)))
    return found


@click.command("members")
@address_option
@click.option("--status", metavar="RE", callback=_expression, help="Only members whose whole status matches.")
@click.option("--name", metavar="RE", callback=_expression, help="Only members whose whole name matches.")
@click.option(
    "--tag",
    "tags",
    metavar="K=RE",
    callback=_tag_expressions,
    multiple=True,
    help="Only members whose tag matches; repeatable.",
)
@click.option("--detailed", is_flag=True, help="Show versions, flaps and all tags.")
@click.option("--watch", is_flag=True, help="Stay, and show changes as they come (Ctrl-C ends it).")
@json_option
def command(
    address: str,
    status: Pattern | None,
    name: Pattern | None,
    tags: Sequence[tuple[str, Pattern]],
    detailed: bool,
    watch: bool,
    as_json: bool,
) -> None:
    """Show the members of the pool as one agent sees them.

    Views may differ for a while, so the output names the agent that was asked. With --json it is
    {"observer": ..., "members": [...]}, the members as /v1/agent/members has them.
    """

    def wanted(member: Member) -> bool:
        return (
            (status is None or bool(status.fullmatch(member["Status"])))
            and (name is None or bool(name.fullmatch(member["Name"])))
            and all(expression.fullmatch((member["Tags"] or {}).get(key, "")) for key, expression in tags)
        )

    def ask(client: ApiClient) -> Answer:
        observer, members = members_of(client)
        servers = all((member["Tags"] or {}).get("role") == "nomad" for member in members)
        found = [member for member in members if wanted(member)]
        return Answer(observer, _with_flaps(client, found) if detailed else found, servers)

    with connected(address) as client:
        if watch:
            _watch(client, ask, detailed, as_json)
            return
        answer = ask(client)
    if as_json:
        print_json({"observer": answer.observer, "members": answer.members})
        return
    click.echo(caption(answer))
    print_table(*layout(answer, detailed))


def _with_flaps(client: ApiClient, members: Sequence[Member]) -> list[Member]:
    """The members with how often each flapped; as they are when the agent cannot tell: a client, or not of moot."""
    try:
        flaps = client.flaps()
    except ApiError as error:
        if error.status in (404, 501):
            return list(members)
        raise
    return [{**member, "Flaps": flaps.get(member["Name"], 0)} for member in members]


def caption(answer: Answer) -> str:
    """Whose view it is, and how many there are of each status."""
    observer, members = answer.observer, answer.members
    counts = [
        f"{number} {status}"
        for status in ("alive", "leaving", "left", "failed")
        if (number := sum(member["Status"] == status for member in members))
    ]
    return f"{text.printable(observer['name'])} ({observer['address']}) sees {', '.join(counts) or 'no such member'}"


def layout(answer: Answer, detailed: bool) -> tuple[list[str], Iterator[list[str]]]:
    """Head and rows: Nomad's columns in a pool of Nomad servers, else the tags."""
    members = answer.members
    if detailed:
        head = ["Name", "Address", "Status", "Protocol", "Delegate", "Flaps", "Tags"]
        rows = (
            [*_row(it), *_versions(it), str(it.get("Flaps", "?")), text.tag_text(it["Tags"] or {})] for it in members
        )
        return head, rows
    if answer.servers:
        keys = ("build", "dc", "region")
        head = ["Name", "Address", "Status", "Build", "Datacenter", "Region"]
        return head, ([*_row(member), *(member["Tags"].get(key, "") for key in keys)] for member in members)
    head = ["Name", "Address", "Status", "Tags"]
    return head, ([*_row(member), text.tag_text(member["Tags"] or {})] for member in members)


def _row(member: Member) -> list[str]:
    return [member["Name"], endpoint(member), member["Status"]]


def _versions(member: Member) -> list[str]:
    """`2 (1-5)`: what it speaks, and what it understands."""
    return [
        f"{member[f'{layer}Cur']} ({member[f'{layer}Min']}-{member[f'{layer}Max']})"
        for layer in ("Protocol", "Delegate")
    ]


def _watch(client: ApiClient, ask: Ask, detailed: bool, as_json: bool) -> None:
    """Until Ctrl-C: on a terminal the table is redrawn, elsewhere each change is a line (or a JSON object)."""
    with contextlib.ExitStack() as stack:
        screen = None
        if sys.stdout.isatty() and not as_json:
            from rich.console import Group
            from rich.live import Live
            from rich.text import Text

            screen = stack.enter_context(Live(auto_refresh=False))
        before: dict[str, str] | None = None
        while True:
            answer = ask(client)
            now = {member["Name"]: member["Status"] for member in answer.members}
            if screen is not None:
                title = f"{caption(answer)} at {text.clock()}"
                screen.update(Group(Text(title), rich_table(*layout(answer, detailed))), refresh=True)
            else:
                for line in _changes(answer.observer["name"], before, now, as_json):
                    click.echo(line)
            before = now
            time.sleep(1.0)


def _changes(observer: str, before: dict[str, str] | None, now: dict[str, str], as_json: bool) -> Iterator[str]:
    """A line per member whose status differs; at first one per member."""
    for name in [*now, *(gone for gone in before or () if gone not in now)]:
        was, status = (before or {}).get(name), now.get(name)
        if was == status:
            continue
        if as_json:
            yield json.dumps({"observer": observer, "name": name, "before": was, "status": status})
        else:
            arrow = f"{was} -> {status or 'gone'}" if was else str(status)
            yield f"{text.clock()} {text.printable(name)}: {arrow}"
