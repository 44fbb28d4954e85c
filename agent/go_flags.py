"""Flags with one dash, as Go's programs take them: `-data-dir /x` for `--data-dir /x`.

So a command line of Nomad's agent needs no rewriting.
"""

from typing import Any

import click


class GoFlags(click.Command):
    """A command whose long flags may also be written with one dash."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self._with_two_dashes(ctx, args))

    def _with_two_dashes(self, ctx: click.Context, args: list[str]) -> list[str]:
        options = {name: param for param in self.get_params(ctx) for name in (*param.opts, *param.secondary_opts)}
        found: list[str] = []
        takes_next = False
        for number, word in enumerate(args):
            if word == "--":
                return [*found, *args[number:]]
            if not takes_next and word.startswith("-"):
                name, equals, value = word.partition("=")
                if name not in options and f"-{name}" in options:
                    name = f"-{name}"
                option: Any = options.get(name)
                takes_next = option is not None and not equals and not option.is_flag and not option.count
                word = name + equals + value
            else:
                takes_next = False
            found.append(word)
        return found
