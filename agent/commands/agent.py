"""`moot agent`."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click
import trio

from moot.agent import config
from moot.agent.agent import Agent
from moot.agent.config_env import SECRETS
from moot.agent.go_flags import GoFlags
from moot.agent.logs import Logs
from moot.gossip.errors import GossipError

if TYPE_CHECKING:
    from moot.agent.control import Control

FLAGS: dict[str, str] = {}
"""Key to the flag that stands for it."""


def flag(
    name: str,
    key: str,
    text: str,
    **options: Any,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """An option that stands for a key of the configuration files, by the dotted path `key`."""
    FLAGS[key] = name
    return click.option(name, key.replace(".", "__"), default=None, help=text, **options)


def pairs(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> dict[str, str] | None:
    """`K=V` options as a map; None when there are none."""
    found = {}
    for value in values:
        key, equals, rest = value.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{value!r} must be KEY=VALUE")
        found[key] = rest
    return found or None


def inherited(_ctx: click.Context, _param: click.Parameter, value: int | None) -> int | None:
    """A file descriptor that is open."""
    try:
        if value is not None:
            os.fstat(value)
    except (OSError, OverflowError):
        raise click.BadParameter(f"{value} is no open file descriptor") from None
    return value


def listed(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> list[str] | None:
    """Repeatable options as a list; None when there are none."""
    return list(values) or None


def leveled(ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """Of `info,serf=debug` the level; those of modules become the value of the key that has no flag of its own."""
    words = [word.strip() for word in (value or "").split(",") if word.strip()]
    plain = [word for word in words if "=" not in word]
    if len(plain) > 1:
        raise click.BadParameter(f"{value!r} has two levels for all modules; write it like info,serf=debug")
    named = (word.partition("=") for word in words if "=" in word)
    ctx.params["moot__log_levels"] = {module.strip(): level.strip() for module, _, level in named} or None
    return plain[0] if plain else None


FLAGS["moot.log_levels"] = "--log-level"


def comma_listed(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> list[str] | None:
    """As `listed`, each with commas between several."""
    return listed(ctx, param, tuple(part.strip() for value in values for part in value.split(",") if part.strip()))


@click.command("agent", cls=GoFlags)
@click.option(
    "--config",
    "paths",
    metavar="PATH",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A file in HCL, JSON or TOML, or a directory of them; repeatable.",
)
@click.option(
    "--dev",
    is_flag=True,
    help="For trying things out: server and client in one, debug log, announced as a lone server.",
)
@flag("--node", "name", "Node name.  [default: the host name]")
@flag("--region", "region", "Region.  [default: global]")
@flag("--dc", "datacenter", "Datacenter.  [default: dc1]")
@flag(
    "--server", "server.enabled", "Run as a server: a member of the pool.  [default, unless --client]", is_flag=True
)
@flag("--client", "client.enabled", "Run as a client: no member, but registered with a server of it.", is_flag=True)
@flag(
    "--servers",
    "client.servers",
    "Servers that the client turns to at first, with commas between or repeated; the port is 4647 unless given.",
    metavar="HOST[:PORT],...",
    multiple=True,
    callback=comma_listed,
)
@flag("--node-class", "client.node_class", "A word to group clients by.")
@flag(
    "--meta",
    "client.meta",
    "A further fact about the client; repeatable.",
    metavar="K=V",
    multiple=True,
    callback=pairs,
)
@flag(
    "--state-dir",
    "client.state_dir",
    "Absolute path for the client's identity, if there is no --data-dir.",
    metavar="DIR",
)
@flag("--bind", "bind_addr", "IP to listen on.  [default: 127.0.0.1]", metavar="IP")
@flag("--advertise", "advertise.serf", "What the pool is told instead of the bind address.", metavar="IP[:PORT]")
@flag("--serf-port", "ports.serf", "Gossip port, UDP and TCP; 0 takes any free one.  [default: 4648]", type=int)
@flag("--http-addr", "addresses.http", "IP that HTTP listens on.  [default: the bind address]", metavar="IP")
@flag("--http-port", "ports.http", "HTTP port; 0 takes any free one.  [default: 4646]", type=int)
@flag("--rpc-port", "ports.rpc", "RPC port, in nomad pools; 0 takes any free one.  [default: 4647]", type=int)
@flag(
    "--join",
    "server.start_join",
    "Join this at start or fail; repeatable, all are tried at once.",
    metavar="ADDR",
    multiple=True,
    callback=listed,
)
@flag(
    "--retry-join",
    "server.retry_join",
    "Join this in the background until it works; repeatable.",
    metavar="ADDR",
    multiple=True,
    callback=listed,
)
@flag(
    "--retry-interval",
    "server.retry_interval",
    "Longest pause between attempts; it grows from 1s.  [default: 30s]",
    metavar="TIME",
)
@flag("--retry-max", "server.retry_max", "Attempts after the first, then exit with 1; 0 is for ever.", type=int)
@flag("--tag", "moot.tags", "A tag to announce; repeatable.", metavar="K=V", multiple=True, callback=pairs)
@flag(
    "--encrypt",
    "server.encrypt",
    "Gossip key in base64, from `moot keygen`. Others on this machine can read it here: rather give it as"
    " MOOT_ENCRYPT, or in a file of mode 0600: see moot.encrypt_file.",
    metavar="KEY",
)
@flag(
    "--keyring-file",
    "moot.keyring_file",
    "Where the pool's keys are kept, so that a rotated key outlives a restart; what it holds counts, not --encrypt."
    "  [default: DATA_DIR/serf/local.keyring when there is a key]",
    metavar="PATH",
)
@flag("--label", "moot.label", "Packets with another label are refused, so pools cannot merge by accident.")
@flag("--profile", "moot.profile", "Timing: lan, wan or local.  [default: wan in nomad pools, else lan]")
@flag(
    "--pool",
    "moot.pool",
    "nomad: Nomad's names, tags and merge check. serf: mixes with serf agents.  [default: nomad]",
)
@flag("--data-dir", "data_dir", "Absolute path for what outlives a restart; made when missing.", metavar="DIR")
@flag(
    "--snapshot",
    "moot.snapshot",
    "Where it is noted who is in the pool, so that a restart finds back to it, in Serf's format."
    "  [default: DATA_DIR/serf/local.snapshot]",
    metavar="PATH",
)
@flag(
    "--rejoin", "server.rejoin_after_leave", "Find back to the pool of the snapshot also after a leave.", is_flag=True
)
@flag("--replay", "moot.replay", "Take the pool's past user events when joining it.", is_flag=True)
@flag(
    "--ipc-addr",
    "moot.ipc_addr",
    "Serve Serf's client RPC here, for `serf` and `moot serf`; the port is 7373 unless given, 0 takes any free one."
    "  [default: off]",
    metavar="IP[:PORT]",
)
@flag(
    "--ipc-auth",
    "moot.ipc_auth",
    "Key that clients of the RPC must show. Rather give it as MOOT_IPC_AUTH, or in a file: see moot.ipc_auth_file.",
    metavar="KEY",
)
@flag(
    "--event-handler",
    "moot.event_handlers",
    "Run this when something happens: SCRIPT, or FILTER=SCRIPT such as member-failed=./page; repeatable.",
    metavar="SPEC",
    multiple=True,
    callback=listed,
)
@flag(
    "--handler-timeout",
    "moot.handler_timeout",
    "How long a handler's script may run; 0s is for ever.  [default: 1m]",
    metavar="TIME",
)
@flag(
    "--discover",
    "moot.discover",
    "Find the agents of this name on the local network by multicast DNS, and join them.",
    metavar="NAME",
)
@flag(
    "--discover-interface",
    "moot.discover_interface",
    "Network interface to discover through, by name or IP.  [default: that of the bind address, or all]",
    metavar="NAME",
)
@flag(
    "--conflict",
    "moot.conflict",
    "When another member has our name: off, warn, or vote, where the pool decides and one of the two ends."
    "  [default: warn in nomad pools, else vote]",
    metavar="MODE",
)
@flag(
    "--reclaim-after",
    "moot.reclaim_after",
    "How long after a member failed its name may come back at another address.  [default: never]",
    metavar="TIME",
)
@flag(
    "--bootstrap-expect",
    "server.bootstrap_expect",
    "How many servers to announce that the region shall have.  [default: 0, not announced]",
    type=int,
)
@flag("--acl-enabled", "acl.enabled", "Ask callers of the HTTP API for tokens.", is_flag=True)
@flag(
    "--log-level",
    "log_level",
    "trace, debug, info, warn or error, and levels of single modules, such as info,serf=debug.  [default: info]",
    metavar="LEVELS",
    callback=leveled,
)
@flag("--log-json", "log_json", "Write the log as JSON objects.", is_flag=True)
@flag(
    "--leave-on-interrupt/--no-leave-on-interrupt", "leave_on_interrupt", "Leave gracefully on SIGINT.  [default: no]"
)
@flag(
    "--leave-on-terminate/--no-leave-on-terminate",
    "leave_on_terminate",
    "Leave gracefully on SIGTERM.  [default: no]",
)
@click.option("--lifeline", type=int, hidden=True, callback=inherited)
@click.option("--control", type=click.Path(path_type=Path), hidden=True)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    **_: object,
) -> None:
    """Run an agent: one member of a gossip pool, or a client of one, with Nomad's agent API over HTTP.

    Settings come from built-in values, then --dev, then --config files in order, then variables (MOOT_DATA_DIR
    for data_dir, and so on), then the flags. SIGHUP reads the files again. `moot config show` tells what they
    come to. Flags may have one dash, as Nomad's.

    Exit code 0 after a graceful leave, 2 for a mistake on the command line or in a variable, else 1, as for a
    mistake in a --config file.
    """
    try:
        agent, channel = make(ctx.params)
    except config.FlagError as error:
        raise click.UsageError(str(error), ctx) from None
    for secret in SECRETS:  # the scripts of event handlers do not inherit them
        os.environ.pop(secret, None)
    ctx.exit(trio.run(agent.run) if channel is None else trio.run(channel.beside, agent.run, agent.pool.node))


def make(
    params: Mapping[str, Any], *, stream: TextIO | None = None, alone: bool = True
) -> tuple[Agent, "Control | None"]:
    """The agent of a parsed command line, and its control channel, which is for those in a lab alone.

    Its log goes to `stream`, else to stdout. `alone` is the agent's. Raises ConfigError.
    """
    given = []
    for key, name in FLAGS.items():
        value = params[key.replace(".", "__")]
        if value is not None:
            given.append(config.Flag(name, key, value))
    reread = partial(config.load, params["paths"], given, dev=params["dev"], environment=dict(os.environ))
    settings = reread()
    logs = Logs(level=settings.log_level, levels=settings.log_levels, as_json=settings.log_json, stream=stream)
    control: Path | None = params["control"]
    if control is None:
        return Agent(settings, logs, reread=reread, lifeline=params["lifeline"], alone=alone), None
    # only in a lab: every agent would pay for it at its start
    from moot.agent import tuning
    from moot.agent.control import Control

    # two agents of one name are told apart by their sockets
    channel = Control(control, control.stem)
    try:
        settings = dataclasses.replace(
            settings, surroundings=channel.surroundings, tuning=tuning.load(control.parent)
        )
        return Agent(settings, logs, reread=reread, lifeline=params["lifeline"], alone=alone), channel
    except GossipError:
        channel.close()
        raise
