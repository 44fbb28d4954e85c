"""`moot sim explore`: many seeds of scenarios on all cores, and the smallest run of what goes wrong."""

import os
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from moot.agent import kept, text
from moot.agent.console import json_option, print_json
from moot.agent.explorer import Tally, Violation, Workers, explore, shrunk
from moot.agent.interrupts import caught
from moot.gossip.amounts import share
from moot.gossip.errors import ConfigError
from moot.gossip.sim import library
from moot.gossip.sim.finding import CRASH
from moot.gossip.sim.monkey import check_faults
from moot.gossip.sim.scenario import Scenario, Step
from moot.gossip.sim.scenario_file import dump
from moot.gossip.sim.schedules import PLAIN, Variation
from moot.gossip.sim.shrink import RUNS_MAX, Shrunk, Trial

if TYPE_CHECKING:
    from rich.progress import Progress

SEEDS = 1000


@dataclass(frozen=True, slots=True)
class Wish:
    """What to explore, as it was asked for."""

    names: tuple[str, ...]
    seeds: range
    variation: Variation
    wire: bool
    keep_going: bool
    shrink_runs: int
    out: Path


@dataclass(frozen=True, slots=True)
class Smallest:
    """A violation, the smallest run of it, and the file that it was written to."""

    violation: Violation
    shrunk: Shrunk
    path: Path


def completed(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Names of the library."""
    return [name for name in library.names() if name.startswith(incomplete)]


def _share(_ctx: click.Context, _param: click.Parameter, value: str) -> float:
    try:
        return share(value)
    except ConfigError as error:
        raise click.BadParameter(str(error)) from None


def _faults(_ctx: click.Context, _param: click.Parameter, value: str) -> tuple[str, ...]:
    found = tuple(filter(None, value.split(",")))
    try:
        if found:
            check_faults(found)
    except ConfigError as error:
        raise click.BadParameter(str(error)) from None
    return found


@click.command("explore")
@click.argument("names", nargs=-1, metavar="NAME|FILE...", shell_complete=completed)
@click.option("--all", "everything", is_flag=True, help="All scenarios of the library.")
@click.option("--seeds", type=click.IntRange(min=1), default=SEEDS, show_default=True, help="How many to try.")
@click.option("--from", "first", type=int, default=1, show_default=True, metavar="SEED", help="The first of them.")
@click.option("--jobs", type=click.IntRange(1, 256), metavar="N", help="Processes.  [default: one for each core]")
@click.option(
    "--jitter", default="25%", show_default=True, callback=_share, help="How much pauses may be longer or shorter."
)
@click.option("--as-is", is_flag=True, help="Change nothing but the course of the run: no jitter, no other roles.")
@click.option("--faults", default="", callback=_faults, metavar="KIND,KIND", help="First a storm of such faults.")
@click.option("--wire", is_flag=True, help="Send real bytes.")
@click.option("--keep-going", is_flag=True, help="Play all seeds, and shrink the first violation of each kind.")
@click.option(
    "--shrink-runs", type=click.IntRange(min=0), default=RUNS_MAX, show_default=True, help="0 is not to shrink."
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    metavar="DIR",
    help="Where to write the smallest run.  [default: here]",
)
@json_option
def command(
    names: tuple[str, ...],
    everything: bool,
    seeds: int,
    first: int,
    jobs: int | None,
    jitter: float,
    as_is: bool,
    faults: tuple[str, ...],
    wire: bool,
    keep_going: bool,
    shrink_runs: int,
    out: Path,
    as_json: bool,
) -> None:
    """Play scenarios under many seeds, and look for violations.

    Each seed gives members other roles, moves the steps a little, and draws what happens by chance. The first
    violation is shrunk to the smallest run that still fails the same checker, which is written as a scenario file.
    Exit codes: 0 when nothing was violated, 1 when something was.
    """
    chosen = tuple(library.names()) if everything else names
    if not chosen:
        raise click.UsageError("give a scenario's name or file, or --all; `moot lab list` has the names")
    try:
        scenarios = [kept.scenario(name) for name in chosen]
    except ConfigError as error:
        raise click.UsageError(str(error)) from None
    variation = replace(PLAIN, faults=faults) if as_is else Variation(jitter=jitter, faults=faults)
    wish = Wish(chosen, range(first, first + seeds), variation, wire, keep_going, shrink_runs, out)
    began = time.monotonic()
    with caught() as interrupts, Workers(jobs or os.cpu_count() or 1, interrupts) as workers:
        tallies, smallest = _explore_all(wish, scenarios, workers, as_json=as_json)
    seconds = time.monotonic() - began
    if as_json:
        print_json(_as_json(wish, tallies, smallest, seconds))
    else:
        runs, events = (sum(getattr(tally, key) for tally in tallies) for key in ("run_count", "event_count"))
        hours = sum(tally.seconds for tally in tallies) / 3600
        found = text.count(sum(len(tally.violations) for tally in tallies), "violation")
        click.echo(
            f"{text.count(runs, 'run')}, {found}: {hours:.1f} virtual hours, {events:,} events in {seconds:.0f} s"
        )
    if any(tally.violations for tally in tallies):
        raise click.exceptions.Exit(1)


def _explore_all(
    wish: Wish, scenarios: Sequence[Scenario], workers: Workers, *, as_json: bool
) -> tuple[list[Tally], list[Smallest]]:
    tallies: list[Tally] = []
    smallest: list[Smallest] = []
    with _progress() as progress:
        for name, scenario in zip(wish.names, scenarios, strict=True):
            bar = progress.add_task(text.printable(scenario.name), total=len(wish.seeds), runs="")
            tally = explore(
                scenario,
                wish.seeds,
                wish.variation,
                workers,
                wire=wish.wire,
                keep_going=wish.keep_going,
                told=lambda so_far, bar=bar: progress.update(bar, completed=so_far.run_count),  # type: ignore[misc]  # mypy sees no default
            )
            progress.remove_task(bar)
            tallies.append(tally)
            if not as_json:
                _show(progress, wish, name, tally)
            kinds = {violation.finding.check: violation for violation in reversed(tally.violations)}
            for violation in reversed(kinds.values()) if wish.shrink_runs else ():
                found = _shrink(progress, wish, violation, workers)
                smallest.append(found)
                if not as_json:
                    _show_smallest(progress, found)
            if tally.violations and not wish.keep_going:
                break
    return tallies, smallest


def _shrink(progress: "Progress", wish: Wish, violation: Violation, workers: Workers) -> Smallest:
    bar = progress.add_task(f"shrinking {violation.finding.check}", total=wish.shrink_runs)

    def told(best: Trial, runs: int) -> None:
        progress.update(bar, completed=runs, description=f"shrinking to {size_of(best.scenario)}")

    found = shrunk(violation, workers, wire=wish.wire, runs_max=wish.shrink_runs, told=told)
    progress.remove_task(bar)
    scenario = found.trial.scenario
    name = f"{scenario.name}-{violation.finding.check}-{violation.seed}"
    wrong = f"{violation.finding.check}, {violation.finding.summary}"
    story = f"The smallest run found of {scenario.name}, seed {violation.seed}: {wrong}."
    wish.out.mkdir(parents=True, exist_ok=True)
    path = wish.out / f"{name.replace('/', '-')}.toml"
    path.write_text(dump(replace(scenario, name=name, story=story)), encoding="utf-8")
    return Smallest(violation, found, path)


def size_of(scenario: Scenario) -> str:
    """`3 members, 2 steps, 2 actions`."""
    actions = sum(len(step.do) for step in scenario.steps if isinstance(step, Step))
    parts = [(scenario.cluster.size, "member"), (len(scenario.steps), "step"), (actions, "action")]
    return ", ".join(text.count(number, noun) for number, noun in parts)


def _show(progress: "Progress", wish: Wish, name: str, tally: Tally) -> None:
    outcomes = ", ".join(f"{tally.outcomes[word]} {word}" for word in ("holds", "violated", "unknown"))
    _say(progress, f"{text.printable(name)}: {text.count(tally.run_count, 'run')}, properties: {outcomes}")
    kinds: dict[str, list[Violation]] = {}
    for violation in tally.violations:
        kinds.setdefault(violation.finding.check, []).append(violation)
    for check, violations in kinds.items():
        finding = violations[0].finding
        seeds = ", ".join(str(violation.seed) for violation in violations[:10])
        more = f" and {len(violations) - 10} more" if len(violations) > 10 else ""
        _say(progress, f"   violated  {check}: {text.printable(finding.summary)} (seed {seeds}{more})")
        _say(progress, f"             {text.printable(finding.evidence)}")
        _say(progress, f"             replay: {_as_found(wish, name, violations[0].seed)}")


def _show_smallest(progress: "Progress", found: Smallest) -> None:
    shrunk = found.shrunk
    rest = "" if shrunk.complete else "; more runs may make it smaller, see --shrink-runs"
    before, after = size_of(found.violation.scenario), size_of(shrunk.trial.scenario)
    _say(
        progress,
        f"   shrunk    {found.violation.finding.check}: {before} to {after} in {shrunk.run_count} runs{rest}",
    )
    _say(progress, f"             replay: {_replay(found)}")


def _replay(found: Smallest) -> str:
    return f"moot sim run {shlex.quote(str(found.path))} --seed {found.shrunk.trial.seed}"


def _as_found(wish: Wish, name: str, seed: int) -> str:
    """The command that plays one seed as it was explored."""
    words = ["moot", "sim", "explore", name, "--from", str(seed), "--seeds", "1"]
    variation = wish.variation
    if not variation.roles:
        words.append("--as-is")
    elif variation.jitter != Variation().jitter:
        words += ["--jitter", f"{variation.jitter:g}"]
    words += ["--faults", ",".join(variation.faults)] if variation.faults else []
    return shlex.join([*words, "--wire"] if wish.wire else words)


def _say(progress: "Progress", line: str) -> None:
    """A line on stdout, above the bar if there is one."""
    progress.stop()
    click.echo(line)
    sys.stdout.flush()
    progress.start()


@contextmanager
def _progress() -> Iterator["Progress"]:
    """A bar on stderr, where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield progress


def _as_json(wish: Wish, tallies: list[Tally], smallest: list[Smallest], seconds: float) -> dict[str, Any]:
    names = dict(zip(wish.names, tallies, strict=False))
    return {
        "runs": sum(tally.run_count for tally in tallies),
        "seconds": round(seconds, 3),
        "virtual_seconds": round(sum(tally.seconds for tally in tallies), 3),
        "events": sum(tally.event_count for tally in tallies),
        "scenarios": [
            {
                "scenario": name,
                "runs": tally.run_count,
                "properties": dict(sorted(tally.outcomes.items())),
                "violations": [
                    {
                        "seed": each.seed,
                        "check": each.finding.check,
                        "crash": each.finding.check == CRASH,
                        "summary": each.finding.summary,
                        "evidence": each.finding.evidence,
                        "command": _as_found(wish, name, each.seed),
                    }
                    for each in tally.violations
                ],
            }
            for name, tally in names.items()
        ],
        "smallest": [
            {
                "check": each.violation.finding.check,
                "file": str(each.path),
                "seed": each.shrunk.trial.seed,
                "members": each.shrunk.trial.scenario.cluster.size,
                "steps": len(each.shrunk.trial.scenario.steps),
                "runs": each.shrunk.run_count,
                "complete": each.shrunk.complete,
                "command": _replay(each),
            }
            for each in smallest
        ],
    }
