"""`moot token`."""

import json

import click

from moot.gossip.errors import ConfigError
from moot.http import acl


@click.command("token")
@click.argument("name")
@click.option(
    "--right",
    "rights",
    multiple=True,
    required=True,
    type=click.Choice(list(acl.WORDS)),
    help="What its holder may do; repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def command(name: str, rights: tuple[str, ...], as_json: bool) -> None:
    """Make a token for the HTTP API, and the entry that lets agents know it.

    The entry belongs into the block acl of a configuration file, for every agent that shall take the token. It
    holds a digest, from which nobody gets the token; that is shown only here.
    """
    secret = acl.new_secret()
    entry = acl.entry(dict.fromkeys(rights), secret)
    try:
        if name == acl.ANONYMOUS:
            raise ConfigError(f'callers without a token need no digest: tokens = {{ {name} = "{" ".join(rights)}" }}')
        acl.parse_token(name, entry)
    except ConfigError as error:
        raise click.BadParameter(str(error), param_hint="NAME") from None
    if as_json:
        click.echo(json.dumps({"name": name, "token": secret, "entry": entry}))
        return
    click.echo(
        f'Token:  {secret}\n\nIn the configuration:\n\n[acl]\nenabled = true\n[acl.tokens]\n{name} = "{entry}"'
    )
