"""`moot serf keygen`."""

import base64
import secrets

from moot.agent.serf.flags import Given
from moot.agent.serf.line import Command
from moot.agent.serf.ui import Ui

KEY_SIZE = 32

HELP = """
Usage: moot serf keygen

  Makes a key for gossip encryption (32 bytes, AES-256) and prints it as base64, ready for -encrypt.
"""


def _run(given: Given, ui: Ui) -> int:
    ui.out(base64.b64encode(secrets.token_bytes(KEY_SIZE)).decode())
    return 0


command = Command(HELP, None, _run)
