"""RpcRemote: what the HTTP API asks of servers over RPC, on agents of either role."""

import datetime
from collections.abc import Awaitable, Callable
from typing import TypeVar

from moot.agent.nomad.errors import RpcError
from moot.agent.nomad.registry import NodeEntry
from moot.agent.nomad.structures import (
    Options,
    decode_members,
    decode_nodes,
    decode_text,
    decode_texts,
    encode_options,
)
from moot.gossip.errors import WireError
from moot.http.backend import BackendError
from moot.http.remote import NodeAnswer
from moot.http.schema import MembersAnswer

T = TypeVar("T")


class RpcRemote:
    """Implements `http.remote.Remote`.

    `ask` makes a call: `NomadRpcServer.ask`, which passes on what is for another region, on an agent with the server
    role, else `ClientAgent.call`. `region` is the agent's own.
    """

    def __init__(self, region: str, ask: Callable[[str, bytes], Awaitable[bytes]]) -> None:
        self._region = region
        self._ask = ask
        self._seen: tuple[bytes, list[NodeAnswer]] = (b"", [])
        """The nodes in the answer that came last: a server gives out the same bytes for a while."""

    async def members(self) -> MembersAnswer:
        return await self._call("Status.Members", decode_members)

    async def leader(self, region: str, *, stale: bool) -> str:
        return await self._call("Status.Leader", decode_text, region, stale=stale)

    async def peers(self, region: str, *, stale: bool) -> list[str]:
        return await self._call("Status.Peers", decode_texts, region, stale=stale)

    async def regions(self) -> list[str]:
        return await self._call("Region.List", decode_texts)

    async def nodes(self, region: str) -> list[NodeAnswer]:
        return await self._call("Node.List", self._read_nodes, region, stale=True)

    def _read_nodes(self, body: bytes) -> list[NodeAnswer]:
        if body is not self._seen[0]:
            now = datetime.datetime.now(datetime.UTC)
            self._seen = body, [_answer(entry, now) for entry in decode_nodes(body)]
        return self._seen[1]

    async def _call(self, method: str, decode: Callable[[bytes], T], region: str = "", *, stale: bool = False) -> T:
        body = encode_options(Options(region=region or self._region, stale=stale))
        try:
            return decode(await self._ask(method, body))
        except RpcError as error:
            raise BackendError(str(error)) from error
        except WireError as error:
            raise BackendError(f"rpc error: the answer to {method} cannot be read: {error}") from error


def _answer(entry: NodeEntry, now: datetime.datetime) -> NodeAnswer:
    heard = now - datetime.timedelta(seconds=entry.heard_ago)
    return NodeAnswer(
        address=entry.address,
        create_index=entry.create_index,
        datacenter=entry.datacenter,
        id=entry.node_id,
        modify_index=entry.modify_index,
        name=entry.name,
        node_class=entry.node_class,
        status=entry.status,
        version=entry.version,
        heartbeat_age=round(entry.heard_ago, 3),
        heartbeat_ttl=round(entry.ttl, 3),
        last_heartbeat=heard.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    )
