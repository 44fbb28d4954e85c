"""`moot cluster`: up, status, down."""

import base64
import json
import os
import secrets
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NoReturn

import click

from moot.agent import cluster_state, cluster_world, text
from moot.agent.cluster import Cluster, end_cluster, wait_ready
from moot.agent.cluster_places import AGENTS_MAX, SERF_AGENTS_MAX, TENANTS_MAX, Wish, base_port_max
from moot.agent.cluster_state import ClusterState, Node
from moot.agent.cluster_views import Observer, View
from moot.agent.commands import cluster_matrix, cluster_members
from moot.agent.commands.agent import pairs
from moot.agent.commands.cluster_options import name_option, named
from moot.agent.console import json_option, natural, print_json, print_table, rich_table
from moot.agent.interrupts import Interrupted, caught

HEAD = ["Name", "Status", "Seen by", "Gossip", "HTTP", "Pid"]
SILENT = "no answer"


@click.group("cluster")
def command() -> None:
    """Run N real agents on this machine, each with a loopback address of its own."""


for each in (cluster_members.add, cluster_members.restart, cluster_members.logs, cluster_matrix.views):
    command.add_command(each)


@command.command("up")
@click.argument("count", type=click.IntRange(1, TENANTS_MAX), metavar="N")
@name_option("moot", "Name of the cluster; several may run at once.")
@click.option(
    "--in-process", is_flag=True, help="Let agents share processes, one per core, rather than have their own."
)
@click.option(
    "--profile",
    type=click.Choice(["lan", "wan", "local"]),
    default="local",
    show_default=True,
    help="Timing of the failure detector.",
)
@click.option(
    "--pool",
    type=click.Choice(["nomad", "serf"]),
    help="serf lets real serf agents join.  [default: nomad, with --with-serf serf]",
)
@click.option(
    "--with-serf",
    "serf_count",
    type=click.IntRange(0, SERF_AGENTS_MAX),
    default=0,
    metavar="K",
    help="Besides, K real serf agents in the same pool, if `serf` is installed.",
)
@click.option("--encrypt", is_flag=True, help="Make a key and encrypt all gossip with it.")
@click.option("--label", default="", help="Label of all packets.")
@click.option("--tag", "tags", metavar="K=V", multiple=True, callback=pairs, help="A tag on every agent; repeatable.")
@click.option(
    "--base-port",
    type=click.IntRange(1024, 65535),
    help="Use 127.0.0.1 with three ports per agent from here on, not an address per agent.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    metavar="SECONDS",
    help="Give up and end all when it is not ready by then.  [default: 30, and 1 per agent]",
)
@click.option("--detach", is_flag=True, help="Return when the cluster is ready; `moot cluster down` ends it.")
@json_option
def up(
    count: int,
    name: str,
    in_process: bool,
    profile: str,
    pool: str | None,
    serf_count: int,
    encrypt: bool,
    label: str,
    tags: dict[str, str] | None,
    base_port: int | None,
    timeout: float | None,
    detach: bool,
    as_json: bool,
) -> None:
    """Start N agents, wait until each sees all alive, then show them live until Ctrl-C, which ends them all.

    With --json a single object is printed when the cluster is ready. Exit code 1 when it does not become ready,
    or when all its agents have ended; a signal before it is ready exits with 128 and its number. Once it is ready,
    Ctrl-C, SIGTERM and SIGHUP are how it is ended, so that the exit code is 0.
    """
    total = count + serf_count
    if count > AGENTS_MAX and not in_process:
        raise click.BadParameter(f"more than {AGENTS_MAX} agents need --in-process", param_hint="'N'")
    if base_port and base_port > base_port_max(total):
        raise click.BadParameter(
            f"{text.count(total, 'agent')} need it to be at most {base_port_max(total)}", param_hint="'--base-port'"
        )
    if serf_count and (pool == "nomad" or label):
        raise click.BadParameter("real serf agents need --pool serf and no --label", param_hint="'--with-serf'")
    wish = Wish(
        count=count,
        serf_count=serf_count,
        name=name,
        profile=profile,
        pool=pool or ("serf" if serf_count else "nomad"),
        key=base64.b64encode(secrets.token_bytes(32)).decode() if encrypt else "",
        label=label,
        base_port=base_port or 0,
        tags=tags,
        houses=min(count, len(os.sched_getaffinity(0))) if in_process else 0,
    )
    with caught() as interrupts, Observer() as observer, Cluster(wish, interrupts) as cluster:
        began = time.monotonic()
        cluster.start()
        _await_ready(cluster, observer, timeout or 30.0 + total, quiet=as_json)
        took = time.monotonic() - began
        if detach:
            cluster.release()
            _announce(cluster, observer.views(cluster.nodes), took, detached=True, as_json=as_json)
            return
        try:
            _announce(cluster, observer.views(cluster.nodes), took, detached=False, as_json=as_json)
            with interrupts.allowed():
                _follow(cluster, observer, quiet=as_json)
        except Interrupted:
            if not as_json:
                click.echo(f"ending {text.count(count, 'agent')}", err=True)


def _announce(
    cluster: Cluster, views: Mapping[str, View | None], took: float, *, detached: bool, as_json: bool
) -> None:
    """Say that it is ready; for a detached one also who is there, since nothing follows."""
    wish = cluster.wish
    if as_json:
        described = _described(wish.name, wish.pool, wish.profile, bool(wish.key), cluster.nodes, views)
        click.echo(json.dumps(described | {"ready_seconds": round(took, 3)}))
    else:
        agents = text.count(len(cluster.nodes), "agent")
        hint = f"try: moot members --address {cluster.nodes[0].url}"
        click.echo(f"cluster {wish.name} is ready: {agents}, {took:.1f} s; {hint}")
        if detached:
            print_table(HEAD, _rows(cluster.nodes, views))
            click.echo(f"`moot cluster down{named(wish.name)}` ends it")
    sys.stdout.flush()


def _await_ready(cluster: Cluster, observer: Observer, timeout: float, *, quiet: bool) -> None:
    """Raises ClusterError. Shows progress on a terminal only."""
    total = len(cluster.nodes)
    live = sys.stderr.isatty() and not quiet
    try:
        for ready in wait_ready(cluster, observer, timeout):
            if live:
                click.echo(f"\r{ready} of {text.count(total, 'agent')} see all of them ", nl=False, err=True)
    finally:
        if live:
            click.echo("\r" + " " * 40 + "\r", nl=False, err=True)


def _follow(cluster: Cluster, observer: Observer, *, quiet: bool) -> NoReturn:
    """Until Ctrl-C: a live table on a terminal, else the table once and a line per change.

    Raises ClusterError when all agents have ended.
    """
    pause = max(1.0, len(cluster.nodes) / 15)
    before: dict[str, str] = {}
    with ExitStack() as stack:
        screen = None
        if sys.stdout.isatty() and not quiet:
            from rich.console import Group
            from rich.live import Live
            from rich.text import Text

            screen = stack.enter_context(Live(auto_refresh=False))
            hint = Text("Ctrl-C ends the cluster", style="bright_black")
        while True:
            nodes = cluster.look()
            views = {} if quiet else observer.views(nodes)
            if screen is not None:
                wrong = [Text(line, style="red") for line in _wrongs(cluster_state.load(cluster.name))]
                screen.update(Group(rich_table(HEAD, _rows(nodes, views)), *wrong, hint), refresh=True)
            elif not quiet:
                before = report(nodes, views, before)
            time.sleep(pause)
            cluster.check_running()


def report(nodes: Sequence[Node], views: Mapping[str, View | None], before: dict[str, str]) -> dict[str, str]:
    """Print the table at first, later a line per member whose status changed; the statuses now."""
    rows = list(_rows(nodes, views))
    now = {row[0]: row[1] if row[1] == SILENT else f"{row[1]} (seen by {row[2]})" for row in rows}
    if not before:
        print_table(HEAD, rows)
    else:
        for name, status in now.items():
            if before.get(name) != status:
                click.echo(f"{text.clock()} {text.printable(name)}: {status}")
    sys.stdout.flush()
    return now


def _rows(nodes: Sequence[Node], views: Mapping[str, View | None]) -> Iterator[list[str]]:
    """A row per member that anybody sees: the commonest status, how many agents share it, where it is."""
    answered = [view for view in views.values() if view is not None]
    known = {node.member: node for node in nodes}
    for name in sorted({*known, *(member for view in answered for member in view)}, key=natural):
        seen = Counter(view.get(name, "unknown") for view in answered)
        status, agreed = seen.most_common(1)[0] if seen else (SILENT, 0)
        node = known.get(name)
        where = [node.gossip, node.url if node.http else "(serf)", _pid(node)] if node else ["", "", ""]
        yield [name, status, f"{agreed} of {len(answered)}", *where]


def _pid(node: Node) -> str:
    if not node.process.alive():
        return f"{node.process.pid} (ended)"
    return f"{node.process.pid} (stopped)" if node.process.stopped() else str(node.process.pid)


def _wrongs(state: ClusterState | None) -> list[str]:
    """A line for what is wrong in the cluster on purpose; none when nothing is."""
    found = cluster_world.wrongs(state) if state is not None else []
    return [f"faults: {text.printable('; '.join(found))}"] if found else []


def _described(
    name: str, pool: str, profile: str, encrypted: bool, nodes: Sequence[Node], views: Mapping[str, View | None]
) -> dict[str, Any]:
    """A cluster as JSON: what is wrong on purpose, the agents, and each one's view (null when it does not answer)."""
    state = cluster_state.load(name)
    return {
        "cluster": name,
        "pool": pool,
        "profile": profile,
        "encrypted": encrypted,
        "faults": cluster_world.wrongs(state) if state is not None else [],
        "agents": [
            {
                "name": node.name,
                "member": node.member,
                "kind": node.kind,
                "gossip": node.gossip,
                "http": node.url if node.http else None,
                "rpc": node.rpc,
                "pid": node.process.pid,
                "running": node.process.alive(),
                "stopped": node.process.stopped(),
                "view": views.get(node.name),
            }
            for node in nodes
        ],
    }


@command.command("status")
@name_option(None, "Only this cluster.  [default: all]")
@json_option
def status(name: str | None, as_json: bool) -> None:
    """Show the running clusters and what their agents see. Exit code 1 when the named one is not running."""
    cluster_state.sweep()
    known = [state for state in cluster_state.clusters() if name in (None, state.name)]
    found = [state for state in known if state.alive()]
    with Observer() as observer:
        views = {state.name: observer.views(state.nodes) for state in found}
    if as_json:
        print_json(
            [
                _described(state.name, state.pool, state.profile, state.encrypted, state.nodes, views[state.name])
                for state in found
            ]
        )
    else:
        for state in found:
            click.echo(_caption(state))
            for line in _wrongs(state):
                click.echo(line)
            print_table(HEAD, _rows(state.nodes, views[state.name]))
        for state in known:
            if state not in found:
                click.echo(_obituary(state))
    if name is not None and not found:
        raise click.ClickException(f"no cluster {name} is running; `moot cluster up 3{named(name)}` starts one")
    if not known and not as_json:
        click.echo("no cluster is running; `moot cluster up 3` starts one")


def _caption(state: ClusterState) -> str:
    if not state.ready:
        kind = "starting"
    elif state.supervisor is None:
        kind = "detached"
    else:
        kind = "attached"
    sealed = "encrypted" if state.encrypted else "plain"
    return (
        f"cluster {state.name}: {len(state.running())} of {text.count(len(state.nodes), 'agent')} running, "
        f"{state.pool} pool, {state.profile} profile, {sealed}, {kind}"
    )


def _obituary(state: ClusterState) -> str:
    logs = cluster_state.directory_of(state.name)
    return (
        f"cluster {state.name}: all its agents have ended; their logs are in {logs}, "
        f"`moot cluster down{named(state.name)}` removes them"
    )


@command.command("down")
@name_option("moot", "The cluster to end.")
@click.option("--all", "everything", is_flag=True, help="End every cluster of yours.")
@json_option
def down(name: str, everything: bool, as_json: bool) -> None:
    """End a cluster, detached or not: all its agents, by pid. Exit code 1 when it is not running."""
    cluster_state.sweep()
    found = [state for state in cluster_state.clusters() if everything or state.name == name]
    ended = {state.name: end_cluster(state) for state in found}
    if as_json:
        print_json([{"cluster": each, "agents_ended": number} for each, number in ended.items()])
    else:
        for each, number in ended.items():
            what = f"{text.count(number, 'agent')} ended" if number else "its agents had ended already"
            click.echo(f"cluster {each}: {what}")
        if everything and not ended:
            click.echo("no cluster is running")
    if not ended and not everything:
        raise click.ClickException(f"no cluster {name} is running; `moot cluster status` lists those that are")
