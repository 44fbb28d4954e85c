"""Nomad's endpoints about the pool: members, self, join, force-leave, servers, health, status, regions.

Shapes, texts and rules are as its clients know them. A server answers from its gossip (see `pool_view`); what is
about another region's leader and peers it passes on to a server of that region, and an agent without the server
role passes all of it on.
"""

from collections.abc import Sequence
from operator import attrgetter

import trio

from moot.http.acl import Right
from moot.http.backend import Backend, BackendError, PoolClosed
from moot.http.exchange import TEXT, HttpError, Reply
from moot.http.pool_view import PoolView
from moot.http.remote import Remote
from moot.http.routes import READ, WRITE, Call, Role, Route, read_bool
from moot.http.schema import HealthAnswer, JoinAnswer, MemberAnswer, MembersAnswer, SelfAnswer, encode

LEADER_WAIT = 5.0
"""Seconds that status waits for a leader before it says that there is none."""
LEADER_POLL = 0.1


class NomadApi:
    """The handlers, and what they keep between requests: the member list as last encoded."""

    def __init__(self, backend: Backend, *, leader_wait: float = LEADER_WAIT) -> None:
        self._backend = backend
        self._leader_wait = leader_wait
        self._kept_version: int | None = None
        self._kept: dict[bool, Reply] = {}
        self._kept_view: PoolView | None = None

    def routes(self) -> list[Route]:
        """The table. Reads that Nomad forwards by region check the common query parameters.

        What changes anything is kept from web pages of other sites; Nomad's clients send no Origin and pass. Rights
        are Nomad's: joining is open to everybody there, too.
        """
        node_read, agent_read = Right.NODE_READ, Right.AGENT_READ
        return [
            Route("/v1/agent/members", READ, self.members, checks_query=True, right=node_read),
            Route("/v1/agent/self", READ | WRITE, self.self_, right=agent_read),
            Route("/v1/agent/join", WRITE, self.join, Role.SERVER, own_pages_only=True, right=None),
            Route("/v1/agent/force-leave", WRITE, self.force_leave, Role.SERVER, own_pages_only=True),
            Route("/v1/agent/servers", READ | WRITE, self.servers, Role.CLIENT, own_pages_only=True, right=None),
            Route("/v1/agent/health", READ, self.health, checks_query=True, right=None),
            Route("/v1/status/leader", READ, self.leader, checks_query=True, right=None),
            Route("/v1/status/peers", READ, self.peers, checks_query=True, right=None),
            Route("/v1/regions", READ, self.regions, checks_query=True, right=None),
        ]

    async def members(self, call: Call) -> Reply:
        """The whole list, all regions, sorted by name; kept encoded until it changes."""
        if not self._backend.identity.is_server:
            return call.json(await self._ask().members())
        self._refresh()
        kept = self._kept.get(call.pretty)
        if kept is None:
            identity = self._backend.identity
            answer = MembersAnswer(
                members=[MemberAnswer.of(it) for it in sorted(self._backend.members(), key=attrgetter("name"))],
                server_dc=identity.datacenter,
                server_name=identity.node_name,
                server_region=identity.region,
            )
            kept = self._kept[call.pretty] = call.json(answer)
        return kept

    async def self_(self, call: Call) -> Reply:
        """Configuration, own member and statistics, whatever the method and role."""
        backend = self._backend
        member = backend.self_member()
        stats = {name: dict(block) for name, block in backend.stats().items()}
        if backend.identity.is_server:
            stats["nomad"] = self._nomad_stats()
        answer = SelfAnswer(
            config=dict(backend.agent_config()),
            member=MemberAnswer() if member is None else MemberAnswer.of(member),
            stats=stats,
        )
        return call.json(answer)

    async def join(self, call: Call) -> Reply:
        """Always 200 once an address is given; one success hides the failures."""
        addresses = call.query.all("address")
        if not addresses:
            raise HttpError(400, "missing address to join")
        try:
            attempts = await self._backend.join(addresses)
        except PoolClosed as error:
            return call.json(JoinAnswer(error=str(error), num_joined=0))
        joined_count = sum(not attempt.error for attempt in attempts)
        lines = [
            f"Failed to join {it.ip}: {it.error}" if it.ip else f"Failed to resolve {it.given}: {it.error}"
            for it in attempts
            if it.error
        ]
        return call.json(JoinAnswer(error="" if joined_count else multi_error(lines), num_joined=joined_count))

    async def force_leave(self, call: Call) -> Reply:
        """Empty 200 whatever the name; only a full gossip name that is failed has an effect that lasts."""
        name = call.query.first("node")
        if not name:
            raise HttpError(400, "missing node to force leave")
        prune_text = call.query.first("prune")
        prune = read_bool(prune_text) if prune_text else False
        if prune is None:
            raise HttpError(400, "invalid prune value")
        await self._backend.force_leave(name, prune)
        return Reply()

    async def servers(self, call: Call) -> Reply:
        """The client role's server list: read it sorted, or replace it by those that answer."""
        client = self._backend.client
        assert client is not None, "the route asks for the client role"
        if call.request.method == "GET":
            call.require(Right.AGENT_READ)
            return call.json(sorted(client.known_servers()))
        addresses = call.query.all("address")
        if not addresses:
            raise HttpError(400, "missing server address")
        call.require(Right.AGENT_WRITE)
        errors = await client.set_servers(addresses)
        if len(errors) == len(addresses):
            raise HttpError(400, multi_error(errors))
        return Reply()

    async def health(self, call: Call) -> Reply:
        """Roles that the agent has, or those asked for; any that is not well makes it a 500."""
        backend = self._backend
        asked = call.query.all("type")
        if not asked:
            asked = ["client"] * (backend.client is not None) + ["server"] * backend.identity.is_server
        answer: dict[str, HealthAnswer] = {}
        if "client" in asked:
            trouble = self._client_trouble()
            answer["client"] = HealthAnswer(message=trouble or "ok", ok=not trouble)
        if "server" in asked:
            trouble = await self._server_trouble(call)
            answer["server"] = HealthAnswer(message=trouble or "ok", ok=not trouble)
        if all(role.ok for role in answer.values()):
            return call.json(answer)
        return Reply(encode(answer), TEXT, 500)

    def _client_trouble(self) -> str:
        client = self._backend.client
        if client is None:
            return "client not enabled"
        return "" if client.known_servers() else "no known servers"

    async def _server_trouble(self, call: Call) -> str:
        if not self._backend.identity.is_server:
            return "server not enabled"
        try:
            return "" if await self._find_leader(call) else "no leader"
        except HttpError as error:
            return error.text
        except BackendError as error:
            return str(error)

    async def leader(self, call: Call) -> Reply:
        """RPC address of the region's leader as text."""
        return call.json(await self._find_leader(call))

    async def peers(self, call: Call) -> Reply:
        """RPC addresses of the region's servers that have not left."""
        region = self._region(call)
        remote = self._remote_for(region)
        if remote is not None:
            return call.json(await remote.peers(region, stale=call.stale))
        await self._find_leader(call)
        return call.json(self._refresh().peers(region))

    async def regions(self, call: Call) -> Reply:
        """Regions with an alive server."""
        if not self._backend.identity.is_server:
            return call.json(await self._ask().regions())
        return call.json(self._refresh().regions())

    def _region(self, call: Call) -> str:
        return call.query.first("region") or self._backend.identity.region

    def _ask(self) -> Remote:
        """For an agent that is not in the pool: whom it asks. Raises HttpError when it has nobody."""
        remote = self._backend.remote
        if remote is None:
            raise HttpError(500, "no servers")
        return remote

    def _remote_for(self, region: str) -> Remote | None:
        """Whom to ask about a region; None to look at the gossip: for the own region, and where there is no RPC."""
        identity = self._backend.identity
        if not identity.is_server:
            return self._ask()
        return None if region == identity.region else self._backend.remote

    async def _find_leader(self, call: Call) -> str:
        """The leader's RPC address. Without one: empty at once for `stale`, else HttpError after a wait."""
        region = self._region(call)
        remote = self._remote_for(region)
        if remote is not None:
            return await remote.leader(region, stale=call.stale)
        if not self._refresh().reaches(region):
            raise HttpError(500, "No path to region")
        deadline = trio.current_time() + (0 if call.stale else self._leader_wait)
        while (leader := self._refresh().leader(region)) is None:
            if trio.current_time() >= deadline:
                break
            await trio.sleep(LEADER_POLL)
        if leader is None and not call.stale:
            raise HttpError(500, "No cluster leader")
        return leader.rpc_address if leader else ""

    def _refresh(self) -> PoolView:
        """The view of the pool as it is now; forgets what was kept of an older one. Only for servers."""
        backend = self._backend
        version = backend.members_version
        if self._kept_view is None or version != self._kept_version:
            self._kept.clear()
            self._kept_version = version
            self._kept_view = PoolView(backend.members(), backend.identity)
        return self._kept_view

    def _nomad_stats(self) -> dict[str, str]:
        identity = self._backend.identity
        view = self._refresh()
        leader = view.leader(identity.region)
        return {
            "bootstrap": _go(any(it.bootstrap for it in view.servers if it.name == identity.gossip_name)),
            "known_regions": str(len(view.regions())),
            "leader": _go(leader is not None and leader.name == identity.gossip_name),
            "leader_addr": leader.rpc_address if leader else "",
            "server": "true",
        }


def multi_error(lines: Sequence[str]) -> str:
    """Several errors in one text, as Go's multierror writes them; ends in an empty line."""
    head = "1 error occurred:" if len(lines) == 1 else f"{len(lines)} errors occurred:"
    return "\n\t* ".join([head, *lines]) + "\n\n"


def _go(flag: bool) -> str:
    return "true" if flag else "false"
