"""`moot sim`: pools in virtual time. Each command is imported when it runs."""

import click

from moot.agent.lazy_group import LazyGroup

COMMANDS: dict[str, tuple[str, str]] = {}
"""Command name to its module in `moot.agent.commands` and its line of help; the module's `command` is it."""


@click.group("sim", cls=LazyGroup, lazy=COMMANDS)
def command() -> None:
    """Simulate pools of the shipping engine in virtual time: thousands of members, one seed, no sockets."""
