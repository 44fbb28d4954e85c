"""Nomad's endpoints about one agent: host, schedulers, reload; and which agent a request means."""

from typing import Final

import msgspec

from moot.gossip.serf.members import SerfMember
from moot.http.acl import DENIED, Right
from moot.http.backend import Backend
from moot.http.describe import Answer, Body, Doc, Failure, Parameter
from moot.http.exchange import HttpError, Reply
from moot.http.pool_view import PoolView
from moot.http.routes import READ, WRITE, Call, Role, Route
from moot.http.schema import HostAnswer, SchedulersAnswer, SchedulersConfigAnswer, TargetedHostAnswer


class SchedulersRequest(msgspec.Struct):
    """Body of PUT /v1/agent/schedulers/config; a `server_id` is ignored."""

    num_schedulers: int = 0
    enabled_schedulers: list[str] = []


OTHERS: Final = (
    Failure(400, "unknown Nomad server …", "`server_id`"),
    Failure(500, "No path to region", "no server of that region is known to be alive"),
    Failure(500, "No path to node", "`node_id` is not the agent's own"),
    Failure(500, "No cluster leader", "`server_id` is leader, and there is none"),
    Failure(
        500,
        "… must be asked itself: neither logs nor facts of the machine are passed on here",
        "another agent was named",
    ),
)
"""What `refuse_other_agents` says."""
ONE_AGENT: Final = (
    Parameter("region", "The agent's own."),
    Parameter("server_id", "The agent's own name or id, or `leader` if it is that."),
    Parameter("node_id", "The agent's own id as a client."),
)
HOST: Final = Doc(
    "Show facts of the machine.",
    "The environment without the values of variables whose name may stand for a secret, the beginning of"
    " `/etc/hosts` and"
    " `/etc/resolv.conf`, addresses, disks. Without tokens only with `enable_debug`, which `--dev` turns on.",
    right=Right.AGENT_READ,
    parameters=ONE_AGENT,
    answers=(
        Answer(HostAnswer, "The machine of the agent,"),
        Answer(TargetedHostAnswer, "or the same with the agent's id, when it was named."),
    ),
    failures=(
        Failure(400, "Can only forward to either client node or server", "both were named"),
        *OTHERS,
        Failure(500, "the facts of this machine could not be had within … s"),
    ),
)
SCHEDULERS: Final = Doc(
    "List the scheduler workers.",
    "There are none: no jobs run here.",
    answers=(Answer(SchedulersAnswer, "An empty list."),),
)
CONFIG: Final = (
    Doc(
        "Show the configuration of the schedulers.",
        methods=READ,
        right=Right.AGENT_READ,
        answers=(Answer(SchedulersConfigAnswer, "None of them."),),
    ),
    Doc(
        "Configure the schedulers.",
        "Nothing else than none is taken.",
        methods=WRITE,
        right=Right.AGENT_WRITE,
        body=Body(shape=SchedulersRequest, example={"num_schedulers": 0, "enabled_schedulers": []}),
        answers=(Answer(SchedulersConfigAnswer, "None of them."),),
        failures=(Failure(400, "Invalid request: …"),),
    ),
)
RELOAD: Final = Doc(
    "Read the configuration anew.",
    "As on SIGHUP.",
    answers=(Answer(None, "It is in force."),),
    failures=(Failure(500, "…", "it cannot be used; the old one stays in force"),),
)


class AdminApi:
    """The handlers."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def routes(self) -> list[Route]:
        """The table. What shows the environment or changes anything is kept from pages of other sites."""
        schedulers, role = "/v1/agent/schedulers", Role.SERVER_FIRST
        return [
            Route(
                "/v1/agent/host", READ, self.host, checks_query=True, own_pages_only=True, right=None, docs=(HOST,)
            ),
            Route(schedulers, READ, self.schedulers, role, right=Right.AGENT_READ, docs=(SCHEDULERS,)),
            Route(
                f"{schedulers}/config", READ | WRITE, self.config, role, own_pages_only=True, right=None, docs=CONFIG
            ),
            Route("/v1/agent/reload", WRITE, self.reload, own_pages_only=True, docs=(RELOAD,)),
        ]

    async def host(self, call: Call) -> Reply:
        """Facts of the machine; wrapped when the agent was named. Only while debugging, or by a right."""
        settings = self._backend.nomad.settings
        if not (settings.acl.enabled or settings.enable_debug):
            raise HttpError(403, DENIED)
        call.require(Right.AGENT_READ)
        named = call.query.first("server_id"), call.query.first("node_id")
        if all(named):
            raise HttpError(400, "Can only forward to either client node or server")
        refuse_other_agents(self._backend, call)
        found = await self._backend.nomad.host()
        return call.json(TargetedHostAnswer(agent_id=named[0] or named[1], host_data=found) if any(named) else found)

    async def schedulers(self, call: Call) -> Reply:
        """None: there are no jobs here to schedule."""
        return call.json(SchedulersAnswer(schedulers=[], server_id=self._backend.identity.gossip_name))

    async def config(self, call: Call) -> Reply:
        """No schedulers; and nothing else can be configured."""
        if call.request.method == "GET":
            call.require(Right.AGENT_READ)
        else:
            call.require(Right.AGENT_WRITE)
            try:
                wish = msgspec.json.decode(call.request.body, type=SchedulersRequest)
            except (msgspec.MsgspecError, RecursionError) as error:
                raise HttpError(400, f"Invalid request: {error}") from error
            if wish.num_schedulers or wish.enabled_schedulers:
                raise HttpError(400, "Invalid request: this agent has no schedulers")
        name = self._backend.identity.gossip_name
        return call.json(SchedulersConfigAnswer(enabled_schedulers=[], num_schedulers=0, server_id=name))

    async def reload(self, call: Call) -> Reply:
        """Read the configuration anew, as on SIGHUP."""
        await self._backend.nomad.reload()
        return Reply()


def refuse_other_agents(backend: Backend, call: Call) -> None:
    """Raises HttpError unless the agent asked is the one that `region`, `server_id` and `node_id` mean.

    Deviation: Nomad passes such requests on, by an RPC that streams.
    """
    identity = backend.identity
    region, server, node = (call.query.first(name) for name in ("region", "server_id", "node_id"))
    if region and region != identity.region:
        view = PoolView(backend.members(), identity)
        if not view.reaches(region):
            raise HttpError(500, "No path to region")
        raise _not_passed_on(f"an agent of the region {region}")
    if node and (backend.client is None or node != backend.nomad.node_id):
        raise HttpError(500, "No path to node")
    if not server:
        return
    if not identity.is_server:
        raise _not_passed_on(server)
    if server == "leader":
        leader = PoolView(backend.members(), identity).leader(identity.region)
        if leader is None:
            raise HttpError(500, "No cluster leader")
        server = leader.name
    found = next((it for it in backend.members() if _is_called(it, server)), None)
    if found is None:
        raise HttpError(400, f"unknown Nomad server {server}")
    if found.name != identity.gossip_name:
        raise _not_passed_on(found.name)


def _is_called(member: SerfMember, name: str) -> bool:
    """Whether a member is meant by its name or its id."""
    return name in (member.name, member.tags.get("id"))


def _not_passed_on(whom: str) -> HttpError:
    return HttpError(500, f"{whom} must be asked itself: neither logs nor facts of the machine are passed on here")
