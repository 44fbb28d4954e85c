"""What an agent tells people at its start."""

from collections.abc import Mapping

from moot import __version__
from moot.agent.backend import AgentBackend
from moot.agent.pool_side import PoolSide
from moot.agent.rpc_port import RpcPort
from moot.agent.settings import HostPort, Settings


def start_facts(settings: Settings, backend: AgentBackend, pool: PoolSide, rpc: RpcPort) -> dict[str, str]:
    """Titles and values, by title. HTTP listens already, and so does the pool if there is one."""
    gossip = settings.bind["serf"]
    here, there = (rpc.bound, rpc.told) if settings.serves_rpc else ("none", "none")
    bound: dict[str, object] = {"HTTP": backend.http[0], "RPC": here}
    told: dict[str, object] = {"HTTP": backend.http_told, "RPC": there}
    if settings.is_server:
        bound["Serf"] = HostPort(host=gossip.host, port=pool.gossip_port)
        told["Serf"] = pool.gossip_address
    facts = {
        "Advertise Addrs": _listed(told),
        "Bind Addrs": _listed(bound),
        "Client": _flag(settings.client.enabled),
        "Log Level": settings.log_level.upper(),
        "Name": backend.identity.gossip_name,
        "Region (DC)": f"{settings.region} ({settings.datacenter})",
        "Server": _flag(settings.is_server),
        "Servers": ", ".join(backend.client.known_servers()) if backend.client else "",
        "Version": __version__,
        **pool.facts(),
    }
    return {title: value for title, value in sorted(facts.items()) if value}


def _listed(addresses: Mapping[str, object]) -> str:
    return "; ".join(f"{service}: {address}" for service, address in addresses.items())


def _flag(value: bool) -> str:
    return "true" if value else "false"
