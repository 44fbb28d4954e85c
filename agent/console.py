"""What the commands that ask an agent share: the options, the connection, tables, waiting."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from moot.agent import text
from moot.http.acl import DENIED, NOT_FOUND
from moot.http.client import ApiClient, ApiError
from moot.http.client_tls import ClientTls

if TYPE_CHECKING:
    from rich.table import Table

Command = TypeVar("Command", bound=Callable[..., object])

DEFAULT_ADDRESS = "http://127.0.0.1:4646"
TLS_GIVEN = "moot.tls"
TLS_FLAGS = (
    ("--ca-cert", "CACERT", "FILE", "Trust the authorities of this file alone."),
    ("--ca-path", "CAPATH", "DIR", "Trust the authorities of this folder alone."),
    ("--client-cert", "CLIENT_CERT", "FILE", "Our certificate, for an agent that asks for one."),
    ("--client-key", "CLIENT_KEY", "FILE", "Its key."),
    ("--tls-server-name", "TLS_SERVER_NAME", "NAME", "What the agent's certificate must say instead of its host."),
    ("--tls-skip-verify", "SKIP_VERIFY", None, "Take any certificate; whoever is in between can then read and act."),
)
"""Nomad's, with the ends of their variables' names."""
TLS_FIELDS = dict(
    zip(
        (flag for flag, *_ in TLS_FLAGS),
        ("ca_file", "ca_path", "cert_file", "key_file", "server_name", "skip_verify"),
        strict=True,
    )
)
TOKEN_HINT = ". Hint: the agent asks for a token; give one that has the right in MOOT_TOKEN"
ROLE_HINT = ". Hint: this agent is a client, and in no pool; ask one of its servers, with --address"
HINTS = {(403, DENIED): TOKEN_HINT, (403, NOT_FOUND): TOKEN_HINT, (501, "Invalid method"): ROLE_HINT}
"""What to do about an answer, by its status and text."""
COLOURS = {"alive": "green", "suspect": "yellow", "leaving": "yellow", "left": "bright_black", "failed": "red"}

Member = dict[str, Any]
"""A member object as /v1/agent/members has it."""


def address_option(command: Command) -> Command:
    """`--address URL`, given to the command as `address`, and how to speak TLS there, which `connected` knows."""
    for flag, variable, metavar, text_of_help in reversed(TLS_FLAGS):
        command = click.option(
            flag,
            metavar=metavar,
            is_flag=metavar is None,
            envvar=[f"MOOT_{variable}", f"NOMAD_{variable}"],
            expose_value=False,
            callback=_keep_for_tls,
            help=f"{text_of_help} [NOMAD_{variable}]",
        )(command)
    return click.option(
        "--address",
        metavar="URL",
        default=lambda: os.environ.get("MOOT_ADDR") or os.environ.get("NOMAD_ADDR") or DEFAULT_ADDRESS,
        show_default=f"MOOT_ADDR, NOMAD_ADDR or {DEFAULT_ADDRESS}",
        help="The agent's HTTP address.",
    )(command)


def _keep_for_tls(ctx: click.Context, param: click.Parameter, value: str | bool | None) -> None:
    if value:
        ctx.meta.setdefault(TLS_GIVEN, {})[TLS_FIELDS[param.opts[0]]] = value


def tls_given(ctx: click.Context | None = None) -> ClientTls:
    """What the command line says about TLS, in the context of a command, the present one unless another is given."""
    found = ctx or click.get_current_context(silent=True)
    return ClientTls(**found.meta.get(TLS_GIVEN, {})) if found else ClientTls()


def json_option(command: Command) -> Command:
    """`--json`, given to the command as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


@contextmanager
def connected(address: str, timeout: float = 40.0) -> Iterator[ApiClient]:
    """A client for the agent at `address`. What goes wrong becomes one message and exit code 1.

    `timeout` in seconds: longer than the stream timeout of the WAN profile, which bounds a join.
    """
    try:
        client = ApiClient(address, token=token_given(), timeout=timeout, tls=tls_given())
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--address") from None
    try:
        yield client
    except ApiError as error:
        hint = HINTS.get((error.status, error.body), "")
        raise click.ClickException(text.printable(f"{error}{hint}")) from None


def token_given() -> str:
    """The token for the HTTP API, from the environment."""
    return os.environ.get("MOOT_TOKEN") or os.environ.get("NOMAD_TOKEN", "")


def members_of(client: ApiClient) -> tuple[dict[str, Any], list[Member]]:
    """The observer (name, region, datacenter, address) and the members by name as it sees them."""
    answer = client.members()
    observer = {
        "name": answer["ServerName"],
        "region": answer["ServerRegion"],
        "datacenter": answer["ServerDC"],
        "address": client.url,
    }
    return observer, sorted(answer["Members"], key=lambda member: natural(member["Name"]))


def natural(name: str) -> list[tuple[int, str]]:
    """Sort key that puts node-2 before node-10."""
    parts: list[str] = []
    for char in name:
        if parts and parts[-1][-1:].isdigit() == char.isdigit():
            parts[-1] += char
        else:
            parts.append(char)
    return [(int(part), "") if part.isascii() and part.isdigit() else (-1, part) for part in parts]


def endpoint(member: Mapping[str, Any]) -> str:
    """`ip:port` of a member, IPv6 in brackets."""
    host = member["Addr"]
    return f"[{host}]:{member['Port']}" if ":" in host else f"{host}:{member['Port']}"


def print_json(value: object) -> None:
    """One JSON document: for people when it goes to a terminal, in one line when it is piped."""
    click.echo(json.dumps(value, indent=2 if sys.stdout.isatty() else None))


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table: with Rich on a terminal, in plain columns for pipes and files."""
    if not sys.stdout.isatty():
        click.echo("\n".join(text.columns(head, rows)))
        return
    from rich.console import Console

    Console(highlight=False).print(rich_table(head, rows))


def rich_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> "Table":
    """The table for a terminal; a cell that is a member status gets its colour."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in head:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(Text(text.printable(cell), style=COLOURS.get(cell, "")) for cell in row))
    return table


def wait_until(check: Callable[[], bool], timeout: float, pause: float = 0.1) -> bool:
    """Ask `check` every `pause` seconds until it is true or `timeout` seconds are over; the last answer."""
    deadline = time.monotonic() + timeout
    while not check():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
    return True
