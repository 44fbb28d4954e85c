"""`moot chaos`: faults in a running cluster, one word each."""

import sys
from collections.abc import Sequence

import click

from moot.agent import cluster_world, text
from moot.agent.chaos import Chaos
from moot.agent.chaos_monkey import Monkey
from moot.agent.commands.cluster_options import known, name_option, warn_untold
from moot.agent.console import json_option, print_json
from moot.agent.interrupts import caught
from moot.gossip.actions import parse
from moot.gossip.amounts import seconds
from moot.gossip.errors import ConfigError
from moot.gossip.selectors import select
from moot.gossip.sim.monkey import DRAWS, check_faults
from moot.gossip.sim.scenario import Chance

SCOPE = "[WAY] [udp|tcp]"
VERBS: dict[str, tuple[str, str]] = {
    "kill": ("MEMBERS", "End processes by SIGKILL: no goodbye."),
    "stop": ("MEMBERS", "Stop processes by SIGSTOP: they neither hear nor act."),
    "cont": ("MEMBERS", "Let stopped processes go on, and do at once what they missed."),
    "start": ("MEMBERS [via MEMBERS] [fresh]", "Start again what has ended; fresh is without its snapshot."),
    "restart": ("MEMBERS [via MEMBERS] [fresh]", "End processes and start them again where they were."),
    "move": ("MEMBERS [via MEMBERS] [fresh]", "End processes and start them again at new addresses."),
    "twin": ("MEMBERS [via MEMBERS]", "Start another agent of the same name at another address."),
    "leave": ("MEMBERS", "Let agents leave the pool in good order."),
    "partition": ("MEMBERS [MEMBERS]...", "Part the network into groups; who is in none forms one more."),
    "cut": (SCOPE, "Let nothing pass: 'a>b' one way, 'a<>b' both, a on every link of a."),
    "loss": (f"10% {SCOPE}", "Lose packets; streams resend what is lost, and take longer."),
    "delay": (f"50ms±20ms {SCOPE}", "Let everything arrive later."),
    "duplicate": (f"5% {SCOPE}", "Let packets arrive twice."),
    "reorder": (f"10% 50ms {SCOPE}", "Hold packets back, so that later ones overtake them."),
    "corrupt": (f"1% {SCOPE}", "Change bytes of packets, and reset streams."),
    "bandwidth": (f"64KB/s {SCOPE}", "Narrow every link."),
    "slow": ("MEMBERS 300ms|off", "Let agents handle every message late."),
    "clock": ("MEMBERS [+5s] [drift 1%] | right", "Let clocks jump, or go too fast or too slow."),
    "disk-full": ("MEMBERS [off]", "Let snapshots find no room."),
    "heal": ("[partition|KIND [WAY]]", "Lift the faults of links, or one kind of them."),
    "calm": ("", "Everything back: heal, and nobody is stopped, slow or without room. The dead stay dead."),
}
"""The actions that are commands, with their words and what they do."""


@click.group("chaos")
def command() -> None:
    """Break a running cluster on purpose, and mend it: `moot cluster up 5 --detach`, then `moot chaos kill 3`.

    MEMBERS is a name, a number, 1-3, a glob, all, or a list of these with commas; with ! before it, all but. WAY is
    'a>b', 'a<>b' or MEMBERS (quote the arrows, or the shell takes them); udp or tcp leaves the other alone. Faults
    last until they are lifted or the cluster ends; `moot cluster status` shows them.
    """


def _do(words: Sequence[str], name: str, *, as_json: bool) -> None:
    try:
        action = parse(" ".join(words))
    except ConfigError as error:
        raise click.UsageError(str(error)) from None
    outcome = Chaos(name).do(action)
    if as_json:
        print_json(
            {
                "cluster": name,
                "did": outcome.words,
                "members": outcome.members,
                "faults": outcome.active,
                "untold": outcome.untold,
            }
        )
    else:
        whom = f": {', '.join(map(text.printable, outcome.members))}" if outcome.members else ""
        click.echo(f"{text.printable(outcome.words)}{whom}")
        _show(outcome.active)
    warn_untold(outcome.untold)
    if outcome.untold:
        raise click.exceptions.Exit(1)


def _show(faults: Sequence[str]) -> None:
    click.echo(f"faults: {text.printable('; '.join(faults))}" if faults else "no faults")


def _add(verb: str, form: str, line: str) -> None:
    @command.command(verb, help=line, short_help=line, context_settings={"ignore_unknown_options": True})
    @click.argument("words", nargs=-1, metavar=form, type=click.UNPROCESSED)
    @name_option("moot", "The cluster to break.")
    @json_option
    def run(words: tuple[str, ...], name: str, as_json: bool) -> None:
        _do([verb, *words], name, as_json=as_json)


for _verb, (_form, _line) in VERBS.items():
    _add(_verb, _form, _line)


def _duration(_ctx: click.Context, _param: click.Parameter, value: str) -> float:
    try:
        return seconds(value)
    except ConfigError as error:
        raise click.BadParameter(str(error)) from None


def _faults(_ctx: click.Context, _param: click.Parameter, value: str) -> tuple[str, ...]:
    found = tuple(word.strip() for word in value.split(",") if word.strip())
    try:
        check_faults(found)
    except ConfigError as error:
        raise click.BadParameter(str(error)) from None
    return found


@command.command("monkey")
@click.option("--seed", type=int, default=1, show_default=True, help="The same one draws the same.")
@click.option(
    "--for", "lasts", default="60s", show_default=True, metavar="TIME", callback=_duration, help="How long."
)
@click.option(
    "--every",
    default="5s",
    show_default=True,
    metavar="TIME",
    callback=_duration,
    help="Between two faults; each lasts as long.",
)
@click.option(
    "--faults",
    default="kill,stop,partition,loss,slow",
    show_default=True,
    metavar="KIND,...",
    callback=_faults,
    help=f"What to draw from: {', '.join(DRAWS)}.",
)
@click.option("--members", default="all", show_default=True, help="Whom it may strike.")
@name_option("moot", "The cluster to break.")
@json_option
def monkey(
    seed: int, lasts: float, every: float, faults: tuple[str, ...], members: str, name: str, as_json: bool
) -> None:
    """Break a cluster by chance for a while, one thing after the other, each undone when the next one comes.

    At the end, on Ctrl-C too, all is calm and whoever was killed is started again. With --json each deed is a line.
    """
    if not every:
        raise click.BadParameter("there must be time between two faults", param_hint="'--every'")
    chaos = Chaos(name)
    names = [node.name for node in chaos.state().nodes]
    try:
        select(members, names)
    except ConfigError as error:
        raise click.BadParameter(str(error), param_hint="'--members'") from None

    def tell(at: float, words: str) -> None:
        if as_json:
            print_json({"at": round(at, 3), "did": words})
        else:
            click.echo(f"{at:6.1f}s  {text.printable(words)}")
        sys.stdout.flush()

    with caught("what it broke is mended") as interrupts:
        Monkey(chaos, interrupts, tell).play(Chance(faults=faults, lasts=lasts, every=every, members=members), seed)


@command.command("show")
@name_option("moot", "The cluster to look at.")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show what is wrong in a cluster on purpose."""
    faults = cluster_world.wrongs(known(name))
    if as_json:
        print_json({"cluster": name, "faults": faults})
    else:
        _show(faults)


@command.command("tell")
@name_option("moot", "The cluster to tell.")
@json_option
def tell(name: str, as_json: bool) -> None:
    """Tell all agents again which faults there are; exit code 1 when one cannot be told."""
    untold = cluster_world.tell_anew(known(name).name)
    if as_json:
        print_json({"cluster": name, "untold": untold})
    warn_untold(untold)
    if untold:
        raise click.exceptions.Exit(1)
    if not as_json:
        click.echo("all have been told")
