"""`moot serf version`."""

from moot import __version__
from moot.agent.serf.flags import Given
from moot.agent.serf.line import Command
from moot.agent.serf.ui import Ui

PROTOCOL = 5
PROTOCOL_MIN = 2

HELP = """
Usage: moot serf version

  Shows the version of moot, and which versions of Serf's protocol its agents understand.
"""


def _run(given: Given, ui: Ui) -> int:
    ui.out(f"{__version__} (moot)")
    ui.out(f"Agent Protocol: {PROTOCOL} (Understands back to: {PROTOCOL_MIN})")
    return 0


command = Command(HELP, None, _run)
