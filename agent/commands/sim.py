"""`moot sim`: pools in virtual time. Each command is imported when it runs."""

import click

from moot.agent.lazy_group import LazyGroup

COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("sim_run", "Run scenarios on simulated members, and judge what happened."),
    "explore": ("sim_explore", "Play scenarios under many seeds, and shrink what goes wrong."),
    "trace": ("sim_trace", "Show the messages of a run as a space-time diagram."),
    "sweep": ("sim_sweep", "Try a pool at every point of a grid of parameters, under many seeds."),
    "tune": ("sim_tune", "Propose timing for a pool that must detect so soon and be wrong so rarely."),
    "converge": ("sim_converge", "Show how fast news spreads: by formula, and simulated."),
    "diff": ("sim_diff", "Show where two runs part."),
}
"""Command name to its module in `moot.agent.commands` and its line of help; the module's `command` is it."""


@click.group("sim", cls=LazyGroup, lazy=COMMANDS)
def command() -> None:
    """Simulate pools of the shipping engine in virtual time: thousands of members, one seed, no sockets."""
