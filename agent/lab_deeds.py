"""Deeds: commands that a lab gives to running agents, ours by HTTP and real serf agents by their RPC."""

from base64 import b64encode
from collections.abc import Mapping
from typing import Final

from moot.agent.cluster_state import Node
from moot.agent.rpc.client import RpcClient
from moot.gossip.actions import Action, AskQuery, ForceLeave, Join, Keys, SendEvent
from moot.gossip.errors import CommandError, GossipError
from moot.gossip.keywords import key_of
from moot.http.client import ApiClient, ApiError

PATIENCE: Final = 120.0
"""Seconds that a command may take."""
SERF_KEYS: Final = {"install": "install_key", "use": "use_key", "remove": "remove_key"}


def carry_out(node: Node, action: Action, places: Mapping[str, Node]) -> str:
    """Have an agent do it; what it has to say. `places` are all agents by name.

    Names in the action are those of single agents. Raises CommandError with the agent's words.
    """
    try:
        return _by_serf(node, action, places) if node.kind == "serf" else _by_ours(node, action, places)
    except (ApiError, GossipError, OSError) as error:
        raise CommandError(str(error)) from error


def _by_ours(node: Node, action: Action, places: Mapping[str, Node]) -> str:
    api = ApiClient(node.url, timeout=PATIENCE)
    match action:
        case Join(_, targets):
            results = api.join_each([places[name].gossip for name in targets.split(",")])["results"]
            failed = [str(result["error"]) for result in results if result["error"]]
            return _joined(len(results) - len(failed), len(results), failed[0] if failed else "")
        case ForceLeave(member, prune):
            api.force_leave(_member(member, places), prune=prune)
        case SendEvent(name, payload):
            api.event(name, payload.encode())
        case AskQuery(name):
            return f"{sum(reply['type'] == 'response' for reply in api.query(name))} answers"
        case Keys(operation, word):
            body = {"Key": b64encode(key_of(word)).decode()} if word else None
            api.request("PUT", f"/v1/agent/keyring/{operation}", body=body)
    return ""


def _by_serf(node: Node, action: Action, places: Mapping[str, Node]) -> str:
    with RpcClient(node.rpc, patience=PATIENCE) as client:
        match action:
            case Join(_, targets):
                addresses = [places[name].gossip for name in targets.split(",")]
                return _joined(client.join(addresses), len(addresses), "")
            case ForceLeave(member, prune):
                client.force_leave(_member(member, places), prune=prune)
            case SendEvent(name, payload):
                client.event(name, payload.encode())
            case AskQuery(name):
                return f"{sum(reply.type == 'response' for reply in client.query(name))} answers"
            case Keys("list"):
                _, error = client.list_keys()
                _raise(error)
            case Keys(operation, word):
                _, error = getattr(client, SERF_KEYS[operation])(b64encode(key_of(word)).decode())
                _raise(error)
    return ""


def _member(name: str, places: Mapping[str, Node]) -> str:
    """A member's name in the pool; one that there is none of is itself."""
    return places[name].member if name in places else name


def _joined(count: int, asked: int, error: str) -> str:
    if not count:
        raise CommandError(error or "nobody could be joined")
    return f"joined {count} of {asked}"


def _raise(error: str) -> None:
    if error:
        raise CommandError(error)
