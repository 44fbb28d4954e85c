"""`moot config`: look at configuration files before an agent does."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from moot.agent import config, config_show, foreign_keys
from moot.agent.config_show import as_text, as_tree
from moot.agent.console import json_option, print_json
from moot.agent.schema import ConfigProblems, Problem
from moot.agent.settings import Settings
from moot.agent.text import printable
from moot.gossip.errors import ConfigError

Command = TypeVar("Command", bound=Callable[..., object])


def dev_option(command: Command) -> Command:
    return click.option("--dev", is_flag=True, help="As for an agent that is started with --dev.")(command)


@click.group("config")
def command() -> None:
    """Look at configuration files: what is wrong with them, and what they come to.

    PATH is a file in HCL, JSON or TOML, or a directory of them, as for `moot agent --config`.
    """


@command.command("check")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@dev_option
@json_option
def check_command(paths: tuple[Path, ...], dev: bool, as_json: bool) -> None:
    """Check that an agent would start with these files, and tell all mistakes at once.

    Certificates and scripts that they name are not opened; files with a secret are. Exit code 1 for a mistake.
    """
    settings: Settings | None = None
    problems: Sequence[Problem] = ()
    try:
        settings = config.load(paths, dev=dev)
    except ConfigProblems as error:
        problems = error.problems
    except ConfigError as error:
        problems = [Problem(text=str(error))]
    if as_json:
        print_json(_report(settings, problems))
    elif settings is not None:
        _say(settings)
    else:
        for problem in problems:
            click.echo(printable(str(problem)), err=True)
    if problems:
        if as_json:
            click.get_current_context().exit(1)
        raise click.ClickException(f"{len(problems)} mistake{'s' if len(problems) > 1 else ''}; no agent would start")


def _report(settings: Settings | None, problems: Sequence[Problem]) -> dict[str, Any]:
    return {
        "ok": settings is not None,
        "files": [str(file) for file in settings.files] if settings else [],
        "mistakes": [
            {"source": problem.source, "line": problem.line, "key": problem.key, "text": problem.text}
            for problem in problems
        ],
        "warnings": settings.warnings() if settings else [],
        "without_effect": list(settings.foreign) if settings else [],
    }


def _say(settings: Settings) -> None:
    for warning in settings.warnings():
        click.echo(f"warning: {printable(warning)}")
    notice = foreign_keys.notice(settings.foreign)
    if notice:
        click.echo(notice)
    roles = [role for role, has in (("server", settings.is_server), ("client", settings.client.enabled)) if has]
    count = len(settings.files)
    click.echo(
        f"{count} file{'' if count == 1 else 's'}, no mistake: {printable(settings.name)} would start as a"
        f" {' and '.join(roles)}"
    )


@command.command("show")
@click.argument("paths", metavar="[PATH...]", nargs=-1, type=click.Path(path_type=Path))
@dev_option
@click.option("--toml", "as_toml", is_flag=True, help="Write TOML.  [default: HCL]")
@click.option("--sources", is_flag=True, help="Tell where each value comes from.")
@click.option("--changed", is_flag=True, help="Only what files and variables say, not what is built in.")
@json_option
def show_command(
    paths: tuple[Path, ...], dev: bool, as_toml: bool, sources: bool, changed: bool, as_json: bool
) -> None:
    """Show what these files and the environment come to, as a file that says the same.

    Secrets are not shown. With --json and --sources each key has its value and its sources.
    """
    if as_json and as_toml:
        raise click.UsageError("give --json or --toml, not both")
    try:
        settings = config.load(paths, dev=dev, environment=os.environ)
    except config.FlagError as error:
        raise click.UsageError(str(error)) from None
    entries = config_show.shown(settings, changed=changed)
    if not as_json:
        click.echo(as_text(entries, "toml" if as_toml else "hcl", sources=sources), nl=False)
    elif sources:
        print_json({entry.key: {"value": entry.value, "sources": list(entry.sources)} for entry in entries})
    else:
        print_json(as_tree(entries))
