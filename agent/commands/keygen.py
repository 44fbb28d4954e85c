"""`moot keygen`."""

import base64
import json
import secrets

import click


@click.command("keygen")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def command(as_json: bool) -> None:
    """Make a key for gossip encryption (32 bytes, AES-256) and print it as base64.

    Give the same key to every agent of a pool, with --encrypt or server.encrypt in a file. Real serf agents take it
    as -encrypt, Nomad's as server.encrypt.
    """
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    click.echo(json.dumps({"key": key}) if as_json else key)
