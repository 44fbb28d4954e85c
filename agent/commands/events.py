"""`moot events`."""

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import click

from moot.agent import text
from moot.agent.console import address_option, connected, json_option, members_of
from moot.agent.names import complete_member, full_name
from moot.http.client import ApiClient, Unreachable
from moot.http.client_events import EventFollower

KINDS = (
    *("joined", "suspected", "refuted", "failed", "leaving", "staying", "left", "updated", "flapped", "conflict"),
    *("reaped", "pruned", "user-event", "query"),
)
"""As in `http.event_ring.Kind`, which costs more to import than a command may."""
ID = re.compile(r"[0-9a-f]{1,32}\.[0-9]{1,15}")
DURATION = re.compile(r"0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|ms|s|m|h))+")
START = "start"
RECONNECT_AFTER = 1.0

Event = Mapping[str, Any]


def _since(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str:
    if value and not (value == START or ID.fullmatch(value) or DURATION.fullmatch(value)):
        raise click.BadParameter(f"{value!r} must be a duration such as 5m, {START!r}, or the id of an event")
    return value or ""


@click.command("events")
@click.option(
    "--kind", "kinds", type=click.Choice(KINDS), multiple=True, help="Only events of this kind; repeatable."
)
@click.option(
    "--member",
    "members",
    metavar="NAME",
    multiple=True,
    shell_complete=complete_member,
    help="Only events about this member; repeatable.",
)
@click.option(
    "--since",
    metavar="TIME",
    callback=_since,
    help="Begin with what happened within this time (5m), with all that is kept (start), or after an event (its id).",
)
@click.option("--no-follow", is_flag=True, help="End with the newest event instead of waiting for more.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after so many events.")
@address_option
@json_option
def command(
    kinds: Sequence[str],
    members: Sequence[str],
    since: str,
    no_follow: bool,
    count: int | None,
    address: str,
    as_json: bool,
) -> None:
    """Show what happens in the pool, as one agent sees it, until Ctrl-C.

    With --json every line is an object, as in docs/events.md. When the connection breaks it is made again, and goes
    on where it broke off; what could not be told is told as a gap.
    """
    if no_follow and not since:
        since = START
    after = since if since == START or ID.fullmatch(since) else ""
    with connected(address) as client:
        follower = EventFollower(
            client,
            kinds=kinds,
            members=_full_names(client, members) if members else (),
            after=after,
            since="" if after else since,
            follow=not no_follow,
        )
        for shown, event in enumerate(_all(follower), 1):
            click.echo(json.dumps(event) if as_json else line_of(event))
            if shown == count:
                return


def _full_names(client: ApiClient, names: Sequence[str]) -> list[str]:
    """Names without their region made whole; unknown ones may be those of members that are still to come."""
    observer, members = members_of(client)
    known = {member["Name"]: None for member in members}
    found = []
    for name in names:
        try:
            found.append(full_name(observer["name"], known, name))
        except click.ClickException as error:
            click.echo(f"moot: {error.format_message()}; waiting for one all the same", err=True)
            found.append(name)
    return found


def _all(follower: EventFollower) -> Iterator[Event]:
    """Over as many connections as it takes; but the first one must come about."""
    ever = noted = False
    while True:
        try:
            yield from follower
            return
        except Unreachable as error:
            ever = ever or follower.is_connected
            if not ever:
                raise
            if follower.is_connected or not noted:
                click.echo(f"moot: {text.printable(str(error))} Trying again.", err=True)
                noted = True
        time.sleep(RECONNECT_AFTER)


def line_of(event: Event) -> str:
    """`12:03:04 suspected   web-2.global by web-1.global`."""
    clock = datetime.fromisoformat(event["time"]).astimezone().strftime("%H:%M:%S")
    return f"{clock} {event['kind']:<10} {' '.join(map(text.printable, _words(event)))}"


def _words(event: Event) -> Iterator[str]:
    if event["kind"] == "gap":
        lost = event.get("lost")
        yield (
            f"{text.count(lost, 'event is', 'events are')} missing"
            if lost
            else "events may be missing: the agent is another"
        )
        return
    member = event.get("member")
    if member is not None:
        yield member["name"]
        yield member["address"]
    else:
        yield event["name"]
    if event.get("accuser"):
        yield f"accused by {event['accuser']}"
    if event.get("sender"):
        yield f"from {event['sender']}"
    if event.get("other"):
        yield f"claimed by {event['other']}, too"
    if event.get("flaps"):
        yield f"{text.count(event['flaps'], 'time')} so far"
    if event.get("text"):
        yield f"{event['text']!r}"
    elif event.get("payload"):
        yield "with bytes that are no text (--json shows them)"
