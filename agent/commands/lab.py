"""`moot lab`: run scenarios on real agents or simulated ones, and judge what happened."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any, NoReturn

import click

from moot.agent import kept, text, verdict_lines
from moot.agent.cluster_places import AGENTS_MAX
from moot.agent.commands import lab_report
from moot.agent.commands.agent import inherited
from moot.agent.console import json_option, print_json, print_table
from moot.agent.interrupts import caught
from moot.agent.lab_runs import Ran, Task, hang_on, run_all
from moot.gossip.errors import ConfigError
from moot.gossip.sim import library
from moot.gossip.sim.lab import Result
from moot.gossip.sim.scenario import Scenario
from moot.gossip.sim.scenario_file import load
from moot.gossip.sim.verdicts import Outcome

TIMEOUT = 600.0


@click.group("lab")
def command() -> None:
    """Run scenarios: a pool, what is done to it, and what must hold. `moot lab list` has those that there are.

    Exit codes: 0 when all came out as the scenario expects, 1 when something did not, 2 when it could not be told.
    """


command.add_command(lab_report.report)


def _scenarios(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> list[Scenario]:
    try:
        return [kept.scenario(value) for value in values]
    except ConfigError as error:
        raise click.BadParameter(str(error)) from None


def _completed(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in library.names() if name.startswith(incomplete)]


@command.command("run")
@click.argument("scenarios", nargs=-1, metavar="NAME|FILE...", callback=_scenarios, shell_complete=_completed)
@click.option("--all", "everything", is_flag=True, help="All scenarios of the library.")
@click.option("--seed", type=int, default=1, show_default=True, help="What chance goes by.")
@click.option(
    "--repeat", type=click.IntRange(1, 1000), default=1, metavar="N", help="Run each N times, with N seeds."
)
@click.option(
    "--sim/--processes", "simulated", default=False, help="On simulated members, or on real agents.  [default: real]"
)
@click.option("--in-process", is_flag=True, help="Let our agents share a process per core.")
@click.option(
    "--serf", type=click.IntRange(0, AGENTS_MAX), metavar="K", help="K of the agents are real serf agents, or all."
)
@click.option("--jobs", type=click.IntRange(1, 16), default=1, show_default=True, help="Runs side by side.")
@click.option("--report", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Write a report.")
@click.option("--keep", is_flag=True, help="Let the agents live on: `moot cluster status` lists them.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=1.0),
    default=TIMEOUT,
    show_default=True,
    metavar="SECONDS",
    help="Give a run up after that, which is exit code 2.",
)
@click.option("--history", type=click.Path(dir_okay=False, path_type=Path), hidden=True)
@click.option("--logs", type=click.Path(file_okay=False, path_type=Path), hidden=True)
@click.option("--lifeline", type=int, hidden=True, callback=inherited)
@json_option
def run(
    scenarios: list[Scenario],
    everything: bool,
    seed: int,
    repeat: int,
    simulated: bool,
    in_process: bool,
    serf: int | None,
    jobs: int,
    report: Path | None,
    keep: bool,
    timeout: float,
    history: Path | None,
    logs: Path | None,
    lifeline: int | None,
    as_json: bool,
) -> None:
    """Run scenarios, and judge what happened. What goes on is told on stderr, verdicts on stdout as they come.

    Each run has agents and addresses of its own, which end with it, also on Ctrl-C (exit code 130).
    """
    chosen = [library.scenario(name) for name in library.names()] if everything else scenarios
    if not chosen:
        raise click.UsageError("give a scenario's name or file, or --all; `moot lab list` has the names")
    if keep and (simulated or len(chosen) * repeat > 1):
        raise click.UsageError("only a single run on processes can be kept")
    if report is not None:
        from moot.agent.report.write import require_libraries

        require_libraries()
    if in_process and simulated:
        raise click.UsageError("simulated members are in one process anyway")
    if serf and simulated:
        raise click.UsageError("there are no real serf agents among simulated members")
    if serf is not None:
        chosen = [_with_serf(scenario, serf) for scenario in chosen]
    if lifeline is not None:
        hang_on(lifeline)
    tasks = [
        Task(scenario, number, simulated, keep, inf if simulated else timeout, in_process)
        for scenario in chosen
        for number in range(seed, seed + repeat)
    ]
    several = len(tasks) > 1

    def tell(task: Task, words: str) -> None:
        click.echo(f"{task}: {words}" if several else words, err=True)

    found = []
    with caught() as interrupts:
        for ran in run_all(tasks, interrupts, tell, jobs=jobs, logs=_folder_of_logs(report, logs)):
            found.append(ran)
            if ran.result is not None and history is not None:
                _write_history(ran.result, history)
            if not as_json:
                _show(ran)
    _conclude(found, report, as_json=as_json)


def _with_serf(scenario: Scenario, count: int) -> Scenario:
    spec = scenario.cluster
    return replace(scenario, cluster=replace(spec, serf=min(count, spec.size)))


def _folder_of_logs(report: Path | None, logs: Path | None) -> Path | None:
    return report / "logs" if report is not None else logs


def _write_history(result: Result, path: Path) -> None:
    fresh = path.with_suffix(".new")
    with fresh.open("w") as file:
        file.writelines(f"{line}\n" for line in result.history.dump())
    fresh.replace(path)


def _show(ran: Ran) -> None:
    """Lines about one run, as soon as it is over."""
    if ran.result is None:
        verdict_lines.show_line("could not be run", Outcome.UNKNOWN, f"{ran.task}: {ran.error}")
        sys.stdout.flush()
    else:
        verdict_lines.show(str(ran.task), ran.result)


def _conclude(found: Sequence[Ran], report: Path | None, *, as_json: bool) -> NoReturn:
    """Print the JSON, write the report, and end with the exit code."""
    results = [ran.result for ran in found if ran.result is not None]
    if as_json:
        print_json(_as_json(found))
    if report is not None and results:
        from moot.agent.report.write import RunLogs, write_report

        logs = [RunLogs(ran.began, ran.logs) for ran in found if ran.result is not None]
        paths = write_report(results, report, logs=logs)
        click.echo(f"report: {paths.page}", err=True)
    if not as_json and len(found) > 1:
        good = sum(result.as_expected for result in results)
        click.echo(f"{good} of {text.count(len(found), 'run')} as expected")
    raise click.exceptions.Exit(verdict_lines.worst([verdict_lines.exit_code(ran.result) for ran in found]))


def _as_json(found: Sequence[Ran]) -> dict[str, Any]:
    good = not any(verdict_lines.exit_code(ran.result) for ran in found)
    return {"as_expected": good, "runs": [_run_as_json(ran) for ran in found]}


def _run_as_json(ran: Ran) -> dict[str, Any]:
    head: dict[str, Any] = {"scenario": ran.task.scenario.name, "seed": ran.task.seed}
    return head | ({"error": ran.error} if ran.result is None else verdict_lines.as_json(ran.result))


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the scenarios of the library. Under serf stands what real serf agents make of it, where that differs."""
    found = [library.scenario(name) for name in library.names()]
    if as_json:
        print_json([_described(scenario) for scenario in found])
        return
    rows = [
        [each["name"], str(each["members"]), "yes" if each["serf_differs"] else "", each["line"]]
        for each in map(_described, found)
    ]
    print_table(["Name", "Members", "Serf differs", "Story"], rows)


def _described(scenario: Scenario) -> dict[str, Any]:
    first, _, _ = " ".join(scenario.story.split()).partition(". ")
    return {
        "name": scenario.name,
        "line": first.rstrip("."),
        "members": scenario.cluster.size,
        "serf": scenario.cluster.serf,
        "serf_differs": any(expect.serf not in ("", expect.verdict) for expect in scenario.expects),
        "source": list(scenario.source),
    }


@command.command("show")
@click.argument("name", metavar="NAME|FILE", shell_complete=_completed)
@json_option
def show(name: str, as_json: bool) -> None:
    """Show a scenario: its story, where it comes from, and its file."""
    found = kept.scenario_text(name)
    if as_json:
        print_json(_described(load(found, name)) | {"story": load(found, name).story, "text": found})
    else:
        click.echo(found, nl=not found.endswith("\n"))


@command.command("check")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@json_option
def check(files: tuple[str, ...], as_json: bool) -> None:
    """Check scenario files. What is wrong is told with line and key; exit code 1 then."""
    found = []
    for name in files:
        try:
            scenario, error = kept.scenario(name), ""
        except ConfigError as wrong:
            scenario, error = None, str(wrong)
        found.append({"file": name, "error": error})
        if scenario is None:
            click.echo(f"moot: {text.printable(error)}", err=True)
        elif not as_json:
            parts = [text.count(len(scenario.steps), "step"), text.count(len(scenario.expects), "expectation")]
            members = text.count(scenario.cluster.size, "member")
            click.echo(f"{text.printable(name)}: {text.printable(scenario.name)}, {', '.join([members, *parts])}")
    if as_json:
        print_json(found)
    if any(each["error"] for each in found):
        raise click.exceptions.Exit(1)


@command.command("judge")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="HISTORY")
@click.option("--scenario", metavar="NAME|FILE", help="What to judge by.  [default: the scenario that it names]")
@click.option("--report", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Write a report.")
@json_option
def judge_(file: Path, scenario: str | None, report: Path | None, as_json: bool) -> None:
    """Judge a history that was written down, as a report has it beside its page. Exit codes as those of a run."""
    try:
        result = kept.judged(file, scenario)
    except ConfigError as error:
        raise click.UsageError(str(error)) from None
    ran = Ran(Task(result.scenario, result.history.seed), result)
    if not as_json:
        _show(ran)
    _conclude([ran], report, as_json=as_json)
