"""`moot sim converge`: how fast news spreads."""

import os
from functools import partial
from pathlib import Path

import click

from moot.agent.commands import sim_options
from moot.agent.console import json_option, print_json, print_table
from moot.agent.explorer import Workers
from moot.agent.interrupts import caught
from moot.agent.report import sweep_charts
from moot.gossip.config import PROFILES
from moot.gossip.errors import ConfigError
from moot.gossip.sim.convergence import Curve, expected, observed
from moot.gossip.sim.trial import Setting, event_times

SHARES = (0.5, 0.9, 0.99, 1.0)
STEP = 0.01
SPAN = 15.0
"""Seconds after which nobody waits any more."""


@click.command("converge")
@sim_options.nodes
@sim_options.loss
@sim_options.rtt
@click.option("--profile", type=click.Choice(list(PROFILES)), default="lan", show_default=True)
@click.option(
    "--interval", callback=sim_options.duration, metavar="TIME", help="gossip_interval.  [default: the profile's]"
)
@click.option("--fanout", type=click.IntRange(1, 100), metavar="N", help="gossip_nodes.  [default: the profile's]")
@click.option("--seeds", type=click.IntRange(0, 10_000), default=10, show_default=True, help="Simulated runs.")
@sim_options.jobs
@click.option(
    "--chart", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.svg", help="Draw both curves."
)
@json_option
def command(
    nodes: int,
    loss: float,
    rtt: float | None,
    profile: str,
    interval: float | None,
    fanout: int | None,
    seeds: int,
    jobs: int | None,
    chart: Path | None,
    as_json: bool,
) -> None:
    """Show when news is at so many members, by formula and as the mean of simulated runs.

    \b
    moot sim converge --nodes 1000 --interval 200ms --fanout 3 --loss 10% --chart spread.svg
    """
    if chart is not None:
        sweep_charts.require()
    changes = {"gossip_interval": interval, "gossip_nodes": fanout}
    engine = tuple((name, float(value)) for name, value in changes.items() if value is not None)
    try:
        setting = Setting(nodes=nodes, loss=loss, rtt=rtt, profile=profile, engine=engine)
        curves = {"formula": expected(nodes, setting.swim(), loss, SPAN)}
    except ConfigError as error:
        raise click.UsageError(str(error)) from None
    if seeds:
        with caught("nothing is kept") as interrupts, Workers(jobs or os.cpu_count() or 1, interrupts) as workers:
            runs = list(workers.each(partial(event_times, setting, seconds=SPAN), range(1, seeds + 1)))
        curves["simulated"] = observed(runs, nodes, STEP, SPAN)
    if as_json:
        print_json({name: _reached(curve, nodes) for name, curve in curves.items()})
    else:
        print_table(
            ["", *(f"{share:.0%}" for share in SHARES)],
            [[name, *map(_shown, _reached(curve, nodes).values())] for name, curve in curves.items()],
        )
    if chart is not None:
        done = [curve.reaches(0.999) or SPAN for curve in curves.values()]
        swim = setting.swim()
        title = f"{nodes} members, {swim.gossip_nodes} each {swim.gossip_interval:g} s, {loss:.0%} loss"
        sweep_charts.draw_curves(curves, title, min(SPAN, 1.3 * max(done)), chart)


def _reached(curve: Curve, nodes: int) -> dict[str, float | None]:
    """When each share is reached; all is when less than half a member is missing."""
    return {f"{share:g}": curve.reaches(min(share, 1.0 - 0.5 / nodes)) for share in SHARES}


def _shown(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.2f} s"
