"""Where the output of `moot serf` goes: everything to stdout, as in Serf, but help that was asked for."""

import re
import sys
from typing import TextIO

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Ui:
    """Prints texts at once, as UTF-8 whatever the locale.

    Texts from the network may hold anything. Programs get it as it is; on a terminal, control characters (all
    but newlines and tabs) are shown as `\\x1b`, so that no peer can play with it. Serf prints them everywhere.
    """

    def out(self, text: str) -> None:
        """A text and a line end. Surrogates in it become the bytes that they stand for."""
        _write(sys.stdout, text)

    def err(self, text: str) -> None:
        """The same on stderr."""
        _write(sys.stderr, text)


def _write(stream: TextIO, text: str) -> None:
    if stream.isatty():
        text = _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
    stream.flush()
    stream.buffer.write(text.encode("utf-8", "surrogateescape") + b"\n")
    stream.buffer.flush()
