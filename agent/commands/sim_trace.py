"""`moot sim trace`: the messages of a run."""

import shutil
import sys
from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path
from typing import Any

import click

from moot.agent import kept, space_time, text
from moot.agent.commands.sim_explore import completed
from moot.agent.console import json_option, print_json
from moot.agent.report.excerpt import words
from moot.agent.space_time import Mark
from moot.gossip.amounts import seconds, seconds_text
from moot.gossip.errors import ConfigError
from moot.gossip.selectors import select
from moot.gossip.sim.history import FaultBegan, FaultEnded, Life, Record, Refuted, Seen
from moot.gossip.sim.lab import SimLab
from moot.gossip.sim.scenario import Scenario
from moot.gossip.sim.trace import Crossing, Tracer

ROWS_MAX = 400
DRAWN_MAX = 4000
WIDTH_IN_PIPES = 160


def _seconds(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    try:
        return None if value is None else seconds(value)
    except ConfigError as error:
        raise click.BadParameter(str(error)) from None


def scenario_of(name: str) -> Scenario:
    try:
        return kept.scenario(name)
    except ConfigError as error:
        raise click.UsageError(str(error)) from None


@click.command("trace")
@click.argument("name", metavar="NAME|FILE", shell_complete=completed)
@click.option("--seed", type=int, default=1, show_default=True, help="What chance goes by.")
@click.option("--from", "since", callback=_seconds, metavar="TIME", help="From then on.  [default: the beginning]")
@click.option("--to", "until", callback=_seconds, metavar="TIME", help="Until then.  [default: the end]")
@click.option("--member", "members", metavar="MEMBERS", help="What these send and get, such as 3 or 1-2.")
@click.option("--wire", is_flag=True, help="Send real bytes.")
@click.option("--svg", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Draw it as SVG.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Draw it as a page.")
@json_option
def command(
    name: str,
    seed: int,
    since: float | None,
    until: float | None,
    members: str | None,
    wire: bool,
    svg: Path | None,
    html: Path | None,
    as_json: bool,
) -> None:
    """Show the messages of a simulated run: members side by side, time downwards, and what became of each.

    Times are those of verdicts and reports: seconds since the run began, such as 12.5s.
    """
    scenario = scenario_of(name)
    try:
        chosen = frozenset(select(members, scenario.cluster.names)) if members else frozenset[str]()
    except ConfigError as error:
        raise click.BadParameter(str(error), param_hint="'--member'") from None
    window = (since or 0.0, inf if until is None else until)
    lab, tracer = traced(scenario, seed, window, chosen, wire=wire)
    marks = _marks(lab.history.records, window, chosen)
    if as_json:
        print_json(_as_json(tracer.crossings, marks))
        return
    title = f"{scenario.name}, seed {seed}, from {seconds_text(window[0])}"
    title += f" to {seconds_text(window[1])}" if window[1] < inf else ""
    for path, draw in ((svg, space_time.svg), (html, space_time.html)):
        if path is not None:
            _draw(path, draw, lab, tracer.crossings, marks, title)
    if svg is None and html is None:
        _print(lab, tracer, marks)


def traced(
    scenario: Scenario, seed: int, window: tuple[float, float], members: frozenset[str], *, wire: bool
) -> tuple[SimLab, Tracer]:
    lab = SimLab(scenario, seed, wire=wire)
    tracer = Tracer(lambda: lab.now, since=window[0], until=window[1], members=members)
    lab.cluster.tap(tracer)
    lab.play()
    return lab, tracer


def _marks(records: Sequence[Record], window: tuple[float, float], members: frozenset[str]) -> list[Mark]:
    """What else happened that explains messages, of some members or of all; what is of one instant together."""
    found: dict[tuple[float, str], list[str]] = {}
    for record in records:
        mark = _mark(record) if window[0] <= record.at <= window[1] else None
        if mark is not None and (not members or not mark.member or mark.member in members):
            found.setdefault((mark.at, mark.member), []).append(mark.text)
    return [Mark(at, member, "; ".join(texts)) for (at, member), texts in found.items()]


def _mark(record: Record) -> Mark | None:
    match record:
        case Life(agent=member) | Refuted(agent=member):
            return Mark(record.at, member, words(record).removeprefix(f"{member} "))
        case Seen(at=at, observer=observer, subject=subject, before=before, status=status):
            return Mark(at, observer, f"{subject} {before} → {status}") if before != status else None
        case FaultBegan() | FaultEnded():
            return Mark(record.at, "", words(record))
        case _:
            return None


def _draw(
    path: Path,
    draw: Callable[[Sequence[str], Sequence[Crossing], Sequence[Mark], str], str],
    lab: SimLab,
    crossings: Sequence[Crossing],
    marks: Sequence[Mark],
    title: str,
) -> None:
    shown, seen, left_out = _first(crossings, marks, DRAWN_MAX)
    lanes = space_time.lanes_of(lab.deeds.agents, shown, seen)
    try:
        path.write_text(draw(lanes, shown, seen, title), encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from None
    click.echo(f"{path}: {text.count(len(shown), 'message')}{_more(left_out)}", err=True)


def _print(lab: SimLab, tracer: Tracer, marks: Sequence[Mark]) -> None:
    shown, seen, left_out = _first(tracer.crossings, marks, ROWS_MAX)
    lanes = space_time.lanes_of(lab.deeds.agents, shown, seen)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH_IN_PIPES
    plain = "utf" not in (sys.stdout.encoding or "").lower()
    for line in space_time.lines(lanes, shown, seen, width):
        click.echo(text.printable(line.translate(space_time.PLAIN) if plain else line))
    if left_out or tracer.missed:
        click.echo(f"{text.count(len(shown), 'message')} shown{_more(left_out + tracer.missed)}", err=True)
    elif not shown:
        click.echo("nothing was sent then", err=True)


def _first(
    crossings: Sequence[Crossing], marks: Sequence[Mark], most: int
) -> tuple[Sequence[Crossing], Sequence[Mark], int]:
    """The first of both, up to the last message that is shown, and how many messages are not."""
    shown = crossings[:most]
    left_out = len(crossings) - len(shown)
    return shown, [mark for mark in marks if not left_out or mark.at <= shown[-1].at][:most], left_out


def _more(left_out: int) -> str:
    return f", {left_out} more are not: narrow it with --from, --to or --member" if left_out else ""


def _as_json(crossings: Sequence[Crossing], marks: Sequence[Mark]) -> dict[str, Any]:
    return {
        "messages": [
            {
                "at": round(each.at, 6),
                "from": each.source,
                "to": each.to,
                "transport": each.transport,
                "messages": each.texts,
                "delays": [round(delay, 6) for delay in each.delays],
                "fate": each.fate or "arrives",
            }
            for each in crossings
        ],
        "events": [{"at": mark.at, "member": mark.member, "text": mark.text} for mark in marks],
    }
