"""`moot reachability`."""

import time
from contextlib import closing

import click

from moot.agent import text
from moot.agent.console import address_option, connected, json_option, members_of, natural, print_json

PING = "_serf_ping"
"""A query between agents: its acks are the answer."""
HINTS = (
    "run it again: one lost packet looks the same",
    "`moot members` shows whether they have failed meanwhile",
    "if they stay silent, packets to or from them are lost: UDP blocked one way, or a wrong --advertise address",
)


@click.command("reachability")
@click.option("--verbose", is_flag=True, help="Tell who answers, and after how long.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="How long to wait.  [default: by the size of the pool, 3.2 s for up to 9 on a LAN]",
)
@address_option
@json_option
def command(verbose: bool, timeout: float | None, address: str, as_json: bool) -> None:
    """Ask every alive member whether it can be reached by gossip and can reach the asking agent back.

    Ends as soon as all have answered. Exit code 1 when one did not, with its name.
    """
    waiting: set[str] = set()
    acked: dict[str, float] = {}
    with connected(address) as client:
        observer, members = members_of(client)
        alive = [member["Name"] for member in members if member["Status"] == "alive"]
        waiting.update(alive)
        begun = time.monotonic()
        with closing(client.query(PING, timeout=timeout or 0.0)) as replies:
            for line in replies:
                if line["type"] == "ack":
                    acked[line["from"]] = time.monotonic() - begun
                    waiting.discard(line["from"])
                    if verbose and not as_json:
                        click.echo(f"{text.printable(line['from'])} answers after {_ms(acked[line['from']])}")
                if not waiting:
                    break
    missing = sorted(waiting, key=natural)
    unexpected = sorted(acked.keys() - set(alive), key=natural)
    reached = len(alive) - len(missing)
    if as_json:
        print_json(
            {
                "observer": observer["name"],
                "alive": len(alive),
                "reached": reached,
                "missing": missing,
                "unexpected": unexpected,
                "seconds": {name: round(seconds, 4) for name, seconds in acked.items()},
            }
        )
    else:
        slowest = f", the slowest after {_ms(max(acked.values()))}" if acked else ""
        click.echo(f"{reached} of {text.count(len(alive), 'alive member')} reached from {observer['name']}{slowest}")
        for name in unexpected:
            click.echo(f"{text.printable(name)} answered, too, but was not listed as alive; views are still settling")
    if missing:
        names = ", ".join(map(text.printable, missing))
        raise click.ClickException("\n  - ".join([f"no answer from {names}", *HINTS]))


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"
