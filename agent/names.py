"""Names of members on the command line: completed by the shell, made whole, or refused with a hint."""

import contextlib
import difflib
import os
from collections.abc import Mapping

import click
from click.shell_completion import CompletionItem

from moot.agent import text
from moot.agent.console import DEFAULT_ADDRESS, tls_given, token_given
from moot.gossip.errors import ConfigError
from moot.http.client import ApiClient, ApiError

COMPLETION_TIMEOUT = 1.0
"""Seconds that the shell may be held up for."""


def full_name(observer: str, known: Mapping[str, object], given: str) -> str:
    """The full gossip name; one without its region is taken when only one member has it.

    `known` has every member's name as a key, `observer` is who knows them. Raises ClickException.
    """
    if given in known:
        return given
    same = [full for full in known if full.rpartition(".")[0] == given]
    if len(same) == 1:
        return same[0]
    bare = {full.rpartition(".")[0] or full: full for full in known} | {full: full for full in known}
    close = same or [bare[each] for each in difflib.get_close_matches(given, bare, n=1)]
    hint = f"did you mean {' or '.join(close)}?" if close else "`moot members` lists them"
    raise click.ClickException(text.printable(f"{observer} knows no member of that name; {hint}"))


def complete_member(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of members for the shell; none when no agent answers quickly."""
    address = ctx.params.get("address") or os.environ.get("MOOT_ADDR") or os.environ.get("NOMAD_ADDR")
    with contextlib.suppress(ApiError, ConfigError, ValueError):
        client = ApiClient(
            address or DEFAULT_ADDRESS, token=token_given(), timeout=COMPLETION_TIMEOUT, tls=tls_given(ctx)
        )
        members = client.members()["Members"]
        return [
            CompletionItem(member["Name"], help=member["Status"])
            for member in members
            if member["Name"].startswith(incomplete) and member["Name"].isprintable()
        ]
    return []
