"""The command line of `moot serf`: which subcommand is meant, and what every subcommand has in common.

As in Serf: `-v` or `--version` anywhere means `version`; `-h`, `-help` or `--help` before a `--` asks for help,
which goes to stderr; the first word that is no flag is the subcommand, flags before it are refused. Exit codes: 0
done, 1 failed or wrong usage, 127 no such subcommand.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from moot.agent.serf import flags
from moot.agent.serf.flags import Flag, FlagError, Given, HelpWanted
from moot.agent.serf.ui import Ui

NO_COMMAND: Final = 127
HELP_WORDS: Final = ("-h", "-help", "--help")
VERSION_WORDS: Final = ("-version",)
"""Before the subcommand it means nothing, but is not refused either."""

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "agent": ("agent", "Run an agent"),
    "event": ("event", "Send a user event to the pool"),
    "force-leave": ("force_leave", "Turn a failed member into one that left"),
    "info": ("info", "Show an agent's figures"),
    "join": ("join", "Let an agent join a pool"),
    "keygen": ("keygen", "Make a gossip key"),
    "keys": ("keys", "Change or list the gossip keys of the pool"),
    "leave": ("leave", "Let an agent leave the pool and end"),
    "members": ("members", "List the members of the pool"),
    "monitor": ("monitor", "Follow an agent's log and events"),
    "query": ("query", "Ask the pool and show the answers"),
    "reachability": ("reachability", "Ask every member for a sign of life"),
    "rtt": ("rtt", "Estimate the round-trip time between members"),
    "tags": ("tags", "Change an agent's tags"),
    "version": ("version", "Show the version"),
}
"""Subcommand to its module in `moot.agent.serf.commands`, and what it does."""


class Usage(Exception):
    """The words do not make a command. The text, if there is one, is said above the command's help."""


class Failed(Exception):
    """The command cannot be carried out; the text is what to print."""


class Command:
    """One subcommand: its help, its flags, and what it does with what was given; `run` answers the exit code.

    `read` gives the flags, asked for at each run because defaults come from the environment; None takes any words
    for nothing. `mark` begins each message about usage and failures.
    """

    def __init__(
        self,
        help_text: str,
        read: Callable[[], Mapping[str, Flag]] | None,
        run: Callable[[Given, Ui], int],
        *,
        mark: str = "",
    ) -> None:
        self.help_text = help_text.strip("\n")
        self.flags = read or dict
        self._takes_any = read is None
        self._run = run
        self._mark = mark

    def __call__(self, words: Sequence[str], ui: Ui) -> int:
        try:
            given = Given({}) if self._takes_any else flags.parse(self.flags(), words)
            return self._run(given, ui)
        except Failed as error:
            ui.out(f"{self._mark}{error}")
            return 1
        except FlagError as error:
            ui.err(str(error))
        except HelpWanted:  # by `-h=x`; the plain words were seen before
            ui.out(self._mark + self.help_text)
            return 1
        except Usage as error:
            if str(error):
                ui.out(f"{self._mark}{error}\n")
        ui.out(self._mark + self.help_text)
        return 1


def find(name: str) -> Command:
    """The subcommand, imported now."""
    module = importlib.import_module(f"moot.agent.serf.commands.{COMMANDS[name][0]}")
    found: Command = module.command
    return found


def run(words: Sequence[str], ui: Ui | None = None) -> int:
    """Run one command line (without the program's name); the exit code."""
    ui = ui or Ui()
    if any(word in ("-v", "--version") for word in words):
        words = ["version", *words]
    before: list[str] = []
    name, rest = "", words[len(words) :]
    for index, word in enumerate(words):
        if word == "--":
            break
        if word.startswith("-"):
            before.append(word)
        elif word:
            name, rest = word, words[index + 1 :]
            break
    wants_help = any(word in HELP_WORDS for word in _before_terminator(words))
    if name not in COMMANDS:
        ui.err(overview())
        return 0 if wants_help and not name else NO_COMMAND
    command = find(name)
    if wants_help:
        ui.err(command.help_text)
        return 0
    if [word for word in before if word not in VERSION_WORDS]:
        ui.err(f"Flags of a subcommand stand after its name.\n\n{command.help_text}")
        return 1
    return command(rest, ui)


def _before_terminator(words: Sequence[str]) -> Sequence[str]:
    return words[: words.index("--")] if "--" in words else words


def overview() -> str:
    """The help of `moot serf` itself."""
    width = max(map(len, COMMANDS))
    lines = [f"    {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        [
            "Usage: moot serf COMMAND [FLAGS] [ARGUMENTS]",
            "",
            "Serf's command line: for agents of Serf and for ours. Commands:",
            "",
            *lines,
            "",
            "`moot serf COMMAND -h` explains one.",
        ]
    )
