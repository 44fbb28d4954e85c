"""What commands read from the command line, from a file or from standard input."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., object])

STDIN = "-"
KEY_BYTES_MAX = 4096
"""Of a file that holds one key; a greater one is another file."""


def payload_of(given: str) -> bytes:
    """The bytes of a payload argument, `-` being standard input."""
    return sys.stdin.buffer.read() if given == STDIN else os.fsencode(given)


def key_options(command: Command) -> Command:
    """`[KEY]` and `--key-file FILE`, for `key_of`."""
    option = click.option(
        "--key-file",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Read KEY from this file instead.",
    )
    return click.argument("key", default="")(option(command))


def key_of(key: str, key_file: Path | None) -> str:
    """The text of the key, however it was given. Raises UsageError, ClickException; neither repeats it."""
    if bool(key) == bool(key_file):
        raise click.UsageError("give a key: its id, its base64 text, - for standard input, or --key-file FILE")
    if key_file is not None:
        try:
            with key_file.open("rb") as file:
                return _first_line(file.read(KEY_BYTES_MAX), str(key_file))
        except OSError as error:
            raise click.ClickException(f"{key_file}: {error.strerror}") from None
    return _first_line(sys.stdin.buffer.read(KEY_BYTES_MAX), "standard input") if key == STDIN else key


def _first_line(content: bytes, where: str) -> str:
    lines = content.split()
    if len(lines) != 1 or not lines[0].isascii():
        raise click.ClickException(f"{where}: expected one key in base64 and nothing else")
    return lines[0].decode()


def pairs_of(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """`KEY=VALUE` options as a map; the value may hold anything."""
    found = {}
    for value in values:
        key, equals, rest = value.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{value!r} must be KEY=VALUE")
        found[key] = rest
    return found
