"""What the commands about clusters share."""

from collections.abc import Callable, Sequence

import click

from moot.agent import cluster_state, text
from moot.agent.cluster_state import ClusterState, Node
from moot.agent.console import Command
from moot.gossip.errors import ConfigError
from moot.gossip.selectors import select


def _cluster_name(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        try:
            cluster_state.check_name(value)
        except ConfigError as error:
            raise click.BadParameter(str(error)) from None
    return value


def name_option(default: str | None, text: str) -> Callable[[Command], Command]:
    """`--name`, checked."""
    return click.option("--name", default=default, show_default=True, callback=_cluster_name, help=text)


def named(name: str) -> str:
    """What a command line needs to mean this cluster."""
    return "" if name == "moot" else f" --name {name}"


def known(name: str) -> ClusterState:
    """The cluster of that name, running or ended. Raises ClickException."""
    state = cluster_state.load(name)
    if state is None:
        raise click.ClickException(f"no cluster {name} is running; `moot cluster up 3{named(name)}` starts one")
    return state


def selected(state: ClusterState, selector: str) -> list[Node]:
    """The members meant by name, number, range, glob, or a list of these. Raises BadParameter."""
    try:
        names = select(selector, [node.name for node in state.nodes])
    except ConfigError as error:
        raise click.BadParameter(str(error)) from None
    return [node for node in state.nodes if node.name in names]


def warn_untold(names: Sequence[str]) -> None:
    """Say on stderr who does not know of the present faults."""
    if names:
        listed = ", ".join(map(text.printable, names))
        click.echo(f"moot: {listed} could not be told; `moot chaos tell` tries again", err=True)
