"""Journal: the log of `moot serf agent`, in the form of Serf's, and the lines for people around it.

A log line is `2006/01/02 15:04:05 [INFO] serf: text` in local time, and on stdout four blanks stand before it.
What Serf's log says about members, suspicion and events is said in its words, since programs read them; the rest
in ours. Whatever is logged goes to the ring that `monitor` reads, whatever its level.
"""

import contextlib
import datetime
from typing import Final

from moot.agent.logs import Log
from moot.agent.rpc.log_ring import LEVELS, LogRing
from moot.agent.serf.gotext import quote
from moot.agent.serf.ui import Ui
from moot.agent.text import printable

INDENT: Final = "    "
HELD_MAX: Final = 4096
"""Lines that are kept back while the agent starts."""


class Journal:
    """Where lines go. Log lines are kept back until `release`, so that those about the start stand together."""

    def __init__(self, ui: Ui, level: str) -> None:
        """`level` is one of LEVELS."""
        self.ring = LogRing()
        self._ui = ui
        self._held: list[str] | None = []
        self.set_level(level)

    def set_level(self, level: str) -> None:
        """From now on log lines below `level` are not printed."""
        self._rank = LEVELS.index(level)

    def say(self, text: str) -> None:
        """`==> text`, for people."""
        self._print(f"==> {text}")

    def detail(self, text: str) -> None:
        """A line below one of `say`'s."""
        self._print(INDENT + text if text else "")

    def release(self) -> None:
        """Print the log lines that were kept back, and from now on each at once."""
        held, self._held = self._held or [], None
        for line in held:
            self._print(line)

    def write(self, level: str, module: str, text: str) -> None:
        """A line of the log; `text` is made one that cannot pretend to be several."""
        stamp = datetime.datetime.now().strftime("%Y/%m/%d %H:%M:%S")
        line = f"{stamp} [{level}] {module}: {printable(text)}"
        self.ring.write(line)
        if LEVELS.index(level) < self._rank:
            return
        if self._held is None:
            self._print(INDENT + line)
        elif len(self._held) < HELD_MAX:
            self._held.append(INDENT + line)

    def logger(self, module: str) -> Log:
        """For parts of the agent that log a text and fields."""
        return _Logger(self, module)

    def _print(self, line: str) -> None:
        # an agent outlives the reader of its log, and a full disk
        with contextlib.suppress(OSError):
            self._ui.out(line)


class _Logger:
    """Writes `module: text: key=value` lines."""

    def __init__(self, journal: Journal, module: str) -> None:
        self._journal = journal
        self._module = module

    def _write(self, level: str, text: str, fields: dict[str, object]) -> None:
        told = "".join(f" {key}={_shown(value)}" for key, value in fields.items())
        self._journal.write(level, self._module, f"{text}:{told}" if told else text)

    def trace(self, text: str, /, **fields: object) -> None:
        self._write("TRACE", text, fields)

    def debug(self, text: str, /, **fields: object) -> None:
        self._write("DEBUG", text, fields)

    def info(self, text: str, /, **fields: object) -> None:
        self._write("INFO", text, fields)

    def warn(self, text: str, /, **fields: object) -> None:
        self._write("WARN", text, fields)

    def error(self, text: str, /, **fields: object) -> None:
        self._write("ERR", text, fields)


def _shown(value: object) -> str:
    """A value as one word, quoted where it could be taken for more."""
    text = str(value)
    return text if text and text.isprintable() and not set(text) & set(' ="') else quote(text)
