"""`moot cluster add`, `restart` and `logs`."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import click

from moot.agent import cluster_state, text
from moot.agent.chaos import Chaos
from moot.agent.cluster_places import SERF_AGENTS_MAX
from moot.agent.cluster_start import ClusterError, last_words, log_of
from moot.agent.cluster_state import Node
from moot.agent.cluster_views import Observer
from moot.agent.commands.cluster_options import known, name_option, named, selected, warn_untold
from moot.agent.console import json_option, print_json
from moot.gossip.actions import Process

PATIENCE = 30.0
"""Seconds that an agent may take to see others."""
PAUSE = 0.2
"""Seconds between looks at logs, and at agents that start."""
TAIL_MAX = 1024 * 1024
"""Bytes at the end of a log in which its last lines are looked for."""


@click.command("add")
@click.argument("count", type=click.IntRange(1, 100), metavar="[N]", default=1)
@click.option("--serf", "as_serf", is_flag=True, help="Real serf agents rather than ours.")
@name_option("moot", "The cluster to add to.")
@json_option
def add(count: int, as_serf: bool, name: str, as_json: bool) -> None:
    """Start N more agents (1 unless given), which join the others. They live and end with the cluster.

    Returns when each sees another. Exit code 1 when the cluster does not run or one did not start.
    """
    chaos = Chaos(name)
    if as_serf and sum(node.kind == "serf" for node in chaos.state().nodes) + count > SERF_AGENTS_MAX:
        raise click.ClickException(f"a cluster has at most {SERF_AGENTS_MAX} serf agents")
    nodes, untold = chaos.grow(count, "serf" if as_serf else "moot")
    _await_answers(chaos, nodes)
    _say(nodes, "added", as_json=as_json)
    warn_untold(untold)


@click.command("restart")
@click.argument("members", metavar="MEMBERS")
@click.option("--fresh", is_flag=True, help="Without the snapshot of who was in the pool.")
@name_option("moot", "Their cluster.")
@json_option
def restart(members: str, fresh: bool, name: str, as_json: bool) -> None:
    """End agents and start them again where they were: MEMBERS is a name, a number, 1-3, a glob, or a list of these.

    Those that had ended are started. Returns when each sees another; exit code 1 when one does not.
    """
    chaos = Chaos(name)
    selected(known(name), members)
    outcome = chaos.do(Process("restart", members, fresh=fresh))
    nodes = [node for node in chaos.state().nodes if node.name in outcome.members]
    _await_answers(chaos, nodes)
    _say(nodes, "restarted", as_json=as_json)
    warn_untold(outcome.untold)


def _await_answers(chaos: Chaos, nodes: Sequence[Node]) -> None:
    """Until each of them answers and sees somebody besides itself, if there is somebody. Raises ClusterError."""
    alone = len(chaos.state().running()) == 1
    deadline = time.monotonic() + PATIENCE
    with Observer() as observer:
        while True:
            views = observer.views(nodes)
            waiting = [node for node in nodes if len(views[node.name] or ()) < (1 if alone else 2)]
            if not waiting:
                return
            ended = [node for node in waiting if not node.process.alive()]
            if ended or time.monotonic() > deadline:
                node = (ended or waiting)[0]
                why = "has ended" if ended else f"sees nobody after {PATIENCE:g} s"
                words = last_words(cluster_state.directory_of(chaos.name), node.name)
                raise ClusterError("\n  ".join([f"agent {node.name} {why}:", *words]))
            time.sleep(PAUSE)


def _say(nodes: Sequence[Node], what: str, *, as_json: bool) -> None:
    if as_json:
        print_json(
            [{"name": node.name, "gossip": node.gossip, "kind": node.kind, "pid": node.process.pid} for node in nodes]
        )
        return
    for node in nodes:
        click.echo(f"{text.printable(node.name)} {what}: {node.gossip}, pid {node.process.pid}")


@click.command("logs")
@click.argument("members", metavar="MEMBERS", default="all")
@click.option("-f", "--follow", is_flag=True, help="Go on with what they write, until Ctrl-C or their end.")
@click.option("-n", "--lines", type=click.IntRange(0, 10_000), default=20, show_default=True, help="Lines of each.")
@name_option("moot", "Their cluster.")
@json_option
def logs(members: str, follow: bool, lines: int, name: str, as_json: bool) -> None:
    """Show the logs of agents: MEMBERS is a name, a number, 1-3, a glob, or a list of these.

    Of several agents each line has its agent's name before it. With --json a line is an object.
    """
    nodes = selected(known(name), members)
    directory = cluster_state.directory_of(name)
    width = max((len(node.name) for node in nodes), default=0) if len(nodes) > 1 else 0

    def show(node: Node, line: str) -> None:
        if as_json:
            print_json({"name": node.name, "line": line})
        else:
            click.echo(f"{node.name:>{width}}: {text.printable(line)}" if width else text.printable(line))

    tails = {node.name: _Tail(log_of(directory, node.name)) for node in nodes}
    try:
        for node in nodes:
            for line in tails[node.name].last(lines):
                show(node, line)
        while follow and any(node.process.alive() for node in selected(known(name), members)):
            for node in nodes:
                for line in tails[node.name].fresh():
                    show(node, line)
            time.sleep(PAUSE)
    finally:
        for tail in tails.values():
            tail.close()
    if not nodes:
        raise click.ClickException(
            f"cluster {name} has no such member; `moot cluster status{named(name)}` lists them"
        )


class _Tail:
    """A file that grows, read by lines."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO | None = path.open("rb") if path.exists() else None
        self._held = b""

    def last(self, count: int) -> list[str]:
        """The last lines that are there; `fresh` goes on behind them."""
        if self._file is None:
            return []
        size = self._file.seek(0, 2)
        self._file.seek(max(0, size - TAIL_MAX))
        found = list(self.fresh())
        return found[len(found) - count :] if count < len(found) else found

    def fresh(self) -> Iterator[str]:
        """The lines that were completed since."""
        if self._file is None:
            return
        *whole, self._held = (self._held + self._file.read()).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
