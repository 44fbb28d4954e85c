"""What settings need of each other: rules over more than one key, in the order in which `config.load` applies them.

Each raises ConfigProblems, or FlagError where the command line is to blame.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NoReturn, cast

from moot.agent.config_files import read_secret
from moot.agent.key_table import KEYS, Layer, defaults
from moot.agent.layers import DEFAULT, Layers
from moot.agent.nomad.servers import literal
from moot.agent.schema import ConfigProblems, Problem
from moot.gossip.errors import ConfigError

NOMAD_TAGS: Final = frozenset(
    {"role", "region", "dc", "vsn", "mvn", "build", "port", "id", "rpc_addr", "raft_vsn", "bootstrap", "expect"}
)
"""Tags that an agent in a nomad pool sets itself."""
JOINS: Final = ("start_join", "retry_join", "retry_max", "retry_interval")
"""Keys of `server` and of `server.server_join`."""
SECRET_FILES: Final = {"server.encrypt": "moot.encrypt_file", "moot.ipc_auth": "moot.ipc_auth_file"}
CLOUD: Final = "provider="
"""How an entry of retry_join begins that asks a cloud for the servers."""


class FlagError(ConfigError):
    """A mistake on the command line, or in a variable."""


def settle_joins(layers: Layers) -> None:
    """What files say in `server_join` as if it stood in `server`. Files say one or the other."""
    block = {name: f"server.server_join.{name}" for name in JOINS}
    given = [name for name in JOINS if block[name] in layers.values]
    plain = [name for name in JOINS if f"server.{name}" in layers.values]
    if given and plain:
        name, other = plain[0], f"server.server_join.{given[0]}"
        _fail(
            layers,
            f"server.{name}",
            f"server_join and {name} cannot both be defined; write it in the block server_join, which is in"
            f" {layers.origins[other][0]}",
        )
    for name in given:
        layers.values[f"server.{name}"] = layers.values.pop(block[name])
        layers.origins[f"server.{name}"] = layers.origins.pop(block[name])


def settle_secrets(layers: Layers) -> None:
    """Read what is given as a file. Of the secret itself and the file the later one counts."""
    for key, file_key in SECRET_FILES.items():
        path = layers.values.get(file_key)
        if not path:
            continue
        if key in layers.values:
            if layers.ranks[key] == layers.ranks[file_key]:
                _fail(layers, file_key, f"{key} is given as well, in the same place; keep one of them")
            if layers.ranks[key] > layers.ranks[file_key]:
                continue
        try:
            layers.values[key] = KEYS[key].check(read_secret(Path(str(path))))
        except ValueError as error:
            _fail(layers, file_key, str(error))
        layers.origins[key] = (*layers.origins[file_key], str(path))


def settle_defaults(layers: Layers) -> None:
    """What nobody said is at its default."""
    for key, value in defaults().items():
        if key not in layers.values:
            layers.values[key] = value
            layers.origins[key] = (DEFAULT,)


def settle_roles(layers: Layers, named: frozenset[str], *, dev: bool) -> None:
    """An agent is a server unless told otherwise, or told to be a client. `named` are the keys that were given."""
    values = layers.values
    if "client.enabled" not in named and values["moot.pool"] != "nomad":
        values["client.enabled"] = False
        layers.origins["client.enabled"] = (DEFAULT,)
    if values["client.enabled"] and "server.enabled" not in named and not dev:
        values["server.enabled"] = False
        layers.origins["server.enabled"] = layers.origins["client.enabled"]
    if values["client.enabled"] and values["moot.pool"] != "nomad":
        _fail(layers, "client.enabled", "there are clients in nomad pools only; leave moot.pool, or --pool, away")
    if not (values["server.enabled"] or values["client.enabled"]):
        _fail(
            layers,
            "server.enabled",
            "Must specify either server, client or dev mode for the agent."
            " Set server.enabled = true, or client.enabled = true",
        )


def refuse_idle_flags(values: Layer, given: Layer) -> None:
    """Flags of a role that the agent does not have."""
    if not values["server.enabled"] and (given.get("server.start_join") or given.get("server.retry_join")):
        name = "--join" if given.get("server.start_join") else "--retry-join"
        raise FlagError(
            f"{name}: an agent that is a client only joins no pool; name its servers with --servers, or add --server"
        )
    if not values["client.enabled"] and given.get("client.servers"):
        raise FlagError("--servers: only a client has servers to turn to; add --client, or name the pool with --join")


def refuse_own_tags(layers: Layers, given: Layer) -> None:
    """A tag that the agent itself sets."""
    values = layers.values
    if values["moot.pool"] != "nomad":
        return
    taken = sorted(NOMAD_TAGS & cast(dict[str, str], values["moot.tags"]).keys())
    if not taken:
        return
    text = f"the tag {taken[0]} is the agent's own in a nomad pool; take another name or --pool serf"
    if taken[0] in cast(dict[str, str], given.get("moot.tags", {})):
        raise FlagError(text)
    _fail(layers, "moot.tags", text)


def without_cloud(values: Mapping[str, Any], notices: list[str]) -> dict[str, tuple[str, ...]]:
    """The lists of `retry_join`, by key, without what only a cloud could answer; that is told in `notices`."""
    found = {}
    for key in ("server.retry_join", "client.server_join.retry_join"):
        given = tuple(values[key])
        found[key] = tuple(text for text in given if not text.startswith(CLOUD))
        if found[key] != given:
            notices.append(
                f"{key}: this agent cannot ask a cloud ({CLOUD}…) for servers; name some, by DNS for example"
            )
    return found


def note_lost_servers(values: Mapping[str, Any], notices: list[str]) -> None:
    """Servers that no client can turn to, because of how they are written; as in Nomad they are left out."""
    for key in ("client.servers", "client.server_join.retry_join"):
        for text in values[key]:
            try:
                literal(text)
            except ValueError as error:
                notices.append(f"{key}: {error}; it is left out")


def _fail(layers: Layers, key: str, text: str) -> NoReturn:
    raise ConfigProblems([Problem(text=text, source=", ".join(layers.origins[key]), key=key)])
