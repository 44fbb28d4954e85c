"""What an agent tells people at its start."""

from moot import __version__
from moot.agent.backend import AgentBackend
from moot.agent.config import HostPort, Settings
from moot.agent.services import Services
from moot.gossip.net.node import Node
from moot.gossip.record import Address


def start_facts(
    settings: Settings, backend: AgentBackend, node: Node, services: Services, rpc: Address
) -> dict[str, str]:
    """Titles and values, by title. HTTP listens already; `rpc` is what is announced of the RPC port."""
    http = backend.http[0]
    bound = HostPort(host=settings.bind["rpc"].host, port=settings.bind["rpc"].port or rpc.port)
    rpc_served = bound if settings.pool == "nomad" else "none"
    ipc = services.rpc
    optional = {
        "Client RPC": f"{ipc}, {'with' if settings.ipc_auth else 'without'} a key" if ipc else "",
        "Discovery": settings.discover,
        "Event Handlers": str(len(settings.handlers) or ""),
        "Keyring": str(node.settings.keyring_file or ""),
        "Snapshot": str(node.settings.snapshot or ""),
    }
    facts = {
        "Advertise Addrs": f"HTTP: {backend.http_told}; RPC: {rpc}; Serf: {node.address}",
        "Bind Addrs": f"HTTP: {http}; RPC: {rpc_served}; Serf: {node.bind_address}",
        "Client": "false",
        "Gossip": f"{settings.pool} pool, {settings.profile} profile, "
        f"{'encrypted' if node.encrypted else 'not encrypted'}",
        "Log Level": settings.log_level.upper(),
        "Name": settings.gossip_name,
        "Region (DC)": f"{settings.region} ({settings.datacenter})",
        "Server": "true",
        "Version": __version__,
        **{title: value for title, value in optional.items() if value},
    }
    return dict(sorted(facts.items()))
