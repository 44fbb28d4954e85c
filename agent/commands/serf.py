"""`moot serf`: Serf's own command line. Click sees none of its words."""

import click
from click.shell_completion import CompletionItem

from moot.agent.serf.line import COMMANDS, run


class SerfCommand(click.Command):
    """Takes every word as it is, and completes the names of the subcommands."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.args = args
        return args

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        if ctx.args:
            return []
        return [
            CompletionItem(name, help=text) for name, (_, text) in COMMANDS.items() if name.startswith(incomplete)
        ]


def _run() -> int:
    return run(click.get_current_context().args)


command = SerfCommand("serf", callback=_run, add_help_option=False)
