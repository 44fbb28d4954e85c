"""The command tree. Commands are imported when they run, so `moot members` never pays for trio or Rich.

Exit codes: 0 success, 1 failure, 2 wrong usage, 130 interrupted (Ctrl-C) for the commands that ask an agent.
`moot agent` ends as Nomad's agent does: 0 after a graceful leave, 1 when it was just stopped.
"""

import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from moot import __version__
from moot.agent.lazy_group import LazyGroup
from moot.gossip.errors import GossipError

INTERRUPTED = 130

COMMANDS: dict[str, tuple[str, str]] = {
    "agent": ("agent", "Run an agent: one member of a gossip pool, with Nomad's agent API."),
    "members": ("members", "Show the members of the pool as one agent sees them."),
    "view": ("view", "Show all that one agent knows of each member."),
    "events": ("events", "Show what happens in the pool as it happens."),
    "nodes": ("nodes", "Show the client nodes that are registered with a server."),
    "join": ("join", "Tell an agent to join a pool."),
    "leave": ("leave", "Let an agent leave its pool gracefully and end."),
    "force-leave": ("force_leave", "Turn a failed member into one that left."),
    "info": ("info", "Show an agent's own figures."),
    "event": ("event", "Send a user event to the pool."),
    "query": ("query", "Ask the pool, and print the answers as they come."),
    "reachability": ("reachability", "Test whether all members can reach each other by gossip."),
    "keys": ("keys", "List, install, use, remove and rotate the pool's encryption keys."),
    "rtt": ("rtt", "Estimate the round trip time between two members."),
    "tags": ("tags", "Show or change an agent's tags while it runs."),
    "config": ("config", "Check configuration files, and show what they come to."),
    "cluster": ("cluster", "Run N real agents on this machine."),
    "chaos": ("chaos", "Break a running cluster on purpose, and mend it."),
    "sim": ("sim", "Simulate pools in virtual time: run, explore and trace scenarios, sweep, tune."),
    "lab": ("lab", "Run scenarios on real agents or simulated ones, and judge what happened."),
    "serf": ("serf", "Serf's command line, for its agents and ours: `moot serf --help`."),
    "demo": ("demo", "Watch a real pool form, lose a member, and agree about it."),
    "keygen": ("keygen", "Make a key for gossip encryption."),
    "token": ("token", "Make a token for the HTTP API."),
    "completion": ("completion", "Print the completion script of a shell."),
    "version": ("version", "Show versions."),
}
"""Command name to its module in `moot.agent.commands` and its line of help; the module's `command` is it."""


@click.group(
    cls=LazyGroup, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="moot", message="%(prog)s %(version)s")
def cli() -> None:
    """A gossip-pool agent that speaks memberlist and Serf and serves Nomad's agent API.

    Start with `moot demo`, or `moot cluster up 3` and `moot members --address URL`.
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command line and exit with its code; every failure is one `moot: ...` on stderr."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # names from the network may hold what the terminal's encoding cannot say
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code (see the module)."""
    try:
        result = cli.main(arguments, prog_name="moot", standalone_mode=False)
        sys.stdout.flush()
    except click.UsageError as error:
        return _usage(error)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except click.ClickException as error:
        return _failed(error.format_message(), error.exit_code)
    except GossipError as error:
        return _failed(str(error))
    except BrokenPipeError:
        # the reader of our output went away, as `| head` does; keep the interpreter from complaining at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return result if isinstance(result, int) else 0


def _failed(text: str, code: int = 1) -> int:
    click.echo(f"moot: {text}", err=True)
    return code


def _usage(error: click.UsageError) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return error.exit_code
    where = error.ctx.command_path if error.ctx else "moot"
    return _failed(f"{error.format_message()}\nTry `{where} --help`.", error.exit_code)
