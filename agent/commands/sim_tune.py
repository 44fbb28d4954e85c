"""`moot sim tune`: timing for a pool that does not exist yet."""

import os
from collections.abc import Sequence
from pathlib import Path

import click

from moot.agent.commands import sim_options
from moot.agent.commands.sim_progress import progress
from moot.agent.console import json_option, print_json, print_table
from moot.agent.interrupts import caught
from moot.agent.report import sweep_charts
from moot.agent.sweep_workers import by_processes
from moot.agent.tune import Candidate, Goal, frontier, judge, proposal, settings, tasks_of
from moot.gossip.amounts import seconds_text
from moot.gossip.errors import ConfigError
from moot.gossip.sim.trial import Measured, Setting

HEAD = ["", "probe_interval", "suspicion_mult", "detect s", "false/member·h", "B/member·s"]


@click.command("tune")
@sim_options.nodes
@sim_options.loss
@sim_options.rtt
@click.option(
    "--detect-within", "within", default="10s", show_default=True, callback=sim_options.duration, metavar="TIME",
    help="In which 95 % of crashes are declared by somebody.",
)  # fmt: skip
@click.option(
    "--false-failures-below", "below", type=click.FloatRange(min=0, min_open=True), default=0.1, show_default=True,
    metavar="RATE", help="Members wrongly declared, per member and hour.",
)  # fmt: skip
@click.option("--seeds", type=click.IntRange(1, 10_000), default=10, show_default=True, help="Trials per setting.")
@click.option(
    "--watch", type=click.FloatRange(10, 36_000), default=60.0, show_default=True, metavar="SECONDS",
    help="Virtual seconds of each.",
)  # fmt: skip
@sim_options.jobs
@click.option("--chart", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.svg", help="Draw the curve.")
@json_option
def command(
    nodes: int,
    loss: float,
    rtt: float | None,
    within: float,
    below: float,
    seeds: int,
    watch: float,
    jobs: int | None,
    chart: Path | None,
    as_json: bool,
) -> None:
    """Propose timing for a pool, and show what else could be had.

    \b
    moot sim tune --nodes 128 --loss 5% --rtt 50ms --detect-within 10s --false-failures-below 0.1

    Settings are tried on a simulated pool. Those of which none is better in every respect are listed, fastest first;
    the proposal is marked. Exit codes: 0 with a proposal, 1 when none does what is asked.
    """
    goal = Goal(detect_within=within, false_below=below)
    if chart is not None:
        sweep_charts.require()
    try:
        tried = settings(nodes, loss, rtt, goal)
    except ConfigError as error:
        raise click.ClickException(str(error)) from None
    tasks = tasks_of(tried, seeds, watch)
    found: dict[Setting, list[Measured]] = {setting: [] for setting in tried}
    with caught("nothing is kept") as interrupts, progress("trials", len(tasks)) as advance:
        for task, measured in by_processes(tasks, jobs or os.cpu_count() or 1, interrupts):
            found[task.setting].append(measured)
            advance()
    candidates = [judge(setting, trials) for setting, trials in found.items()]
    chosen, best = proposal(candidates, goal), frontier(candidates)
    shown = best if chosen is None or chosen in best else [chosen, *best]
    if as_json:
        print_json(_as_json(shown, chosen))
    else:
        _tell(shown, chosen, goal, seeds)
    if chart is not None:
        sweep_charts.draw_tradeoff(candidates, best, chosen, chart)
    if chosen is None:
        raise click.exceptions.Exit(1)


def _tell(shown: Sequence[Candidate], chosen: Candidate | None, goal: Goal, seeds: int) -> None:
    print_table(HEAD, [_cells(each, chosen) for each in shown])
    if chosen is None:
        click.echo(
            f"\nno setting detects within {goal.detect_within:g} s with less than {goal.false_below:g} false "
            "failures per member and hour; allow more of one of them"
        )
        return
    click.echo("\nfor the configuration of each agent:\n\n[moot.timing]")
    for name, value in chosen.engine.items():
        click.echo(f"{name} = {value:g}" if name == "suspicion_mult" else f'{name} = "{seconds_text(value)}"')
    if chosen.false.high >= goal.false_below:
        click.echo(
            f"\nit may be up to {chosen.false.high:.2g} false failures per member and hour (95 %): with {seeds} "
            "seeds of this length no more can be said; --seeds and --watch make it surer"
        )


def _cells(each: Candidate, chosen: Candidate | None) -> list[str]:
    interval = f"{each.false.value:.3g} [{each.false.low:.2g}, {each.false.high:.2g}]"
    engine = each.engine
    return [
        "→" if each is chosen else "",
        seconds_text(engine["probe_interval"]),
        f"{engine['suspicion_mult']:g}",
        f"{each.detect_s:.1f}",
        interval,
        f"{each.bytes:.0f}",
    ]


def _as_json(shown: Sequence[Candidate], chosen: Candidate | None) -> dict[str, object]:
    def one(each: Candidate) -> dict[str, object]:
        return {
            **each.engine,
            "detect_s": None if each.detect_s == float("inf") else each.detect_s,
            "false_per_member_hour": {"value": each.false.value, "low": each.false.low, "high": each.false.high},
            "bytes_per_member_s": each.bytes,
        }

    return {"proposal": None if chosen is None else one(chosen), "curve": [one(each) for each in shown]}
