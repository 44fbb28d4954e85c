"""What clients may take of an agent: the block `limits`, and the file descriptors that this needs."""

import resource
from math import inf

from moot.agent.nomad.server import RpcLimits
from moot.agent.settings import ConnectionLimits
from moot.http.server import Limits

HTTP_SHARE = 4
RPC_SHARE = 2
"""HTTP and RPC take no more than one of so many descriptors each."""


def http_limits(limits: ConnectionLimits) -> Limits:
    return Limits(
        connections_per_client_max=limits.http_max_conns_per_client,
        handshake_timeout=limits.https_handshake_timeout or inf,
    )


def rpc_limits(limits: ConnectionLimits) -> RpcLimits:
    return RpcLimits(
        connections_per_client_max=limits.rpc_max_conns_per_client,
        handshake_timeout=limits.rpc_handshake_timeout or inf,
    )


def raise_descriptors(*, serves_rpc: bool) -> str | None:
    """Let the process have as many descriptors as the most connections need, as far as it may.

    Answers with a warning when that is not enough. No more are taken than needed: scripts inherit the number.
    """
    wanted = HTTP_SHARE * Limits().connections_max
    if serves_rpc:
        wanted = max(wanted, RPC_SHARE * RpcLimits().connections_max)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft in range(wanted):  # else it is enough, or infinite
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft in range(wanted):
        return (
            f"the process may open {soft} files and connections, so HTTP takes {soft // HTTP_SHARE} of them at a time"
            f" and RPC {soft // RPC_SHARE}; more with `ulimit -Hn {wanted}`, or LimitNOFILE={wanted} for systemd"
        )
    return None
