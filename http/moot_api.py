"""`/v1/moot/…`: what Nomad has no endpoint for, and the page at `/ui/`.

What changes anything here is kept from web pages of other sites (`guard.refuse_foreign_pages`).
"""

import html
from collections import Counter
from dataclasses import asdict
from typing import Final

from moot.http.acl import Right
from moot.http.backend import Backend
from moot.http.counters import HttpCounters
from moot.http.describe import Answer, Doc, Failure
from moot.http.exchange import HTML, Reply
from moot.http.routes import READ, WRITE, Call, Route
from moot.http.schema import AgentAnswer, LeaveAnswer

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{name}</title>
<h1>{name}</h1>
<p>A gossip-pool agent. Its view of the pool: <a href="/v1/agent/members?pretty">members</a>,
<a href="/v1/agent/self?pretty">itself</a>, <a href="/v1/moot/agent?pretty">in short</a>.</p>
</html>
"""


UI: Final = Doc(
    "Show a page.",
    "It says who answers, also at all paths below; `/` leads here.",
    answers=(Answer(str, "HTML.", content_type=HTML),),
)
AGENT: Final = Doc(
    "Show the agent in short.",
    "Cheap enough to be polled.",
    answers=(Answer(AgentAnswer, "Who it is and how it does."),),
)
LEAVE: Final = Doc(
    "Leave the pool and end.",
    "Gracefully: it answers when the pool has heard it, and of a client the server that holds it; then the agent"
    " ends with exit code 0.",
    answers=(Answer(LeaveAnswer, "It has left."),),
    failures=(
        Failure(500, "Leave already in progress"),
        Failure(500, "…", "it could not leave, and stays as it is"),
    ),
)


class MootApi:
    """The handlers."""

    def __init__(self, backend: Backend, counters: HttpCounters) -> None:
        self._backend = backend
        self._counters = counters

    def routes(self) -> list[Route]:
        """The table."""
        return [
            Route("/ui/", READ, self.page, right=None, docs=(UI,)),
            Route("/v1/moot/agent", READ, self.agent, right=Right.AGENT_READ, docs=(AGENT,)),
            Route("/v1/moot/leave", WRITE, self.leave, own_pages_only=True, docs=(LEAVE,)),
        ]

    async def page(self, call: Call) -> Reply:
        """One page that says who answers here, below any path of `/ui/`."""
        name = html.escape(self._backend.identity.gossip_name)
        return Reply(PAGE.format(name=name).encode("utf-8", "replace"), HTML)

    async def agent(self, call: Call) -> Reply:
        """Who the agent is and how it does, cheap enough to be polled."""
        identity, info = self._backend.identity, self._backend.info()
        answer = AgentAnswer(
            counters=dict(info.counters),
            datacenter=identity.datacenter,
            encrypted=info.encrypted,
            gossip_address=info.gossip_address,
            gossip_name=identity.gossip_name,
            http=asdict(self._counters),
            http_addresses=list(info.http_addresses),
            label=info.label,
            members=dict(Counter(member.status.value for member in self._backend.members())),
            name=identity.node_name,
            pid=info.pid,
            pool=identity.pool,
            profile=info.profile,
            region=identity.region,
            uptime=round(info.uptime, 3),
            version=info.version,
        )
        return call.json(answer)

    async def leave(self, call: Call) -> Reply:
        """Leave the pool gracefully; answers when the pool has heard it, and then the agent ends."""
        await self._backend.leave()
        return call.json(LeaveAnswer(gossip_name=self._backend.identity.gossip_name))
