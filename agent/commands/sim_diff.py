"""`moot sim diff`: where two runs part."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import click

from moot.agent import kept, text
from moot.agent.commands.sim_trace import scenario_of, traced
from moot.agent.console import json_option, print_json
from moot.agent.report.excerpt import words
from moot.gossip.errors import ConfigError
from moot.gossip.sim.compare import Parting, detours, lines_of, parting
from moot.gossip.sim.history import History, Record, Sample
from moot.gossip.sim.trace import Crossing

HISTORY = ".jsonl"
DETOURS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class _Run:
    """One of two runs: what it is called, its history, and its messages if they are asked for."""

    title: str
    history: History
    crossings: Sequence[Crossing]


@click.command("diff")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--context", type=click.IntRange(1, 1000), default=5, show_default=True, help="Records around.")
@click.option("--messages", is_flag=True, help="Compare every message that was sent, too.")
@json_option
def command(first: str, second: str, context: int, messages: bool, as_json: bool) -> None:
    """Show where two runs part: the first record that differs, and all views that went otherwise.

    A and B are NAME@SEED, FILE@SEED, the seed alone for the same scenario, or the file of a history that was kept.
    Exit codes: 0 when they are the same, 1 when they part.
    """
    runs = [_run(given, other, messages=messages) for given, other in ((first, second), (second, first))]
    one, other = runs
    records = parting(
        one.history.records, other.history.records, (lines_of(one.history), lines_of(other.history)), context
    )
    texts = tuple([f"{each.at:.4f}s {each}" for each in run.crossings] for run in runs)
    sent = parting(texts[0], texts[1], (texts[0], texts[1]), context)
    away = detours(one.history, other.history)
    same = records is None and sent is None
    if as_json:
        print_json(
            {
                "same": same,
                "records": records and _parting_as_json(records, _line),
                "messages": sent and _parting_as_json(sent, str),
                "views": [
                    {
                        "at": each.at,
                        "observer": each.observer,
                        "subject": each.subject,
                        "a": each.first,
                        "b": each.second,
                    }
                    for each in away
                ],
            }
        )
    elif same:
        click.echo(f"the same: {text.count(len(one.history.records), 'record')}")
    else:
        if records is not None:
            _show_parting("records", records, runs, _line)
        if sent is not None:
            _show_parting("messages", sent, runs, str)
        click.echo(f"{text.count(len(away), 'view')} went otherwise")
        for each in away[:DETOURS_SHOWN]:
            ways = " | ".join(" → ".join(way) or "nothing more" for way in (each.first, each.second))
            click.echo(text.printable(f"  {each.at:9.4f}s  {each.observer} sees {each.subject}: {ways}"))
        if len(away) > DETOURS_SHOWN:
            click.echo(f"  and {len(away) - DETOURS_SHOWN} more")
    raise click.exceptions.Exit(0 if same else 1)


def _run(given: str, other: str, *, messages: bool) -> _Run:
    """The run of one argument, with the help of the other one."""
    if given.endswith(HISTORY):
        if messages:
            raise click.UsageError(f"{given}: a history has no messages; give scenario and seed instead")
        try:
            return _Run(given, kept.history_of(Path(given)), ())
        except ConfigError as error:
            raise click.UsageError(str(error)) from None
    if _is_seed(given):
        if _is_seed(other) or other.endswith(HISTORY):
            raise click.UsageError("say which scenario it is: NAME@SEED")
        name, seed = other.rpartition("@")[0] or other, given
    else:
        before, _, after = given.rpartition("@")
        name, seed = (before, after) if before and _is_seed(after) else (given, "1")
    scenario = scenario_of(name)
    lab, tracer = traced(scenario, int(seed), (0.0, inf if messages else -1.0), frozenset(), wire=False)
    return _Run(f"{name}@{seed}", lab.history, tracer.crossings)


def _is_seed(given: str) -> bool:
    return given.removeprefix("-").isdecimal()


def _line(record: Record) -> str:
    if isinstance(record, Sample):
        sent = f"sent {record.messages} messages, {record.bytes} bytes"
        return f"{record.at:9.4f}s  {record.agent}: {sent}, health {record.health}, Lamport time {record.ltime}"
    return f"{record.at:9.4f}s  {words(record)}"


def _parting_as_json(found: Parting[Any], line: Callable[[Any], str]) -> dict[str, Any]:
    parts = {"before": found.before, "a": found.first, "b": found.second}
    return {"same": found.count} | {key: [line(each) for each in entries] for key, entries in parts.items()}


def _show_parting(what: str, found: Parting[Any], runs: Sequence[_Run], line: Callable[[Any], str]) -> None:
    click.echo(f"{what} part after {found.count}")
    for sign, entries in (("  ", found.before), ("A ", found.first), ("B ", found.second)):
        for each in entries:
            click.echo(text.printable(f"{sign}{line(each)}"))
        if not entries and sign.strip():
            run = runs[0] if sign == "A " else runs[1]
            click.echo(f"{sign}(the end of {text.printable(run.title)})")
