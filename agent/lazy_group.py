"""LazyGroup: a group of commands that imports each one when it runs."""

import importlib
from collections.abc import Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem


class LazyGroup(click.Group):
    """A group that knows its commands' names and help lines, and imports one when it is called.

    `lazy` is name to module in `moot.agent.commands` and line of help; the module's `command` is it.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._lazy:
            return None
        module = importlib.import_module(f"moot.agent.commands.{self._lazy[cmd_name][0]}")
        found: click.Command = module.command
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib  # only here: every command would pay for it at start

            close = difflib.get_close_matches(args[0], self._lazy, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise click.UsageError(f"{error.format_message()}{hint}", ctx) from None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        names = [
            CompletionItem(name, help=line) for name, (_, line) in self._lazy.items() if name.startswith(incomplete)
        ]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self._lazy:
            with formatter.section("Commands"):
                formatter.write_dl([(name, line) for name, (_, line) in self._lazy.items()])
