"""`moot sim sweep`: a grid of parameters, tried under many seeds."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from moot.agent import text
from moot.agent.commands.sim_progress import progress
from moot.agent.console import json_option, print_json, print_table
from moot.agent.interrupts import caught
from moot.agent.report import sweep_charts
from moot.agent.sweep import Axis, Sweep, axis
from moot.agent.sweep_store import ROWS, Store, opened, write_parquet
from moot.agent.sweep_table import Estimate, Point, points_of
from moot.agent.sweep_workers import by_dask, by_processes
from moot.gossip.config import PROFILES
from moot.gossip.errors import ConfigError
from moot.gossip.sim.trial import WATCH

HEAD = ["detect s", "known s", "event s", "false/member·h", "B/member·s", "trials"]


def _axes(_ctx: click.Context, _param: click.Parameter, values: Sequence[str]) -> tuple[Axis, ...]:
    try:
        found = tuple(axis(value) for value in values)
    except ConfigError as error:
        raise click.BadParameter(str(error)) from None
    names = [each.name for each in found]
    if len(set(names)) < len(names):
        raise click.BadParameter("each parameter once; write all its values behind one =")
    return found


def _nodes(_ctx: click.Context, _param: click.Parameter, value: str) -> Axis:
    words = value.split(",")
    if not all(word.isdecimal() for word in words):
        raise click.BadParameter(f"{value!r} are no sizes; write them like 32,128,512")
    return Axis("nodes", tuple(dict.fromkeys(float(word) for word in words)))


@click.command("sweep")
@click.option(
    "--param", "params", multiple=True, callback=_axes, metavar="NAME=A..B[/N]|A,B,...",
    help="loss, rtt, or a parameter of the engine, and its values; repeatable.",
)  # fmt: skip
@click.option("--nodes", default="128", show_default=True, callback=_nodes, metavar="N,N", help="Sizes of the pool.")
@click.option("--seeds", type=click.IntRange(1, 100_000), default=20, show_default=True, help="Trials at each point.")
@click.option("--profile", type=click.Choice(list(PROFILES)), default="lan", show_default=True)
@click.option(
    "--watch", type=click.FloatRange(10, 36_000), default=WATCH, show_default=True, metavar="SECONDS",
    help="Virtual seconds of a trial in which false failures are counted, at least.",
)  # fmt: skip
@click.option("--jobs", type=click.IntRange(1, 256), metavar="N", help="Processes.  [default: one for each core]")
@click.option("--scheduler", metavar="tcp://HOST:PORT", help="Let the workers of a Dask scheduler play the trials.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
    help="Where results are kept, and found again.  [default: sweep-…, of a name of its own for each sweep]",
)  # fmt: skip
@json_option
def command(
    params: tuple[Axis, ...],
    nodes: Axis,
    seeds: int,
    profile: str,
    watch: float,
    jobs: int | None,
    scheduler: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Try a pool at every point of a grid: detection, false failures, bytes, convergence.

    \b
    moot sim sweep --param suspicion_mult=2..8 --param loss=0..0.3 --nodes 32,128 --seeds 20

    In each trial a settled pool is sent an event and loses a member's host. Rows go to results.csv as trials end; the
    same command goes on where it was interrupted, and more --seeds add to what is there.
    """
    try:
        sweep = Sweep(axes=(nodes, *params), seeds=seeds, profile=profile, watch=watch)
        tasks = sweep.tasks()
    except ConfigError as error:
        raise click.UsageError(str(error)) from None
    folder = out or Path(f"sweep-{sweep.identity()}")
    with caught(f"the same command goes on with {folder / ROWS}") as interrupts, opened(folder, sweep) as store:
        missing = store.missing(tasks)
        if len(missing) < len(tasks):
            click.echo(f"{len(tasks) - len(missing)} of {len(tasks)} trials are there already", err=True)
        with progress("trials", len(tasks), done=len(tasks) - len(missing)) as advance:
            played = (
                by_dask(missing, scheduler, interrupts)
                if scheduler
                else by_processes(missing, jobs or os.cpu_count() or 1, interrupts)
            )
            for task, measured in played:
                store.add(task, measured)
                advance()
        _tell(store, sweep, as_json=as_json)


def _tell(store: Store, sweep: Sweep, *, as_json: bool) -> None:
    axes = [each.name for each in sweep.axes]
    points = points_of(store.rows, axes)
    files = [store.folder / ROWS]
    missing = []
    parquet = write_parquet(store)
    if parquet is None:
        missing.append("pyarrow for Parquet")
    else:
        files.append(parquet)
    if sweep_charts.available():
        files += sweep_charts.draw(points, axes, store.folder)
    else:
        missing.append("matplotlib for charts")
    if as_json:
        print_json({"points": [_as_json(point) for point in points], "files": [str(path) for path in files]})
        return
    print_table([*axes, *HEAD], [_cells(point, axes) for point in points])
    click.echo(f"\nmedians (rates: means) with 95 % confidence intervals; in {text.printable(str(store.folder))}:")
    click.echo(text.printable("  " + " ".join(path.name for path in files)))
    missed = sum(point.missed for point in points)
    if missed:
        click.echo(f"{text.count(missed, 'trial')} in which not all learned of the crash or of the event; see {ROWS}")
    sys.stdout.flush()
    if missing:
        click.echo(f"missing: {' and '.join(missing)}; pip install 'moot[sim]'", err=True)


def _cells(point: Point, axes: Sequence[str]) -> list[str]:
    return [
        *(f"{point.at[name]:g}" for name in axes),
        *(shown(each) for each in (point.detect_s, point.known_s, point.converge_s)),
        shown(point.false_per_member_hour),
        shown(point.bytes_per_member_s),
        str(point.trials),
    ]


def shown(estimate: Estimate | None) -> str:
    """`7.4 [7.1, 8.0]`."""
    if estimate is None:
        return "never"
    return f"{estimate.value:.3g} [{estimate.low:.3g}, {estimate.high:.3g}]"


def _as_json(point: Point) -> dict[str, object]:
    def interval(estimate: Estimate | None) -> dict[str, float] | None:
        return None if estimate is None else {"value": estimate.value, "low": estimate.low, "high": estimate.high}

    names = ("detect_s", "known_s", "converge_s", "false_per_member_hour", "bytes_per_member_s")
    return {
        **point.at,
        "trials": point.trials,
        "missed": point.missed,
        **{name: interval(getattr(point, name)) for name in names},
    }
