"""`moot keys`: the encryption keys of the whole pool."""

import base64
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from moot.agent import text
from moot.agent.console import address_option, connected, json_option, print_json, print_table
from moot.agent.inputs import key_of, key_options
from moot.agent.rotation import Rotation, RotationStopped, Step
from moot.http.client import ApiError, KeysRefused

DONE = {"install": "installed", "use": "used", "remove": "removed"}
KEY_BYTES = 32

force_option = click.option("--force", is_flag=True, help="Do it even though it may cut members off.")


@click.group("keys")
def command() -> None:
    """List, install, use, remove and rotate the encryption keys of the pool.

    A key is named by its id, eight digits that tell nothing of it; `moot keys list --show` prints the keys
    themselves. KEY is such an id, base64 text, or - to read base64 from standard input, where `ps` cannot see it.

    One key, the primary one, seals what members send. All keys are tried to open what they receive.
    """


@command.command("list")
@click.option("--show", is_flag=True, help="Print the keys themselves, too.")
@address_option
@json_option
def list_command(show: bool, address: str, as_json: bool) -> None:
    """Ask every member for its keys, and name those that lack one.

    Members that failed are named as well: nobody knows which keys they have. Exit code 1 when a member that is
    alive did not answer, or lacks a key that another one seals with.
    """
    with connected(address) as client:
        listing = client.keys(show=show)
    troubles = list(_troubles(listing))
    if as_json:
        print_json(listing)
    else:
        _print_listing(listing, show)
        for trouble in troubles:
            click.echo(text.printable(trouble))
    primaries = {member["primary"] for member in listing["members"] if member["primary"]}
    broken = any(it["state"] in ("silent", "refused") for it in listing["members"]) or any(
        key["lacking"] for key in listing["keys"] if key["id"] in primaries
    )
    if broken:
        raise click.ClickException(
            "not everybody was seen to hold the keys in use; see above, then `moot keys install ID`"
        )


def _print_listing(listing: dict[str, Any], show: bool) -> None:
    members = [it for it in listing["members"] if it["state"] == "answered"]
    click.echo(f"{len(members)} of {text.count(len(listing['members']), 'member')} listed their keys")
    head = ["Id", "Held by", "Primary of", *(["Key"] if show else [])]
    print_table(
        head,
        (
            [key["id"], str(len(key["holders"])), str(len(key["primary_of"])), *([key["key"]] if show else [])]
            for key in listing["keys"]
        ),
    )


def _troubles(listing: dict[str, Any]) -> Sequence[str]:
    """A line for everything that is not as it should be."""
    lines = [f"{name} lacks {key['id']}" for key in listing["keys"] for name in key["lacking"]]
    for member in listing["members"]:
        if member["state"] == "silent":
            lines.append(f"{member['name']} is {member['status']} and did not answer")
        elif member["state"] == "refused":
            lines.append(f"{member['name']} says: {member['text']}")
        elif member["locked_out"]:
            lines.append(
                f"{member['name']} failed and is back, but sends what no key here opens: give it the present key"
                " and start it anew"
            )
        elif member["state"] == "unreachable":
            lines.append(f"{member['name']} {member['status']}, so nobody knows which keys it has")
        elif member["text"]:
            lines.append(f"{member['name']} says: {member['text']}")
    return lines


@command.command("install")
@key_options
@address_option
@json_option
def install_command(key: str, key_file: Path | None, address: str, as_json: bool) -> None:
    """Give every member a key that it will open packets with, but not seal them."""
    _change("install", key_of(key, key_file), False, address, as_json)


@command.command("use")
@key_options
@force_option
@address_option
@json_option
def use_command(key: str, key_file: Path | None, force: bool, address: str, as_json: bool) -> None:
    """Have every member seal with a key that is installed.

    Refused while a member may lack it, failed ones included: it could not understand the others any more.
    """
    _change("use", key_of(key, key_file), force, address, as_json)


@command.command("remove")
@key_options
@force_option
@address_option
@json_option
def remove_command(key: str, key_file: Path | None, force: bool, address: str, as_json: bool) -> None:
    """Have every member forget a key.

    Refused while a member seals with it, or may lack the key that the others seal with, failed ones included.
    """
    _change("remove", key_of(key, key_file), force, address, as_json)


def _change(operation: str, key: str, force: bool, address: str, as_json: bool) -> None:
    with connected(address) as client:
        try:
            change = client.change_keys(operation, key, force=force)
        except KeysRefused as refusal:
            if as_json:
                print_json({"error": str(refusal), "blockers": refusal.blockers, "hints": refusal.hints})
            raise _failure(str(refusal), refusal.hints) from None
    done, asked, name = len(change["done"]), change["asked"], change["id"]
    if as_json:
        print_json(change)
    else:
        click.echo(f"key {name} {DONE[operation]} on {done} of {text.count(asked, 'member')}")
        for missed in change["unreachable"]:
            click.echo(f"{text.printable(missed)} failed and was not asked")
    left = [f"{member}: {reason}" for member, reason in change["failed"].items()]
    left += [f"{member}: no answer" for member in change["silent"]]
    if left:
        again = f"try it again, what is done stays done: moot keys {operation} {name}{' --force' * force}"
        raise _failure(
            f"key {name} not {DONE[operation]} on {len(left)} of {asked} members: {'; '.join(left)}", [again]
        )


def _failure(what: str, hints: Sequence[str]) -> click.ClickException:
    return click.ClickException("\n  - ".join(text.printable(line) for line in (what, *hints)))


@command.command("rotate")
@click.option(
    "--new",
    metavar="KEY",
    default="",
    help="The key to change to: its id if it is installed, base64, or - for standard input.  [default: a fresh one]",
)
@click.option(
    "--new-file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Read it from here."
)
@click.option("--keep-old", is_flag=True, help="Leave the old keys installed.")
@click.option("--force", is_flag=True, help="Pass over members that failed; they lack the key should they come back.")
@address_option
@json_option
def rotate_command(new: str, new_file: Path | None, keep_old: bool, force: bool, address: str, as_json: bool) -> None:
    """Change the pool to another key: install it, use it, remove the others, each step seen to be done everywhere.

    Stops safely at the first step that is not, with the old keys still installed, and says how to go on. Agents
    without a keyring file forget the new key when they are started anew: give it to them before (docs/keys.md).
    """
    given = key_of(new, new_file) if new or new_file else base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()
    steps: list[Step] = []

    def tell(step: Step) -> None:
        steps.append(step)
        if not as_json:
            click.echo(f"{step.name:<8} {text.printable(step.text)} ({step.seconds:.1f} s)")

    with connected(address) as client:
        rotation = Rotation(client, force=force, keep_old=keep_old, tell=tell)
        failure: click.ClickException | None = None
        try:
            rotation.run(given)
        except RotationStopped as stop:
            failure = _failure(str(stop), stop.hints)
        except ApiError as error:
            # what refuses the question itself, such as a pool without encryption, is not mended by rotating anew
            beside_it = error.status in range(400, 500) and not rotation.id
            failure = _failure(str(error), () if beside_it else rotation.ways_on())
        except KeyboardInterrupt:
            click.echo("\n  - ".join(["moot: interrupted", *rotation.ways_on()]), err=True)
            raise
    if as_json:
        told = [{"step": it.name, "text": it.text, "seconds": round(it.seconds, 3)} for it in steps]
        print_json({"id": rotation.id, "old": rotation.old, "done": failure is None, "steps": told})
    if failure is not None:
        raise failure
    if not as_json:
        click.echo(
            f"rotated to {rotation.id}; `moot keys list --show` prints it for agents that are configured with it"
        )
