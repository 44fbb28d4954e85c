"""Asking an agent over the client RPC: the flags for it, and Serf's words when it does not work."""

import contextlib
import os
from collections.abc import Iterator
from typing import Final

from moot.agent.rpc.client import RpcClient, RpcClosed, RpcError
from moot.agent.serf import flags
from moot.agent.serf.addresses import AddressError, port_of, resolve, split
from moot.agent.serf.flags import Flag, Given
from moot.agent.serf.line import Failed
from moot.gossip.record import Address

DEFAULT_ADDRESS: Final = "127.0.0.1:7373"

FLAG_HELP: Final = """
  -rpc-addr=IP:PORT    Where the agent's RPC listens [$SERF_RPC_ADDR, else 127.0.0.1:7373]
  -rpc-auth=KEY        The key that the agent asks for, if any [$SERF_RPC_AUTH]
""".strip("\n")


def rpc_flags() -> dict[str, Flag]:
    """`-rpc-addr` and `-rpc-auth`, their defaults from the environment."""
    return {
        "rpc-addr": flags.text(os.environ.get("SERF_RPC_ADDR") or DEFAULT_ADDRESS),
        "rpc-auth": flags.text(os.environ.get("SERF_RPC_AUTH") or ""),
    }


def given_tags(given: Given, name: str) -> dict[str, str]:
    """The `KEY=VALUE` words of a flag. Raises Failed for one that is none."""
    try:
        return flags.tag_pairs(given.texts(name))
    except ValueError as error:
        raise Failed(f"Error: {error}") from None


@contextlib.contextmanager
def saying(what: str) -> Iterator[None]:
    """Raises Failed, whose text begins with `what`, when the agent refuses or hangs up."""
    try:
        yield
    except (RpcError, RpcClosed) as error:
        raise Failed(f"{what}: {error}") from None


def connected(given: Given) -> RpcClient:
    """A connection to the agent that the flags name, to be used in a `with` block. Raises Failed."""
    address = given.text("rpc-addr")
    try:
        host, port = split(address)
        target = Address.parse(resolve(host or "localhost"), port_of(port))
        return RpcClient(str(target), given.text("rpc-auth"))
    except (RpcError, RpcClosed) as error:
        reason = str(error)
    except AddressError as error:
        reason = f"dial tcp: {error}"
    except TimeoutError:
        reason = f"dial tcp {target}: i/o timeout"
    except OSError as error:
        reason = f"dial tcp {target}: connect: {os.strerror(error.errno or 0).lower()}"
    raise Failed(f"Error connecting to Serf agent: {reason}")
