"""`moot cluster views`: who sees whom as what, and who agrees with whom."""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from moot.agent import cluster_world, text
from moot.agent.cluster_state import ClusterState, Node
from moot.agent.cluster_views import Observer, View, groups
from moot.agent.commands.cluster_options import known, name_option
from moot.agent.console import COLOURS, json_option, natural, print_json

if TYPE_CHECKING:
    from rich.console import Group

SYMBOLS = {"alive": "+", "leaving": "<", "left": "-", "failed": "x"}
UNKNOWN, SILENT = ".", "?"
LEGEND = "+ alive   < leaving   - left   x failed   . unknown   ? no answer"


@click.command("views")
@name_option("moot", "The cluster to look at.")
@click.option("--watch", is_flag=True, help="Look again and again, until Ctrl-C.")
@click.option(
    "--every", type=click.FloatRange(0.1, 60), default=1.0, show_default=True, help="Seconds, with --watch."
)
@json_option
def views(name: str, watch: bool, every: float, as_json: bool) -> None:
    """Show who sees whom as what: a row per agent asked, a column per member; and which agents see the same.

    Agents with one and the same view form a group: more than one group is a pool that disagrees. With --watch and
    --json a line is printed per look. Exit code 1 when the cluster does not run.
    """
    with Observer() as observer:
        if watch and sys.stdout.isatty() and not as_json:
            _watch_live(name, observer, every)
        while True:
            state = _running(name)
            found = observer.views(state.nodes)
            if as_json:
                print_json(described(state, found))
            else:
                click.echo("\n".join(lines(state, found)))
            sys.stdout.flush()
            if not watch:
                return
            time.sleep(every)


def _watch_live(name: str, observer: Observer, every: float) -> None:
    from rich.live import Live

    with Live(auto_refresh=False, screen=True) as screen:
        while True:
            state = _running(name)
            screen.update(_rich(state, observer.views(state.nodes)), refresh=True)
            time.sleep(every)


def _running(name: str) -> ClusterState:
    state = known(name)
    if not state.alive():
        raise click.ClickException(f"all agents of cluster {name} have ended")
    return state


def described(state: ClusterState, views: Mapping[str, View | None]) -> dict[str, Any]:
    """The matrix as JSON: observer → member → status, and the groups of observers that agree."""
    return {
        "cluster": state.name,
        "faults": cluster_world.wrongs(state),
        "members": _subjects(state.nodes, views),
        "views": dict(views),
        "groups": [names for names, view in groups(views) if view is not None],
        "no_answer": [name for name, view in views.items() if view is None],
    }


def lines(state: ClusterState, views: Mapping[str, View | None]) -> list[str]:
    """The matrix as text: columns are numbered as the rows are, members that no agent of ours is after them."""
    subjects = _subjects(state.nodes, views)
    numbers = [str(number) for number in range(1, len(subjects) + 1)]
    widths = [len(number) for number in numbers]
    label = max((len(_row_name(number, node)) for number, node in enumerate(state.nodes, 1)), default=0)
    found = [" ".join([" " * label, *numbers])]
    for number, node in enumerate(state.nodes, 1):
        cells = [
            f"{_symbol(views[node.name], member):>{width}}" for member, width in zip(subjects, widths, strict=True)
        ]
        found.append(" ".join([f"{_row_name(number, node):<{label}}", *cells]).rstrip())
    strangers = subjects[len(state.nodes) :]
    found += [f"{number} {text.printable(name)}" for number, name in enumerate(strangers, len(state.nodes) + 1)]
    found += [LEGEND, *_agreement(views)]
    wrong = cluster_world.wrongs(state)
    return [*found, f"faults: {text.printable('; '.join(wrong))}"] if wrong else found


def _agreement(views: Mapping[str, View | None]) -> list[str]:
    """Who sees the same, a line per group, the largest first."""
    found = groups(views)
    answered = [(names, view) for names, view in found if view is not None]
    silent = [name for names, view in found if view is None for name in names]
    told = []
    if len(answered) == 1:
        told.append(f"all {len(answered[0][0])} that answer see the same")
    for number, (names, view) in enumerate(answered if len(answered) > 1 else [], 1):
        alive = sum(status == "alive" for status in view.values())
        told.append(f"group {number}: {', '.join(map(text.printable, names))} see {alive} alive")
    return [*told, f"no answer: {', '.join(map(text.printable, silent))}"] if silent else told


def _subjects(nodes: Sequence[Node], views: Mapping[str, View | None]) -> list[str]:
    """The members: those of the cluster in their order, then whoever else is seen."""
    own = [node.member for node in nodes]
    return own + sorted({name for view in views.values() for name in view or ()} - set(own), key=natural)


def _row_name(number: int, node: Node) -> str:
    return f"{number} {text.printable(node.name)}"


def _symbol(view: View | None, member: str) -> str:
    return SILENT if view is None else SYMBOLS.get(view.get(member, ""), UNKNOWN)


def _rich(state: ClusterState, views: Mapping[str, View | None]) -> "Group":
    """The same with colours."""
    from rich.console import Group
    from rich.text import Text

    colours = {symbol: COLOURS[status] for status, symbol in SYMBOLS.items()}
    shown = []
    rows = len(state.nodes)
    for index, line in enumerate(lines(state, views)):
        styled = Text(line, no_wrap=True)
        if 1 <= index <= rows:
            start = line.find(state.nodes[index - 1].name) + len(state.nodes[index - 1].name)
            for at in range(start, len(line)):
                if line[at] in colours:
                    styled.stylize(colours[line[at]], at, at + 1)
        shown.append(styled)
    return Group(*shown, Text("Ctrl-C ends this", style="bright_black"))
