"""`moot query`."""

import json
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import click

from moot.agent import text
from moot.agent.console import address_option, connected, json_option, members_of
from moot.agent.inputs import pairs_of, payload_of
from moot.agent.names import complete_member, full_name
from moot.http.client import ApiClient

Line = dict[str, Any]


@click.command("query")
@click.argument("name")
@click.argument("payload", default="")
@click.option(
    "--node",
    "nodes",
    metavar="NAME",
    multiple=True,
    shell_complete=complete_member,
    help="Ask only this member; repeatable.",
)
@click.option(
    "--tag",
    "tags",
    metavar="K=RE",
    multiple=True,
    callback=pairs_of,
    help="Ask only members in whose tag K the expression is found (RE2, not anchored); repeatable, all must fit.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="How long to wait for answers.  [default: by the size of the pool, 3.2 s for up to 9 on a LAN]",
)
@click.option(
    "--relay-factor",
    type=click.IntRange(0, 255),
    default=0,
    help="Have every reply sent by way of so many other members, too, against lossy networks.",
)
@click.option("--no-ack", is_flag=True, help="Do not ask members to confirm that the query reached them.")
@address_option
@json_option
def command(
    name: str,
    payload: str,
    nodes: Sequence[str],
    tags: Mapping[str, str],
    timeout: float | None,
    relay_factor: int,
    no_ack: bool,
    address: str,
    as_json: bool,
) -> None:
    """Ask every member of the pool, and print the answers as they come.

    PAYLOAD is any text, or - to read bytes from standard input. With --json every line is an object with a `type`:
    asked, ack, response, done. Ctrl-C drops the query. Exit code 0 also when nobody answered.
    """
    if not name:
        raise click.UsageError("a query needs a name")
    content = payload_of(payload)
    with connected(address) as client:
        wanted = _full_names(client, nodes) if nodes else []
        replies = client.query(
            name,
            content,
            nodes=wanted,
            tags=tags,
            ack=not no_ack,
            relay_factor=relay_factor,
            timeout=timeout or 0.0,
        )
        with closing(replies):
            for line in replies:
                for shown in [json.dumps(line)] if as_json else _words(line, not no_ack):
                    click.echo(shown)


def _full_names(client: ApiClient, nodes: Sequence[str]) -> list[str]:
    observer, members = members_of(client)
    known = {member["Name"]: member["Status"] for member in members}
    names = [full_name(observer["name"], known, node) for node in nodes]
    for name in names:
        if known[name] != "alive":
            click.echo(f"moot: {text.printable(name)} is {known[name]}, do not expect an answer from it", err=True)
    return names


def _words(line: Line, acks: bool) -> Iterator[str]:
    """What a person reads of one line of the answer."""
    sender = text.printable(str(line.get("from")))
    if line["type"] == "asked":
        yield f"asked; answers are waited for {line['timeout']:g} s"
    elif line["type"] == "ack":
        yield f"{sender} got it"
    elif line["type"] == "response":
        yield from answer_lines(sender, line)
    elif line["type"] == "done":
        confirmed = f"{text.count(line['acks'], 'ack')}, " if acks else ""
        yield f"{confirmed}{text.count(line['responses'], 'answer')}"


def answer_lines(sender: str, line: Line) -> list[str]:
    """`NAME: text`; several lines of text stand below the name, and what is no text is counted."""
    if "text" not in line:
        size = len(b64decode(line["payload"]))
        return [f"{sender}: {text.count(size, 'byte')}, no text (--json shows it)"]
    lines = [text.printable(each) for each in line["text"].splitlines()]
    if len(lines) <= 1:
        return [f"{sender}: {''.join(lines)}".rstrip()]
    return [f"{sender}:", *(f"  {each}" for each in lines)]
