"""What commands about simulated pools share: options that are durations and shares as people write them."""

import click

from moot.gossip.amounts import seconds, share
from moot.gossip.errors import ConfigError


def duration(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    """A duration option's value in seconds."""
    try:
        return None if value is None else seconds(value)
    except ConfigError as error:
        raise click.BadParameter(str(error)) from None


def part(_ctx: click.Context, _param: click.Parameter, value: str) -> float:
    """A share option's value."""
    try:
        return share(value)
    except ConfigError as error:
        raise click.BadParameter(str(error)) from None


nodes = click.option(
    "--nodes", type=click.IntRange(3, 20_000), default=128, show_default=True, metavar="N", help="Size of the pool."
)
loss = click.option("--loss", default="0", show_default=True, callback=part, metavar="P", help="Of packets, like 5%.")
rtt = click.option("--rtt", callback=duration, metavar="TIME", help="A round trip, like 50ms.  [default: of a LAN]")
jobs = click.option(
    "--jobs", type=click.IntRange(1, 256), metavar="N", help="Processes.  [default: one for each core]"
)
