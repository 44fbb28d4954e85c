"""`moot serf keys`."""

from collections.abc import Callable
from typing import Final

from moot.agent.rpc.client import RpcClient, RpcClosed, RpcError
from moot.agent.rpc.protocol import KeyResponse
from moot.agent.serf import flags
from moot.agent.serf.calling import FLAG_HELP, connected, rpc_flags
from moot.agent.serf.flags import Flag, Given
from moot.agent.serf.gotext import columns
from moot.agent.serf.line import Command, Failed, Usage
from moot.agent.serf.ui import Ui

HELP = f"""
Usage: moot serf keys [FLAGS]

  Changes the gossip keys of every member at once, or lists them. Succeeds when every member does. To exchange
  a key: install the new one, use it, remove the old one, each only when the one before has succeeded.
  `moot keys rotate` does all that and looks after each step.

Flags, one of:

  -install=KEY         Have everybody take this key (base64)
  -use=KEY             Have everybody encrypt with an installed key
  -remove=KEY          Have everybody forget a key
  -list                Show each key and how many members hold it

and:

{FLAG_HELP}
"""

Call = Callable[[], tuple[KeyResponse, str]]

CHANGES: Final = {
    "install": ("Installing key on all members...", "Successfully installed key!", "Error installing key"),
    "use": (
        "Changing primary key on all members...",
        "Successfully changed primary key!",
        "Error changing primary key",
    ),
    "remove": ("Removing key on all members...", "Successfully removed key!", "Error removing key"),
}
"""For each flag: what is said before, after, and when it fails."""


def _flags() -> dict[str, Flag]:
    return {**{name: flags.text() for name in CHANGES}, "list": flags.switch(), **rpc_flags()}


def _run(given: Given, ui: Ui) -> int:
    wanted = [name for name in CHANGES if given.text(name)]
    count = len(wanted) + given.switch("list")
    if count > 1:
        raise Failed("Only one of -install, -use, -remove, or -list allowed")
    if not count:
        raise Usage
    with connected(given) as client:
        if given.switch("list"):
            return _list(client, ui)
        name = wanted[0]
        calls: dict[str, Callable[[str], tuple[KeyResponse, str]]] = {
            "install": client.install_key,
            "use": client.use_key,
            "remove": client.remove_key,
        }
        before, after, failure = CHANGES[name]
        ui.out(f"==> {before}")
        _call(lambda: calls[name](given.text(name)), failure, ui)
        ui.out(f"==> {after}")
    return 0


def _list(client: RpcClient, ui: Ui) -> int:
    ui.out("==> Asking all members for installed keys...")
    response = _call(client.list_keys, "Failed to gather member keys", ui)
    ui.out("==> Keys gathered, listing cluster keys...\n")
    lines = [f"{key} | [{count}/{response.node_count}]" for key, count in sorted((response.keys or {}).items())]
    ui.out("\n".join(columns(lines)))
    return 0


def _call(call: Call, failure: str, ui: Ui) -> KeyResponse:
    """What the members said. Raises Failed when not all of them agree, after naming who does not."""
    try:
        response, error = call()
    except (RpcError, RpcClosed) as refusal:
        raise Failed(f"\n{failure}: {refusal}") from None
    if error:
        if response.messages:
            lines = [f"failed: | {node} | {text}" for node, text in sorted(response.messages.items())]
            ui.out("\n".join(columns(lines)))
        raise Failed(f"\n{failure}: {error}")
    return response


command = Command(HELP, _flags, _run)
