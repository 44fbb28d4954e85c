"""`moot sim run`: scenarios on simulated members, with verdicts and a digest of all that happened."""

import shlex
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from moot.agent import kept, text, verdict_lines
from moot.agent.commands.sim_explore import completed
from moot.agent.console import json_option, print_json
from moot.agent.interrupts import Interrupts, caught
from moot.gossip.errors import ConfigError
from moot.gossip.sim import library
from moot.gossip.sim.finding import ENGINE_FAULTS
from moot.gossip.sim.history import Ended
from moot.gossip.sim.lab import Result, run
from moot.gossip.sim.scenario import Scenario
from moot.gossip.sim.verdicts import Outcome


@dataclass(frozen=True, slots=True)
class Run:
    """A scenario, its seed, and what came of it: a result, or in `fault` what the engine itself raised."""

    scenario: Scenario
    seed: int
    command: str
    """What plays it again."""
    took: float
    result: Result | None = None
    fault: str = ""

    @property
    def title(self) -> str:
        return f"{self.scenario.name} (seed {self.seed})"

    @property
    def exit_code(self) -> int:
        return 1 if self.fault else verdict_lines.exit_code(self.result)


@click.command("run")
@click.argument("names", nargs=-1, metavar="NAME|FILE...", shell_complete=completed)
@click.option("--all", "everything", is_flag=True, help="All scenarios of the library.")
@click.option("--seed", type=int, default=1, show_default=True, help="What chance goes by.")
@click.option(
    "--repeat", type=click.IntRange(1, 100_000), default=1, metavar="N", help="Run each N times, with N seeds."
)
@click.option("--wire", is_flag=True, help="Send real bytes, encrypted where there are keys; the digest is the same.")
@click.option("--report", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Write a report.")
@json_option
def command(
    names: tuple[str, ...], everything: bool, seed: int, repeat: int, wire: bool, report: Path | None, as_json: bool
) -> None:
    """Run scenarios on simulated members: the verdicts, and a digest of the whole history.

    The same scenario and seed give the same digest in every process, on every Python. Exit codes: 0 when all came out
    as the scenario expects, 1 when something did not, 2 when it could not be told.
    """
    chosen = tuple(library.names()) if everything else names
    if not chosen:
        raise click.UsageError("give a scenario's name or file, or --all; `moot lab list` has the names")
    try:
        scenarios = [(name, kept.scenario(name)) for name in chosen]
    except ConfigError as error:
        raise click.UsageError(str(error)) from None
    if report is not None:
        from moot.agent.report.write import require_libraries

        require_libraries()
    found = []
    with caught() as interrupts:
        for name, scenario in scenarios:
            for each in range(seed, seed + repeat):
                found.append(_run(name, scenario, each, interrupts, wire=wire))
                if not as_json:
                    _show(found[-1])
    if as_json:
        print_json(
            {"as_expected": not any(each.exit_code for each in found), "runs": [_json(each) for each in found]}
        )
    if report is not None:
        _report(found, report)
    if not as_json and len(found) > 1:
        good = sum(not each.exit_code for each in found)
        click.echo(f"{good} of {text.count(len(found), 'run')} as expected")
    raise click.exceptions.Exit(verdict_lines.worst([each.exit_code for each in found]))


def _run(name: str, scenario: Scenario, seed: int, interrupts: Interrupts, *, wire: bool) -> Run:
    words = ["moot", "sim", "run", name, "--seed", str(seed), *(["--wire"] if wire else [])]
    began = time.monotonic()
    result, fault = None, ""
    try:
        with interrupts.allowed():
            result = run(scenario, seed, wire=wire)
    except ENGINE_FAULTS:
        fault = traceback.format_exc()
    return Run(scenario, seed, shlex.join(words), time.monotonic() - began, result, fault)


def _show(each: Run) -> None:
    if each.result is None:
        verdict_lines.show_line("crash", Outcome.VIOLATED, f"{each.title}: the engine itself failed")
        click.echo(each.fault, err=True)
    else:
        verdict_lines.show(each.title, each.result)
        seconds = max((ended.at for ended in each.result.history.of(Ended)), default=0.0)
        members = text.count(each.scenario.cluster.size, "member")
        click.echo(
            f"     digest  {each.result.digest}, {members}, {seconds:.1f} virtual seconds in {each.took:.2f} s"
        )
    if each.exit_code:
        click.echo(f"     replay  {text.printable(each.command)}")


def _json(each: Run) -> dict[str, Any]:
    head = {"scenario": each.scenario.name, "seed": each.seed, "command": each.command}
    if each.result is None:
        return head | {"error": each.fault}
    return head | verdict_lines.as_json(each.result)


def _report(found: Sequence[Run], directory: Path) -> None:
    results = [each.result for each in found if each.result is not None]
    if results:
        from moot.agent.report.write import write_report

        command = found[0].command if len(found) == 1 else ""
        click.echo(f"report: {write_report(results, directory, command=command).page}", err=True)
