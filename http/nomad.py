"""Nomad's endpoints about the pool: members, self, join, force-leave, servers, health, status, regions.

Shapes, texts and rules are as its clients know them. A server answers from its gossip (see `pool_view`); what is
about another region's leader and peers it passes on to a server of that region, and an agent without the server
role passes all of it on.
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import Final, Literal

import trio

from moot.http.acl import Right
from moot.http.backend import Backend, BackendError, PoolClosed
from moot.http.describe import PASSED_ON, REGION, Answer, Doc, Failure, Name, Parameter, Truth
from moot.http.exchange import TEXT, HttpError, Reply
from moot.http.pool_view import PoolView
from moot.http.remote import Remote
from moot.http.routes import READ, WRITE, Call, Role, Route, read_bool
from moot.http.schema import HealthAnswer, JoinAnswer, MemberAnswer, MembersAnswer, SelfAnswer, encode

LEADER_WAIT = 5.0
"""Seconds that status waits for a leader before it says that there is none."""
LEADER_POLL = 0.1

NO_LEADER: Final = (
    Failure(
        500,
        "No cluster leader",
        "no server of the region is alive; after 5 s, with `stale` at once the answer is empty",
    ),
    Failure(500, "No path to region", "no server of that region is known to be alive"),
    *PASSED_ON,
)
MEMBERS: Final = Doc(
    "List the members of the pool.",
    "All members of all regions by name, as this agent sees them: failed and left ones too. An agent without the"
    " server"
    " role asks one of its servers.",
    parameters=(Parameter("region", "Ignored, as Nomad's agents do."),),
    answers=(Answer(MembersAnswer, "The agent that answers, and all members it knows."),),
    failures=PASSED_ON,
)
SELF: Final = Doc(
    "Show the agent itself.",
    "Its effective configuration, its own member and its figures. Secrets never show. Nomad's documentation says"
    " POST and its"
    " agents take GET: here GET, POST and PUT are the same.",
    answers=(Answer(SelfAnswer, "`config`, `member`, `stats`."),),
)
JOIN: Final = Doc(
    "Join the pool through other members.",
    "Always 200 once there is an `address`, also when nobody could be joined. One success hides the failures, and"
    " without any"
    " `error` has a line for each. All addresses are tried at once, and the answer waits for all of them. After a"
    " leave began"
    " `error` is `Serf can't Join after Leave or Shutdown`.",
    parameters=(
        Parameter(
            "address",
            "`[NAME/]HOST[:PORT]`; without a port it is the agent's own gossip port. A host name is tried at all"
            " its addresses.",
            list[str],
            required=True,
            example="127.77.0.2",
        ),
    ),
    answers=(Answer(JoinAnswer, "How many exchanges worked."),),
    failures=(Failure(400, "missing address to join"),),
)
FORCE_LEAVE: Final = Doc(
    "Make a failed member leave.",
    "A failed member becomes `left` everywhere; one that left stays so; one that is alive refutes and stays alive."
    " 200 whatever"
    " the name, also when no member has it: a name without its region does nothing.",
    parameters=(
        Parameter("node", "The full gossip name.", Name, required=True, example="moot-9.global"),
        Parameter("prune", "Whether it is to be forgotten as well. Empty counts as false.", Literal["", Truth]),
    ),
    answers=(Answer(None, "The news is out."),),
    failures=(
        Failure(400, "missing node to force leave", "`node` is missing or empty"),
        Failure(400, "invalid prune value"),
        Failure(500, "timed out broadcasting node removal", "nobody could be told within 5 s"),
    ),
)
SERVERS: Final = (
    Doc(
        "List the servers that the client role knows.",
        methods=READ,
        right=Right.AGENT_READ,
        answers=(Answer(list[str], "`IP:RPCPORT` of each, sorted; reachable or not."),),
    ),
    Doc(
        "Replace the servers that the client role knows.",
        "By those that answer a ping. When none does, the list stays as it is.",
        methods=WRITE,
        right=Right.AGENT_WRITE,
        parameters=(
            Parameter("address", "`HOST[:PORT]`; without a port it is 4647.", list[str], True, "127.77.0.1"),
        ),
        answers=(Answer(None, "At least one was taken."),),
        failures=(
            Failure(400, "missing server address"),
            Failure(400, "1 error occurred:\n\t* …\n\n", "it did not answer"),
            Failure(400, "… errors occurred:\n\t* …\n\n", "none of them answered"),
        ),
    ),
)
HEALTH: Final = Doc(
    "Tell whether the agent is well.",
    "A server is when its region has a leader, a client when it knows a server.",
    parameters=(
        Parameter("type", "`server` or `client`; the roles that the agent has unless given.", list[str]),
        REGION,
    ),
    answers=(
        Answer(dict[str, HealthAnswer], "By role; all are well."),
        Answer(str, "The same JSON, as `text/plain`; some are not well.", 500, TEXT),
    ),
)
LEADER: Final = Doc(
    "Tell the leader of a region.",
    "Nothing is elected here: it is the server of the region that is alive and whose name is lowest.",
    parameters=(REGION,),
    answers=(Answer(str, "`IP:RPCPORT`; empty with `stale` when there is none."),),
    failures=NO_LEADER,
)
PEERS: Final = Doc(
    "List the servers of a region.",
    parameters=(REGION,),
    answers=(Answer(list[str], "`IP:RPCPORT` of those that have not left, sorted."),),
    failures=NO_LEADER,
)
REGIONS: Final = Doc(
    "List the regions.",
    parameters=(Parameter("region", "Ignored, as Nomad's agents do."),),
    answers=(Answer(list[str], "Those that have an alive server, and the agent's own; sorted."),),
    failures=PASSED_ON,
)


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
            Route("/v1/agent/members", READ, self.members, checks_query=True, right=node_read, docs=(MEMBERS,)),
            Route("/v1/agent/self", READ | WRITE, self.self_, right=agent_read, docs=(SELF,)),
            Route("/v1/agent/join", WRITE, self.join, Role.SERVER, own_pages_only=True, right=None, docs=(JOIN,)),
            Route(
                "/v1/agent/force-leave",
                WRITE,
                self.force_leave,
                Role.SERVER,
                own_pages_only=True,
                docs=(FORCE_LEAVE,),
            ),
            Route(
                "/v1/agent/servers",
                READ | WRITE,
                self.servers,
                Role.CLIENT,
                own_pages_only=True,
                right=None,
                docs=SERVERS,
            ),
            Route("/v1/agent/health", READ, self.health, checks_query=True, right=None, docs=(HEALTH,)),
            Route("/v1/status/leader", READ, self.leader, checks_query=True, right=None, docs=(LEADER,)),
            Route("/v1/status/peers", READ, self.peers, checks_query=True, right=None, docs=(PEERS,)),
            Route("/v1/regions", READ, self.regions, checks_query=True, right=None, docs=(REGIONS,)),
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
